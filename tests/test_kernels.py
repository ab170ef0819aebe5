import builtins
import importlib
import math
import pkgutil
import subprocess
import sys
import types

import numpy as np
import pytest

import convexrml.kernels
from convexrml.kernels import rounding as rounding_kernels
from convexrml.kernels import scores as score_kernels
from convexrml.kernels import triplets, vectors
from convexrml.neighbors import NearestNeighbors
from convexrml.norms import as_norm

ORDERS = (1.0, 2.0, np.inf)


def plain(kernel):
    """A kernel as plain Python on numpy arrays, all the way down: an index out of range raises there."""
    function = kernel.py_func
    names = {
        name: plain(value) if hasattr(value, "py_func") else value
        for name, value in function.__globals__.items()
        if name in function.__code__.co_names
    }
    return types.FunctionType(function.__code__, {**names, "__builtins__": builtins}, function.__name__)


@pytest.mark.parametrize("d", [1, 2, 3, 4, 5, 7, 8, 9, 33])
def test_inner_products_and_distances(d):
    rng = np.random.default_rng(d)
    U = rng.standard_normal((2, d))
    u, v = U
    assert vectors.dot(u, v) == plain(vectors.dot)(u, v)
    assert vectors.row_dot(U, 1, u) == plain(vectors.row_dot)(U, 1, u) == vectors.dot(v, u)
    assert abs(vectors.dot(u, v) - u @ v) <= 2 * d * 2.0**-53 * (np.abs(u) @ np.abs(v))
    for order in ORDERS:
        found = vectors.distance(U, 0, 1, order)
        assert found == plain(vectors.distance)(U, 0, 1, order) == vectors.distance(U, 1, 0, order)
        np.testing.assert_allclose(found, np.linalg.norm(u - v, ord=order), rtol=1e-15 * (d + 4))
        assert vectors.distance(U, 0, 0, order) == 0.0
    assert vectors.same(U, 1, 1) and plain(vectors.same)(U, 1, 1) and not vectors.same(U, 0, 1)


@pytest.mark.parametrize("d", [1, 3, 4, 6, 8, 17])
def test_inner_products_with_columns(d):
    """Those of columns 3 to 40; others stay.  Equal columns give equal bits, wherever they stand."""
    rng = np.random.default_rng(d)
    sites, p = rng.standard_normal((43, d)), rng.standard_normal(d)
    sites[[5, 29]] = sites[17]
    columns = np.ascontiguousarray(sites.T)
    for kernel in (vectors.column_products, plain(vectors.column_products)):
        products = np.full(43, np.nan)
        kernel(columns, 3, 40, p, products)
        bound = 2 * d * 2.0**-53 * (np.abs(sites[3:40]) @ np.abs(p))
        assert (np.abs(products[3:40] - sites[3:40] @ p) <= bound).all()
        assert np.isnan(products[:3]).all() and np.isnan(products[40:]).all()
        assert products[5] == products[17] == products[29]


def test_whole_numbers_give_exact_sums():
    rng = np.random.default_rng(0)
    U = rng.integers(-100, 100, (2, 23)).astype(float)
    u, v = U
    assert vectors.dot(u, v) == int(u.astype(int) @ v.astype(int))
    assert vectors.distance(U, 0, 1, 1.0) == np.abs(u - v).sum()
    assert vectors.distance(U, 0, 1, np.inf) == np.abs(u - v).max()


