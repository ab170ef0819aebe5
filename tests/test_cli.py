"""The command line: what it prints, what it writes, and how it ends."""

import csv
import dataclasses
import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from test_study_certify import half_done

import convexrml
from convexrml.bounds import certified_radius
from convexrml.cli import main
from convexrml.errors import SearchInterrupted
from convexrml.exact import exact_radius
from convexrml.neighbors import NearestNeighbors
from convexrml.profiles import load_profiles
from convexrml.study.check import check
from convexrml.study.data import load_data
from convexrml.study.instances import load_instance

judge = importlib.import_module("convexrml.judge")
certify = importlib.import_module("convexrml.study.certify")


def run(*args, code=0, **env):
    result = CliRunner().invoke(main, [str(arg) for arg in args], env={"COLUMNS": "100", **env})
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the default output folder is relative


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(3)
    for name, n in (("train", 24), ("test", 9)):
        rows = [f"{a!r},{b!r},{'ab'[i % 2]}" for i, (a, b) in enumerate((rng.normal(size=(n, 2)) + 1).tolist())]
        (tmp_path / f"{name}.csv").write_text("u,v,kind\n" + "\n".join(rows) + "\n")
    return tmp_path / "train.csv", tmp_path / "test.csv"


@pytest.fixture
def planted(monkeypatch):
    """The certified road claims a millionth too much."""
    honest = judge.Roads

    def inflated(model, Z, y, *, norm):
        found = certified_radius(model, Z, y, norm=norm)
        return dataclasses.replace(found, lower=found.lower * (1 + 1e-6))

    for place in (judge, certify):
        monkeypatch.setattr(place, "Roads", lambda **others: honest(certified=inflated, **others))
    return monkeypatch


def number(text):
    return None if text == "" else float(text)


def test_help_and_version_load_nothing_heavy():
    code = (
        "import sys\nfrom convexrml.cli import main\n"
        "main(['certify', '--help'], standalone_mode=False)\n"
        "assert not {'numpy', 'rich', 'cvxpy', 'sklearn', 'numba', 'matplotlib'} & set(sys.modules), 'heavy'"
    )
    root = Path(__file__).resolve().parents[1]
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=root).stdout
    assert "--label-column" in shown and "convexrml certify -k 5" in shown and "overwritten" in shown
    assert "Examples:" in run("--help").output
    assert run("--version").output.strip().endswith(convexrml.__version__)


def test_certify_without_a_file_takes_the_digits(tmp_path):
    shown = run("certify", "--limit", 12, "--check", 3, "--out", tmp_path / "o").output
    assert "digits" in shown and "No violation" in shown and "\x1b" not in shown
    data = load_data().head(12)
    model = NearestNeighbors().fit(data.X_train, data.y_train)
    lower = certified_radius(model, data.X_test, data.y_test).lower
    exact = exact_radius(model, data.X_test, data.y_test)
    content = json.loads((tmp_path / "o" / "points.json").read_text(encoding="utf-8"))
    assert content["data"]["sha256"] == data.sha256() and content["data"]["limit"] == 12
    assert content["settings"]["sample"] == [0, 6, 11]
    assert (content["settings"]["exact"], content["settings"]["check"]) == (None, 3)
    assert content["settings"]["solvers"] == ["clarabel", "daqp"]
    assert content["crosscheck"]["solvers"] == ["search", "clarabel", "daqp"]
    assert content["clean_error"] == np.mean(model.predict(data.X_test) != data.y_test)
    assert content["command"].startswith("convexrml certify --limit 12")
    assert content["versions"]["convexrml"] == convexrml.__version__ and content["versions"]["clarabel"]
    assert [point["certified_radius"] for point in content["points"]] == lower.tolist()
    for entry in content["certified_robust_error"]:
        assert entry["error"] == np.mean(lower <= entry["radius"])
    assert [float(point["exact_lower"]) for point in content["points"]] == exact.lower.tolist()
    assert [float(point["exact_upper"]) for point in content["points"]] == exact.upper.tolist()
    assert [point["attack_radius"] is not None for point in content["points"]] == [i in (0, 6, 11) for i in range(12)]
    assert len(content["exact_robust_error"]) == len(content["certified_robust_error"]) == 3
    for entry, certified in zip(content["exact_robust_error"], content["certified_robust_error"], strict=True):
        radius, (least, most) = entry["radius"], entry["bounds"]
        assert radius == certified["radius"]
        assert (least, most) == (np.mean(exact.upper <= radius), np.mean(exact.lower <= radius))
        assert content["clean_error"] <= least <= most <= certified["error"]
    for path in ("points.csv", "points.json", "robust_error.png"):
        assert str(tmp_path / "o" / path) in shown
    assert (tmp_path / "o" / "robust_error.png").read_bytes().startswith(b"\x89PNG")


