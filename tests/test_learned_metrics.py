import dataclasses
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import bench_baselines  # noqa: E402
import bench_child  # noqa: E402
import bench_learning  # noqa: E402
import bench_learning_report  # noqa: E402
import bench_learning_rows  # noqa: E402
import bench_protocol  # noqa: E402
import learned_metrics  # noqa: E402
from bench_protocol import Plan, Problem  # noqa: E402
from click.testing import CliRunner  # noqa: E402

import convexrml  # noqa: E402


@pytest.fixture(scope="module")
def problem():
    digits = bench_protocol.load_problem("digits", Path("nowhere"), Plan(points=20))
    few = digits.y < 4
    X, y = digits.X[few][:120], digits.y[few][:120]
    known = digits.t < 4
    return Problem("digits", X, y, digits.Z[known], digits.t[known])


def spin():
    while True:
        pass


class TestChild:
    def test_value_and_time(self):
        outcome = bench_child.in_child(divmod, 7, 2, cap=60)
        assert outcome.value == (3, 1)
        assert not outcome.problem
        assert 0 <= outcome.seconds < 1

    def test_processor_time_is_capped(self):
        outcome = bench_child.in_child(spin, cap=1)
        assert outcome.value is None
        assert outcome.problem == "ended after 1 s of processor time"

    def test_errors_are_results(self):
        assert bench_child.in_child(divmod, 1, 0).problem.startswith("ZeroDivisionError")

    def test_a_process_that_vanishes(self):
        assert bench_child.in_child(os._exit, 3).problem == "the process ended with exit code 3"


class TestProtocol:
    def test_held_out_points_are_stratified_seeded_and_apart(self, problem):
        part = bench_protocol.held_out(problem, 0, 500)
        assert (len(part.X), len(part.Z)) == (84, 36)
        assert np.array_equal(np.unique(np.vstack([part.X, part.Z]), axis=0), np.unique(problem.X, axis=0))
        assert np.abs(np.bincount(part.t) / 36 - np.bincount(problem.y) / 120).max() < 0.03
        assert not np.array_equal(part.Z, bench_protocol.held_out(problem, 1, 500).Z)

    def test_criterion_is_a_mean_of_exact_robust_errors(self, problem):
        part = bench_protocol.held_out(problem, 0, 500)
        L = np.diag(np.linspace(0.5, 2, problem.X.shape[1]))
        (own, points), (other, _) = bench_protocol.criteria(part, [None, L])
        model = convexrml.NearestNeighbors().fit(part.X, part.y)
        radius = convexrml.exact_radius(model, part.Z, part.t).radius
        levels = np.median(radius) * np.array([0.5, 1, 1.5])
        assert points == len(part.Z)
        assert own == pytest.approx(np.mean([(radius <= level).mean() for level in levels]), abs=1 / len(radius))
        assert other != own

    def test_a_metric_far_behind_is_dropped_early(self, problem, monkeypatch):
        monkeypatch.setattr(bench_protocol, "_FIRST", 12)
        part = bench_protocol.held_out(problem, 0, 500)
        only_one = np.eye(problem.X.shape[1])[20:21]
        assert [points for _, points in bench_protocol.criteria(part, [None, only_one])] == [len(part.Z), 12]

    def test_radii_do_not_depend_on_the_scale_of_the_components(self, problem):
        L = np.random.default_rng(0).standard_normal((5, problem.X.shape[1]))
        assert bench_protocol.exact_radii(problem, 1e-9 * L) == pytest.approx(bench_protocol.exact_radii(problem, L))

    def test_what_is_no_metric_is_an_error(self, problem, monkeypatch):
        for wrong in (np.zeros((2, 64)), np.full((2, 64), np.nan)):
            method = bench_learning.Method("Euclidean", lambda *a, wrong=wrong: wrong, lambda d: [{}], "")
            monkeypatch.setattr(bench_protocol, "choose_methods", lambda names, method=method: [method])
            with pytest.raises(ArithmeticError, match="zero, or not finite"):
                bench_protocol.fit("Euclidean", problem.X, problem.y, 0, {})

    def test_attack_is_never_below_the_certified_radius(self, problem):
        found = bench_protocol.evaluate(problem, None)
        assert (np.array(found["attack"]) >= found["certified"]).all()
        assert found["open"] == 0
        assert len(found["exact"]) == len(problem.t)


class TestLearners:
    @pytest.mark.parametrize("method", bench_learning.METHODS, ids=lambda method: method.name)
    def test_grids_name_what_the_learner_takes(self, method, problem):
        grid = method.grid(problem.X.shape[1])
        assert len({json.dumps(settings, sort_keys=True) for settings in grid}) == len(grid) <= 8

    @pytest.mark.parametrize(
        ("learner", "settings", "shape"),
        [
            (bench_baselines.lmnn, {"n_neighbors": 1, "margin": 0.5, "max_iter": 5}, (64, 64)),
            (bench_baselines.itml, {"gamma": 0.1, "n_constraints": 20}, (64, 64)),
            (bench_baselines.lfda, {"n_components": 8, "embedding_type": "orthonormalized"}, (8, 64)),
        ],
        ids=lambda value: getattr(value, "__name__", None),
    )
    def test_metric_learn_runs_with_the_installed_scikit_learn(self, problem, learner, settings, shape):
        pytest.importorskip("metric_learn")
        L = learner(problem.X, problem.y, 0, **settings)
        assert L.shape == shape
        assert np.array_equal(L, learner(problem.X, problem.y, 0, **settings))
        assert not np.allclose(L.T @ L, np.eye(64) * (L.T @ L)[0, 0])

    def test_unknown_names_are_refused(self):
        done = CliRunner().invoke(learned_metrics.main, ["--out", "x", "--methods", "NCA,magic"])
        assert done.exit_code == 2
        assert "magic" in done.output


