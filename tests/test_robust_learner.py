"""RobustMetricLearner: scikit-learn's contract, the program's optimum, and what it says when it cannot learn."""

import pickle
import warnings

import numpy as np
import pytest
import threadpoolctl
from sklearn.base import clone
from sklearn.datasets import load_iris, load_wine, make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import convexrml
from convexrml import RobustMetricLearner
from convexrml.errors import CollapsedMetricError, InvalidInputError
from convexrml.formulations import RobustHinge
from convexrml.learning.base import components_of
from convexrml.learning.mining import mine_triplets
from convexrml.learning.robust import REGULARISERS
from convexrml.norms import as_norm
from convexrml.regularisers import FixedTrace


@pytest.mark.filterwarnings("ignore:tau, strength")  # some of the checks learn from labels drawn at random
@parametrize_with_checks([RobustMetricLearner(), RobustMetricLearner(regulariser="fixed_trace", n_rounds=1)])
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def wine():
    X, y = load_wine(return_X_y=True)
    return MinMaxScaler().fit_transform(X), y


@pytest.mark.parametrize("regulariser", REGULARISERS)
@pytest.mark.parametrize("norm", [1, 2, "inf"])
def test_every_norm_and_regulariser_converges(wine, norm, regulariser):
    learner = RobustMetricLearner(norm=norm, regulariser=regulariser, n_rounds=2).fit(*wine)
    M = learner.get_mahalanobis_matrix()
    assert learner.converged_ and 0 <= learner.gap_ <= 1e-3 and learner.share_ == 1
    assert learner.lower_bound_ <= learner.objective_
    assert (learner.n_rounds_, learner.n_triplets_) == (2, 178 * 6)
    np.testing.assert_allclose(learner.components_ @ learner.components_.T, np.diag(np.diag(
        learner.components_ @ learner.components_.T)), atol=1e-10)  # fmt: skip  # rows are eigenvectors
    if regulariser == "fixed_trace":
        assert np.trace(M) == pytest.approx(13)


def test_one_undamped_round_is_the_optimum_of_the_program(wine):
    X, y = wine
    settings = {"n_rounds": 1, "damping": 0.0, "regulariser": "fixed_trace", "n_targets": 1, "n_impostors": 1}
    learner = RobustMetricLearner(tol=1e-6, **settings).fit(X, y)
    mined = mine_triplets(X, y, n_targets=1, n_impostors=1)
    radii = mined.anchor_radii(np.eye(13), as_norm(2))
    tau, margin = learner.tau * np.median(radii[radii > 0]), np.median(np.abs(mined.triplets.margins(np.eye(13))))
    assert learner.tau_ == pytest.approx(tau)
    program = RobustHinge(mined.triplets, tau=tau, margin=margin, regulariser=FixedTrace(13.0))
    assert program.objective.value(learner.get_mahalanobis_matrix()) == pytest.approx(learner.objective_, rel=1e-9)
    explicit = RobustMetricLearner(solver="clarabel", **settings).fit(X, y)
    assert explicit.objective_ == pytest.approx(learner.objective_, rel=1e-5)
    assert explicit.converged_ and explicit.n_iter_ > 1


def test_an_unknown_solver_is_an_error_and_never_replaced(wine):
    with pytest.raises(convexrml.errors.UnknownSolverError):
        RobustMetricLearner(solver="nobody").fit(*wine)


def test_robust_error_of_wine_falls(wine):
    """Held-out exact radii: fewer of them are small than under the Euclidean metric."""
    X, y = wine
    euclidean = convexrml.NearestNeighbors().fit(X[::2], y[::2])
    learner = RobustMetricLearner().fit(X[::2], y[::2])
    metric = convexrml.MahalanobisMetric.from_components(learner.components_)
    learnt = convexrml.NearestNeighbors(metric=metric).fit(X[::2], y[::2])
    before, after = (convexrml.exact_radius(model, X[1::2], y[1::2]).lower for model in (euclidean, learnt))
    median = np.median(before)
    for radius in (0.0, 0.5 * median, median, 1.5 * median):
        assert np.sum(after <= radius) <= np.sum(before <= radius)
    assert np.median(after) > 1.1 * median


def test_works_with_scikit_learn(wine):
    X, y = wine
    learner = RobustMetricLearner(n_rounds=1)
    chain = make_pipeline(MinMaxScaler(), learner, KNeighborsClassifier(1))
    search = GridSearchCV(chain, {"robustmetriclearner__tau": [0.0, 0.5]}, cv=2).fit(X, y)
    assert search.best_score_ > 0.9
    learner.fit(X, y)
    VI = learner.get_mahalanobis_matrix()
    direct = KNeighborsClassifier(1, metric="mahalanobis", metric_params={"VI": VI}, algorithm="brute").fit(X, y)
    mapped = KNeighborsClassifier(1).fit(learner.transform(X), y)
    rng = np.random.default_rng(0)
    Z = rng.uniform(size=(50, 13))
    np.testing.assert_array_equal(direct.predict(Z), mapped.predict(learner.transform(Z)))
    ours = convexrml.NearestNeighbors(metric=convexrml.MahalanobisMetric.from_components(learner.components_))
    np.testing.assert_array_equal(ours.fit(X, y).predict(Z), direct.predict(Z))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(learner)).transform(Z), learner.transform(Z))
    assert learner.get_feature_names_out()[0] == "robustmetriclearner0"


def test_a_constant_feature_gets_no_weight_and_changes_nothing(wine):
    X, y = wine
    wider = np.insert(X, 4, 7.0, axis=1)
    plain, padded = (RobustMetricLearner(n_rounds=2).fit(data, y) for data in (X, wider))
    assert (padded.components_[:, 4] == 0).all()
    np.testing.assert_array_equal(np.delete(padded.components_, 4, axis=1), plain.components_)


