import numpy as np
import pytest

from convexrml import MahalanobisMetric, nearest_psd
from convexrml.errors import InvalidInputError
from convexrml.metric import as_metric


def test_matrix_and_components_are_the_same_metric():
    L = np.array([[1.0, 2.0, 0.0], [0.0, -1.0, 3.0]])
    X = np.array([[1.0, 2.0, 3.0], [-4.0, 0.0, 5.0]])
    by_components, by_matrix = MahalanobisMetric.from_components(L), MahalanobisMetric.from_matrix(L.T @ L)
    assert np.array_equal(by_components.mahalanobis_matrix, L.T @ L)
    assert np.array_equal(by_matrix.mahalanobis_matrix, L.T @ L)
    for metric in (by_components, by_matrix):
        sites, offsets = metric.sites(X)
        assert np.array_equal(sites, X @ L.T @ L)  # whole numbers: no rounding
        assert np.array_equal(offsets, ((X @ L.T) ** 2).sum(axis=1))
        assert sites.flags.c_contiguous


def test_the_euclidean_metric():
    metric = MahalanobisMetric.euclidean(3)
    assert np.array_equal(metric.mahalanobis_matrix, np.eye(3))
    sites, offsets = metric.sites(np.array([[1.0, 2.0, 3.0]]))
    assert (sites.tolist(), offsets.tolist()) == ([[1.0, 2.0, 3.0]], [14.0])
    assert metric.magnitude == 1.0
    assert metric.summands == 0


def test_the_magnitude_dominates_every_product():
    rng = np.random.default_rng(0)
    for _ in range(20):
        L, x, p = rng.standard_normal((2, 4)), rng.standard_normal(4), rng.standard_normal(4)
        length = np.linalg.norm(x) * np.linalg.norm(p)
        for metric, bracket in (
            (MahalanobisMetric.from_components(L), np.abs(x) @ np.abs(L).T @ np.abs(L) @ np.abs(p)),
            (MahalanobisMetric.from_matrix(L.T @ L), np.abs(x) @ np.abs(L.T @ L) @ np.abs(p)),
        ):
            assert bracket <= metric.magnitude * length * (1 + 1e-12)


@pytest.mark.parametrize(
    "given", [np.array([[1.0, 2.0, 3.0]]), np.zeros((1, 3)), np.eye(3)[:2], np.ones((5, 3))], ids=lambda a: str(a.shape)
)
def test_a_matrix_that_is_not_square_is_read_as_components(given):
    assert np.array_equal(as_metric(given, 3).components, given)


def test_a_square_one_is_read_as_the_matrix_unless_told_otherwise():
    square = np.array([[2.0, 1.0], [1.0, 2.0]])
    assert np.array_equal(as_metric(square, 2).matrix, square)
    metric = MahalanobisMetric.from_components(square)
    assert as_metric(metric, 2) is metric
    assert np.array_equal(metric.mahalanobis_matrix, square @ square)
    assert as_metric(None, 2).mahalanobis_matrix.tolist() == np.eye(2).tolist()


@pytest.mark.parametrize(
    "given",
    [
        np.zeros((2, 2)), np.diag([1.0, 0.0]), np.diag([1.0, -1e-15]), np.array([[1.0, 1e-15], [0.0, 1.0]]),
        np.array([[1, 2], [2, 4]]), np.eye(2, dtype=np.float32) * np.float32(0.1), [[1e300, 0], [0, 1e300]],
    ],
)  # fmt: skip
def test_positive_semidefinite_up_to_rounding(given):
    matrix = MahalanobisMetric.from_matrix(given).mahalanobis_matrix
    assert np.array_equal(matrix, matrix.T)
    np.testing.assert_allclose(matrix, np.asarray(given, dtype=float), atol=1e-14)


def test_float32_matrices_are_judged_by_their_own_rounding():
    rng = np.random.default_rng(0)
    L = rng.standard_normal((3, 8)).astype(np.float32)
    M = L.T @ L
    assert np.linalg.eigvalsh(M.astype(float))[0] < -1e-9, "the instance should be indefinite in float64"
    MahalanobisMetric.from_matrix(M)
    with pytest.raises(InvalidInputError, match="not positive semidefinite.*nearest_psd"):
        MahalanobisMetric.from_matrix(M.astype(float))
    MahalanobisMetric.from_matrix(nearest_psd(M))


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (np.diag([1.0, -1e-6]), "positive semidefinite"), (np.array([[0.0, 1.0], [1.0, 0.0]]), "positive semidefinite"),
        (-np.eye(2), "positive semidefinite"), (np.array([[1.0, 1e-6], [0.0, 1.0]]), "symmetric"),
        (np.array([[0.0, 1.0], [-1.0, 0.0]]), "symmetric"), (np.ones((2, 3)), "square"), (np.ones(2), "needs a matrix"),
        (5, "needs a matrix"), (np.zeros((0, 0)), "needs a matrix"), ([[np.nan, 0], [0, 1]], "NaN"),
        ([[np.inf, 0], [0, 1]], "infinite"), ("text", "numbers"), ([[1, 0], [0]], "numbers"), ([[1j]], "complex"),
        (None, "numbers|NaN|matrix"),
    ],
)  # fmt: skip
def test_what_is_no_matrix_of_a_metric_is_refused(given, why):
    with pytest.raises(InvalidInputError, match=rf"^metric: .*({why})"):
        MahalanobisMetric.from_matrix(given)


@pytest.mark.parametrize(
    "given", [np.ones(2), 5, np.zeros((0, 2)), np.zeros((2, 0)), [[np.nan, 1]], "text", [[1], [1, 2]]]
)
def test_what_is_no_components_is_refused(given):
    with pytest.raises(InvalidInputError, match=r"^metric: "):
        MahalanobisMetric.from_components(given)


@pytest.mark.parametrize(
    "given",
    [np.eye(2), np.ones((1, 2)), MahalanobisMetric.euclidean(2), "text", 5, [[1, 0], [0]], object()],
    ids=lambda given: type(given).__name__,
)
def test_a_metric_that_does_not_fit_the_data_is_refused(given):
    with pytest.raises(InvalidInputError, match=r"^metric: "):
        as_metric(given, 3)


def test_the_nearest_psd_matrix():
    P = nearest_psd(np.diag([2.0, -3.0]))
    assert P.tolist() == [[2.0, 0.0], [0.0, 0.0]]
    np.testing.assert_allclose(nearest_psd([[0.0, 2.0], [0.0, 0.0]]), np.full((2, 2), 0.5), atol=1e-15)
    rng = np.random.default_rng(0)
    A = rng.standard_normal((5, 5))
    P = nearest_psd(A)
    MahalanobisMetric.from_matrix(P)
    for _ in range(50):  # no other psd matrix is nearer
        L = rng.standard_normal((5, 5))
        other = P + rng.uniform(0, 0.5) * (L.T @ L - P)
        assert np.linalg.norm(A - P) <= np.linalg.norm(A - other) + 1e-12


@pytest.mark.parametrize("given", [np.ones((2, 3)), np.ones(2), [[np.nan]], "text", np.zeros((0, 0))])
def test_only_square_matrices_have_a_nearest_psd_matrix(given):
    with pytest.raises(InvalidInputError, match=r"^matrix: "):
        nearest_psd(given)