@pytest.mark.parametrize("k", [1, 3, 5])
def test_votes_count_ties_as_they_serve_the_other_label_best(k):
    """By definition: sort by score, at equal scores the label `own` last and the other label first."""
    rng = np.random.default_rng(k)
    tied_at_the_end = 0
    for _ in range(300):
        N = int(rng.integers(k, 14))
        row, labels = rng.integers(0, 6, N).astype(float), rng.integers(0, 3, N)
        last = np.sort(row)[k - 1]
        tied_at_the_end += (row == last).sum() > (np.sort(row)[:k] == last).sum()
        expected = []
        for other in range(3):
            order = sorted(range(N), key=lambda i: (row[i], 2 * (labels[i] == 0) - (labels[i] == other)))
            expected.append(sum(labels[i] == other for i in order[:k]))
        for kernel in (score_kernels.votes_of_row, plain(score_kernels.votes_of_row)):
            space = np.empty(k), np.empty(3, dtype=np.int64), np.empty(3, dtype=np.int64)
            votes, most, other = kernel(row, labels, 0, k, *space)
            assert votes == expected[0] and most == max(expected[1:]) and expected[other] == most
    assert 50 < tied_at_the_end < 300


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 2), (2, 64, 3), (2, 65, 4), (5, 130, 9)])
def test_scores_compiled_and_plain(shape):
    n, N, d = shape
    rng = np.random.default_rng(N)
    sites, offsets, points = rng.standard_normal((N, d)), rng.standard_normal(N), rng.standard_normal((n, d))
    compiled = score_kernels.scores(sites, offsets, points)
    assert np.array_equal(compiled, plain(score_kernels.scores)(sites, offsets, points))
    np.testing.assert_allclose(compiled, offsets - 2 * points @ sites.T, atol=1e-13)


def test_scores_do_not_depend_on_place_or_company():
    rng = np.random.default_rng(0)
    for d in (1, 2, 5, 16, 31):
        sites, points = rng.standard_normal((200, d)), rng.standard_normal((9, d))
        sites[rng.integers(0, 200, 60)] = sites[0]
        whole = score_kernels.scores(sites, np.zeros(200), points)
        _, first, inverse = np.unique(sites, axis=0, return_index=True, return_inverse=True)
        assert np.array_equal(whole, whole[:, first[inverse.ravel()]])
        order = rng.permutation(200)
        assert np.array_equal(score_kernels.scores(sites[order], np.zeros(200), points), whole[:, order])


@pytest.mark.parametrize("k", [1, 2, 3, 5, 12])
def test_nearest_against_a_full_sort(k):
    rng = np.random.default_rng(k)
    for _ in range(20):
        scores = rng.integers(0, 4, (6, 12)).astype(float)
        labels, last = rng.integers(0, 3, 12), rng.integers(-1, 3, 6)
        got = score_kernels.nearest(scores, labels, last, k)
        assert np.array_equal(got, plain(score_kernels.nearest)(scores, labels, last, k))
        for row, own, chosen in zip(scores, last, got, strict=True):
            assert chosen.tolist() == np.lexsort((np.arange(12), labels == own, row))[:k].tolist()


def test_infinite_scores_come_last():
    scores = np.array([[np.inf, 2.0, -np.inf, 1.0]])
    assert score_kernels.nearest(scores, np.zeros(4, dtype=int), np.array([-1]), 4).tolist() == [[2, 3, 1, 0]]


def test_the_triplet_bound_at_its_edges():
    for bound in (triplets.triplet_bound, plain(triplets.triplet_bound)):
        assert bound(3.0, 2.0) == 0.75
        assert bound(0.0, 0.0) == 0.0
        assert bound(-1.0, 0.0) == 0.0
        assert bound(1.0, 0.0) == np.inf


def test_the_least_values_are_kept_in_order():
    rng = np.random.default_rng(0)
    for insert in (triplets.insert_least, plain(triplets.insert_least)):
        for size in (1, 2, 5):
            stream = rng.integers(0, 9, 30).astype(float)
            values, firsts, seconds = np.empty(size), np.empty(size, dtype=np.int64), np.empty(size, dtype=np.int64)
            count = 0
            for at, value in enumerate(stream):
                count = insert(values, firsts, seconds, count, value, at, -at)
                assert count == min(at + 1, size)
                assert values[:count].tolist() == sorted(stream[: at + 1])[:count]
                assert (stream[firsts[:count]] == values[:count]).all()
                assert (seconds[:count] == -firsts[:count]).all()


NO_ROUNDING = np.array([0.0, 1.0, 1.0, 0.0, 0.0, 0.0])
MUCH_ROUNDING = np.array([0.003, 1.5, 1.01, 0.7, 0.01, 0.001])


