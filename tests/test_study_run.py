"""Studies: what a plan may say, that runs survive being killed, and that reports say what was found."""

import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import joblib
import numpy as np
import pytest
from click.testing import CliRunner

import convexrml
from convexrml.cli import main
from convexrml.errors import DataFileError
from convexrml.ledger import Ledger, text_of
from convexrml.study.outcome import read_outcome
from convexrml.study.page import judgement, write_report
from convexrml.study.plan import read_plan
from convexrml.study.runner import read_standing, run_study
from convexrml.study.tasks import Case, cases
from convexrml.study.workshop import read_data

PLAN = """
format = 1
title = "Two blobs"
seeds = [0, 1]
chunk = 4

[[data]]
name = "blobs"
train = "blobs.npz"
test_points = 10

[[metric]]
name = "Euclidean"

[[metric]]
name = "given"
file = "{data}-metric.npy"

[[question]]
roads = ["certified", "exact", "attack"]
certificates = true

[[question]]
n_neighbors = 3
vote = "majority"
roads = ["exact"]
"""


@pytest.fixture
def plan(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    np.savez(tmp_path / "blobs.npz", X=X, y=(X[:, 0] + 0.3 * rng.normal(size=60) > 0).astype(int))
    np.save(tmp_path / "blobs-metric.npy", np.diag([2.0, 1.0, 0.5]))
    path = tmp_path / "study.toml"
    path.write_text(PLAN)
    return path


def _rows(path, results):
    return sorted(json.dumps(record) for record in read_outcome(path, results).records())


def test_a_study_finds_what_the_library_finds(plan, tmp_path):
    told = []
    standing = run_study(plan, tmp_path / "s.db", progress=lambda *state: told.append(state))
    assert standing.sentence == "Everything is done." and not standing.failed and not standing.mended
    assert told[-1][1] == told[-1][2] and ("data sets", 0, 2) in told
    outcome = read_outcome(plan, tmp_path / "s.db")
    assert len(outcome.cells) == 8 and judgement(outcome).startswith("No lower bound exceeds")
    for cell in outcome.cells:
        data = read_data(cell.case.data, cell.case.seed, cell.case.folder)
        metric = None if cell.case.metric.name == "Euclidean" else np.diag([2.0, 1.0, 0.5])
        model = convexrml.NearestNeighbors(cell.question.n_neighbors, metric).fit(data.X_train, data.y_train)
        exact = convexrml.exact_radius(model, data.X_test, data.y_test, vote=cell.question.vote)
        np.testing.assert_array_equal(cell.exact_lower, exact.lower)  # the same computation, written down and read
        np.testing.assert_array_equal(cell.exact_upper, exact.upper)
        assert cell.clean_error == np.mean(model.predict(data.X_test) != data.y_test)
        assert list(cell.accepted) == [True if cell.question.certificates else None] * 10
        assert np.isnan(cell.attack).all() == (cell.question.n_neighbors == 3)
    seeds = [cell.labels.tolist() for cell in outcome.of("blobs", outcome.plan.questions[0], "given")]
    assert seeds[0] != seeds[1]  # without test points, a seed splits anew


def test_running_again_does_nothing_new_and_a_longer_plan_only_what_is_new(plan, tmp_path):
    run_study(plan, tmp_path / "s.db")
    with Ledger(tmp_path / "s.db") as ledger:
        finished = {task.id: task.finished for task in ledger.tasks()}
    plan.write_text(PLAN + '\n[[question]]\nnorm = "inf"\nroads = ["exact"]\n')
    assert "Not done" in read_standing(plan, tmp_path / "s.db").sentence
    run_study(plan, tmp_path / "s.db")
    with Ledger(tmp_path / "s.db") as ledger:
        tasks = ledger.tasks()
        assert {task.id: task.finished for task in tasks if task.id in finished} == finished
        assert {task.key["question"]["norm"] for task in tasks if task.id not in finished} == {"inf"}
        assert len(ledger.facts["runs"]) == 2 and ledger.facts["runs"][0]["versions"]["convexrml"]


def _killed_and_resumed(plan, tmp_path, kills):
    run_study(plan, tmp_path / "whole.db")
    command = [sys.executable, "-m", "convexrml", "study", "run", str(plan), "--results", str(tmp_path / "torn.db")]
    rng, killed = random.Random(0), 0
    for _ in range(kills):
        worker = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.8, 2.5))
        killed += worker.poll() is None
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    done = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Everything is done." in done
    assert _rows(plan, tmp_path / "torn.db") == _rows(plan, tmp_path / "whole.db")
    return killed


def test_killed_and_resumed_twice_gives_the_same_table(plan, tmp_path):
    plan.write_text(PLAN.replace("chunk = 4", "chunk = 1"))
    assert _killed_and_resumed(plan, tmp_path, 2) > 0


@pytest.mark.slow
def test_killed_and_resumed_twenty_times_gives_the_same_table(plan, tmp_path):
    plan.write_text(PLAN.replace("chunk = 4", "chunk = 1").replace("[0, 1]", "[0, 1, 2, 3, 4, 5, 6, 7]"))
    assert _killed_and_resumed(plan, tmp_path, 20) > 5


