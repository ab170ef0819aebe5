"""Fitted scikit-learn classifiers, read as nearest-neighbour classifiers of their raw inputs."""

import math
import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.decomposition import NMF, PCA, FastICA, IncrementalPCA, KernelPCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import (
    KNeighborsClassifier,
    NearestCentroid,
    NeighborhoodComponentsAnalysis,
    RadiusNeighborsClassifier,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    PolynomialFeatures,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.random_projection import GaussianRandomProjection, SparseRandomProjection

import convexrml
from convexrml import checker
from convexrml.errors import InvalidInputError, NotAffineError, NotFittedError

N, D, QUERIES = 150, 6, 10_000
RNG = np.random.default_rng(7)
MIX = RNG.standard_normal((D, D)) + 2 * np.eye(D)
CENTRES = 2.0 * RNG.standard_normal((3, D))
Y = np.arange(N) % 3
X = (CENTRES[Y] + RNG.standard_normal((N, D))) @ MIX + 5 * RNG.standard_normal(D)
Z = (CENTRES[RNG.integers(0, 3, QUERIES)] + 2 * RNG.standard_normal((QUERIES, D))) @ MIX + X.mean(axis=0)
SPD = MIX @ MIX.T
WEIGHTS = np.array([0.5, 3.0, 1.0, 0.1, 2.0, 0.0])

A_WIDE, A_FLAT = RNG.standard_normal((9, D)), RNG.standard_normal((3, D))
STEPS = {
    "standard": StandardScaler(),
    "standard, only mean": StandardScaler(with_std=False),
    "standard, only std": StandardScaler(with_mean=False),
    "minmax": MinMaxScaler((-1, 3)),
    "robust": RobustScaler(quantile_range=(10, 80), unit_variance=True),
    "robust, only centre": RobustScaler(with_scaling=False),
    "robust, only scale": RobustScaler(with_centering=False),
    "maxabs": MaxAbsScaler(),
    "pca": PCA(),
    "pca to 3": PCA(3),
    "pca to 3, whitened": PCA(3, whiten=True),
    "pca, randomized": PCA(2, svd_solver="randomized", random_state=0),
    "incremental pca": IncrementalPCA(4, whiten=True),
    "svd": TruncatedSVD(4),
    "lda": LinearDiscriminantAnalysis(),
    "lda to 1": LinearDiscriminantAnalysis(n_components=1),
    "lda by eigenvectors": LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto"),
    "nca": NeighborhoodComponentsAnalysis(3, max_iter=20, random_state=0),
    "gaussian projection": GaussianRandomProjection(4, random_state=0),
    "gaussian projection, wider": GaussianRandomProjection(9, random_state=0),
    "sparse projection": SparseRandomProjection(4, random_state=0),
    "select": SelectKBest(k=3),
    "variance": VarianceThreshold(1.0),
    "convexrml.affine_transformer": convexrml.affine_transformer(A_FLAT, [1, 2, 3]),
    "affine, wider": convexrml.affine_transformer(A_WIDE),
    "affine, diagonal with a zero": convexrml.affine_transformer([1, 2, 0, 4, 5, 6], np.ones(D)),
    "passthrough": "passthrough",
    "identity": FunctionTransformer(),
}


def knn(k=3, **options):
    return KNeighborsClassifier(k, **options)


def agreeing(fitted, Q=Z, inputs=None):
    """The model, once it has been seen to predict as the estimator does."""
    model = convexrml.from_estimator(fitted, inputs)
    assert np.array_equal(model.predict(np.asarray(Q)), fitted.predict(Q))
    return model


@pytest.mark.parametrize("name", STEPS)
def test_one_step_before_three_neighbours(name):
    pipe = make_pipeline(clone(STEPS[name]) if name != "passthrough" else name, knn()).fit(X, Y)
    model = agreeing(pipe)
    assert model.n_neighbors == 3 and model.n_features_in_ == D
    given = agreeing(pipe, inputs=X)
    assert np.array_equal(given.training_points_, X)


@pytest.mark.parametrize("name", ["standard", "minmax", "pca to 3, whitened", "lda", "affine, wider"])
def test_one_step_before_centroids(name):
    agreeing(make_pipeline(clone(STEPS[name]), NearestCentroid()).fit(X, Y))


METRICS = {
    "euclidean": {},
    "euclidean, tree": {"algorithm": "kd_tree"},
    "sqeuclidean": {"metric": "sqeuclidean", "algorithm": "brute"},
    "l2": {"metric": "l2"},
    "weighted, ball tree": {"metric_params": {"w": WEIGHTS + 1}, "algorithm": "ball_tree"},
    "weighted, brute": {"metric_params": {"w": WEIGHTS}, "algorithm": "brute"},
    "seuclidean": {"metric": "seuclidean", "metric_params": {"V": X.var(axis=0)}},
    "seuclidean, brute": {"metric": "seuclidean", "metric_params": {"V": WEIGHTS + 1}, "algorithm": "brute"},
    "mahalanobis, VI": {"metric": "mahalanobis", "metric_params": {"VI": np.linalg.inv(SPD)}, "algorithm": "brute"},
    "mahalanobis, VI, tree": {"metric": "mahalanobis", "metric_params": {"VI": SPD}, "algorithm": "ball_tree"},
    "mahalanobis, V": {"metric": "mahalanobis", "metric_params": {"V": SPD}, "algorithm": "ball_tree"},
}


@pytest.mark.parametrize("before", [[], [StandardScaler(), PCA()]], ids=["alone", "behind steps"])
@pytest.mark.parametrize("name", METRICS)
def test_metrics(name, before):
    fitted = make_pipeline(*map(clone, before), knn(1, **METRICS[name])).fit(X, Y)
    model = agreeing(fitted)
    if not before:
        assert np.array_equal(model.training_points_, X)
        if not METRICS[name].get("metric_params"):
            assert model.metric_.is_euclidean


def test_a_singular_mahalanobis_metric_behind_a_projection():
    VI = A_FLAT[:2, :4].T @ A_FLAT[:2, :4]
    metric = {"metric": "mahalanobis", "metric_params": {"VI": VI}, "algorithm": "brute"}
    agreeing(make_pipeline(PCA(4), knn(5, **metric)).fit(X, Y))


def test_metric_learn():
    metric_learn = pytest.importorskip("metric_learn")
    learners = [
        metric_learn.LMNN(n_components=3, max_iter=5, random_state=0),
        metric_learn.NCA(max_iter=5, random_state=0),
        metric_learn.LFDA(n_components=2),
        metric_learn.Covariance(),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            learners[-1].fit(X)
        except TypeError as error:
            pytest.skip(f"this metric-learn does not run with this scikit-learn: {error}")
        for learner in learners:
            agreeing(make_pipeline(StandardScaler(), learner, knn()).fit(X, Y))


def test_learners_with_the_interface_of_metric_learn():
    from convexrml.learning.base import MetricLearner

    class Learner(MetricLearner):
        def fit(self, X, y):
            self.components_, self.n_features_in_ = A_FLAT, X.shape[1]
            return self

    agreeing(make_pipeline(StandardScaler(), Learner(), knn()).fit(X, Y))


def test_nested_pipelines_that_change_the_number_of_features():
    inner = Pipeline([("wide", GaussianRandomProjection(11, random_state=0)), ("scale", StandardScaler())])
    end = make_pipeline(PCA(5), "passthrough", LinearDiscriminantAnalysis(), knn(5))
    pipe = make_pipeline(MinMaxScaler(), inner, None, end).fit(X, Y)
    model = agreeing(pipe)
    assert model.metric_.components.shape == (2, D)
    agreeing(pipe, inputs=X)


@pytest.mark.parametrize("step", [StandardScaler(), MinMaxScaler(), PCA(3, whiten=True), LinearDiscriminantAnalysis()])
def test_float32(step):
    pipe = make_pipeline(clone(step), knn()).fit(X.astype(np.float32), Y)
    agreeing(pipe)  # asked in float64; in float32 the estimator rounds the queries' images
    agreeing(pipe, inputs=X.astype(np.float32))
    agreeing(make_pipeline(clone(step), GaussianRandomProjection(9, random_state=0), knn()).fit(np.float32(X), Y))


def test_strings_booleans_and_data_frames():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcdef"))
    names = np.array(["cat", "dog", "eel"], dtype=object)[Y]
    pipe = make_pipeline(StandardScaler(), PCA(4), knn()).fit(frame, names)
    model = agreeing(pipe, pandas.DataFrame(Z, columns=list("abcdef")))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.classes_.tolist() == ["cat", "dog", "eel"]
        assert np.array_equal(convexrml.from_estimator(pipe, frame).training_points_, X)
    pipe.set_output(transform="pandas")
    agreeing(pipe, pandas.DataFrame(Z, columns=list("abcdef")))
    agreeing(make_pipeline(MinMaxScaler(), knn()).fit(X, Y == 1))


def test_sparse_training_points():
    sparse = pytest.importorskip("scipy.sparse")
    few = np.where(X > 1, X, 0.0)
    pipe = make_pipeline(MaxAbsScaler(), TruncatedSVD(4), knn()).fit(sparse.csr_matrix(few), Y)
    agreeing(pipe)
    agreeing(knn().fit(sparse.csr_matrix(few), Y))


def test_constant_features_are_no_obstacle():
    flat = X.copy()
    flat[:, 2] = 4.0
    for step in (StandardScaler(), MinMaxScaler(), RobustScaler(), PCA(), PCA(5, whiten=True)):
        agreeing(make_pipeline(step, knn()).fit(flat, Y))


def test_equal_training_points_stay_equal():
    twice, labels = np.concatenate([X, X]), np.concatenate([Y, (Y + 1) % 3])
    pipe = make_pipeline(StandardScaler(), PCA(3), knn(1)).fit(twice, labels)
    pipe[-1]._fit_X = np.concatenate([pipe[-1]._fit_X[:N]] * 2)  # whatever BLAS made of equal rows
    model = convexrml.from_estimator(pipe)
    assert np.array_equal(model.training_points_[:N], model.training_points_[N:])
    assert (convexrml.exact_radius(model, Z[:20], model.predict(Z[:20])).upper == 0).all()


def test_radii_are_in_the_units_of_the_input():
    scaled = StandardScaler().fit(X)
    pipe = make_pipeline(scaled, PCA(3), knn(1)).fit(X, Y)
    model = convexrml.from_estimator(pipe)
    labels = pipe.predict(Z[:40])
    exact = convexrml.exact_radius(model, Z[:40], labels)
    assert all(status.closed for status in exact.status)
    witness = Z[:40] + exact.perturbation  # on a boundary: one step into the cell of the point that it runs into
    assert (pipe.predict(witness + 1e-6 * (model.training_points_[exact.negative] - witness)) != labels).all()
    assert (pipe.predict(Z[:40] + exact.perturbation * (1 - 1e-6)) == labels).all()
    directions = RNG.standard_normal((40, 200, D))
    directions *= 0.999999 * exact.lower[:, None, None] / np.linalg.norm(directions, axis=2)[..., None]
    inside = Z[:40, None] + directions
    assert (pipe.predict(inside.reshape(-1, D)).reshape(40, 200) == labels[:, None]).all()
    bound = convexrml.certified_radius(model, Z[:40], labels)
    assert (bound.lower <= exact.upper).all()
    attack = convexrml.attack_radius(model, Z[:40], labels)
    assert (attack.upper >= exact.lower).all()


@pytest.mark.parametrize("norm", [1, 2, math.inf])
def test_radii_do_not_depend_on_which_preimages(norm):
    pipe = make_pipeline(StandardScaler(), PCA(3), knn(1)).fit(X, Y)
    labels = pipe.predict(Z[:10])
    models = [convexrml.from_estimator(pipe, inputs) for inputs in (None, X)]
    computed, given = (convexrml.exact_radius(model, Z[:10], labels, norm=norm).radius for model in models)
    np.testing.assert_allclose(computed, given, rtol=1e-8)  # the search's 1e-9, and rounding in either model


def test_a_whole_pipeline_against_a_scaling_by_hand():
    pipe = make_pipeline(MinMaxScaler(), knn(1)).fit(X, Y)
    width = X.max(axis=0) - X.min(axis=0)
    by_hand = convexrml.NearestNeighbors(1, convexrml.MahalanobisMetric.from_components(np.diag(1 / width))).fit(X, Y)
    labels = pipe.predict(Z[:50])
    found = convexrml.exact_radius(convexrml.from_estimator(pipe), Z[:50], labels)
    np.testing.assert_allclose(found.radius, convexrml.exact_radius(by_hand, Z[:50], labels).radius, rtol=1e-9)


def test_certificates_of_a_pipeline():
    model = convexrml.from_estimator(make_pipeline(StandardScaler(), PCA(2), knn(1)).fit(X, Y))
    found = convexrml.exact_radius(model, Z[:5], model.predict(Z[:5]), certificates=True)
    assert len(found.certificates) == 5
    for certificate in found.certificates:
        checker.check(certificate.to_bytes(), model.exact)


def test_declared_affine_maps_are_cloned_and_pickled():
    pipe = make_pipeline(convexrml.affine_transformer(A_FLAT, [1, 2, 3]), knn())
    again = pickle.loads(pickle.dumps(clone(pipe).fit(X, Y)))
    agreeing(again)
    np.testing.assert_allclose(again[0].transform(X), X @ A_FLAT.T + [1, 2, 3], rtol=1e-15)
    for A, b in ((np.ones((2, 3)), [1.0]), (np.zeros((0, 3)), None), ("A", None), (np.nan * A_FLAT, None)):
        with pytest.raises(InvalidInputError):
            convexrml.affine_transformer(A, b)


class OtherScaler(StandardScaler):
    pass


class OtherNeighbours(KNeighborsClassifier):
    pass


POSITIVE = np.abs(X)
REFUSED = {
    "Normalizer.*own norm": make_pipeline(Normalizer(), knn()),
    "QuantileTransformer.*quantiles": make_pipeline(QuantileTransformer(n_quantiles=10), knn()),
    "PolynomialFeatures.*multiplies": make_pipeline(PolynomialFeatures(), knn()),
    "KernelPCA.*kernels": make_pipeline(KernelPCA(2, kernel="rbf"), knn()),
    "NMF.*least-squares": make_pipeline(NMF(2, max_iter=1000, tol=1e-2), knn()),
    "FastICA.*affine_transformer": make_pipeline(FastICA(2, random_state=0), knn()),
    "minmaxscaler: .*clip=True": make_pipeline(MinMaxScaler(clip=True), knn()),
    "OtherScaler is a subclass": make_pipeline(OtherScaler(), knn()),
    "OtherNeighbours is a subclass": OtherNeighbours(3),
    "FunctionTransformer may run any code": make_pipeline(FunctionTransformer(np.abs), knn()),
    "even": knn(4),
    "weights='distance'": knn(weights="distance"),
    "'manhattan'": knn(metric="manhattan"),
    "'cosine'": knn(metric="cosine"),
    "'minkowski' with p=3": knn(p=3),
    "'far'": knn(metric=lambda a, b: abs(a - b).max()),
    "RadiusNeighborsClassifier": RadiusNeighborsClassifier(1.0, outlier_label="most_frequent"),
    "'NearestCentroid|NearestCentroid is read": NearestCentroid(metric="manhattan"),
    "best_estimator_": GridSearchCV(knn(), {"n_neighbors": [1, 3]}),
    "LinearDiscriminantAnalysis is no nearest": LinearDiscriminantAnalysis(),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_is_not_affine_is_refused_by_name(message):
    fitted = REFUSED[message].fit(POSITIVE, Y)
    with pytest.raises(NotAffineError, match=message.replace("'far'", "'<lambda>'")):
        convexrml.from_estimator(fitted)


def test_other_refusals():
    with pytest.raises(NotAffineError, match="several outputs"):
        convexrml.from_estimator(knn().fit(X, np.column_stack([Y, Y])))
    if "priors" in NearestCentroid().get_params():
        with pytest.raises(NotAffineError, match="priors"):
            convexrml.from_estimator(NearestCentroid(priors=[0.5, 0.3, 0.2]).fit(X, Y))
    with pytest.raises(NotAffineError, match="passthrough|str"):
        convexrml.from_estimator(make_pipeline(StandardScaler(), "passthrough").fit(X, Y))
    for unfitted in (knn(), make_pipeline(StandardScaler(), knn()), NearestCentroid()):
        with pytest.raises(NotFittedError):
            convexrml.from_estimator(unfitted)
    with pytest.raises(InvalidInputError, match="no fitted estimator"):
        convexrml.from_estimator(KNeighborsClassifier)
    with pytest.raises(InvalidInputError, match="not positive semidefinite"):
        metric = {"metric": "mahalanobis", "metric_params": {"VI": np.diag([1, 1, 1, 1, 1, -1.0])}}
        convexrml.from_estimator(knn(algorithm="brute", **metric).fit(X, Y))


def test_classifiers_whose_points_no_input_maps_to():
    wide = make_pipeline(GaussianRandomProjection(9, random_state=0), knn(1)).fit(X, Y)
    wide[-1]._fit_X = wide[-1]._fit_X + 1e-6 * RNG.standard_normal((N, 9))
    with pytest.raises(NotAffineError, match="away from the image of every input"):
        convexrml.from_estimator(wide)
    shrunken = make_pipeline(GaussianRandomProjection(9, random_state=0), NearestCentroid(shrink_threshold=3.0))
    with pytest.raises(NotAffineError, match="shrink"):
        convexrml.from_estimator(shrunken.fit(X, Y))
    agreeing(NearestCentroid(shrink_threshold=0.5).fit(X, Y))


def test_directions_in_which_the_data_do_not_vary():
    flat, Q = np.column_stack([X, X @ A_FLAT.T]), np.column_stack([Z, Z @ A_FLAT.T])
    for whole in (PCA(whiten=True, svd_solver="full"), IncrementalPCA(9, whiten=True)):
        with pytest.raises(NotAffineError, match="whitens 3 components.*n_components to at most 6"):
            convexrml.from_estimator(make_pipeline(whole, knn()).fit(flat, Y))
    agreeing(make_pipeline(PCA(6, whiten=True), knn()).fit(flat, Y), Q)
    agreeing(make_pipeline(PCA(svd_solver="full"), knn()).fit(flat, Y), Q)


def test_a_map_with_rows_of_very_different_length():
    stretch = convexrml.affine_transformer(np.diag(10.0 ** np.arange(-9, 9, 3)) @ A_WIDE[:6])
    agreeing(make_pipeline(stretch, knn()).fit(X, Y))


def test_inputs_so_far_away_that_rounding_is_all_there_is():
    with pytest.raises(NotAffineError, match="compares rounding"):
        convexrml.from_estimator(make_pipeline(StandardScaler(), knn()).fit(X + 1e14, Y))


def test_steps_that_do_not_do_what_they_say():
    pipe = make_pipeline(StandardScaler(), knn()).fit(X, Y)
    pipe[0].transform = lambda points: np.abs(points)
    with pytest.raises(NotAffineError, match="standardscaler: StandardScaler does not compute"):
        convexrml.from_estimator(pipe)


def test_inputs_that_the_estimator_was_not_fitted_with():
    pipe = make_pipeline(StandardScaler(), knn()).fit(X, Y)
    for other, message in ((X[::-1], "is not what"), (X[:-1], "keeps 150 points"), (X[:, :3], "3 features")):
        with pytest.raises(InvalidInputError, match=message):
            convexrml.from_estimator(pipe, other)
    with pytest.raises(InvalidInputError, match="centroids"):
        convexrml.from_estimator(make_pipeline(StandardScaler(), NearestCentroid()).fit(X, Y), X)
    tampered = Pipeline([("scale", StandardScaler().fit(X)), ("knn", knn().fit(X[:, :3], Y))])
    with pytest.raises(InvalidInputError, match="scale makes 6 features, but knn was fitted with 3"):
        convexrml.from_estimator(tampered)
