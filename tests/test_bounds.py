import math

import numpy as np
import oracle
import pytest

from convexrml import MahalanobisMetric, NearestNeighbors, certified_radius
from convexrml.bounds import triplet_bounds
from convexrml.errors import InvalidInputError, NotFittedError
from convexrml.norms import as_norm

WIDTH = 1e-9  # relative: what outward rounding may cost on instances whose numbers are of one magnitude


def assert_just_below(lower, exact, norm, width=WIDTH):
    """`lower` is no greater than the exact value, in rational arithmetic, and within `width` below it."""
    assert oracle.at_most(lower, exact, norm), f"{lower!r} exceeds {oracle.as_float(exact, norm)!r}"
    assert lower >= oracle.as_float(exact, norm) * (1 - width)


@pytest.mark.parametrize(("norm", "radius"), [(1, 25 / 8), (2, 2.5), (math.inf, 25 / 14)], ids=["l1", "l2", "linf"])
def test_one_point_per_class(norm, radius):
    """The distance from 0 to the hyperplane that bisects 0 and (3, 4): 3a + 4b = 12.5."""
    model = NearestNeighbors().fit([[0.0, 0.0], [3.0, 4.0]], ["here", "there"])
    result = certified_radius(model, [[0.0, 0.0]], ["here"], norm=norm)
    assert result.lower[0] == pytest.approx(radius, rel=1e-12)
    assert result.lower[0] <= radius
    assert (result.positive[0], result.negative[0]) == (0, 1)
    assert (len(result), result.n_neighbors, result.norm) == (1, 1, as_norm(norm))


@pytest.mark.parametrize("norm_radius", [(1, 41 / 18), (2, 41 / (2 * math.sqrt(97))), (math.inf, 41 / 26)], ids=str)
def test_one_point_per_class_under_a_metric(norm_radius):
    """M = [[2, 1], [1, 1]], x⁻ = (5, -1): x⁻ᵀMx⁻ = 41, M x⁻ = (9, 4)."""
    norm, radius = norm_radius
    model = NearestNeighbors(metric=[[2.0, 1.0], [1.0, 1.0]]).fit([[0.0, 0.0], [5.0, -1.0]], [0, 1])
    result = certified_radius(model, [[0.0, 0.0]], [0], norm=norm)
    assert radius * (1 - 1e-12) <= result.lower[0] <= radius


def test_two_points_per_class_by_hand(norm):
    """On a line, positives -1 and 1, negatives 5 and -7, query 0.5: the boundary is at 3, in every norm."""
    model = NearestNeighbors().fit([[-1.0], [1.0], [5.0], [-7.0]], [0, 0, 1, 1])
    result = certified_radius(model, [[0.5]], [0], norm=norm)
    assert 2.5 * (1 - 1e-12) <= result.lower[0] <= 2.5
    assert (result.positive[0], result.negative[0]) == (1, 2)


def test_three_neighbours_by_hand(norm):
    """Positives 0, 1, 2, negatives 6, 8, 20; query 1.  Three nearest; a majority is lost when two negatives are each
    nearer than all but one positive: the second largest of 8 over the positives is against 1, at 4.5."""
    model = NearestNeighbors(3).fit([[0.0], [1.0], [2.0], [6.0], [8.0], [20.0]], [0, 0, 0, 1, 1, 1])
    result = certified_radius(model, [[1.0]], [0], norm=norm)
    assert 3.5 * (1 - 1e-12) <= result.lower[0] <= 3.5
    assert (result.positive[0], result.negative[0]) == (1, 4)
    assert model.mislabels([[4.49], [4.51]], [0, 0]).tolist() == [False, True]


@pytest.mark.parametrize("k", [1, 3, 5, 11])
@pytest.mark.parametrize("rank", [None, 1, 3])
@pytest.mark.parametrize("classes", [2, 3])
def test_against_whole_matrices_in_exact_arithmetic(cloud, norm, k, rank, classes):
    positive = 0
    for seed in range(3):
        for integers in (True, False):
            data = cloud(seed=seed, n=16, d=3, classes=classes, integers=integers, rank=rank)
            exact = oracle.Instance(data.X, data.y, L=data.L)
            got = certified_radius(data.model(k), data.Z, data.labels, norm=norm).lower
            for z, label, lower in zip(data.Z, data.labels, got, strict=True):
                value = exact.certified(z, label, k, norm)
                assert_just_below(lower, value, norm)
                positive += value > 0
    assert positive >= (3 if k < 11 else 0), "most instances should have something to certify"


