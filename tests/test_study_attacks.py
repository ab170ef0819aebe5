"""Attacks of other people's tools as roads of a study."""

import importlib.metadata
import json
import math
import sys

import numpy as np
import pytest
from click.testing import CliRunner

import convexrml
from convexrml.cli import main
from convexrml.errors import DataFileError, InvalidInputError, ToolMissingError
from convexrml.ledger import Ledger
from convexrml.study.outcome import read_outcome
from convexrml.study.page import judgement, write_report
from convexrml.study.plan import read_plan
from convexrml.study.runner import run_study
from convexrml.study.workshop import read_data

PLAN = """
format = 1
title = "Attacked by others"
seeds = [0, 1]
chunk = 4

[[data]]
name = "blobs"
train = "train.npz"
test = "test.npz"
scale = "none"

[[metric]]
name = "Euclidean"

[[attack]]
name = "boundary"
tool = "foolbox"
attack = "BoundaryAttack"
options = { steps = 30 }

[[attack]]
name = "jumps"
tool = "art"
options = { max_iter = 2, max_eval = 100, init_eval = 10 }
seed = 7

[[question]]
roads = ["certified", "exact", "attack", "attack:boundary", "attack:jumps"]

[[question]]
n_neighbors = 3
roads = ["exact"]
"""


@pytest.fixture
def plan(tmp_path):
    pytest.importorskip("foolbox")
    pytest.importorskip("art")
    rng = np.random.default_rng(0)
    for name, n in (("train", 40), ("test", 8)):
        X = rng.normal(size=(n, 3))
        np.savez(tmp_path / f"{name}.npz", X=X, y=(X[:, 0] + 0.3 * rng.normal(size=n) > 0).astype(int))
    path = tmp_path / "study.toml"
    path.write_text(PLAN)
    return path


def test_a_study_finds_what_the_tools_find(plan, tmp_path):
    standing = run_study(plan, tmp_path / "s.db")
    assert not standing.failed
    assert standing.counts["attack:boundary radii, 1-NN, ℓ2"] == (16, 16)
    assert standing.counts["attack:jumps radii, 1-NN, ℓ2"] == (8, 8)  # one seed for both runs
    outcome = read_outcome(plan, tmp_path / "s.db")
    assert judgement(outcome).startswith("No lower bound exceeds an upper bound, of 32 points")
    first, second = outcome.of("blobs", outcome.plan.questions[0])
    data = read_data(first.case.data, 0, first.case.folder)
    model = convexrml.NearestNeighbors().fit(data.X_train, data.y_train)
    for cell, seed in ((first, 0), (second, 1)):
        assert (cell.tools["boundary"] >= cell.exact_lower).all() and np.isfinite(cell.tools["boundary"]).all()
        for at in (slice(0, 4), slice(4, 8)):  # a chunk is one attack
            again = convexrml.tool_attack_radius(
                model, data.X_test[at], data.y_test[at], attack="BoundaryAttack", options={"steps": 30}, seed=seed
            )
            np.testing.assert_array_equal(cell.tools["boundary"][at], again.upper)
    np.testing.assert_array_equal(first.tools["jumps"], second.tools["jumps"])  # its seed is given
    assert not np.array_equal(first.tools["boundary"], second.tools["boundary"])
    assert outcome.of("blobs", outcome.plan.questions[1])[0].tools == {}
    with Ledger(tmp_path / "s.db") as ledger:
        (run,) = ledger.facts["runs"]
        assert run["versions"]["art"] == importlib.metadata.version("adversarial-robustness-toolbox")
        assert run["versions"]["foolbox"] == importlib.metadata.version("foolbox")
        attacks = [task.key["attack"] for task in ledger.tasks() if task.key.get("road") == "tool"]
    assert {(one["attack"], one["seed"]) for one in attacks} == {
        ("BoundaryAttack", 0), ("BoundaryAttack", 1), ("HopSkipJump", 7),
    }  # fmt: skip
    assert len(attacks) == 2 * 2 + 2


