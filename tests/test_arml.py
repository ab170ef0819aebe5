"""ARML: the published learner's objective and steps, gradients in closed form, exact lists of neighbours."""

import time
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from convexrml import ARML
from convexrml.errors import InvalidInputError, LearningError
from convexrml.kernels import candidates
from convexrml.learning.adam import Adam
from convexrml.learning.arml import mean_triplet_bound
from convexrml.learning.nearby import NearestLists


@parametrize_with_checks([ARML(n_epochs=5)])
def test_scikit_learn_agrees(estimator, check):
    check(estimator)


def _waves(n=24, d=5):
    """Points without ties that any program reproduces from the formula."""
    i, f = np.arange(n)[:, None], np.arange(d)[None, :]
    X = np.sin(1.0 + 0.7 * i * (f + 1) + 0.3 * f * f) + 0.2 * (i % 3) * (f == 0)
    return X, np.arange(n) % 3


def _published_objective(L, z, x, y):
    """The published objective as its code has it, one formula after the other, with M in full."""
    M = L.T @ L
    numerator = ((z - y) @ M * (z - y)).sum(axis=1) - ((z - x) @ M * (z - x)).sum(axis=1)
    square = ((x - y) @ M.T @ M * (x - y)).sum(axis=1)
    return (numerator / (2 * np.sqrt(np.maximum(square, 1e-6)))).mean()


def _random_triplets(rng, N=30, d=4, m=50):
    X, rows = rng.normal(size=(N, d)), rng.integers(N, size=(3, m))
    return X, rows, rng.normal(size=(d, d))


def test_objective_is_the_published_one():
    for seed in range(5):
        X, rows, L = _random_triplets(np.random.default_rng(seed))
        found, _ = mean_triplet_bound(X, X @ L.T, L, *rows)
        assert found == pytest.approx(_published_objective(L, *X[rows]), rel=1e-12)  # a few hundred roundings


# Mean of the published learner's margins in its epochs 1, 2, 5, 10, 20, 30, and the first row of its M, on `_waves()`:
# TripleLearner of wangwllu/provably_robust_metric_learning (commit 08962ef), PyTorch 2.13.0 in float32 on a CPU,
# Adam at its defaults, criterion "neg", update_triple, n_candidate_mins = 1, which leaves nothing to chance.
PUBLISHED_EPOCHS = [1, 2, 5, 10, 20, 30]
PUBLISHED_OBJECTIVES = [
    0.8206984996795654,
    0.8207554817199707,
    0.8208691477775574,
    0.820981502532959,
    0.8210656046867371,
    0.8210837244987488,
]
PUBLISHED_ROW = [
    1.0365773439407349,
    0.009322363883256912,
    -0.010268228128552437,
    -0.015411654487252235,
    0.02471388503909111,
]


def test_epochs_are_those_of_the_published_learner():
    X, y = _waves()
    learner = ARML(n_epochs=30, n_candidates=1).fit(X, y)
    found = learner.objectives_[np.array(PUBLISHED_EPOCHS) - 1]
    np.testing.assert_allclose(found, PUBLISHED_OBJECTIVES, rtol=1e-5)  # float32; 2e-7 measured
    np.testing.assert_allclose(learner.get_mahalanobis_matrix()[0], PUBLISHED_ROW, rtol=0, atol=1e-5)


def test_gradient_is_that_of_finite_differences():
    for seed in range(3):
        X, rows, L = _random_triplets(np.random.default_rng(seed))
        _, gradient = mean_triplet_bound(X, X @ L.T, L, *rows)
        step = 1e-6
        for f in np.ndindex(L.shape):
            E = np.zeros_like(L)
            E[f] = step
            up, down = (_published_objective(L + sign * E, *X[rows]) for sign in (1, -1))
            # central differences err by step², and by rounding over the step: 1e-16 / 1e-6
            assert gradient[f] == pytest.approx((up - down) / (2 * step), abs=1e-8)


def test_equal_points_are_guarded_as_published():
    X = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    value, gradient = mean_triplet_bound(X, X, np.eye(2), *(np.array([i]) for i in range(3)))
    assert value == 0
    assert np.isfinite(gradient).all()


def test_adam_takes_the_steps_of_its_paper():
    adam = Adam(0.1)
    np.testing.assert_allclose(adam.step(np.array([1e-3, -5.0])), [0.1, -0.1], rtol=1e-4)  # ε over 1e-3
    # by hand: m = 0.9·0.1·1 + 0.1·2 = 0.29, over 0.19; v = 0.999·0.001 + 0.001·4 = 0.004999, over 0.001999
    adam = Adam(1.0)
    adam.step(np.array([1.0]))
    assert adam.step(np.array([2.0]))[0] == pytest.approx(0.29 / 0.19 / (np.sqrt(0.004999 / 0.001999) + 1e-8))


@pytest.mark.parametrize("d", [2, 9, 80])
def test_lists_hold_the_nearest_at_every_update(d):
    rng = np.random.default_rng(d)
    labels = np.repeat([0, 1, 2, 3], [1, 40, 300, 3])
    start = np.array([0, 1, 41, 341, 344])
    A = rng.normal(size=(344, d)).round(1 if d < 9 else 6)  # many ties in the plane
    lists = NearestLists(start, 10)
    for _ in range(12):
        lists.update(A)
        for a in rng.integers(344, size=40):
            order = np.lexsort((np.arange(344), [candidates.squared_distance(A[a], b) for b in A]))
            same = [j for j in order if labels[j] == labels[a] and j != a][:10]
            other = [j for j in order if labels[j] != labels[a]][:10]
            assert lists.same[a, : lists.same_size[a]].tolist() == same
            assert lists.other[a, : lists.other_size[a]].tolist() == other
        A = A @ (np.eye(d) + 0.1 * rng.normal(size=(d, d)))