def test_a_large_number_of_neighbours_can_certify_too(cloud, norm):
    X = np.concatenate([np.arange(-6.0, 6.0)[:, None], np.arange(90.0, 110.0)[:, None]])
    y = np.repeat([0, 1], [12, 20])
    model = NearestNeighbors(11).fit(X, y)
    lower = certified_radius(model, [[0.0], [99.0]], [0, 1], norm=norm).lower
    exact = oracle.Instance(X, y)
    for z, label, bound in ((0.0, 0, lower[0]), (99.0, 1, lower[1])):
        assert bound > 30
        assert_just_below(bound, exact.certified([z], label, 11, norm), norm)


def test_misclassified_queries_have_nothing_certified(cloud, norm):
    data = cloud(seed=1, n=20, d=2, queries=100)
    for k in (1, 3, 5):
        model = data.model(k)
        wrong = model.mislabels(data.Z, np.zeros(100, dtype=int))
        lower = certified_radius(model, data.Z, np.zeros(100, dtype=int), norm=norm).lower
        assert 0 < wrong.sum() < 100
        assert (lower[wrong] == 0).all()
        assert (lower[~wrong] > 0).any()


def test_duplicates_with_conflicting_labels(norm):
    model = NearestNeighbors().fit([[0.0, 0.0], [0.0, 0.0], [6.0, 0.0], [20.0, 0.0]], [0, 1, 0, 1])
    lower = certified_radius(model, [[0.0, 0.0], [0.0, 0.0], [6.0, 0.0]], [0, 1, 0], norm=norm).lower
    assert lower[:2].tolist() == [0.0, 0.0]
    assert 3.0 * (1 - 1e-12) <= lower[2] <= 3.0


def test_one_class_cannot_be_lost(norm):
    result = certified_radius(NearestNeighbors().fit([[0.0], [4.0]], ["only"] * 2), [[1.0]], ["only"], norm=norm)
    assert result.lower.tolist() == [math.inf]
    assert (result.positive.tolist(), result.negative.tolist()) == ([-1], [-1])


def test_fewer_negatives_than_a_majority_cannot_win(norm):
    model = NearestNeighbors(3).fit([[0.0], [1.0], [2.0], [3.0]], [0, 0, 0, 1])
    assert certified_radius(model, [[3.0]], [0], norm=norm).lower.tolist() == [math.inf]
    assert certified_radius(model, [[0.0]], [1], norm=norm).lower.tolist() == [0.0]


@pytest.mark.parametrize("metric", [np.zeros((2, 2)), np.zeros((1, 2))], ids=["matrix", "components"])
def test_the_zero_metric_makes_everything_a_tie(norm, metric):
    model = NearestNeighbors(metric=metric).fit([[0.0, 0.0], [3.0, 4.0]], [0, 1])
    assert certified_radius(model, [[0.0, 0.0]], [0], norm=norm).lower.tolist() == [0.0]


def test_points_equal_under_a_singular_metric(norm):
    """M sees the first feature only: the first two points coincide, with conflicting labels."""
    for metric in (np.diag([1.0, 0.0]), np.array([[1.0, 0.0]])):
        model = NearestNeighbors(metric=metric).fit([[0.0, 0.0], [0.0, 9.0], [6.0, -3.0], [20.0, 0.0]], [0, 1, 0, 1])
        lower = certified_radius(model, [[0.0, 0.0], [0.0, 5.0], [6.0, 77.0]], [0, 1, 0], norm=norm).lower
        assert lower[:2].tolist() == [0.0, 0.0]
        assert 3.0 * (1 - 1e-9) <= lower[2] <= 3.0


def test_points_equal_under_an_oblique_metric_are_never_certified_apart(norm):
    rng = np.random.default_rng(0)
    for _ in range(50):
        L = rng.integers(-3, 4, (1, 2)).astype(float) / 7
        along = np.array([L[0, 1], -L[0, 0]]) * rng.integers(1, 5)
        X = np.array([[0.3, 0.1], [0.3, 0.1] + along, [5.0, 2.0]])
        exact = oracle.Instance(X, [0, 1, 0], L=L)
        lower = certified_radius(NearestNeighbors(metric=L).fit(X, [0, 1, 0]), X[:2] + 0.01, [0, 1], norm=norm).lower
        for z, label, bound in zip(X[:2] + 0.01, (0, 1), lower, strict=True):
            assert oracle.at_most(bound, exact.certified(z, label, 1, norm), norm)


# --- changes that leave the radius alone, or change it in a known way ---------------------------------------------