def one_pair(sites, lengths, row, i, j, order, rules, z_length, reach=0.0):
    """The triplet bound of one pair, written out."""
    unit, reach_widening, stretch, site_widening, lost_score, lost_length = rules
    a_i, a_j = lengths[i], lengths[j]
    far = max(z_length + reach_widening * (z_length + a_j), reach)
    deduction = 2 * unit * (a_i * a_i + a_j * a_j + 2 * (a_i + a_j) * far) + lost_score * (1 + a_i + a_j + far)
    gap = row[j] - row[i] - deduction
    separation = stretch * vectors.distance(sites, i, j, order)
    separation = separation + site_widening * unit * (a_i + a_j) + lost_length
    return 0.0 if gap <= 0 else (np.inf if separation == 0 else gap / (2 * separation))


def whole_matrices(sites, lengths, row, labels, own, s, order, rules, z_length):
    """All triplet bounds of one query, then the s-th smallest of the s-th largest."""
    largest = []
    for j in np.flatnonzero(labels != own):
        bounds = [one_pair(sites, lengths, row, i, j, order, rules, z_length) for i in np.flatnonzero(labels == own)]
        largest.append(sorted(bounds)[-s] if len(bounds) >= s else 0.0)
    return sorted(largest)[s - 1] if len(largest) >= s else np.inf


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("s", [1, 2, 3, 6])
def test_certified_radii_are_not_changed_by_pruning(order, s):
    rng = np.random.default_rng(s)
    seen, deducted = set(), 0
    for case in range(40):
        N, d = int(rng.integers(max(2, 2 * s - 1), 2 * s + (12 if case % 5 else 60))), int(rng.integers(1, 4))
        whole = case % 2
        sites = rng.integers(-2, 3, (N, d)).astype(float) if whole else rng.standard_normal((N, d))
        points = rng.integers(-2, 3, (4, d)).astype(float) if whole else rng.standard_normal((4, d))
        labels = rng.integers(0, 3 if case % 3 else 1, N)
        own = labels[rng.integers(0, N, 4)]
        lengths = np.linalg.norm(sites, axis=1) * rng.choice([1.0, 1.0, 3.0], N)  # no deduction like another
        z_lengths = np.linalg.norm(points, axis=1)
        rules = MUCH_ROUNDING if case % 4 >= 2 else NO_ROUNDING
        rows = score_kernels.scores(sites, (sites**2).sum(axis=1), points)
        offset = (points**2).sum(axis=1) + 1e-12  # upper bounds on squared distances: the scores' own rounding is less
        widening = math.sqrt(d) if order == 1 else 1.0

        def arguments(
            rules, rest=(sites, lengths, rows, rows, offset, labels, own, s, order, widening), z_lengths=z_lengths
        ):
            return (*rest, rules, z_lengths)

        radii, positive, negative = triplets.certified_radii(*arguments(rules))
        assert np.array_equal(radii, plain(triplets.certified_radii)(*arguments(rules))[0])
        exact = triplets.certified_radii(*arguments(NO_ROUNDING))[0]
        assert (radii <= exact).all()
        deducted += (radii < exact).sum()
        for a in range(4):
            assert radii[a] == whole_matrices(sites, lengths, rows[a], labels, own[a], s, order, rules, z_lengths[a])
            i, j = positive[a], negative[a]
            if i >= 0 and np.isfinite(radii[a]):  # the deciding triplet is the one that it says
                assert radii[a] == one_pair(sites, lengths, rows[a], i, j, order, rules, z_lengths[a])
                assert labels[i] == own[a] != labels[j]
            seen.add("zero" if radii[a] == 0 else "infinite" if np.isinf(radii[a]) else "positive")
    assert seen == {"zero", "infinite", "positive"}
    assert deducted