def test_kernels_stay_in_bounds():
    X, y = _waves()
    order = np.argsort(y, kind="stable")
    X, start, labels = X[order], np.array([0, 8, 16, 24]), y[order]
    lists, sizes, distances = np.zeros((24, 3), dtype=np.int64), np.zeros(24, dtype=np.int64), np.empty((24, 3))
    products, squares = (X @ X.T).astype(np.float32), (X**2).sum(axis=1).astype(np.float32)
    for same in (True, False):
        sizes[:] = 0
        candidates.improve.py_func(
            X,
            X.astype(np.float32),
            0,
            products.copy(),
            squares,
            1.0,
            1e-3,
            start,
            labels,
            same,
            lists,
            sizes,
            distances,
        )
        candidates.restart.py_func(X, lists, sizes, distances)
        for a in range(24):
            apart = ((X - X[a]) ** 2).sum(axis=1)
            allowed = (labels == labels[a]) == same
            allowed[a] = False
            assert set(lists[a]) == set(np.flatnonzero(allowed)[np.argsort(apart[allowed])][:3])
    V, S = candidates.triplet_differences.py_func(X, *np.arange(9).reshape(3, 3))
    np.testing.assert_array_equal(V, X[3:6] - X[6:9])
    np.testing.assert_allclose(S, 2 * X[:3] - X[3:6] - X[6:9], atol=1e-15)


def test_the_mean_bound_rises_and_irrelevant_features_fade():
    rng = np.random.default_rng(0)
    y = np.arange(200) % 2
    X = np.column_stack([y + 0.2 * rng.normal(size=200), 3 * rng.normal(size=200)])
    learner = ARML(n_epochs=400, learning_rate=1e-2, random_state=0).fit(X, y)
    M = learner.get_mahalanobis_matrix()
    assert learner.objectives_[-50:].mean() > learner.objectives_[:20].mean() + 0.01  # three standard errors
    assert M[1, 1] < 0.5 * M[0, 0]
    np.testing.assert_allclose(learner.transform(X) @ np.eye(2), X @ learner.components_.T)
    assert learner.n_iter_ == len(learner.objectives_) == 400


def test_same_seed_same_metric_whatever_the_threads():
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 70)), rng.integers(3, size=300)
    found = []
    for threads in (1, 2, 4):
        with threadpool_limits(limits=threads):
            found.append(ARML(n_epochs=20, random_state=3).fit(X, y).components_)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    assert not np.array_equal(found[0], ARML(n_epochs=20, random_state=4).fit(X, y).components_)


def test_pipeline_and_grid_search():
    X, y = _waves(60)
    pipeline = make_pipeline(MinMaxScaler(), ARML(n_epochs=3, random_state=0), KNeighborsClassifier(1))
    search = GridSearchCV(pipeline, {"arml__n_candidates": [1, 5]}, cv=2).fit(X, y)
    assert set(search.cv_results_["param_arml__n_candidates"]) == {1, 5}
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_progress_is_told(capsys):
    X, y = _waves()
    seen = []
    learner = ARML(n_epochs=3, verbose=True, callback=lambda *now: seen.append(now), random_state=0).fit(X, y)
    assert seen == list(zip([1, 2, 3], learner.objectives_, strict=True))
    out, err = capsys.readouterr()
    assert out == "" and "mean triplet bound" in err and "3/3" in err


def test_what_cannot_be_learnt_is_refused():
    X, y = _waves()
    with pytest.raises(InvalidInputError, match=r"y: .*one class"):
        ARML().fit(X, np.zeros(24))
    with warnings.catch_warnings(), pytest.raises(InvalidInputError, match=r"y: no two"):
        warnings.simplefilter("ignore")  # scikit-learn wonders, too
        ARML().fit(X, np.arange(24))
    for wrong in ({"n_epochs": 0}, {"n_candidates": 1.5}, {"learning_rate": -1}, {"max_time": "1"}):
        with pytest.raises(InvalidInputError, match=next(iter(wrong))):
            ARML(**wrong).fit(X, y)
    with np.errstate(all="ignore"), pytest.raises(LearningError, match="scale the features"):
        ARML(n_epochs=2).fit(1e200 * X, y)


def test_a_point_alone_in_its_class_anchors_no_triplet():
    X, y = _waves()
    y = y.copy()
    y[0] = 7
    with pytest.warns(UserWarning, match="single point"):
        learner = ARML(n_epochs=3, random_state=0).fit(X, y)
    assert np.isfinite(learner.components_).all()


def test_time_limit_warns():
    X, y = _waves()
    with pytest.warns(ConvergenceWarning, match="max_time"):
        learner = ARML(n_epochs=10**6, max_time=0.2, callback=lambda *_: time.sleep(0.01)).fit(X, y)
    assert 0 < learner.n_iter_ < 10**6
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ARML(n_epochs=2, max_time=60).fit(X, y)