def both(data, changed, norm, k=3):
    """Certified radii before and after a change (X, y, Z, labels, metric)."""
    X, y, Z, labels, metric = changed
    before = certified_radius(data.model(k), data.Z, data.labels, norm=norm).lower
    return before, certified_radius(NearestNeighbors(k, metric).fit(X, y), Z, labels, norm=norm).lower


@pytest.fixture
def plain(cloud):
    data = cloud(seed=4, n=30, d=3, queries=20, integers=False, rank=3)
    assert (certified_radius(data.model(3), data.Z, data.labels).lower > 0).sum() >= 5
    return data


def from_components(L):
    return MahalanobisMetric.from_components(L)


@pytest.mark.parametrize("scale", [1e-6, 1e6, 2.0**-40])
def test_scaling_the_metric_changes_nothing(plain, norm, scale):
    data = plain
    for metric in (from_components(data.L * math.sqrt(scale)), MahalanobisMetric.from_matrix(data.M * scale)):
        before, after = both(data, (data.X, data.y, data.Z, data.labels, metric), norm)
        np.testing.assert_allclose(after, before, rtol=WIDTH)


@pytest.mark.parametrize("scale", [1e-12, 1e12, 3.0])
def test_scaling_the_features_scales_the_radius(plain, norm, scale):
    data = plain
    before, after = both(data, (data.X * scale, data.y, data.Z * scale, data.labels, from_components(data.L)), norm)
    np.testing.assert_allclose(after, before * scale, rtol=WIDTH)


@pytest.mark.parametrize("move", [1.0, -1e3, 1e6])
def test_translation_changes_nothing(plain, norm, move):
    """Up to what 1 u of the moved coordinates makes of a radius: 1e6 · 2⁻⁵³ ≈ 1e-10 against radii above 1e-3."""
    data = plain
    before, after = both(data, (data.X + move, data.y, data.Z + move, data.labels, from_components(data.L)), norm)
    big = before > 1e-3
    assert big.any()
    np.testing.assert_allclose(after[big], before[big], rtol=1e-6 if abs(move) > 1e3 else WIDTH)


def test_rotation_of_data_and_metric_changes_nothing_in_norm_2(plain):
    data = plain
    Q, _ = np.linalg.qr(np.random.default_rng(9).standard_normal((3, 3)))
    before, after = both(data, (data.X @ Q.T, data.y, data.Z @ Q.T, data.labels, from_components(data.L @ Q.T)), 2)
    np.testing.assert_allclose(after, before, rtol=WIDTH)


def test_permutation_changes_nothing_at_all(plain, norm):
    data = plain
    order = np.random.default_rng(1).permutation(len(data.X))
    before = certified_radius(data.model(3), data.Z, data.labels, norm=norm).lower
    model = NearestNeighbors(3, from_components(data.L)).fit(data.X[order], data.y[order])
    np.testing.assert_allclose(certified_radius(model, data.Z, data.labels, norm=norm).lower, before, rtol=1e-13)
    backwards = certified_radius(data.model(3), data.Z[::-1], data.labels[::-1], norm=norm).lower
    assert np.array_equal(backwards[::-1], before)


def test_renaming_labels_changes_nothing_at_all(plain, norm):
    data = plain
    names = np.array(["zebra", "ant"])
    before, after = both(data, (data.X, names[data.y], data.Z, names[data.labels], from_components(data.L)), norm)
    assert np.array_equal(before, after)


def test_a_point_given_twice_changes_nothing_for_one_neighbour(plain, norm):
    data = plain
    X, y = np.vstack([data.X, data.X[:10]]), np.concatenate([data.y, data.y[:10]])
    before, after = both(data, (X, y, data.Z, data.labels, from_components(data.L)), norm, k=1)
    np.testing.assert_allclose(after, before, rtol=WIDTH)


@pytest.mark.parametrize("far", [1e4, 1e6, 1e8, 1e10, 1e12])
def test_a_far_point_costs_the_others_nothing_that_can_be_seen(plain, norm, far):
    """Deductions are made pair by pair: a sentinel in the data leaves the certified radii of the others alone."""
    data = plain
    before = certified_radius(data.model(3), data.Z, data.labels, norm=norm).lower
    for point in (np.full(3, far), np.array([0.0, -far, 0.0])):
        for label in (0, 1):
            X, y = np.vstack([data.X, point]), np.append(data.y, label)
            model = NearestNeighbors(3, from_components(data.L)).fit(X, y)
            after = certified_radius(model, data.Z, data.labels, norm=norm).lower
            np.testing.assert_allclose(after, before, rtol=WIDTH, atol=0)
            assert (after[before == 0] == 0).all()


