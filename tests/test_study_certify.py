"""The computing part, without the command line."""

import dataclasses
import importlib
import subprocess
import sys

import numpy as np
import pytest

from convexrml.attacks import attack_radius
from convexrml.bounds import certified_radius
from convexrml.errors import (
    CrossCheckInterrupted,
    InvalidInputError,
    SearchInterrupted,
    UnknownSolverError,
    UnsupportedError,
)
from convexrml.exact import exact_radius
from convexrml.judge import crosscheck
from convexrml.metric import MahalanobisMetric
from convexrml.neighbors import NearestNeighbors
from convexrml.results import RadiusStatus, error_at
from convexrml.study.certify import Settings, certify, evenly_spaced
from convexrml.study.check import check
from convexrml.study.data import DataSet
from convexrml.study.figures import robust_error_figure, save_figure

study = importlib.import_module("convexrml.study.certify")


def blobs(n_train=40, n_test=16, classes=2, seed=0):
    rng = np.random.default_rng(seed)

    def points(n):
        y = np.arange(n) % classes
        return rng.normal(size=(n, 3)) + 1.5 * y[:, None], y

    return DataSet("blobs", *points(n_train), *points(n_test), {"train": "rng", "test": "rng", "scale": "none"})


def test_what_is_reported_is_what_the_library_says():
    data = blobs()
    ticks = []
    result = certify(data, Settings(check=5), progress=lambda *tick: ticks.append(tick))
    model = NearestNeighbors().fit(data.X_train, data.y_train)
    lower = certified_radius(model, data.X_test, data.y_test).lower
    assert np.array_equal(result.certified.lower, lower)
    assert result.sample.tolist() == [0, 4, 8, 11, 15] and result.exact_at.tolist() == list(range(16))
    exact = exact_radius(model, data.X_test, data.y_test, method="search")
    assert np.array_equal(result.exact.lower, exact.lower) and np.array_equal(result.exact.upper, exact.upper)
    assert result.exact.solver == "search" and result.known.shape == (16,) and result.known.all()
    Z, y = data.X_test[result.sample], data.y_test[result.sample]
    assert np.array_equal(result.attack.upper, attack_radius(model, Z, y).upper)
    assert result.clean_error == np.mean(model.predict(data.X_test) != data.y_test)
    median = np.median(lower[result.correct])
    assert result.radii == tuple(float(f"{factor * median:.3g}") for factor in (0.5, 1, 1.5))
    assert result.certified_error(result.radii[0]) == np.mean(lower <= result.radii[0])
    for radius in result.radii:
        assert result.exact_error(radius) == (np.mean(exact.upper <= radius), np.mean(exact.lower <= radius))
        assert result.clean_error <= result.exact_error(radius)[0]
        assert result.exact_error(radius)[1] <= result.certified_error(radius)
    assert result.judge.violated == 0 and result.judge.solvers == ("search", "clarabel", "daqp")
    assert result.judge.n_queries == 5
    judged = result.judge.exact["2", 0, "search"]  # the very intervals that are reported
    assert np.array_equal(judged.lower, result.exact.lower[result.sample])
    assert np.array_equal(judged.upper, result.exact.upper[result.sample])
    assert np.array_equal(judged.perturbation, result.exact.perturbation[result.sample])
    for solver in ("clarabel", "daqp"):
        assert np.array_equal(result.judge.exact["2", 0, solver].upper, exact_radius(model, Z, y, solver=solver).upper)
    stages = {stage: (finished, total) for stage, finished, total in ticks}
    assert stages == {
        "certified radii": (16, 16), "exact radii": (16, 16), "attack radii": (5, 5), "cross-check": (10, 10),
    }  # fmt: skip
    assert set(result.seconds) == set(stages)
    assert result.versions["daqp"] and result.versions["convexrml"]


