"""ExactRadiusLearner: signed radii against the library's own, exact gradients, honest choices, clear refusals."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from convexrml import ExactRadiusLearner, NearestNeighbors, certified_radius, exact_radius
from convexrml.errors import InvalidInputError, LearningError
from convexrml.kernels import signed_radii as kernel
from convexrml.learning.ascent import Ascent, _batches, _kept_rows, leave_one_out_radii, queries_of, radii_among
from convexrml.learning.signed_radii import (
    Points,
    Sites,
    exact_weights,
    nearest_triplet_weights,
    signed_radii,
)
from convexrml.learning.training import Grouped
from convexrml.metric import MahalanobisMetric

QUICK = {"n_steps": (2, 5), "dropout": (0.0, 0.5)}


@parametrize_with_checks([ExactRadiusLearner(**QUICK), ExactRadiusLearner(n_steps=3, dropout=0.5)])
def test_scikit_learn_agrees(estimator, check):
    check(estimator)


def _cloud(seed, N=50, d=4, classes=3, apart=0.6):
    """Overlapping classes, grouped by label, and components of a metric."""
    rng = np.random.default_rng(seed)
    y = np.sort(np.concatenate([np.repeat(np.arange(classes), 2), rng.integers(classes, size=N - 2 * classes)]))
    X = rng.normal(size=(N, d)) + apart * y[:, None]
    start = np.searchsorted(y, np.arange(classes + 1))
    return Grouped(X - X.mean(axis=0), y, start), rng.normal(size=(d, d)), rng


def _everything(data):
    return Sites(data.X, data.class_start), Points(data.X, data.y, np.arange(len(data.X)))


def _signed_by_the_library(X, y, z, label, L):
    """The signed radius by `exact_radius`: on the wrong side, each own site alone against all others."""
    metric = MahalanobisMetric.from_components(L)
    found = exact_radius(NearestNeighbors(metric=metric).fit(X, y), z[None], [label]).radius[0]
    if found > 0:
        return found
    others = y != label
    ways = []
    for i in np.flatnonzero(~others):
        model = NearestNeighbors(metric=metric).fit(np.vstack([X[i], X[others]]), [0] + [1] * others.sum())
        ways.append(exact_radius(model, z[None], [1]).radius[0])
    return -min(ways)


@pytest.mark.parametrize("d", [2, 5])
def test_signed_radii_are_those_of_the_library(d):
    data, L, _ = _cloud(d, d=d)
    found = leave_one_out_radii(data, L)
    assert 0.1 < (found < 0).mean() < 0.9
    for q in range(len(data.X)):
        kept = np.arange(len(data.X)) != q
        expected = _signed_by_the_library(data.X[kept], data.y[kept], data.X[q], data.y[q], L)
        assert found[q] == pytest.approx(expected, rel=1e-9, abs=1e-11)  # what `exact_radius` promises


def test_radii_among_other_points_leave_nobody_out():
    data, L, rng = _cloud(3)
    Z, labels = rng.normal(size=(10, 4)), rng.integers(3, size=10)
    found = radii_among(data, Z, labels, L)
    for z, label, r in zip(Z, labels, found, strict=True):
        assert r == pytest.approx(_signed_by_the_library(data.X, data.y, z, label, L), rel=1e-9, abs=1e-11)


def test_weights_are_multipliers_on_either_side():
    data, L, _ = _cloud(0)
    sites, points = _everything(data)
    for rule in (exact_weights, nearest_triplet_weights):
        W = rule(sites, points, L.T @ L).toarray()
        own = data.y[:, None] == data.y
        assert np.diag(W).any() == 0
        assert (W[own] >= 0).all() and (W[~own] <= 0).all()
        np.testing.assert_allclose((W * own).sum(axis=1), 1, atol=1e-14)
        np.testing.assert_allclose((W * ~own).sum(axis=1), -1, atol=1e-14)
        single = np.where(signed_radii(sites, points, L, rule).value > 0, (W * ~own).min(axis=1), (W * own).max(axis=1))
        np.testing.assert_array_equal(np.abs(single), 1)


def test_nearest_triplets_are_those_of_the_closed_form():
    data, L, _ = _cloud(1)
    sites, points = _everything(data)
    found = signed_radii(sites, points, L, nearest_triplet_weights).value
    images = data.X @ L.T
    for q in range(len(data.X)):
        apart = np.linalg.norm(images - images[q], axis=1)
        apart[q] = np.inf
        i, j = (np.where(mask, apart, np.inf).argmin() for mask in (data.y == data.y[q], data.y != data.y[q]))
        pair = NearestNeighbors(metric=MahalanobisMetric.from_components(L))
        right = apart[i] < apart[j]
        model = pair.fit(data.X[[i, j]], [int(right), int(not right)])
        bound = certified_radius(model, data.X[[q]], [1]).lower[0]
        assert found[q] == pytest.approx(bound if right else -bound, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("rule", [exact_weights, nearest_triplet_weights])
@pytest.mark.parametrize("d", [2, 4, 7])
def test_gradient_is_that_of_finite_differences(rule, d):
    data, L, rng = _cloud(10 + d, d=d)
    sites, points = _everything(data)
    g = rng.normal(size=len(data.X))
    gradient = signed_radii(sites, points, L, rule).gradient(g)
    step = 1e-6
    for f in np.ndindex(L.shape):
        E = np.zeros_like(L)
        E[f] = step
        up, down = (g @ signed_radii(sites, points, L + sign * E, rule).value for sign in (1, -1))
        # a dozen radii near a kink would show: seeds without one; the rest is rounding over the step
        assert gradient[f] == pytest.approx((up - down) / (2 * step), abs=1e-6 * max(1, np.abs(gradient).max()))


def test_radii_do_not_depend_on_the_scale_of_the_metric():
    data, L, rng = _cloud(5)
    found = signed_radii(*_everything(data), L, exact_weights)
    again = signed_radii(*_everything(data), 1e3 * L, exact_weights)
    np.testing.assert_allclose(again.value, found.value, rtol=1e-9)
    gradient = found.gradient(rng.normal(size=len(data.X)))
    assert abs((gradient * L).sum()) < 1e-9 * np.abs(gradient).max()  # Euler: along L nothing changes


def test_sites_on_top_of_each_other_count_nothing():
    # the metric sees the first feature only, by which the nearest of both classes are the same
    X, start = np.array([[-1.0, 0.0], [1.0, 0.0], [1.0, 5.0], [3.0, 6.0]]), np.array([0, 2, 4])
    points = Points(np.array([[0.9, 0.0], [-0.2, 1.0]]), np.array([0, 0]), np.array([-1, -1]))
    found = signed_radii(Sites(X, start), points, np.diag([1.0, 0.0]), exact_weights)
    np.testing.assert_allclose(found.value, [0.0, 0.2], atol=1e-12)  # tied at once; halfway between -1 and 1
    assert not found.gradient(np.array([1.0, 0.0])).any()


def test_kernel_stays_in_bounds():
    data, L, _ = _cloud(2, N=20, d=3)
    U = data.X @ L.T @ L
    scores = (U * data.X).sum(axis=1) - 2 * data.X @ U.T
    images = data.X @ L.T @ L
    squared = ((images[:, None] - U) ** 2).sum(axis=-1)
    rows, weights, sizes = np.zeros((20, 5), dtype=np.int64), np.zeros((20, 5)), np.zeros(20, dtype=np.int64)
    kernel.binding_rows.py_func(
        U, data.class_start, scores, squared, images, data.y, np.arange(20), rows, weights, sizes
    )
    W = exact_weights(*_everything(data), L.T @ L).toarray()
    for q in range(20):
        np.testing.assert_allclose(W[q, rows[q, : sizes[q]]], weights[q, : sizes[q]], atol=1e-12)


def test_dropout_keeps_every_class_populated():
    random = np.random.RandomState(0)
    start = np.array([0, 1, 3, 103])
    for dropout in (0.0, 0.5, 0.99):
        kept = _kept_rows(start, dropout, random)
        counts = np.diff(np.searchsorted(kept, start))
        assert counts.tolist() == [1, 2, max(2, round(100 * (1 - dropout)))]


def test_batches_show_every_point_once_a_round():
    batches = _batches(np.arange(10, 25), 4, np.random.RandomState(0))
    for _ in range(3):
        assert sorted(np.concatenate([next(batches) for _ in range(3)])) == list(range(10, 25))


def _noisy(N=160, seed=0):
    """Two classes that the first feature separates, behind noise."""
    rng = np.random.default_rng(seed)
    y = np.arange(N) % 2
    return np.column_stack([y + 0.15 * rng.normal(size=N), 2 * rng.normal(size=(N, 3))]), y


@pytest.mark.parametrize("radius", ["exact", "nearest_triplet"])
def test_radii_of_new_points_grow(radius):
    X, y = _noisy()
    Z, t = _noisy(seed=1)
    learner = ExactRadiusLearner(n_steps=(20, 60), dropout=(0.0, 0.5), radius=radius, random_state=0).fit(X, y)
    before = exact_radius(NearestNeighbors().fit(X, y), Z, t).lower
    metric = MahalanobisMetric.from_components(learner.components_)
    after = exact_radius(NearestNeighbors(metric=metric).fit(X, y), Z, t).lower
    assert (after == 0).mean() < 0.5 * (before == 0).mean()
    assert np.median(after) > 1.5 * np.median(before)
    assert learner.validation_scores_.shape == (2, 2)
    assert learner.validation_scores_.max() > learner.validation_score_euclidean_
    assert (learner.n_iter_, learner.dropout_) in {(n, p) for n in (20, 60) for p in (0.0, 0.5)}


def test_objective_is_that_of_all_training_points():
    X, y = _noisy(60)
    learner = ExactRadiusLearner(n_steps=5, dropout=0.5, random_state=0).fit(X, y)
    order = np.argsort(y, kind="stable")
    data = Grouped((X - X.mean(axis=0))[order], y[order], np.array([0, 30, 60]))
    r = leave_one_out_radii(data, learner.components_)
    t = learner.target_
    assert learner.objective_ == pytest.approx(np.mean(1 / (1 + np.exp(-(r - t) / (0.5 * t)))), rel=1e-12)
    assert learner.validation_scores_ is None  # nothing to choose


def test_a_step_climbs():
    data, _, _ = _cloud(7)
    ascent = Ascent(exact_weights, 0.3, 1e-4, len(queries_of(data)))
    before = ascent.score(leave_one_out_radii(data, np.eye(4)))
    for (L, value, gradient), _ in zip(ascent.steps(data, 0.0, np.random.RandomState(0)), range(1), strict=False):
        assert value == pytest.approx(before)
        gain = ascent.score(leave_one_out_radii(data, L)) - before
        assert gain == pytest.approx((gradient * (L - np.eye(4))).sum(), rel=0.05)  # the second order of a small step


def test_same_seed_same_metric_whatever_the_threads():
    from threadpoolctl import threadpool_limits

    X, y = _noisy(100)
    found = []
    for threads in (1, 2, 4):
        with threadpool_limits(limits=threads):
            found.append(ExactRadiusLearner(**QUICK, random_state=3).fit(X, y).components_)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_pipeline_and_grid_search():
    X, y = _noisy(60)
    learner = ExactRadiusLearner(n_steps=3, dropout=0.5, random_state=0)
    search = GridSearchCV(
        make_pipeline(MinMaxScaler(), learner, KNeighborsClassifier(1)),
        {"exactradiuslearner__radius": ["exact", "nearest_triplet"]},
        cv=2,
    ).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_what_cannot_be_learnt_is_refused():
    X, y = _noisy(20)
    for wrong in (
        {"n_steps": 0},
        {"n_steps": ()},
        {"dropout": 1.0},
        {"radius": "certified"},
        {"target": 0},
        {"batch_size": 0},
        {"validation_fraction": 1.0},
        {"learning_rate": None},
        {"max_time": -1},
    ):
        with pytest.raises(InvalidInputError, match=next(iter(wrong))):
            ExactRadiusLearner(**wrong).fit(X, y)
    with pytest.raises(InvalidInputError, match="one class"):
        ExactRadiusLearner().fit(X, np.zeros(20))
    with pytest.raises(InvalidInputError, match="no radius"):
        ExactRadiusLearner().fit(np.ones((20, 2)), y)
    with pytest.raises(InvalidInputError, match="validation_fraction"):
        ExactRadiusLearner().fit([[0.0], [0.1], [5.0], [5.1]], [0, 0, 1, 1])
    with np.errstate(all="ignore"), pytest.raises((LearningError, InvalidInputError)):
        ExactRadiusLearner(n_steps=2, dropout=0.5).fit(1e200 * X, y)


def test_time_limit_warns():
    X, y = _noisy(60)
    with pytest.warns(ConvergenceWarning, match="max_time"):
        learner = ExactRadiusLearner(n_steps=10**6, dropout=0.5, max_time=0.3).fit(X, y)
    assert learner.n_iter_ < 10**6
    with pytest.warns(ConvergenceWarning, match="max_time sufficed"):
        ExactRadiusLearner(n_steps=(1, 10**6), dropout=(0.0, 0.5), max_time=0.5).fit(X, y)


def test_no_gain_is_told():
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(60, 2)), np.arange(60) % 2  # labels mean nothing
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        learner = ExactRadiusLearner(**QUICK, random_state=0).fit(X, y)
    told = any("beats the Euclidean" in str(w.message) for w in seen)
    assert told == (learner.validation_scores_.max() <= learner.validation_score_euclidean_)


def test_progress_is_told(capsys):
    X, y = _noisy(60)
    seen = []
    told = {"verbose": True, "callback": lambda n, _: seen.append(n)}
    ExactRadiusLearner(n_steps=(1, 3), dropout=0.5, random_state=0, **told).fit(X, y)
    assert seen == list(range(1, len(seen) + 1)) and len(seen) in (4, 6)
    out, err = capsys.readouterr()
    assert out == "" and "dropout 0.5" in err and f"{len(seen)}/6" in err