def test_a_constant_feature_changes_nothing(plain, norm):
    data = plain
    for value in (0.0, -7.0, 1e12):
        X, Z = (np.hstack([A, np.full((len(A), 1), value)]) for A in (data.X, data.Z))
        metric = from_components(np.hstack([data.L, np.ones((3, 1))]))
        _, after = both(data, (X, data.y, Z, data.labels, metric), norm)
        exact = oracle.Instance(X, data.y, L=np.hstack([data.L, np.ones((3, 1))]))
        for z, label, lower in zip(Z, data.labels, after, strict=True):
            assert_just_below(lower, exact.certified(z, label, 3, norm), norm)


def test_matrix_and_components_agree(plain, norm):
    data = plain
    before, after = both(data, (data.X, data.y, data.Z, data.labels, MahalanobisMetric.from_matrix(data.M)), norm)
    np.testing.assert_allclose(after, before, rtol=WIDTH)


@pytest.mark.parametrize("scale", [1e-140, 1e-155, 1e-160, 1e-165, 1e-200, 1e-300, 1e140])
def test_never_too_large_at_the_ends_of_the_range_of_floats(cloud, norm, scale):
    for seed in range(5):
        data = cloud(seed=seed, n=6, d=2, integers=False)
        X, Z = data.X * scale, data.Z * scale
        exact = oracle.Instance(X, data.y)
        lower = certified_radius(NearestNeighbors().fit(X, data.y), Z, data.labels, norm=norm).lower
        for z, label, bound in zip(Z, data.labels, lower, strict=True):
            assert oracle.at_most(bound, exact.certified(z, label, 1, norm), norm)


# --- the rest -------------------------------------------------------------------------------------------------------


def test_batches_and_progress(plain, norm, monkeypatch):
    whole = certified_radius(plain.model(3), plain.Z, plain.labels, norm=norm)
    monkeypatch.setattr("convexrml.neighbors.SCORE_BATCH_BYTES", 8 * 30 * 6)
    steps = []
    parts = certified_radius(plain.model(3), plain.Z, plain.labels, norm=norm, progress=steps.append)
    assert steps == [6, 6, 6, 2]
    assert np.array_equal(parts.lower, whole.lower)
    assert np.array_equal(parts.negative, whole.negative)


def test_bounds_of_some_positives_are_below_those_of_all(plain, norm):
    model, p = plain.model(1), as_norm(norm)
    row = model.scores(plain.Z[:1])[0]
    positives = np.flatnonzero(plain.y == plain.labels[0])
    positives = positives[np.argsort(row[positives])]
    negatives = np.flatnonzero(plain.y != plain.labels[0])
    all_of_them = triplet_bounds(model, plain.Z[0], row, positives, negatives, p)
    few = triplet_bounds(model, plain.Z[0], row, positives[:3], negatives, p)
    assert (few <= all_of_them).all()
    assert (few < all_of_them).any()
    assert all_of_them.min() == certified_radius(model, plain.Z[:1], plain.labels[:1], norm=norm).lower[0]


def test_bounds_against_single_negatives_in_exact_arithmetic(cloud, norm):
    data = cloud(seed=7, n=14, d=3, queries=6, integers=False, rank=2)
    model, exact = data.model(1), oracle.Instance(data.X, data.y, L=data.L)
    for z, label, row in zip(data.Z, data.labels, model.scores(data.Z), strict=True):
        positives, negatives = np.flatnonzero(data.y == label), np.flatnonzero(data.y != label)
        positives = positives[np.argsort(row[positives])]
        D = exact.distances(oracle.rational(z))
        got = triplet_bounds(model, z, row, positives, negatives, as_norm(norm))
        for j, bound in zip(negatives, got, strict=True):
            assert_just_below(bound, max(exact.triplet(z, i, j, norm, D) for i in positives), norm)


def test_bad_arguments():
    model = NearestNeighbors().fit([[0.0], [4.0]], [0, 1])
    for arguments, name in (
        (([[0.0, 1.0]], [0]), "Z"), (([[math.nan]], [0]), "Z"), (([], []), "Z"),
        (([[0.0]], [2]), "y"), (([[0.0]], [0, 1]), "y"), (([[0.0]], ["0"]), "y"),
    ):  # fmt: skip
        with pytest.raises(InvalidInputError, match=rf"^{name}: "):
            certified_radius(model, *arguments)
    with pytest.raises(InvalidInputError, match=r"^norm: "):
        certified_radius(model, [[0.0]], [0], norm=3)
    with pytest.raises(NotFittedError):
        certified_radius(NearestNeighbors(), [[0.0]], [0])
