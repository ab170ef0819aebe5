import math

import numpy as np
import oracle
import pytest
from sklearn.neighbors import KNeighborsClassifier

from convexrml import MahalanobisMetric, NearestNeighbors
from convexrml.errors import InvalidInputError, NotFittedError
from convexrml.kernels import rounding as kernel
from convexrml.kernels.vectors import distance
from convexrml.norms import as_norm


@pytest.mark.parametrize("k", [1, 3, 5, 11])
@pytest.mark.parametrize("rank", [None, 2, 4])
@pytest.mark.parametrize("classes", [2, 4])
def test_predictions_are_those_of_scikit_learn(cloud, k, rank, classes):
    data = cloud(seed=k, n=60, d=4, classes=classes, queries=200, integers=False, rank=rank)
    root = np.eye(4) if data.L is None else data.L
    other = KNeighborsClassifier(k, algorithm="brute").fit(data.X @ root.T, data.y)
    D = np.sort(oracle.direct_distances(data.X, data.M, data.Z), axis=1)
    assert (np.diff(D, axis=1).min(axis=1) > 1e-9 * D[:, -1]).sum() > 20, "most queries should be free of ties"
    clear = np.diff(D, axis=1)[:, : k + 1].min(axis=1) > 1e-9
    model = data.model(k)
    assert np.array_equal(model.predict(data.Z)[clear], other.predict(data.Z @ root.T)[clear])
    assert np.array_equal(
        model.kneighbors(data.Z)[clear], other.kneighbors(data.Z @ root.T, return_distance=False)[clear]
    )


def test_scores_are_squared_distances_up_to_a_shared_term(cloud):
    for rank in (None, 2):
        data = cloud(seed=3, n=20, d=5, queries=10, rank=rank)
        D = oracle.direct_distances(data.X, data.M, data.Z)
        scores = data.model().scores(data.Z)
        assert np.array_equal(scores - scores[:, :1], D - D[:, :1])  # whole numbers: no rounding


# --- rounding, against rational arithmetic --------------------------------------------------------------------------

ROUNDED = {
    "euclidean": (None, 0.0, 1.0),
    "components": ("L", 0.0, 1.0),
    "matrix": ("M", 0.0, 1.0),
    "moved": (None, 1e6, 1.0),
    "components moved": ("L", 1e6, 1.0),
    "large": ("L", 0.0, 1e100),
    "small": (None, 0.0, 1e-150),
    "squares underflow": ("L", 0.0, 1e-161),
    "scores vanish": (None, 0.0, 1e-170),
}


@pytest.fixture(params=ROUNDED)
def rounded(request):
    """A classifier with one far training point, the same in rational numbers, and queries."""
    kind, move, scale = ROUNDED[request.param]
    rng = np.random.default_rng(list(ROUNDED).index(request.param))
    X, Z = rng.standard_normal((13, 5)), rng.standard_normal((4, 5))
    X[7] *= 1e4
    X, Z, L = (X + move) * scale, (Z + move) * scale, rng.standard_normal((3, 5))
    M = (L.T @ L + (L.T @ L).T) / 2
    metric = {
        None: None, "L": MahalanobisMetric.from_components(L), "M": MahalanobisMetric.from_matrix(M)
    }[kind]  # fmt: skip
    exact = oracle.Instance(X, np.arange(13) % 2, M=M if kind == "M" else None, L=L if kind == "L" else None)
    return NearestNeighbors(1, metric).fit(X, np.arange(13) % 2), exact, X, Z