def test_settings_reach_the_roads():
    data = blobs(classes=3)
    metric = MahalanobisMetric.from_components([[1.0, 0.5, 0.0], [0.0, 2.0, 1.0]])
    settings = Settings(norm="inf", box=(-1.0, 2.0), clip=True, radii=(0.1,), exact=None, check=None, solvers=("daqp",))
    result = certify(data, settings, metric=metric)
    Z = np.clip(data.X_test, -1, 2)
    assert result.clipped == np.count_nonzero((Z != data.X_test).any(axis=1)) > 0
    model = NearestNeighbors(1, metric).fit(data.X_train, data.y_train)
    exact = exact_radius(model, Z, data.y_test, norm="inf", box=(-1.0, 2.0), method="search")
    assert np.array_equal(result.exact.upper, exact.upper) and np.array_equal(result.exact.lower, exact.lower)
    program = exact_radius(model, Z, data.y_test, norm="inf", box=(-1.0, 2.0), solver="daqp")
    assert np.array_equal(result.judge.exact["inf", 0, "daqp"].upper, program.upper)
    assert set(result.judge.exact) == {("inf", 0, "search"), ("inf", 0, "daqp")}
    attack = attack_radius(model, Z, data.y_test, norm="inf", box=(-1.0, 2.0))
    assert np.array_equal(result.attack.upper, attack.upper)
    assert result.radii == (0.1,) and len(result.sample) == len(result.exact_at) == 16


def test_the_judge_looks_at_some_of_the_points_that_are_exact():
    data = blobs(n_test=31)
    result = certify(data, Settings(exact=11, check=4, n_jobs=1))
    assert result.exact_at.tolist() == list(range(0, 31, 3)) and result.sample.tolist() == [0, 9, 21, 30]
    model = NearestNeighbors().fit(data.X_train, data.y_train)
    exact = exact_radius(model, data.X_test[::3], data.y_test[::3])
    assert np.array_equal(result.exact.lower, exact.lower) and np.array_equal(result.exact.upper, exact.upper)
    assert result.known.shape == (11,) and len(result.attack) == result.judge.n_queries == 4
    at = np.searchsorted(result.exact_at, result.sample)
    assert np.array_equal(result.judge.exact["2", 0, "search"].upper, exact.upper[at])
    for radius in result.radii:
        assert result.exact_error(radius) == (np.mean(exact.upper <= radius), np.mean(exact.lower <= radius))
    assert certify(data, Settings(exact=3)).sample.tolist() == [0, 15, 30]  # no more to check than there is


def test_bounds_on_the_exact_error_stay_apart_where_a_radius_is_not_known():
    result = certify(blobs(), Settings(check=1))
    upper = result.exact.upper.copy()
    upper[upper > 0] *= 3
    loose = dataclasses.replace(result, exact=dataclasses.replace(result.exact, upper=upper))
    radius = float(np.median(result.exact.lower[result.correct])) * 1.01
    least, most = loose.exact_error(radius)
    assert least < most == result.exact_error(radius)[1]


@pytest.mark.parametrize("vote", ["plurality", "majority"])
def test_more_neighbours_have_exact_radii_too(vote):
    data = blobs(classes=4)
    result = certify(data, Settings(n_neighbors=5, vote=vote, check=4, exact=9, solvers=()))
    model = NearestNeighbors(5).fit(data.X_train, data.y_train)
    exact = exact_radius(model, data.X_test[result.exact_at], data.y_test[result.exact_at], vote=vote)
    assert np.array_equal(result.exact.lower, exact.lower) and np.array_equal(result.exact.upper, exact.upper)
    assert result.exact.vote.value == result.judge.vote.value == vote and result.judge.n_neighbors == 5
    assert result.judge.violated == 0 and result.judge.checked > 4 * 3 and not result.missing
    assert result.judge.solvers == ("search",) and not result.interrupted
    for radius in result.radii:
        assert result.exact_error(radius) == (np.mean(exact.upper <= radius), np.mean(exact.lower <= radius))


