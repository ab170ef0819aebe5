"""Print a constraints file for pip: the oldest version of everything for which pyproject.toml names one.

Run by `make oldest`, not collected by pytest.  What is held to one line (ruff, mypy) stays as it is written there.
"""

import re
import tomllib
from pathlib import Path

LEAST = re.compile(r"^([A-Za-z0-9._-]+)>=([0-9.]+)$")


def oldest(pyproject: Path) -> list[str]:
    """Return ``name==version`` for each requirement ``name>=version`` of the project and its extras."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    return sorted(f"{found[1]}=={found[2]}" for found in map(LEAST.match, wanted) if found)


if __name__ == "__main__":
    print("\n".join(oldest(Path(__file__).resolve().parents[1] / "pyproject.toml")))