def upper_length(vector):
    """ℓ2 length of rational numbers as a float, rounded up."""
    square = sum(v * v for v in vector)
    bits = max(0, 200 - square.numerator.bit_length() + square.denominator.bit_length())
    root = math.isqrt(square.numerator * 4**bits // square.denominator) + 1
    return float(oracle.Fraction(root, 2**bits)) * (1 + 2.0**-50) + 2.0**-1074


def off(model, exact, p):
    """For every score at p, how far it is from ``(x − m)ᵀM(x − m) − 2 (x − m)ᵀM(p − m)``: rational numbers."""
    p = oracle.rational(p)
    m = oracle.rational(model.shift_)
    common = (p - m) @ exact.M @ (p - m)
    row = oracle.rational(model.scores([np.asarray(p, dtype=float)])[0])
    return row - (np.array(exact.distances(p), dtype=object) - common)


def witnesses(z, x, norm, rng):
    """Points that are as far from z as x is, in the norm: where it lets them be farthest in ℓ2, and elsewhere."""
    length = np.linalg.norm(x - z, norm) * (1 - 1e-12)
    steps = rng.standard_normal((2, len(z)))
    if norm == math.inf:
        steps = np.sign(steps)
    elif norm == 1:
        steps = np.eye(len(z))[rng.integers(0, len(z), 2)] * np.sign(steps)
    return [x, *(z + length * step / np.linalg.norm(step, norm) for step in steps)]


def test_the_rounding_of_a_score_is_within_its_part(rounded):
    """``γ α (a_i² + 2 a_i ‖p − m‖₂)``, and what underflow may lose."""
    model, exact, X, Z = rounded
    rounding = model.rounding(as_norm(2))
    unit, lost, a = rounding.rules[kernel.UNIT], rounding.rules[kernel.LOST_SCORE], rounding.lengths
    for p in [*Z, *X[:3], X[7], 100 * Z[0]]:
        length = upper_length(oracle.rational(p) - oracle.rational(model.shift_))
        part = unit * (a**2 + 2 * a * length) + lost * (1 + a + length) / 4
        for i, error in enumerate(off(model, exact, p)):
            assert abs(error) <= oracle.Fraction(part[i])


def test_differences_of_scores_stay_within_the_gap(rounded, norm):
    """At the query and at any witness within reach, together; a witness may also be anywhere within a given reach."""
    model, exact, X, Z = rounded
    rounding, rng = model.rounding(as_norm(norm)), np.random.default_rng(0)
    for z in Z:
        here, z_length = off(model, exact, z), float(np.linalg.norm(z - model.shift_))
        for j in (0, 5, 7):
            near = [(p, 0.0) for p in witnesses(z, X[j], norm, rng)]
            far = z + 30 * (X[j] - z)
            for p, reach in [*near, (far, upper_length(oracle.rational(far) - oracle.rational(model.shift_)))]:
                there = off(model, exact, p)
                gap = rounding.gap(np.arange(13), j, z_length, reach)
                for i in range(13):
                    total = abs(here[j] - here[i]) + abs(there[j] - there[i])
                    assert total <= oracle.Fraction(gap[i]), (i, j)


def test_the_gap_says_something(cloud, norm):
    for rank, move in ((None, 0.0), (3, 0.0), (2, 1e6), (None, 1e6)):
        data = cloud(seed=0, n=15, d=6, queries=20, integers=False, rank=rank)
        X, Z = data.X + move, data.Z + move
        model = NearestNeighbors(1, None if rank is None else MahalanobisMetric.from_components(data.L)).fit(X, data.y)
        rounding = model.rounding(as_norm(norm))
        for z, row in zip(Z, model.scores(Z), strict=True):
            for j in range(15):
                gap = rounding.gap(np.arange(15), j, float(np.linalg.norm(z - model.shift_)))
                assert (gap < 1e-10 * np.abs(row).max()).all()


def test_the_gap_of_a_pair_does_not_depend_on_the_others(norm):
    """As long as the shift, a median, stays where it is."""
    X, y = np.arange(9.0)[:, None] - 4, np.arange(9) % 2
    i, p = np.arange(1, 8), as_norm(norm)
    before = NearestNeighbors().fit(X, y).rounding(p)
    X[[0, 8], 0] = -1e12, 1e12
    after = NearestNeighbors().fit(X, y).rounding(p)
    for j in i:
        assert np.array_equal(after.gap(i, j, 1.0), before.gap(i, j, 1.0))
        assert np.array_equal(after.separation(i, j), before.separation(i, j))


def test_computed_separations_are_widened_above_the_true_ones(rounded, norm):
    model, exact, X, _ = rounded
    p = as_norm(norm)
    rounding, to = model.rounding(p), oracle.power(norm)
    for j in range(13):
        slack = rounding.separation(np.arange(13), j)
        for i in range(13):
            true = oracle.dual_power(exact.M @ (exact.X[i] - exact.X[j]), norm)
            computed = distance(model.sites_, i, j, p.dual_order)
            sites = oracle.rational(model.sites_[[i, j]])
            lost = oracle.Fraction(rounding.rules[kernel.LOST_LENGTH])  # the stretch is for sites as they are
            stretched = oracle.Fraction(rounding.stretch) * oracle.Fraction(computed) + lost
            assert stretched**to >= oracle.dual_power(sites[0] - sites[1], norm)
            assert oracle.Fraction(rounding.stretch * computed + slack[i]) ** to >= true
            # and the computed one is not above the true one by more either
            below = (oracle.Fraction(computed) - oracle.Fraction(slack[i])) / oracle.Fraction(rounding.stretch)
            assert below <= 0 or below**to <= true


# --- the same bits --------------------------------------------------------------------------------------------------


def test_equal_rows_give_bit_equal_scores_wherever_they_stand():
    rng = np.random.default_rng(0)
    for d in (1, 3, 7, 33):
        base = rng.standard_normal((40, d))
        X = base[rng.integers(0, 40, 301)]
        X[rng.integers(0, 301, 30)] *= -0.0  # zeros of both signs are equal
        for metric in (None, MahalanobisMetric.from_components(rng.standard_normal((d, d)))):
            model = NearestNeighbors(1, metric).fit(X, rng.integers(0, 2, 301))
            scores = model.scores(rng.standard_normal((17, d)))
            _, first, inverse = np.unique(X + 0.0, axis=0, return_index=True, return_inverse=True)
            assert np.array_equal(scores, scores[:, first[inverse.ravel()]])


def test_a_query_gives_the_same_scores_alone_and_in_company():
    rng = np.random.default_rng(1)
    model = NearestNeighbors(1, MahalanobisMetric.from_components(rng.standard_normal((5, 9)))).fit(
        rng.standard_normal((200, 9)), np.arange(200) % 2
    )
    Z = rng.standard_normal((50, 9))
    together = model.scores(Z)
    for a in range(50):
        assert np.array_equal(model.scores(Z[a : a + 1])[0], together[a])


def test_batches_do_not_change_the_answer(cloud, monkeypatch):
    data = cloud(n=30, d=3, queries=50)
    model = data.model(3)
    whole = model.predict(data.Z), model.mislabels(data.Z, data.labels)
    monkeypatch.setattr("convexrml.neighbors.SCORE_BATCH_BYTES", 8 * 30 * 7)
    slices = model.batches(50)
    assert [s.stop - s.start for s in slices] == [7] * 7 + [1]
    assert np.array_equal(model.predict(data.Z), whole[0])
    assert np.array_equal(model.mislabels(data.Z, data.labels), whole[1])


def test_predict_breaks_ties_by_index_and_votes_by_label():
    model = NearestNeighbors().fit([[1.0], [-1.0]], ["b", "a"])
    assert model.predict([[0.0]]).tolist() == ["b"]
    assert model.kneighbors([[0.0]]).tolist() == [[0]]
    model = NearestNeighbors(3).fit([[1.0], [2.0], [3.0], [50.0]], ["c", "a", "b", "b"])
    assert model.predict([[0.0]]).tolist() == ["a"]
    assert model.kneighbors([[0.0], [49.0]]).tolist() == [[0, 1, 2], [3, 2, 1]]


def test_mislabels_counts_every_tie_against_the_label():
    model = NearestNeighbors().fit([[1.0], [-1.0]], ["b", "a"])
    assert model.mislabels([[0.0], [0.0]], ["a", "b"]).tolist() == [True, True]
    above = np.nextafter(0.0, 1.0)
    assert model.mislabels([[1e-12], [1e-12], [above]], ["b", "a", "a"]).tolist() == [False, True, True]
    votes = NearestNeighbors(3).fit([[1.0], [2.0], [3.0]], ["c", "a", "b"])
    assert votes.mislabels([[0.0]] * 3, ["a", "b", "c"]).tolist() == [True] * 3


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("classes", [2, 3])
def test_mislabels_agrees_with_direct_distances_on_grids_full_of_ties(cloud, k, classes):
    data = cloud(seed=11, n=14, d=2, classes=classes, queries=150, span=2)
    D = oracle.direct_distances(data.X, data.M, data.Z)
    found = {}
    for label in range(classes):
        wrong = data.model(k).mislabels(data.Z, np.full(150, label))
        expected = [oracle.vote_lost(row, data.y, label, k) for row in D]
        if classes == 2 or k < 5:
            assert wrong.tolist() == expected
        found[label] = wrong
    assert any(0 < wrong.sum() < 150 for wrong in found.values()), "both answers should occur"


def test_duplicates_with_conflicting_labels_mislabel_both_ways(cloud):
    X = np.array([[0.5, 0.25], [0.5, 0.25], [3.0, 1.0]])
    rng = np.random.default_rng(0)
    for metric in (None, MahalanobisMetric.from_components(rng.standard_normal((3, 2)))):
        model = NearestNeighbors(1, metric).fit(X, ["a", "b", "a"])
        assert model.mislabels(X[[0, 0, 2]], ["a", "b", "a"]).tolist() == [True, True, False]


def test_translation_keeps_whole_numbers_whole(cloud):
    data = cloud(seed=5, n=12, queries=40, span=2)
    moved = NearestNeighbors().fit(data.X + 1e6, data.y)
    assert np.array_equal(moved.scores(data.Z + 1e6) - data.model().scores(data.Z), np.zeros((40, 12)))


@pytest.mark.parametrize("names", [["no", "yes"], [False, True], [-1.5, 2.5], [7, 3], np.array([b"n", b"y"])], ids=repr)
def test_labels_of_all_kinds_come_back_as_they_were(names):
    y = np.asarray(names)[[0, 1, 0]]
    model = NearestNeighbors().fit([[0.0], [4.0], [9.0]], y)
    assert model.predict([[1.0], [4.5]]).tolist() == y[:2].tolist()
    assert model.encode(y, 3).tolist() == model.labels_.tolist()
    assert sorted(model.classes_.tolist()) == model.classes_.tolist()


def test_one_class_alone():
    model = NearestNeighbors().fit([[0.0], [4.0]], ["only", "only"])
    assert model.predict([[9.0]]).tolist() == ["only"]
    assert model.mislabels([[9.0]], ["only"]).tolist() == [False]


@pytest.mark.parametrize("k", [0, -1, 2, 4, 1.0, "1", None, True, np.float64(1)])
def test_bad_numbers_of_neighbours(k):
    with pytest.raises(InvalidInputError, match=r"^n_neighbors: "):
        NearestNeighbors(k).fit([[0.0]] * 5, [0, 1, 0, 1, 0])


def test_more_neighbours_than_points():
    with pytest.raises(InvalidInputError, match=r"^n_neighbors: must be at most 2, .* training points; found 3"):
        NearestNeighbors(3).fit([[0.0], [1.0]], [0, 1])


@pytest.mark.parametrize(
    ("X", "y", "name"),
    [
        ([], [], "X"), (np.zeros((0, 2)), [], "X"), ([[]], [0], "X"), ([1.0, 2.0], [0, 1], "X"),
        ([[math.nan], [1]], [0, 1], "X"),
        ([[math.inf], [1]], [0, 1], "X"), ("text", [0], "X"), (None, [0], "X"), ([[0.0], [1.0]], [0], "y"),
        ([[0.0], [1.0]], [0, None], "y"), ([[0.0], [1.0]], [0, math.nan], "y"), ([[0.0], [1.0]], [[0], [1]], "y"),
        ([[0.0], [1.0]], None, "y"),
    ],
)  # fmt: skip
def test_bad_training_sets(X, y, name):
    with pytest.raises(InvalidInputError, match=rf"^{name}: "):
        NearestNeighbors().fit(X, y)


def test_a_metric_of_another_size():
    with pytest.raises(InvalidInputError, match=r"^metric: acts on 3 features; the data have 1"):
        NearestNeighbors(metric=np.eye(3)).fit([[0.0], [1.0]], [0, 1])


@pytest.mark.parametrize(
    "Z", [[[1.0, 2.0]], [1.0], 1.0, [[math.nan]], [[math.inf]], [], np.zeros((0, 1)), "text", None]
)
def test_bad_queries(Z):
    model = NearestNeighbors().fit([[0.0], [4.0]], [0, 1])
    for ask in (model.predict, model.kneighbors, model.scores, lambda Z: model.mislabels(Z, [0])):
        with pytest.raises(InvalidInputError, match=r"^Z: "):
            ask(Z)


@pytest.mark.parametrize(
    "y", [[2], [0.5], ["0"], [-1], [0, 1], 0, [math.nan], [None], [[0]], [2**63], [b"0"]], ids=repr
)
def test_labels_that_the_training_set_does_not_have(y):
    model = NearestNeighbors().fit([[0.0], [4.0]], [0, 1])
    with pytest.raises(InvalidInputError, match=r"^y: "):
        model.mislabels([[0.0]], y)


@pytest.mark.parametrize("y", [["c"], ["A"], ["aa"], [""], [0], np.array([b"a"])], ids=repr)
def test_strings_that_the_training_set_does_not_have(y):
    model = NearestNeighbors().fit([[0.0], [4.0]], ["a", "b"])
    with pytest.raises(InvalidInputError, match=r"^y: "):
        model.mislabels([[0.0]], y)


def test_nothing_works_before_fit():
    model = NearestNeighbors()
    for ask in (model.predict, model.kneighbors, model.scores, lambda Z: model.encode([0], 1)):
        with pytest.raises(NotFittedError):
            ask([[0.0]])
    assert "fitted" not in repr(model)
    assert "fitted on (1, 1)" in repr(model.fit([[0.0]], [0]))


@pytest.mark.parametrize("scale", [1e155, 1e200])
def test_features_whose_squares_overflow_are_refused(scale):
    """Scores would be inf − inf: no bound would mean anything."""
    with pytest.raises(InvalidInputError):
        NearestNeighbors().fit(np.array([[0.0], [4.0], [-9.0]]) * scale / 10, [0, 1, 1]).predict([[scale / 10]])