def test_units_of_the_features_do_not_matter(wine):
    X, y = wine
    one, other = (RobustMetricLearner(n_rounds=1, tol=1e-6).fit(k * X, y) for k in (1, 1e3))
    a, b = one.get_mahalanobis_matrix(), other.get_mahalanobis_matrix()
    assert np.abs(a - b).max() <= 1e-2 * np.abs(a).max()  # the optimum moves by the root of the gap


def test_the_same_every_time_and_with_any_number_of_threads(wine):
    X, y = wine
    matrices = []
    for threads in (1, 2, 2):
        with threadpoolctl.threadpool_limits(threads):
            matrices.append(RobustMetricLearner(n_rounds=2).fit(X, y).get_mahalanobis_matrix())
    np.testing.assert_array_equal(matrices[1], matrices[2])
    np.testing.assert_allclose(matrices[0], matrices[1], rtol=0, atol=1e-8)


def test_too_many_triplets_draw_anchors_by_the_seed(wine):
    X, y = wine
    few = [RobustMetricLearner(max_triplets=300, n_rounds=1, random_state=s).fit(X, y) for s in (0, 0, 1)]
    assert [learner.n_triplets_ for learner in few] == [300, 300, 300]
    np.testing.assert_array_equal(few[0].components_, few[1].components_)
    assert not np.allclose(few[0].get_mahalanobis_matrix(), few[2].get_mahalanobis_matrix())


@pytest.mark.filterwarnings("ignore:tau, strength")  # all but the first step
def test_collapse_is_noticed_explained_and_left_by_shrinking(wine):
    with pytest.warns(
        UserWarning, match=r"M = 0 .* at tau=0\.75 and strength=50; going on with tau=0\.375 and strength=25"
    ):
        learner = RobustMetricLearner(tau=0.75, regulariser="trace_penalty", strength=50.0, n_rounds=1).fit(*wine)
    assert learner.share_ < 1 and np.trace(learner.get_mahalanobis_matrix()) > 0


def test_data_from_which_nothing_can_be_learnt():
    X = np.array([[0.0], [1.0], [0.5], [1.5]])  # the other class is always nearer
    with warnings.catch_warnings(), pytest.raises(CollapsedMetricError, match="fixed_trace"):
        warnings.simplefilter("ignore")
        RobustMetricLearner(regulariser="trace_penalty", n_targets=1, n_impostors=1).fit(X, [0, 0, 1, 1])
    with pytest.raises(InvalidInputError, match="no margins"):
        RobustMetricLearner(n_targets=1, n_impostors=1).fit([[0.0], [0.0], [0.0], [0.0], [1.0]], [0, 0, 1, 1, 1])
    with pytest.raises(InvalidInputError, match="constant"):
        RobustMetricLearner().fit(np.ones((4, 2)), [0, 0, 1, 1])
    with pytest.raises(InvalidInputError, match="two classes at least; found one"):
        RobustMetricLearner().fit(np.eye(4), np.ones(4))
    with pytest.raises(InvalidInputError, match="no two of the"):
        RobustMetricLearner().fit(np.eye(4), np.arange(4))


def test_a_missed_gap_warns(wine):
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        learner = RobustMetricLearner(max_iter=1, tol=0.0, n_rounds=1).fit(*wine)
    assert not learner.converged_ and learner.gap_ > 0
    with pytest.warns(ConvergenceWarning, match="after 1 of 5 rounds"):
        learner = RobustMetricLearner(max_time=1e-6).fit(*wine)
    assert learner.n_rounds_ == 1


def test_progress(wine, capsys):
    seen = []
    RobustMetricLearner(n_rounds=2, verbose=True, callback=lambda number, now: seen.append((number, now.gap))).fit(
        *wine
    )
    assert {number for number, _ in seen} == {0, 1} and seen[-1][1] <= 1e-3
    out, err = capsys.readouterr()
    assert out == "" and "2/2" in err and "gap" in err


@pytest.mark.parametrize(
    ("name", "value"),
    [("tau", -1.0), ("tau", np.nan), ("margin", 0.0), ("strength", 0.0), ("strength", np.inf), ("regulariser", "l2"),
     ("n_targets", 0), ("n_impostors", 1.5), ("n_rounds", 0), ("damping", 1.0), ("tol", -1e-3), ("max_iter", 0),
     ("max_time", 0.0), ("max_triplets", 0), ("norm", 3)],
)  # fmt: skip
def test_parameters_that_make_no_sense_are_named(name, value):
    X, y = load_iris(return_X_y=True)
    learner = clone(RobustMetricLearner()).set_params(**{name: value})
    with pytest.raises(InvalidInputError, match=f"^{name}:"):
        learner.fit(X, y)


def test_components_reveal_the_rank():
    rng = np.random.default_rng(0)
    A = rng.normal(size=(2, 5))
    L = components_of(A.T @ A)
    assert L.shape == (2, 5)
    np.testing.assert_allclose(L.T @ L, A.T @ A, atol=1e-13)
    assert (L[np.arange(2), np.abs(L).argmax(axis=1)] > 0).all()


@pytest.mark.slow
def test_many_features_of_noise_are_seen_through():
    """On average over draws: single ones gain between 0.035 and 0.115."""
    gains = []
    for seed in range(6):
        X, y = make_classification(400, 40, n_informative=4, n_redundant=0, random_state=seed)
        learned = RobustMetricLearner(n_rounds=3).fit(X[:200], y[:200]).transform(X)
        before, after = (KNeighborsClassifier(1).fit(A[:200], y[:200]).score(A[200:], y[200:]) for A in (X, learned))
        gains.append(after - before)
    assert np.mean(gains) > 0.05
    assert min(gains) > 0