def test_the_report_has_a_column_and_a_curve_for_each_attack(plan, tmp_path):
    run_study(plan, tmp_path / "s.db")
    outcome = read_outcome(plan, tmp_path / "s.db")
    write_report(outcome, tmp_path / "report", "")
    text = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert "| attack, ε1 | attack, ε2 | attack, ε3 | boundary, ε1 |" in text and "| jumps, ε3 |" in text
    assert text.count("boundary, ε1") == 1  # the other question has none
    assert "foolbox" in text and "broken: empirical, by each attack" in text
    rows = (tmp_path / "report" / "points.csv").read_text(encoding="utf-8").splitlines()
    assert "attack_upper,boundary_upper,jumps_upper," in rows[0]
    by_name = [json.loads(json.dumps(record)) for record in outcome.records()]
    assert sum(math.isnan(record["boundary_upper"]) for record in by_name) == 16
    from convexrml.study.pictures import robust_error_curves

    figure = robust_error_curves(outcome.of("blobs", outcome.plan.questions[0]))
    labels = [line.get_label() for line in figure.axes[0].lines]
    assert labels == ["Euclidean", "Euclidean, attack", "Euclidean, boundary", "Euclidean, jumps"]


def test_another_name_for_an_attack_asks_for_nothing_new_and_other_settings_do(plan, tmp_path):
    run_study(plan, tmp_path / "s.db")
    with Ledger(tmp_path / "s.db") as ledger:
        before = len(ledger.tasks())
    plan.write_text(PLAN.replace("boundary", "walk"))
    assert run_study(plan, tmp_path / "s.db").sentence == "Everything is done."
    with Ledger(tmp_path / "s.db") as ledger:
        assert len(ledger.tasks()) == before
    assert np.isfinite(read_outcome(plan, tmp_path / "s.db").cells[0].tools["walk"]).all()
    plan.write_text(PLAN.replace("steps = 30", "steps = 40"))
    run_study(plan, tmp_path / "s.db")
    with Ledger(tmp_path / "s.db") as ledger:
        assert len(ledger.tasks()) == before + 4


def test_a_tool_that_contradicts_a_bound_is_shouted(plan, tmp_path, monkeypatch):
    def liar(*args, **keywords):
        found = convexrml.tool_attack_radius(*args, **keywords)
        found.upper[:] *= 0.1
        return found

    monkeypatch.setattr("convexrml.study.workshop.tool_attack_radius", liar)
    run_study(plan, tmp_path / "s.db")
    assert judgement(read_outcome(plan, tmp_path / "s.db")).startswith("VIOLATED: ")


def test_a_tool_that_is_missing_is_said_before_any_work(plan, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "art.attacks.evasion", None)
    with pytest.raises(ToolMissingError, match=r"art is not installed.*pip install 'convexrml\[attacks\]'"):
        run_study(plan, tmp_path / "s.db")
    assert not (tmp_path / "s.db").exists()
    shown = CliRunner().invoke(main, ["study", "run", str(plan), "--results", str(tmp_path / "s.db")])
    assert shown.exit_code == 2 and "art is not installed" in shown.output
    plan.write_text(PLAN.replace("BoundaryAttack", "Hammer"))
    with pytest.raises(InvalidInputError, match="has no 'Hammer'"):
        run_study(plan, tmp_path / "s.db")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"attack:jumps"]', '"attack:jump"]', "'attack:jump' needs a table"),
        (', "attack:jumps"]', "]", "no question has the road 'attack:jumps'"),
        ('name = "jumps"', 'name = "boundary"', "two have the same name"),
        ('name = "jumps"', 'name = "exact"', "the library's own"),
        ('tool = "art"', 'tool = "hammer"', "expected one of foolbox, art"),
        ('tool = "art"', "", "tool: missing key"),
        ("seed = 7", "seed = -7", "at least 0"),
        ("seed = 7", "seeds = 7", "did you mean 'seed'"),
        ("options = { steps = 30 }", "options = 30", "table of parameters"),
        ("options = { steps = 30 }", "options = { until = 2026-01-01 }", "options.until: expected"),
    ],
)
def test_a_plan_that_does_not_make_sense_is_refused(plan, old, new, message):
    assert old in PLAN
    plan.write_text(PLAN.replace(old, new))
    with pytest.raises(DataFileError, match=message):
        read_plan(plan)