@pytest.mark.parametrize("order", ORDERS)
def test_the_largest_bounds_over_given_positives(order):
    rng = np.random.default_rng(0)
    sites = rng.standard_normal((15, 3))
    row, lengths = (sites**2).sum(axis=1), rng.uniform(0.5, 3, 15)
    labels = np.arange(15) % 2
    positives = np.flatnonzero(labels == 0)
    positives = positives[np.argsort(row[positives])]
    negatives = np.flatnonzero(labels == 1)
    for few in (positives, positives[:2], positives[:0]):
        arguments = (sites, lengths, row, few, negatives, order, MUCH_ROUNDING, 0.4)
        got = triplets.largest_over_positives(*arguments)
        assert np.array_equal(got, plain(triplets.largest_over_positives)(*arguments))
        for j, value in zip(negatives, got, strict=True):
            bounds = [one_pair(sites, lengths, row, i, j, order, MUCH_ROUNDING, 0.4) for i in few]
            assert value == max(bounds, default=0.0)
        assert (got <= triplets.largest_over_positives(*arguments[:6], NO_ROUNDING, 0.4)).all()


@pytest.mark.parametrize("order", ORDERS)
def test_the_bound_of_a_pair(order):
    rng = np.random.default_rng(1)
    sites, row, lengths = rng.standard_normal((30, 4)), 10 * rng.standard_normal(30), rng.uniform(0, 2, 30)
    positive = 0
    for reach in (0.0, 1.0, 20.0):
        for i, j in rng.integers(0, 30, (60, 2)):
            arguments = (sites, lengths, row, i, j, order, MUCH_ROUNDING, 0.7, reach)
            got = triplets.pair_bound(*arguments)
            assert got == plain(triplets.pair_bound)(*arguments) == one_pair(*arguments)
            assert got <= triplets.pair_bound(*arguments[:-1], 0.0)
            for rule in range(6):  # more rounding never makes a larger bound
                more = MUCH_ROUNDING.copy()
                more[rule] *= 1.5
                assert triplets.pair_bound(*arguments[:6], more, 0.7, reach) <= got
            positive += got > 0
    assert positive > 30


@pytest.mark.parametrize("norm", ["1", "2", "inf"])
def test_rounding_is_deducted_in_kernels_as_it_is_documented(norm):
    rng = np.random.default_rng(2)
    X = rng.standard_normal((20, 3)) * 10.0 ** rng.integers(-3, 4, (20, 1))
    rounding = NearestNeighbors(1, rng.standard_normal((2, 3))).fit(X, np.arange(20) % 2).rounding(as_norm(norm))
    i = np.arange(20)
    for j in (0, 7):
        for z_length, reach in ((0.0, 0.0), (3.0, 0.0), (3.0, 1e4)):
            gap, separation = rounding.gap(i, j, z_length, reach), rounding.separation(i, j)
            a = rounding.lengths
            for k in i:
                got = rounding_kernels.gap_rounding(rounding.rules, a[k], a[j], z_length, reach)
                again = plain(rounding_kernels.gap_rounding)(rounding.rules, a[k], a[j], z_length, reach)
                assert gap[k] == got == again
                widened = rounding_kernels.widened(rounding.rules, a[k], a[j], 1.0)
                np.testing.assert_allclose(widened, rounding.stretch + separation[k], rtol=2.0**-51)


LARGE = """
import resource
import numpy as np
import convexrml
rng = np.random.default_rng(0)
X, y = rng.standard_normal((20000, 4)), rng.integers(0, 2, 20000)
small = convexrml.NearestNeighbors(3).fit(X[:50], y[:50])
convexrml.certified_radius(small, X[:5] + 0.1, y[:5])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
model = convexrml.NearestNeighbors(3).fit(X, y)
radii = convexrml.certified_radius(model, X[:300] + 0.1, y[:300]).lower
assert (radii > 0).any()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_nothing_of_the_size_of_all_pairs_is_built():
    done = subprocess.run([sys.executable, "-c", LARGE], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 400, "in MB; all pairs of 20000 points take 3200 (one bit each: 50)"


def test_no_kernel_uses_fastmath_and_all_are_cached():
    found = set()
    for info in pkgutil.iter_modules(convexrml.kernels.__path__):
        for value in vars(importlib.import_module(f"convexrml.kernels.{info.name}")).values():
            if hasattr(value, "targetoptions"):
                found.add(value.py_func)
                assert not value.targetoptions.get("fastmath", False)
                assert type(value._cache).__name__ != "NullCache", value
    assert {kernel.py_func for kernel in (vectors.dot, score_kernels.nearest, triplets.certified_radii)} < found
    assert len(found) >= 12