def test_two_processes_share_a_study(plan, tmp_path):
    plan.write_text(PLAN.replace("chunk = 4", "chunk = 1"))
    command = [sys.executable, "-m", "convexrml", "study", "run", str(plan), "--results", str(tmp_path / "s.db")]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert all("Everything is done." in worker.communicate(timeout=300)[0] for worker in workers)
    run_study(plan, tmp_path / "alone.db")
    assert _rows(plan, tmp_path / "s.db") == _rows(plan, tmp_path / "alone.db")


def test_a_damaged_result_is_named_and_computed_anew(plan, tmp_path):
    results = tmp_path / "s.db"
    run_study(plan, results)
    rows = _rows(plan, results)
    with sqlite3.connect(results) as db:
        db.execute("UPDATE task SET result = substr(result, 1, 9) WHERE id = 5")
    with pytest.raises(DataFileError, match="task 5 of the results is damaged"):
        read_outcome(plan, results)
    assert run_study(plan, results).mended == 1
    assert _rows(plan, results) == rows


def test_a_full_disk_loses_nothing(plan, tmp_path, monkeypatch):
    results = tmp_path / "s.db"
    prepare = Ledger._prepare

    def small(ledger):
        prepare(ledger)
        ledger._db.execute("PRAGMA max_page_count = 14")  # SQLite's own way to be out of space

    monkeypatch.setattr(Ledger, "_prepare", small)
    with pytest.raises(DataFileError, match=r"s.db: cannot be used .*\(database or disk is full\); make room"):
        run_study(plan, results)
    monkeypatch.undo()
    before = read_standing(plan, results)
    assert 0 < before.counts["data sets"][0]
    run_study(plan, results)
    run_study(plan, tmp_path / "alone.db")
    assert _rows(plan, results) == _rows(plan, tmp_path / "alone.db")


def test_what_cannot_be_used_is_said(plan, tmp_path):
    results = tmp_path / "s.db"
    with pytest.raises(DataFileError, match="no such file; run the study first"):
        read_standing(plan, results)
    with pytest.raises(DataFileError, match="unable to open database file.*see that its folder is there"):
        run_study(plan, tmp_path / "no such folder" / "s.db")
    run_study(plan, results)
    with sqlite3.connect(results) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(DataFileError, match="newer"):
        run_study(plan, results)
    plan.write_text(PLAN.replace("format = 1", "format = 2"))
    with pytest.raises(DataFileError, match="format 2 is not known"):
        read_plan(plan)


def test_data_that_change_under_a_study_end_it(plan, tmp_path):
    run_study(plan, tmp_path / "s.db")
    plan.write_text(PLAN.replace("n_neighbors = 3", "n_neighbors = 5"))
    X = np.random.default_rng(1).normal(size=(60, 3))
    np.savez(tmp_path / "blobs.npz", X=X, y=np.arange(60) % 2)
    read_data.cache_clear()
    with pytest.raises(DataFileError, match="changed since the study began"):
        run_study(plan, tmp_path / "s.db")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('title = "Two blobs"', "", "title: missing key"),
        ("chunk = 4", "chunks = 4", "unknown key; did you mean 'chunk'"),
        ("chunk = 4", "chunk = 0", "at least 1"),
        ("n_neighbors = 3", "n_neighbors = 4", "odd number"),
        ('vote = "majority"', 'vote = "most"', "vote"),
        ('name = "given"', 'name = "Euclidean"', "two have the same name"),
        ('name = "given"', 'name = "given"\nmethod = "arml"', "not both"),
        ("certificates = true", "box = [1, 0]", "lower exceeds upper"),
        ('n_neighbors = 3', 'n_neighbors = 3\nnorm = "1"', "norm 2 only"),
        ('"attack"', '"guess"', "expected one of certified, exact, attack"),
    ],
)  # fmt: skip
def test_a_plan_that_does_not_make_sense_is_refused(plan, old, new, message):
    assert old in PLAN
    plan.write_text(PLAN.replace(old, new))
    with pytest.raises(DataFileError, match=message):
        read_plan(plan)


def test_what_goes_wrong_with_one_metric_is_told_and_the_rest_is_done(plan, tmp_path):
    plan.write_text(PLAN.replace('file = "{data}-metric.npy"', 'method = "arml"\nparameters = { nonsense = 1 }'))
    standing = run_study(plan, tmp_path / "s.db")
    assert len(standing.failed) == 2 and "nonsense" in standing.failed[0]
    assert standing.counts["exact radii, 1-NN, ℓ2"] == (20, 20)
    shown = CliRunner().invoke(main, ["study", "status", str(plan), "--results", str(tmp_path / "s.db")])
    assert "Failed: learning arml on blobs" in shown.output and shown.exit_code == 0


