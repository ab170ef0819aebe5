"""Every example runs on its own, is short, and ends in the table or the picture that its text speaks of.

What a reader is told to see is asserted here, of the lines that the example prints: see CHECKS.
"""

import ast
import contextlib
import io
import os
import re
import runpy
import tempfile
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "examples"
EXAMPLES = sorted(FOLDER.glob("*.py"))
NEEDS = {"dask_run": "distributed", "study_with_pandas": "pandas"}
COLUMNS = 90  # of a printed table, in the gallery


def run(name):
    """What an example prints, line by line, and the files that it leaves in an empty folder."""
    printed = io.StringIO()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), contextlib.redirect_stdout(printed):
        runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
        files = {entry.name: Path(entry.path).read_bytes() for entry in os.scandir(folder)}
    return printed.getvalue().splitlines(), files


def table(lines, columns):
    """The rows of a printed table as lists of numbers: the lines that end in that many of them, after a name or not."""
    number = r"(-?\d[\d.]*(?:e[+-]\d+)?|inf)%?"
    row = re.compile(r"(?:^|\S*[^\W\d]\S*)\s+" + r"\s+".join([number] * columns) + r"$")
    found = (row.search(line) for line in lines)
    return [[float(value) for value in match.groups()] for match in found if match]


def certify_digits(lines):
    certified, exact, attack = table(lines, 5)
    assert exact[0] == certified[0] == attack[0]  # clean error
    assert all(c >= e >= a for c, e, a in zip(certified, exact, attack, strict=True))
    assert certified > exact > attack


def certify_a_pipeline(lines):
    rows = table(lines, 4)
    assert len(rows) == 5
    assert all(certified <= exact <= attack for _, certified, exact, attack in rows)


def exact_versus_bound(lines):
    rows = table(lines, 5)
    assert [row[0] for row in rows] == [1, 3, 5]
    assert all(least <= mean <= 1 <= attack <= largest for _, least, mean, attack, largest in rows)
    assert rows[0][2] > rows[1][2] > rows[2][2]


def norms_and_boxes(lines):
    rows = table(lines, 3)
    assert all(certified <= free <= boxed for certified, free, boxed in rows)
    assert rows[0] > rows[1] > rows[2]


def five_neighbours(lines):
    lines = [line.split() for line in lines[1:]]
    assert [line[:2] for line in lines[::4]] == [["majority", "0"], ["plurality", "0"]]
    for at in (0, 4):
        known, lower, upper = zip(
            *[(float(a[:-1]), float(b), float(c)) for *_, a, b, c in lines[at : at + 4]], strict=True
        )
        assert list(known) == sorted(known) and known[-1] == 100
        assert list(lower) == sorted(lower) and list(upper) == sorted(upper, reverse=True)
        assert lower[-1] == upper[-1]
    assert float(lines[7][-1]) > float(lines[3][-1])


def hard_point(lines):
    rows = [line.split() for line in lines[1:]]
    lower, upper = ([float(row[at]) for row in rows] for at in (2, 3))
    assert lower == sorted(lower) and upper == sorted(upper, reverse=True)
    assert [row[-1] for row in rows] == ["NODE_LIMIT"] * (len(rows) - 1) + ["EXACT"]
    assert len(rows) >= 10


def retrieval_radius(lines):
    retrieval, label = table(lines, 3)
    assert all(one <= other for one, other in zip(retrieval, label, strict=True))


def learn_a_metric(lines):
    euclidean, *learned = table(lines, 4)
    assert len(learned) == 2
    assert all(sum(row[1:]) < sum(euclidean[1:]) for row in learned)


def check_a_certificate(lines):
    claimed = float(re.search(r"r = ([\d.]+)", lines[0])[1])
    reaches = [float(line.split()[1]) for line in lines[2:7]]
    assert reaches == sorted(reaches)
    assert reaches[0] == pytest.approx(claimed, abs=1e-6)  # as printed
    assert lines[-2].endswith("accepted")
    assert "does not reach as far as claimed" in lines[-1]


def compare_three_solvers(lines):
    rows = [line.split() for line in lines[2:]]
    assert [row[0] for row in rows[::2]] == ["clarabel", "daqp", "scs"]
    assert {row[2] for row in rows} == {"optimal"}
    assert all(0 <= float(row[4]) < 1e-7 for row in rows)
    assert float(rows[4][3]) > 0  # what the text says of SCS


def bring_your_own_bound(lines):
    violated = {line.split()[0]: int(line.split()[3]) for line in lines[1:]}
    assert violated.pop("half_the_way") > 0
    assert violated == {"certified_radius": 0, "half_the_difference": 0}


def a_constraint_of_your_own(lines):
    rows = table(lines, 5)
    assert [row[0] for row in rows] == [8, 15]
    assert all(1.05 * free < in_blocks for _, free, in_blocks, _, _ in rows)


def robust_metric_by_hand(lines):
    bound = float(re.search(r"below ([\d.]+)", lines[0])[1])
    free, *constrained = table(lines, 4)
    assert free[0] == pytest.approx(bound, abs=2e-5)  # as printed, and as accurate as cvxpy asks of Clarabel
    assert len(constrained) == 3
    assert all(hinge > free[0] for hinge, *_ in constrained)


def no_better_metric(lines):
    rows = table(lines, 7)
    assert [row[0] for row in rows] == [0, 0.1, 0.2, 0.3, 0.4]
    assert all(proven <= found < euclidean and gap < 1e-4 for _, euclidean, found, proven, gap, _, _ in rows)


def study_with_pandas(lines):
    assert lines[0] == "Everything is done."
    radii, accepted = (int(number) for number in re.findall(r"\d+", lines[1]))
    assert radii == 2 * accepted > 0  # half of the radii are of one neighbour, and all of these have certificates
    rows = table(lines[2:], 3)
    assert len(rows) == 8
    assert all(0 <= clean < 0.1 < median and 0.8 < share <= 1 for clean, median, share in rows)


def dask_run(lines):
    assert lines[-1] == "same bits: True"


CHECKS = {
    check.__name__: check
    for check in (
        a_constraint_of_your_own,
        bring_your_own_bound,
        certify_a_pipeline,
        certify_digits,
        check_a_certificate,
        compare_three_solvers,
        dask_run,
        exact_versus_bound,
        five_neighbours,
        hard_point,
        learn_a_metric,
        no_better_metric,
        norms_and_boxes,
        retrieval_radius,
        robust_metric_by_hand,
        study_with_pandas,
    )
}


@pytest.mark.parametrize("name", [path.stem for path in EXAMPLES])
def test_an_example_shows_what_it_says(name):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    lines, files = run(name)
    assert max(map(len, lines)) <= COLUMNS
    assert set(files) <= {f"{name}.png"}
    for content in files.values():
        assert content.startswith(b"\x89PNG") and len(content) > 5000
    assert files or len(lines) >= 3
    CHECKS[name](lines)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_has_a_title_and_says_what_to_see(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 80
    tree = ast.parse(text)
    title, rule = ast.get_docstring(tree).splitlines()[:2]
    assert set(rule) == {"="} and len(rule) >= len(title)
    assert [node.name for node in tree.body if isinstance(node, ast.FunctionDef)][-1] == "main"
    after = text.split('if __name__ == "__main__":')[1]
    assert "# %%\n# " in after, "the last cell says what to see"


def test_every_example_is_in_the_index():
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert {path.name for path in EXAMPLES} == set(re.findall(r"^\| \[(\w+\.py)\]", index, re.MULTILINE))
