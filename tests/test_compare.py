import json
import math
import re
import sqlite3

import pytest
from click.testing import CliRunner

from convexrml.cli import main
from convexrml.compare.families import FAMILIES, Instance, get_family
from convexrml.compare.main import compare, write_report
from convexrml.compare.measure import measure
from convexrml.compare.plan import plan, roads
from convexrml.compare.rows import read_rows
from convexrml.compare.runner import Limits
from convexrml.compare.verdict import Verdict
from convexrml.errors import DataFileError, InvalidInputError, UnknownSolverError
from convexrml.ledger import Ledger
from convexrml.profiles import load_profiles

LIMITS = Limits(seconds=60.0, setup_seconds=240.0)
DROPPED = """
title = "Dropped"
cvxpy_name = "CLARABEL"
modules = ["clarabel"]
problem_classes = ["LP", "QP"]
method = "any"
licence = "any"
needs_licence = false
install = "pip install dropped"
homepage = "https://example.org"
warm_start = false
[accuracies]
fast = { tolerance = 1e-3, options = {} }
accurate = { tolerance = 1e-5, options = { tol_gap_rel = 1e-10 } }
"""


def measured(family, size, seed, solver, accuracy="accurate"):
    instance = Instance(family, size, seed)
    key = {"family": family, "size": size, "seed": seed, "solver": solver, "accuracy": accuracy}
    return measure(key, {"plan": get_family(family).plan(instance)}, lambda: None)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_instances_are_determined_by_their_names(family):
    instance = Instance(family, FAMILIES[family].smallest, 1)
    first, second = (FAMILIES[family].plan(instance) for _ in range(2))
    assert first == second
    assert first["data"] != FAMILIES[family].plan(Instance(family, instance.size, 2))["data"]
    if "lower" in first:
        assert 0 < first["lower"] <= first["upper"] <= first["lower"] * (1 + 1e-8)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("family", "solver"),
    [
        ("perturbation-qp", "clarabel"),
        ("perturbation-qp", "search"),
        ("perturbation-lp", "highs"),
        ("perturbation-lp", "search"),
        ("knn-miqp", "search"),
        ("robust-hinge", "clarabel"),
        ("max-min", "clarabel"),
    ],
)
def test_a_row_agrees_with_the_certified_optimum(family, solver, seed):
    size = FAMILIES[family].smallest
    row = measured(family, size, seed, solver)
    assert row["outcome"] == "answered"
    known = FAMILIES[family].plan(Instance(family, size, seed))
    lower, upper = (known[end] for end in ("lower", "upper")) if "lower" in known else row["proved"]
    assert lower * (1 - 1e-6) <= row["value"] <= upper * (1 + 1e-6)
    assert row["seconds"] == pytest.approx(
        row["compile_seconds"] + row["solve_seconds"], rel=1e-4
    )  # five digits are kept
    assert row["peak_memory"] >= row["base_memory"] > 0
    json.dumps(row)


@pytest.mark.parametrize("solver", ["clarabel", "daqp", "osqp", "piqp"])
def test_a_solver_called_with_arrays_gives_the_answer_that_it_gives_through_cvxpy(solver):
    pytest.importorskip("qpsolvers")
    through, direct = (measured("perturbation-qp", 30, 1, name) for name in (solver, f"qpsolvers:{solver}"))
    assert direct["claimed"] == "OPTIMAL"
    assert direct["value"] == pytest.approx(through["value"], rel=1e-7)
    assert abs(direct["gap"]) < 1e-7


def test_a_solver_that_cannot_be_asked_is_a_row_that_says_so(tmp_path):
    text = DROPPED.replace('["clarabel"]', '["no_such_module"]')
    (tmp_path / "absent.toml").write_text(text, encoding="utf-8")
    key = {"family": "perturbation-qp", "size": 30, "seed": 0, "solver": "absent", "accuracy": "fast"}
    known = FAMILIES["perturbation-qp"].plan(Instance("perturbation-qp", 30, 0))
    row = measure(key, {"plan": known, "profiles": str(tmp_path)}, lambda: None)
    assert row["outcome"] == "missing solver" and "pip install dropped" in row["message"]


def test_mosek_without_a_licence_is_a_row_that_says_so():
    pytest.importorskip("mosek")
    row = measured("perturbation-qp", 30, 0, "mosek")
    if row["outcome"] == "answered":
        pytest.skip("a licence is there")
    assert row["outcome"] == "no licence" and "academic-licenses" in row["message"]