def test_the_report_has_everything_in_it(plan, tmp_path):
    run_study(plan, tmp_path / "s.db")
    ran = CliRunner().invoke(
        main, ["study", "report", str(plan), "--results", str(tmp_path / "s.db"), "--out", str(tmp_path / "report")]
    )
    assert ran.exit_code == 0, ran.output
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "<img" in page and "convexrml 0" in page
    assert not re.search(r'<script|<link|(src|href)="(?!data:|#)', page)  # nothing from elsewhere
    text = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert text.count("| blobs |") == 5 and "40 certificates were accepted" in text  # two tables of two, and the data
    assert "majority" in (tmp_path / "report" / "tables.tex").read_text(encoding="utf-8")
    assert len((tmp_path / "report" / "points.csv").read_text(encoding="utf-8").splitlines()) == 81
    assert len(list((tmp_path / "report").glob("*.png"))) == 7


def test_the_fragile_points_are_shown_with_the_shortest_perturbations(plan, tmp_path):
    run_study(plan, tmp_path / "s.db")
    for cell in read_outcome(plan, tmp_path / "s.db").cells:
        for point in cell.fragile:
            assert np.linalg.norm(point["delta"]) == pytest.approx(point["upper"], rel=1e-9)


def test_a_contradiction_is_shouted(plan, tmp_path):
    results = tmp_path / "s.db"
    run_study(plan, results)
    with Ledger(results) as ledger:
        task = next(task for task in ledger.tasks() if task.key.get("road") == "certified")
        wrong = json.dumps({"lower": [1e3] * len(task.result["lower"])})
    with sqlite3.connect(results) as db:
        db.execute("UPDATE task SET result = ? WHERE id = ?", (wrong, task.id))
    outcome = read_outcome(plan, results)
    assert judgement(outcome).startswith("VIOLATED: 4 points")
    write_report(outcome, tmp_path / "report", "")
    assert 'class="alarm"' in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")


def test_the_frame_has_a_row_for_each_point(plan, tmp_path):
    pandas = pytest.importorskip("pandas")
    run_study(plan, tmp_path / "s.db")
    frame = read_outcome(plan, tmp_path / "s.db").to_frame()
    assert isinstance(frame, pandas.DataFrame) and len(frame) == 80
    assert (frame.exact_lower <= frame.exact_upper).all()


def test_a_learned_case_and_its_data_have_keys_of_their_own(plan):
    read = read_plan(plan)
    euclidean, given = (Case(read.data[0], metric, 0, read.folder) for metric in read.metrics)
    keys = [case.radii_key(read.questions[0], "exact", 0, 4) for case in (euclidean, given)]
    assert euclidean.data_key == given.data_key and keys[0]["metric"] != keys[1]["metric"]
    assert os.fspath(given.metric_file).endswith("blobs-metric.npy")


def test_what_is_learned_does_not_depend_on_the_test_points_asked_about(plan):
    """So that the two studies of the paper's data sets share what they learn."""
    examples = Path(__file__).parents[1] / "examples"
    plans = [read_plan(examples / name) for name in ("paper_tables.toml", "paper_all_points.toml")]
    learned = [{text_of(case.learn_key) for case in cases(one) if case.learn_key} for one in plans]
    asked = [{text_of(case.radii_key(one.questions[0], "exact", 0, 9)) for case in cases(one)} for one in plans]
    assert learned[0] == learned[1] and len(learned[0]) == 8
    assert asked[0].isdisjoint(asked[1])


def test_two_studies_share_what_is_learned_and_report_on_themselves(plan, tmp_path):
    """One of three test points, one of all that there are."""
    learned = PLAN.replace('file = "{data}-metric.npy"', 'method = "arml"\nparameters = { n_epochs = 2 }')
    plan.write_text(learned)
    run_study(plan, tmp_path / "s.db")
    other = tmp_path / "other.toml"
    other.write_text(learned.replace("test_points = 10", "").replace("Two blobs", "All of two blobs"))
    run_study(other, tmp_path / "s.db")
    with Ledger(tmp_path / "s.db") as ledger:
        assert sum(task.key["do"] == "learn" for task in ledger.tasks()) == 2  # one for each seed
    outcome = read_outcome(plan, tmp_path / "s.db")
    assert [len(cell.labels) for cell in outcome.cells] == [10] * 8 and outcome.facts["plan"] == learned
    assert {len(cell.labels) for cell in read_outcome(other, tmp_path / "s.db").cells} == {18}


def test_how_far_a_study_is_takes_no_second_look_at_what_a_data_set_holds(plan, tmp_path, monkeypatch):
    run_study(plan, tmp_path / "s.db")
    looked = []
    result_of = Ledger.result_of
    monkeypatch.setattr(Ledger, "result_of", lambda ledger, key: looked.append(key) or result_of(ledger, key))
    assert read_standing(plan, tmp_path / "s.db").sentence == "Everything is done."
    assert [key["do"] for key in looked] == ["data", "data"]  # one for each seed, whatever the metrics and questions


def test_processes_take_a_chunk_each(plan, tmp_path):
    """What `joblib.parallel_config` asks for is done: here, worker processes of this machine."""
    run_study(plan, tmp_path / "alone.db")
    with joblib.parallel_config(backend="loky", n_jobs=2):
        assert run_study(plan, tmp_path / "s.db").sentence == "Everything is done."
    assert _rows(plan, tmp_path / "s.db") == _rows(plan, tmp_path / "alone.db")
