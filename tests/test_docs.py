"""The pages of the documentation: their Python runs, their links lead somewhere, their figures can be drawn."""

import contextlib
import importlib.util
import io
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.utils import shuffle

from convexrml import MahalanobisMetric, NearestNeighbors, RadiusStatus, exact_radius

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = ("five_lines", "mathematics", "proved", "reproduce", "roads")
_BLOCK = re.compile(r"^```python\n(.*?)^```$(?:\n\n```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_MOST_BYTES = 60_000


def text_of(page: str) -> str:
    return (DOCS / f"{page}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_the_python_of_a_page_runs_and_prints_what_the_page_shows(page, tmp_path, monkeypatch):
    text = text_of(page)
    monkeypatch.chdir(tmp_path)  # some blocks write files
    names: dict[str, object] = {}
    for block in _BLOCK.finditer(text):
        above, printed = text[: block.start(1)].count("\n"), io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("\n" * above + block[1], str(DOCS / f"{page}.md"), "exec"), names)  # the page's line numbers
        assert block[2] is None or printed.getvalue() == block[2]


def test_there_is_python_to_run():
    assert len(_BLOCK.findall(text_of("five_lines"))) >= 8


def anchors(path: Path) -> set[str]:
    """The anchors that headings get, on a code forge and by myst-parser alike."""
    headings = re.findall(r"^#+ (.*)$", _BLOCK.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages_lead_somewhere(page):
    for target in _LINK.findall(text_of(page)):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        file = (DOCS / path).resolve() if path else DOCS / f"{page}.md"
        assert file.is_file(), f"{page}.md links to {target}"
        assert not anchor or anchor in anchors(file), f"{page}.md links to {target}"


def test_figures_can_be_drawn_and_are_those_in_the_tree(tmp_path):
    spec = importlib.util.spec_from_file_location("draw_figures", DOCS / "draw_figures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    drawn = module.draw_all(tmp_path)
    kept = sorted(path.name for path in (DOCS / "figures").iterdir())
    assert sorted(path.name for path in drawn) == kept
    for name in kept:
        fresh, committed = Image.open(tmp_path / name), Image.open(DOCS / "figures" / name)
        assert len(fresh.convert("RGB").getcolors(2**24)) > 4  # not blank
        assert abs(fresh.width - committed.width) <= 2 and abs(fresh.height - committed.height) <= 2
        assert os.path.getsize(DOCS / "figures" / name) < _MOST_BYTES
        assert f"figures/{name}" in "".join(map(text_of, PAGES))


def table_cells(text: str) -> list[list[str]]:
    """The rows of all tables, cell by cell."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def test_costs_are_those_of_the_readme():
    """The page of roads states, for each row of README's table, the least and greatest ratio over the data sets."""
    measured = table_cells((ROOT / "README.md").read_text(encoding="utf-8"))
    stated = {row[0]: row[1] for row in table_cells(text_of("roads")) if len(row) == 2 and row[1].endswith("×")}
    assert len(stated) >= 4
    for road, cell in stated.items():
        (row,) = (row for row in measured if row[0] == road)
        ratios = sorted((re.search(r"([\d.]+)×$", entry)[1] for entry in row[1:]), key=float)
        assert cell == f"{ratios[0]}–{ratios[-1]}×", f"README has changed: write {ratios[0]}–{ratios[-1]}× for {road}"


def test_tightness_of_the_closed_form_is_that_of_the_readme():
    measured = table_cells((ROOT / "README.md").read_text(encoding="utf-8"))
    shares: dict[str, list[str]] = {}
    for row in measured:
        if len(row) == 9 and row[1] in ("3", "11"):
            shares.setdefault(row[1], []).append(row[6].split()[0])
    expected = {k: f"{min(found)}–{max(found)}" for k, found in shares.items()}
    said = f"{expected['3']} of the exact radius at k = 3 and {expected['11']} at k = 11"
    assert said in " ".join(text_of("roads").split()), f"README has changed: write {said}"


def test_every_status_is_explained():
    for status in RadiusStatus:
        assert f"`{status.name}`" in text_of("roads") and f"`{status.name}`" in text_of("five_lines")


def test_a_vote_that_is_lost_on_ties_alone_leaves_an_interval():
    """What the page of proofs says: this vote is lost on segments, which the search does not meet at a float."""
    X, y = [[0, 1], [2, 1], [2, 1], [1, 1], [1, 1], [1, 2]], [0, 1, 0, 1, 0, 0]  # two pairs coincide
    metric = MahalanobisMetric.from_components([[1.1199478289239262, 0.6414903713208582]])
    found = exact_radius(NearestNeighbors(3, metric).fit(X, y), [[1, 1]], [0], box=(0, 2))
    assert found.status[0] is RadiusStatus.INTERVAL
    assert 0.43 < found.lower[0] < 0.44 and found.upper[0] == float("inf")


def test_the_study_of_the_paper_shuffles_as_the_published_code_does():
    n = 2175  # test points of splice
    assert np.array_equal(np.random.RandomState(42).permutation(n), shuffle(np.arange(n), random_state=42))


def test_what_is_said_of_arml_is_what_was_measured():
    """The page of the paper repeats the Euclidean row of the table against ARML."""
    (row,) = (row for row in table_cells(text_of("learned_metrics")) if row[0] == "Euclidean" and "±" in row[1])
    for cell in row[1:]:
        assert f"{cell.split()[0].removeprefix('+')} on" in " ".join(text_of("reproduce").split())