def test_which_roads_lead_where():
    assert roads("perturbation-lp", None)[0] == "search"
    assert "osqp" not in roads("perturbation-lp", None)
    assert set(roads("knn-miqp", None)) == {"search", "gurobi", "mosek", "scip"}
    assert roads("robust-hinge", ["search", "scs", "daqp"]) == ["scs"]
    with pytest.raises(UnknownSolverError):
        roads("perturbation-qp", ["clarabell"])


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A run with a dropped profile, a wrong answer and a crash in it."""
    folder = tmp_path_factory.mktemp("compare")
    (folder / "profiles").mkdir()
    (folder / "profiles" / "dropped.toml").write_text(DROPPED, encoding="utf-8")
    file = folder / "results.db"
    compare(
        file,
        ["perturbation-qp"],
        sizes=[30, 40, 60],
        seeds=[0],
        solvers=["search", "osqp", "dropped", "mosek"],
        accuracies=["fast"],
        limits=LIMITS,
        profiles=folder / "profiles",
        command="convexrml compare --these <options>",
    )
    with Ledger(file) as ledger:
        keys = [task for task in ledger.tasks() if task.key["solver"] == "osqp"]
        with sqlite3.connect(file) as db:
            wrong = dict(keys[0].result, value=keys[0].result["value"] * 1.01)
            db.execute("UPDATE task SET result = ? WHERE id = ?", (json.dumps(wrong), keys[0].id))
            db.execute("UPDATE task SET status = 'crashed', result = '{}' WHERE id = ?", (keys[1].id,))
    return file


def test_adding_a_solver_is_dropping_a_file_into_a_folder(results):
    with Ledger(results) as ledger:
        rows = [row for row in read_rows(ledger) if row.solver == "dropped"]
    assert len(rows) == 3 and all(row.success for row in rows)
    assert "dropped" not in load_profiles()


def test_running_again_runs_nothing_again(results, tmp_path):
    with Ledger(results) as ledger:
        before = [(task.key, task.finished) for task in ledger.tasks()]
        added = plan(ledger, ["perturbation-qp"], sizes=[30, 40, 60], seeds=[0], solvers=["search", "osqp"],
                     accuracies=["fast"])  # fmt: skip
        assert added == 0
        assert [(task.key, task.finished) for task in ledger.tasks()] == before


def test_a_wrong_optimum_is_shown_and_a_crash_is_a_row(results):
    with Ledger(results) as ledger:
        verdicts = [(row.verdict, row.outcome) for row in read_rows(ledger) if row.solver == "osqp"]
    assert (Verdict.WRONG_OPTIMAL, "answered") in verdicts
    assert (Verdict.NOTHING, "crashed") in verdicts
    assert (Verdict.SUCCESS, "answered") in verdicts


def test_the_report_says_it_all_in_two_formats(results, tmp_path):
    markdown, page, *figures = write_report(results, tmp_path / "page")
    assert [figure.name for figure in figures] == [
        "perturbation-qp-fast-profile.png",
        "perturbation-qp-fast-growth.png",
    ]
    text, html = markdown.read_text(encoding="utf-8"), page.read_text(encoding="utf-8")
    assert "Claims that are wrong" in text and "perturbation-qp-30-0" in text
    line = next(line for line in text.splitlines() if line.startswith("| osqp | 33%"))
    assert "| 50% | 1 |" in line and "1 crashed" in line
    assert re.search(r"\| mosek \|.*\[no licence\] \|", text) or "| mosek | 100% |" in text
    assert "[crashed]" in text and "wrong optimal" in text
    assert "convexrml compare --these &lt;options&gt;" in html
    assert html.count("data:image/png;base64,") == 2
    assert not re.search(r"<script|https?://(?!www\.mosek\.com)|src=\"(?!data:)", html)
    assert html.count("<details>") == html.count("</details>") == 4  # growth, and three instances
    assert re.search(r'class="[^"]*wrong">wrong optimal', html)


def test_reports_on_what_is_not_there(tmp_path):
    with pytest.raises(DataFileError, match="no such file"):
        write_report(tmp_path / "none.db", tmp_path)
    with Ledger(tmp_path / "other.db") as ledger:
        with pytest.raises(DataFileError, match="no solve is finished"):
            write_report(tmp_path / "other.db", tmp_path)
        ledger.add([({"point": 3}, {})])
        ledger.finish(ledger.claim(), "done", {})
    with pytest.raises(DataFileError, match="something else than a comparison"):
        write_report(tmp_path / "other.db", tmp_path)


def test_arguments_that_cannot_be_used(tmp_path):
    with pytest.raises(InvalidInputError, match=r"^family: .*'qp'"):
        compare(tmp_path / "r.db", ["qp"])
    with pytest.raises(InvalidInputError, match="^solvers: none of them takes knn-miqp"):
        compare(tmp_path / "r.db", ["knn-miqp"], solvers=["osqp"])


def test_from_the_command_line(tmp_path):
    line = "compare --family perturbation-lp --sizes 30 --seeds 1 --solvers highs,search --accuracy fast --quiet"
    ended = CliRunner().invoke(main, [*line.split(), "--out", f"{tmp_path}/r.db", "--page", f"{tmp_path}/page"])
    assert ended.exit_code == 0, ended.output
    assert {path.name for path in (tmp_path / "page").iterdir()} >= {"report.md", "report.html"}
    with Ledger(tmp_path / "r.db") as ledger:
        assert [row.success for row in read_rows(ledger)] == [True, True]
        assert ledger.facts["command"].startswith("convexrml compare --family perturbation-lp")
    ended = CliRunner().invoke(main, ["compare", "--report", f"{tmp_path}/none.db"])
    assert ended.exit_code == 2 and "no such file; name one" in ended.output
    ended = CliRunner().invoke(main, ["compare", "--family", "qp", "--out", f"{tmp_path}/r.db"])
    assert ended.exit_code == 2 and "unknown name 'qp'" in ended.output


def test_infinite_and_missing_numbers_survive_the_ledger(tmp_path):
    with Ledger(tmp_path / "r.db") as ledger:
        ledger.add([({"a": 1}, {"plan": {"upper": math.inf}})])
        assert ledger.tasks()[0].payload["plan"]["upper"] == math.inf