def refusing(error):
    def road(*_, **__):
        raise error

    return road


def test_a_norm_that_the_search_does_not_take_is_said_and_skipped(monkeypatch):
    monkeypatch.setattr(study, "exact_radius", refusing(UnsupportedError("norm: not this one")))
    result = certify(blobs(), Settings(n_neighbors=3, norm="inf", check=4, solvers=("search",)))
    assert result.exact is None and not result.known.any() and result.missing.endswith("norm: not this one")
    assert result.exact_error(1.0) is None and len(result.known) == len(result.exact_at) == 16
    assert result.judge.skipped >= 4 and result.judge.checked >= 4 and not result.interrupted
    assert len(robust_error_figure(result).axes[0].lines) == 3


def test_limits_are_handed_on(monkeypatch):
    asked = []

    def road(*arguments, **keywords):
        asked.append({name: keywords.pop(name) for name in ("time_limit", "node_limit")})
        return exact_radius(*arguments, **keywords)

    monkeypatch.setattr(study, "exact_radius", road)
    certify(blobs(), Settings(check=2, time_limit=3.0, node_limit=9, solvers=("daqp",)))
    assert asked == [{"time_limit": 3.0, "node_limit": 9}, {"time_limit": 3.0, "node_limit": None}]


def half_done(model, Z, y, **keywords):
    """What a search that was interrupted half-way hands over."""
    keywords.pop("n_jobs"), keywords.pop("progress")
    found = exact_radius(model, Z, y, **keywords)
    late = np.arange(len(Z)) >= len(Z) // 2
    status = found.status.copy()
    status[late] = RadiusStatus.INTERRUPTED
    perturbation = np.where(late[:, None], np.nan, found.perturbation)
    return dataclasses.replace(
        found, lower=np.where(late, 0.0, found.lower), upper=np.where(late, np.inf, found.upper), status=status,
        perturbation=perturbation,
    )  # fmt: skip


def test_ctrl_c_during_the_search_keeps_what_is_finished(monkeypatch):
    def road(*arguments, **keywords):
        raise SearchInterrupted(half_done(*arguments, **keywords))

    monkeypatch.setattr(study, "exact_radius", road)
    data = blobs()
    result = certify(data, Settings(check=5))
    assert result.interrupted and result.missing.startswith("interrupted")
    assert [status is RadiusStatus.INTERRUPTED for status in result.exact.status] == [q >= 8 for q in range(16)]
    assert np.array_equal(result.exact.lower[8:], result.certified.lower[8:])
    assert len(result.sample) == len(result.attack) == result.judge.n_queries == 0
    (axes,) = robust_error_figure(result).axes  # the band between both bounds
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert any(label.startswith("exact, between bounds") for label in labels) and len(axes.collections) == 1


@pytest.mark.parametrize("stage", ["exact_radius", "attack_radius", "crosscheck"])
def test_ctrl_c_at_any_time(monkeypatch, stage):
    empty = crosscheck(NearestNeighbors().fit([[0.0]], [0]), [[0.0]], [0], norms=[2], solvers=["search"])
    stop = CrossCheckInterrupted(empty) if stage == "crosscheck" else KeyboardInterrupt()
    monkeypatch.setattr(study, stage, refusing(stop))
    result = certify(blobs(), Settings(check=5))
    assert result.interrupted
    assert (result.exact is None) == (stage == "exact_radius")
    assert len(result.attack) == len(result.sample) == (5 if stage == "crosscheck" else 0)
    assert (result.judge is empty) == (stage == "crosscheck")


