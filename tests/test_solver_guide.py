"""The shipped results and the page that is made from them."""

import gzip
from pathlib import Path

import pytest

from convexrml.compare.families import FAMILIES
from convexrml.compare.rows import read_rows
from convexrml.ledger import Ledger

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "compare-small.db.gz"


@pytest.fixture
def results(tmp_path):
    path = tmp_path / "results.db"
    path.write_bytes(gzip.decompress(RESULTS.read_bytes()))
    return path


def test_the_shipped_results_are_small_whole_and_from_nowhere(results):
    content = results.read_bytes()
    assert RESULTS.stat().st_size < 500_000
    for trace in (b"/work/", b"/root/", b"/tmp/", b"/home/"):
        assert trace not in content
    assert {path.name for path in RESULTS.parent.iterdir()} == {RESULTS.name}
    with Ledger(results) as ledger:
        assert not {"open", "running"} & set(ledger.counts())
        assert {row.family for row in read_rows(ledger)} == set(FAMILIES)


def test_the_page_is_what_the_results_say(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from solver_comparison import write_guide

    written = write_guide(RESULTS, tmp_path / "docs")
    assert written[0].read_text(encoding="utf-8") == (ROOT / "docs" / "solvers.md").read_text(encoding="utf-8")
    for path in written[1:]:
        assert (ROOT / "docs" / path.relative_to(tmp_path / "docs")).is_file()