def test_certify_writes_what_the_library_says(files, tmp_path):
    train, test = files
    run("certify", "--data", train, "--test", test, "--norm", "inf", "--box=-1,2", "--clip", "--solvers", "daqp",
        "--exact", "all", "--check", "all", "-j", 1, "--radii", "0.1,0.2", "--out", tmp_path / "o")  # fmt: skip
    data = load_data(train, test)
    Z = np.clip(data.X_test, -1, 2)
    model = NearestNeighbors().fit(data.X_train, data.y_train)
    lower = certified_radius(model, Z, data.y_test, norm="inf").lower
    exact = exact_radius(model, Z, data.y_test, norm="inf", box=(-1, 2), method="search")
    with open(tmp_path / "o" / "points.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    points = json.loads((tmp_path / "o" / "points.json").read_text(encoding="utf-8"))["points"]
    assert len(rows) == len(points) == 9
    for i, (row, point) in enumerate(zip(rows, points, strict=True)):
        assert row["label"] == point["label"] == data.y_test[i]
        assert row["predicted"] == model.predict(Z[i : i + 1])[0]
        assert number(row["certified_radius"]) == float(point["certified_radius"]) == lower[i]
        assert number(row["exact_lower"]) == float(point["exact_lower"]) == exact.lower[i]
        assert number(row["exact_upper"]) == float(point["exact_upper"]) == exact.upper[i]
        assert row["status"] == point["status"] == exact.status[i].name
        assert number(row["attack_radius"]) >= exact.lower[i]
        if exact.negative[i] >= 0:
            assert int(row["witness_negative"]) == exact.negative[i]
            assert row["witness_label"] == data.y_train[exact.negative[i]] != row["label"]
            assert int(row["positive_multipliers"]) == (exact.multipliers[i] > 1e-6).sum() >= 1
            assert number(row["certified_over_exact"]) == lower[i] / exact.upper[i] <= 1


def test_only_what_was_asked_for_is_exact_and_attacked(files, tmp_path):
    train, test = files
    run("certify", "--data", train, "--test", test, "--exact", 5, "--check", 2, "--out", tmp_path / "o")
    with open(tmp_path / "o" / "points.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [i for i, row in enumerate(rows) if row["exact_lower"] != ""] == [0, 2, 4, 6, 8]
    assert [i for i, row in enumerate(rows) if row["attack_radius"] != ""] == [0, 8]
    assert all(row["certified_radius"] != "" for row in rows)
    content = json.loads((tmp_path / "o" / "points.json").read_text(encoding="utf-8"))
    assert (content["settings"]["exact"], content["settings"]["check"]) == (5, 2)
    data = load_data(train, test)
    exact = exact_radius(NearestNeighbors().fit(data.X_train, data.y_train), data.X_test[::2], data.y_test[::2])
    for entry in content["exact_robust_error"]:
        radius = entry["radius"]
        assert entry["bounds"] == [np.mean(exact.upper <= radius), np.mean(exact.lower <= radius)]


def test_more_neighbours_have_exact_radii_too(files, tmp_path):
    train, test = files
    shown = run("certify", "--data", train, "--test", test, "-k", 3, "--vote", "majority", "--exact", 5, "--check", 3,
                "--solvers", "search", "--out", tmp_path / "o").output  # fmt: skip
    assert "3-nearest neighbours, majority vote" in shown and "nodes" in shown and "runs into" not in shown
    assert "majority of 3" in shown and "No violation" in shown
    data = load_data(train, test)
    model = NearestNeighbors(3).fit(data.X_train, data.y_train)
    exact = exact_radius(model, data.X_test[::2], data.y_test[::2], vote="majority")
    with open(tmp_path / "o" / "points.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [number(row["exact_lower"]) for row in rows[::2]] == exact.lower.tolist()
    assert [int(row["solves"]) for row in rows[::2]] == exact.solves.tolist()
    assert {row["witness_negative"] + row["positive_multipliers"] for row in rows} == {""}
    content = json.loads((tmp_path / "o" / "points.json").read_text(encoding="utf-8"))
    assert content["settings"]["vote"] == "majority" and content["settings"]["solvers"] == []
    assert content["interrupted"] is False and content["missing"] is None
    assert all(entry["bounds"] is not None for entry in content["exact_robust_error"])
    shown = run("crosscheck", "--data", train, "--test", test, "-k", 3, "--points", 2, "--norms", 2, "--solvers",
                "search", "--node-limit", 1000, "--time-limit", 60).output  # fmt: skip
    assert "plurality of 3" in shown and "No violation" in shown


def test_limits_of_one_neighbour_are_refused(files):
    for option in ("--time-limit", "--node-limit"):
        for command in ("certify", "crosscheck"):
            assert f"Error: {option}: " in run(command, "--data", files[0], option, 1, code=2).output


def test_ctrl_c_writes_what_is_finished(files, tmp_path, monkeypatch):
    train, test = files

    def road(*arguments, **keywords):
        raise SearchInterrupted(half_done(*arguments, **keywords))

    monkeypatch.setattr(certify, "exact_radius", road)
    shown = run("certify", "--data", train, "--test", test, "--out", tmp_path / "o", code=130).output
    assert "interrupted" in shown and "known as intervals only" in shown
    with open(tmp_path / "o" / "points.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows][4:] == ["INTERRUPTED"] * 5
    assert all(row["exact_upper"] == "inf" and row["exact_lower"] == row["certified_radius"] for row in rows[4:])
    assert json.loads((tmp_path / "o" / "points.json").read_text(encoding="utf-8"))["interrupted"] is True
    assert (tmp_path / "o" / "robust_error.png").is_file()


def test_ctrl_c_during_a_cross_check(files, planted, tmp_path):
    """Comparisons made before it are shown, violations among them saved."""
    train, test = files

    def road(*arguments, norm, **keywords):
        if norm.order == 1:
            raise KeyboardInterrupt
        return exact_radius(*arguments, norm=norm, **keywords)

    with planted.context() as patch:
        inflated = judge.Roads
        patch.setattr(judge, "Roads", lambda: dataclasses.replace(inflated(), exact=road))
        options = ("crosscheck", "--data", train, "--test", test, "--norms", "2,1", "--out", tmp_path / "v")
        shown = run(*options, code=130).output
    assert "Interrupted" in shown and "VIOLATED" in shown
    assert {path.name.split("-")[1] for path in (tmp_path / "v").iterdir()} <= {"norm2", "norm1"}

    def at_once(*_, **__):
        raise KeyboardInterrupt

    planted.setattr("convexrml.study.data.load_data", at_once)
    assert "Interrupted before anything" in run("crosscheck", code=130).output


def test_metric_one_class_and_brackets_in_names(files, tmp_path):
    train, test = files
    np.save(tmp_path / "L.npy", np.array([[1.0, 0.5]]))
    run("certify", "--data", train, "--test", test, "--metric", tmp_path / "L.npy", "--check", 2, "--out", tmp_path)
    for name in ("one", "other"):
        (tmp_path / f"[bold]{name}.csv").write_text("1,2,[red]\n3,4,[red]\n")
    shown = run("certify", "--data", tmp_path / "[bold]one.csv", "--test", tmp_path / "[bold]other.csv", "--out",
                tmp_path).output  # fmt: skip
    assert "[bold]one.csv" in shown and "[red]" in shown and "unreachable" in shown
    content = json.loads((tmp_path / "points.json").read_text(encoding="utf-8"))
    assert content["points"][0]["exact_lower"] == "inf" and content["certified_robust_error"] == []


def test_quiet_and_progress(files, tmp_path):
    train, test = files
    options = ("certify", "--data", train, "--test", test, "--exact", 1, "--out", tmp_path)
    silent = run(*options, "--quiet")
    assert silent.stdout == "" and silent.stderr == ""
    asked = run(*options, "--progress")
    assert "exact radii" in asked.stderr and "cross-check" in asked.stderr and "\x1b" not in asked.stdout


def test_narrow_terminals(files, tmp_path):
    train, test = files
    shown = run("certify", "--data", train, "--test", test, "--check", 3, "--out", tmp_path, COLUMNS="50").output
    lines = [line for line in shown.splitlines() if not line.startswith("Written")]
    assert max(map(len, lines)) <= 50 and "…" not in shown


ERRORS = {
    "missing": (("--data", "nowhere.csv"), "nowhere.csv: no such file"),
    "empty": (("--data", "empty.csv"), "empty.csv: the file is empty"),
    "text": (("--data", "text.svm"), "text.svm: line 1"),
    "ragged": (("--data", "ragged.csv"), "ragged.csv: line 2 has 1 columns"),
    "nan": (("--data", "nan.csv"), "nan.csv: line 1, column 0"),
    "label": (("--data", "good.csv", "--test", "label.csv"), "label.csv: label 7"),
    "metric": (("--metric", "nowhere.npy"), "nowhere.npy: no such file"),
    "even": (("-k", "2"), "must be odd"),
    "outside": (("--box", "0,0.5", "--limit", "5"), "5 of 5 test points lie outside [0, 0.5]"),
    "box": (("--box", "1"), "needs 2 numbers"),
    "vote": (("--vote", "unanimity"), "'unanimity' is not one of"),
    "radii": (("--radii", "a"), "not a list of numbers"),
    "exact": (("--exact", "some"), "neither a positive whole number nor 'all'"),
    "check": (("--check", "0"), "neither a positive whole number nor 'all'"),
    "solver": (("--solvers", "daqp,nobody"), "no profile is named 'nobody'"),
    "solvers": (("--solvers", ","), "needs one name at least"),
    "out": (("--out", "good.csv"), "good.csv"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_one_line_and_exit_code_2(name, tmp_path):
    for file, text in {
        "empty.csv": "", "text.svm": "hello\n", "ragged.csv": "1,2\n3\n", "nan.csv": "nan,2\n1,2\n",
        "good.csv": "1,2,0\n3,4,1\n", "label.csv": "1,2,7\n",
    }.items():  # fmt: skip
        (tmp_path / file).write_text(text)
    options, message = ERRORS[name]
    shown = run("certify", *options, code=2).output
    last = shown.strip().splitlines()[-1]
    assert last.startswith("Error: ") and message in last and "Traceback" not in shown


def test_debug_shows_the_trace(tmp_path):
    result = CliRunner().invoke(main, ["certify", "--data", str(tmp_path / "none.csv"), "--debug"])
    assert isinstance(result.exception, convexrml.errors.DataFileError)


def test_crosscheck_counts(files, tmp_path):
    train, test = files
    out = tmp_path / "v"
    shown = run("crosscheck", "--data", train, "--test", test, "--points", 4, "--box=-5,5", "--out", out).output
    found = check(
        load_data(train, test).head(4), box=(-5.0, 5.0), norms=("1", "2", "inf"), solvers=("search", "clarabel", "daqp")
    ).judge
    # per point, norm and box: witness and bound of the attack, five for each exact road, six among these
    assert len(found.comparisons) == 4 * 3 * 2 * (2 + 3 * 5 + 6) and "skipped" in shown
    assert "search, clarabel, daqp" in shown
    assert [str(n) for n in (found.checked, 0, 0, found.skipped)] == shown.splitlines()[5].split()
    assert "No violation" in shown and "disagreement" in shown and not out.exists()
    for options, message in (
        (("--norms", "3"), "norm"),
        (("--solvers", "nobody"), "nobody"),
        (("--replay", train), "train.csv"),
    ):
        assert message in run("crosscheck", *options, code=2).output


def test_a_planted_fault_is_found_written_and_replayed(planted, files, tmp_path):
    train, test = files
    out = tmp_path / "a folder"
    shown = run(
        "crosscheck", "--data", train, "--test", test, "--norms", "2", "--points", 9, "--out", out, code=1
    ).output
    assert "VIOLATED" in shown
    paths = sorted(out.glob("*.npz"))
    assert paths and all(f"--replay '{path}'" in shown for path in paths)
    data = load_data(train, test)
    found = load_instance(paths[0])
    query = int(paths[0].name.removeprefix("point").split("-")[0])
    assert np.array_equal(found.query, data.X_test[query]) and found.label == data.y_test[query]
    assert np.array_equal(found.X, data.X_train) and np.array_equal(found.y, data.y_train)
    assert found.below == "certified" and found.lower > found.upper
    with np.load(paths[0], allow_pickle=False) as archive:
        assert archive["y"].dtype.kind == "U"
    assert "VIOLATED" in run("crosscheck", "--replay", paths[0], code=1).output
    planted.undo()
    assert "No violation" in run("crosscheck", "--replay", paths[0]).output


def test_certify_ends_with_the_judges_verdict(planted, files, tmp_path):
    train, test = files
    shown = run(
        "certify", "--data", train, "--test", test, "--limit", 6, "--check", 2, "--out", tmp_path, code=1
    ).output
    assert "VIOLATED" in shown and (tmp_path / "points.json").is_file()
    paths = list((tmp_path / "violations").iterdir())
    assert paths
    for path in paths:
        point = path.name.split("-")[0]
        assert point in ("point0", "point5")
        assert np.array_equal(load_instance(path).query, load_data(train, test).X_test[int(point[5:])])


def test_solvers():
    profiles = load_profiles()
    shown = run("solvers").output
    assert all(name in shown for name in profiles)
    assert profiles["clarabel"].version() in shown
    records = {record["name"]: record for record in json.loads(run("solvers", "--json").output)}
    assert list(records) == list(profiles)
    assert records["daqp"]["problem_classes"] == list(profiles["daqp"].problem_classes)
    assert records["daqp"]["version"] == profiles["daqp"].version()
    verbose = " ".join(run("solvers", "-v").output.split())
    for profile in profiles.values():
        for issue in profile.known_issues:
            assert " ".join(issue.what.split()) in verbose


def test_a_solver_that_is_not_installed(monkeypatch):
    monkeypatch.setattr("convexrml.profiles.SolverProfile.missing_modules", property(lambda self: ("absent",)))
    assert "not installed" in run("solvers").output
    assert json.loads(run("solvers", "--json").output)[0]["version"] is None
    assert "pip install" in run("certify", "--limit", 3, code=2).output