def test_one_class_has_infinite_radii():
    data = blobs(classes=1)
    result = certify(data, Settings(check=2))
    assert np.isinf(result.certified.lower).all() and result.radii == () and result.clean_error == 0
    assert np.isinf(result.exact.lower).all() and result.exact_error(1e300) == (0, 0)
    assert robust_error_figure(result).axes[0].get_xlim() == (0, 1)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        (Settings(radii=(-1.0,)), InvalidInputError),
        (Settings(exact=0), InvalidInputError),
        (Settings(n_neighbors=2), InvalidInputError),
        (Settings(norm="3"), InvalidInputError),
        (Settings(vote="unanimity"), InvalidInputError),
        (Settings(box=(0.0, 0.1)), InvalidInputError),
        (Settings(check=0), InvalidInputError),
        (Settings(exact=2.5), InvalidInputError),
        (Settings(solvers=("nobody",)), UnknownSolverError),
        (Settings(solvers=("clarabel", "nobody")), UnknownSolverError),
    ],
)
def test_bad_settings(settings, error):
    with pytest.raises(error):
        certify(blobs(), settings)


def test_check_looks_without_and_with_the_box():
    found = check(blobs().head(3), norms=("1", "inf"), box=(-1.0, 2.0), clip=True, solvers=("clarabel",))
    assert len(found.judge.boxes) == 2 and [norm.name for norm in found.judge.norms] == ["1", "inf"]
    assert found.judge.n_queries == 3 and found.judge.violated == 0
    # the attack's witness and the bound below it; witness, certified, itself, attack, certificate of the exact road
    assert len(found.judge.comparisons) == 2 * 2 * 3 * (2 + 5)
    assert check(blobs().head(1), norms=("2",)).judge.solvers == ("search", "clarabel", "daqp")


def test_samples_and_errors():
    assert evenly_spaced(3, 20).tolist() == evenly_spaced(3, None).tolist() == [0, 1, 2]
    assert evenly_spaced(100, 3).tolist() == [0, 50, 99] and evenly_spaced(7, 1).tolist() == [0]
    assert error_at(np.array([0.0, 1.0, 2.0, np.inf]), 1.0) == 0.5


def test_the_figure_draws_the_curves(tmp_path):
    result = certify(blobs(), Settings(check=5))
    figure = robust_error_figure(result)
    (axes,) = figure.axes
    lines = {line.get_label(): line for line in axes.lines}
    assert [label.split(",")[0] for label in lines] == [
        "certified", "exact", "empirical (attack)", "clean error",
    ]  # fmt: skip
    assert "ℓ2" in axes.get_xlabel() and axes.get_ylabel() == "robust error"
    exact = lines["exact, all 16 points"]
    for radius in result.exact.radius:
        x, y = exact.get_xdata(), exact.get_ydata()
        assert y[x <= radius][-1] == np.mean(result.exact.radius <= radius)
    at = np.linspace(0, axes.get_xlim()[1], 200)

    def height(kind, settings):
        (axes,) = robust_error_figure(certify(blobs(), settings)).axes
        (line,) = (line for line in axes.lines if line.get_label().startswith(kind))
        x, y = line.get_xdata(), line.get_ydata()
        return y[np.minimum(np.searchsorted(x, at, side="right"), len(x)) - 1]

    everywhere, some = Settings(check=None), Settings(exact=5)
    assert np.all(height("certified, all 16 points", everywhere) >= height("exact, all 16 points", everywhere))
    assert np.all(height("exact, all 16 points", everywhere) >= height("empirical (attack), all 16", everywhere))
    assert np.all(height("exact, 5 of 16 points", some) >= height("empirical (attack), 5 of 16 points", some))
    assert np.array_equal(height("empirical (attack), 5 of 16 points", Settings(check=5)), height("empirical", some))
    save_figure(figure, tmp_path / "a.png")
    save_figure(robust_error_figure(result), tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_the_computing_part_knows_neither_click_nor_rich():
    code = (
        "import sys, convexrml.study.certify, convexrml.study.check, convexrml.study.instances\n"
        "assert not {'click', 'rich', 'matplotlib'} & set(sys.modules), 'loaded'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
