import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from convexrml.profiles import load_profiles

DOCS = Path(__file__).resolve().parents[1] / "docs"


def test_the_update_that_osqp_refuses_without_an_exception():
    if version("osqp") != "1.1.3":
        pytest.skip("seen with osqp 1.1.3")
    (code,) = re.findall(
        r"^```python\n(.*?)^```", (DOCS / "osqp_warm_start.md").read_text(encoding="utf-8"), re.M | re.S
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Problem data validation" in ran.stdout + ran.stderr
    assert re.search(r"1\.1\.3 solved \[ ?0\.538\d* +-0\.5\d* ?\]", ran.stdout)


def test_no_profile_lets_cvxpy_warm_start():
    assert not any(profile.warm_start for profile in load_profiles().values())