class TestCommand:
    @pytest.fixture
    def arguments(self, problem, tmp_path, monkeypatch):
        monkeypatch.setattr(learned_metrics, "load_problem", lambda name, folder, plan: problem)
        (nca,) = bench_learning.choose_methods(["NCA"])
        few = dataclasses.replace(nca, grid=lambda d: [{"n_components": 64, "max_iter": n} for n in (1, 3)])
        monkeypatch.setattr(bench_learning, "METHODS", (bench_learning.METHODS[0], few))
        return ["--sets", "digits", "--methods", "Euclidean,NCA", "--seeds", "0", "--out", str(tmp_path / "kept")]

    def test_measured_once_then_reported(self, arguments, tmp_path):
        done = CliRunner().invoke(learned_metrics.main, arguments)
        assert done.exit_code == 0, done.output
        page = tmp_path / "kept" / "learned_metrics.md"
        assert page.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
        figures = json.loads(page.with_suffix(".json").read_text())["sets"]["digits"]
        (euclidean,), (nca,) = figures["methods"]["Euclidean"], figures["methods"]["NCA"]
        assert len(nca["candidates"]) == 2
        assert nca["chosen"] == min(nca["candidates"], key=lambda one: one["criterion"])["settings"]
        assert 0.4 <= euclidean["nearest"][2] <= 0.6  # at the median radius
        assert "/tmp" not in page.read_text() + page.with_suffix(".json").read_text()
        again = CliRunner().invoke(learned_metrics.main, arguments)
        assert "digits, NCA" in done.output
        assert "digits, NCA" not in again.output

    def test_a_changed_plan_is_measured_again(self, problem):
        (nca,) = bench_learning.choose_methods(["nca"])
        plans = [learned_metrics.plan_of(nca, Plan(points=points), 64) for points in (10, 20)]
        assert plans[0] != plans[1]


def record(method, seed, exact, problem=""):
    evaluation = {"clean_1": 0.1, "clean_11": 0.2, "exact": exact, "certified": exact, "attack": exact, "open": 0}
    return {
        "set": "toy", "shape": [9, 2], "method": method, "seed": seed, "chosen": {"a": 1}, "fit_seconds": 2.0,
        "problem": problem, "evaluation": evaluation, "plan": {"points": 4},
        "machine": {"cpu": "c", "cores": "1", "system": "s"},
    }  # fmt: skip


class TestReport:
    def test_errors_spread_and_difference(self):
        records = [
            record("Euclidean", 0, [0.0, 1.0, 1.0, 2.0]),
            record("NCA", 0, [0.0, 3.0, 3.0, 3.0]),
            record("NCA", 1, [0.0, 0.2, 3.0, 3.0]),
            record("NCA", 2, [], "ended after 1 s of processor time"),
        ]
        (block,) = bench_learning_rows.blocks_of(records)
        assert block.thresholds.tolist() == [0.5, 1.0, 1.5]
        euclidean, nca = block.rows
        assert euclidean.nearest.tolist() == [[0.1, 0.25, 0.75, 0.75]]
        assert nca.nearest.tolist() == [[0.1, 0.25, 0.25, 0.25], [0.1, 0.5, 0.5, 0.5]]
        assert block.label(euclidean) == "Euclidean"
        text = bench_learning_report.markdown([block], records, "figure.png")
        assert "| NCA | **.100** ± .000 | .375 ± .125 | **.375** ± .125 | **.375** ± .125 | 2 |" in text
        assert "| Euclidean | **.100** | **.250** | .750 | .750 | – |" in text
        assert "- toy, NCA, seed 2: ended after 1 s of processor time" in text

    def test_differences_are_seed_by_seed(self):
        records = [
            record("Euclidean", 0, [0.0, 1.0, 1.0, 2.0]),
            *(record("ARML", seed, [0.0, 1.0, 3.0, 3.0]) for seed in (0, 1)),
            *(record("NCA", seed, [0.0, 1.0, 3.0, value]) for seed, value in ((0, 3.0), (1, 0.1))),
        ]
        text = bench_learning_report.markdown(bench_learning_rows.blocks_of(records), records, "figure.png")
        assert "| NCA | +0.125 ± 0.125 |" in text
        assert "| Euclidean | +0.167 ± 0.000 |" in text

    def test_rows_with_less_say_so(self):
        records = [
            record("Euclidean", 0, [0.0, 1.0, 1.0, 2.0]),
            *(record("ARML", seed, [0.0, 1.0, 3.0, 3.0]) for seed in (0, 1)),
            record("NCA", 0, [0.0, 3.0]) | {"plan": {"points": 2}},
        ]
        (block,) = bench_learning_rows.blocks_of(records)
        assert [block.label(row) for row in block.rows] == [
            "Euclidean",
            "NCA (1 of 2 seeds, first 2 points)",
            "ARML",
        ]
        assert "| NCA | – |" in bench_learning_report.markdown([block], records, "figure.png")

    def test_nothing_yet(self):
        assert "Nothing has been measured" in bench_learning_report.markdown([], [], "figure.png")
