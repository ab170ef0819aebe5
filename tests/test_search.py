"""The exact search: against the explicit programs, exact arithmetic, and every degenerate geometry."""

import math
import os
from pathlib import Path

import fuzz_search
import numpy as np
import oracle
import pytest

from convexrml import MahalanobisMetric, NearestNeighbors, RadiusStatus, certified_radius, exact_radius
from convexrml import search as search_module
from convexrml.errors import InvalidInputError
from convexrml.norms import as_norm
from convexrml.study.data import load_data

EXACT, MISCLASSIFIED = RadiusStatus.EXACT, RadiusStatus.MISCLASSIFIED
UNREACHABLE, INTERVAL = RadiusStatus.UNREACHABLE, RadiusStatus.INTERVAL
TOLERANCE = 1e-9  # relative width of a closed interval, documented in `ExactRadii.tolerance`
DATA = Path(os.environ.get("CONVEXRML_DATA", Path(__file__).resolve().parents[2] / "shared" / "datasets"))


def search(model, Z, labels, **options):
    return exact_radius(model, Z, labels, method="search", **options)


def rounding_width(model, result, Z, q):
    """What rounding may add to the width, as documented: the deduction from a gap over the distance of its sites."""
    i, j = result.positives[q], result.negative[q]
    if j < 0 or len(i) == 0:
        return 0.0
    gap = model.rounding(result.norm).gap(i, j, float(np.linalg.norm(Z[q] - model.shift_)))
    apart = result.norm.dual_of(model.sites_[i] - model.sites_[j])
    return float((gap[apart > 0] / apart[apart > 0]).max(initial=0.0))


def assert_promises(model, result, Z, labels, box=None):
    """What every result promises of itself: bounds in order, witnesses, evidence, statuses."""
    Z, labels = np.asarray(Z, dtype=float), np.asarray(labels)
    assert result.solver == "search"
    assert result.tolerance == TOLERANCE
    certified = certified_radius(model, Z, labels, norm=result.norm).lower
    assert (certified <= result.upper).all()
    for q, status in enumerate(result.status):
        lower, upper, delta = result.lower[q], result.upper[q], result.perturbation[q]
        assert 0 <= lower <= upper
        assert (status is UNREACHABLE) == math.isinf(lower)
        assert (status is MISCLASSIFIED) == bool(model.mislabels(Z[q : q + 1], labels[q : q + 1])[0])
        if status is MISCLASSIFIED:
            assert lower == upper == 0
        if status is EXACT:
            assert upper - lower <= max(TOLERANCE * upper, rounding_width(model, result, Z, q) * (1 + 1e-12))
        assert math.isfinite(upper) == np.isfinite(delta).all()
        if math.isfinite(upper):
            p = Z[q] + delta
            assert model.mislabels(p[None], labels[q : q + 1])[0]
            assert result.norm.of(delta) <= upper
            if box is not None:
                assert ((np.asarray(box[0]) <= p) & (p <= np.asarray(box[1]))).all()
        own = model.classes_[model.labels_]
        if result.negative[q] >= 0:
            assert own[result.negative[q]] != labels[q]
        assert (own[result.positives[q]] == labels[q]).all()
        assert (result.multipliers[q] >= 0).all()
        if len(result.multipliers[q]):
            assert result.multipliers[q].sum() == pytest.approx(1.0, abs=1e-14 * (len(result.multipliers[q]) + 1))


def assert_same_radii(model, result, other, Z):
    """Intervals overlap without any tolerance; equal radii to 1e-9 and the documented rounding widths."""
    assert (result.lower <= other.upper).all()
    assert (other.lower <= result.upper).all()
    for q in range(len(result)):
        if result.status[q] is EXACT and other.status[q] is EXACT:
            # both middles lie in intervals that meet: half the sum of their widths (1e-9 for daqp, 6e-9 for clarabel)
            relative = max(TOLERANCE, (TOLERANCE + other.tolerance) / 2)
            widths = rounding_width(model, result, Z, q) + rounding_width(model, other, Z, q)
            assert abs(result.radius[q] - other.radius[q]) <= relative * other.radius[q] + widths
        else:
            assert (result.status[q] is MISCLASSIFIED) == (other.status[q] is MISCLASSIFIED)


def metric_of(kind, d, rng):
    if kind == "M":
        root = rng.standard_normal((d + 2, d))
        return root.T @ root
    if kind == "singular M":
        root = rng.standard_normal((max(1, d - 2), d))
        return root.T @ root
    if kind == "low rank L":
        return MahalanobisMetric.from_components(rng.standard_normal((2, d)))
    if kind == "L":
        return MahalanobisMetric.from_components(rng.standard_normal((d, d)))
    return None


METRICS = ("euclidean", "L", "M", "low rank L", "singular M")


# --- by hand and in exact arithmetic --------------------------------------------------------------------------------


@pytest.mark.parametrize(("order", "radius"), [(1, 25 / 8), (2, 2.5), (math.inf, 25 / 14)], ids=["l1", "l2", "linf"])
def test_one_point_per_class(order, radius):
    model = NearestNeighbors().fit([[0.0, 0.0], [3.0, 4.0]], ["here", "there"])
    result = search(model, [[0.0, 0.0]], ["here"], norm=order)
    assert result.status[0] is EXACT
    assert result.lower[0] <= radius <= result.upper[0]
    assert result.upper[0] - result.lower[0] <= 1e-12 * radius  # whole numbers: nothing but outward rounding
    assert (result.negative[0], result.positives[0].tolist(), result.multipliers[0].tolist()) == (1, [0], [1.0])
    assert_promises(model, result, [[0.0, 0.0]], ["here"])


def test_the_vertex_of_two_bisectors():
    """Positives (±1, 0), negative (0, 3), query (0, 0): up to (0, 4/3), with half of the evidence from either side."""
    model = NearestNeighbors().fit([[1.0, 0.0], [-1.0, 0.0], [0.0, 3.0]], [0, 0, 1])
    result = search(model, [[0.0, 0.0]], [0])
    assert result.status[0] is EXACT
    assert result.lower[0] <= np.nextafter(4 / 3, 2)
    assert result.upper[0] >= np.nextafter(4 / 3, 1)
    assert sorted(result.positives[0].tolist()) == [0, 1]
    np.testing.assert_allclose(result.multipliers[0], [0.5, 0.5], rtol=1e-14)
    np.testing.assert_allclose(result.perturbation[0], [0, 4 / 3], atol=1e-9)  # the largest small nudge is 1e-9


@pytest.mark.parametrize("boxed", [False, True], ids=["free", "box"])
@pytest.mark.parametrize("rank", [None, 1, 2])
@pytest.mark.parametrize("seed", range(6))
def test_intervals_hold_the_exact_value(cloud, norm, seed, rank, boxed):
    """Lower bounds never exceed the radius in rational arithmetic; upper bounds fall short of it by rounding only."""
    data = cloud(seed, rank=rank)
    model, instance = data.model(), oracle.Instance(data.X, data.y, L=data.L)
    box = (np.minimum(data.Z.min(axis=0), -2.0), np.maximum(data.Z.max(axis=0), 3.0)) if boxed else None
    result = search(model, data.Z, data.labels, norm=norm, box=box)
    assert_promises(model, result, data.Z, data.labels, box)
    for q, (z, label) in enumerate(zip(data.Z, data.labels, strict=True)):
        exact = instance.exact(z, label, norm, box)
        assert oracle.at_most(result.lower[q], exact, norm)
        assert result.status[q] is not INTERVAL
        if result.status[q] is UNREACHABLE:
            assert math.isinf(exact)
        else:
            true = oracle.as_float(exact, norm)
            assert result.upper[q] >= true * (1 - 1e-14)
            assert result.radius[q] == pytest.approx(true, rel=TOLERANCE, abs=1e-13)


# --- against the programs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["daqp", "clarabel"])
@pytest.mark.parametrize("boxed", [False, True], ids=["free", "box"])
@pytest.mark.parametrize("kind", METRICS)
def test_search_and_program_agree(norm, kind, boxed, solver):
    rng = np.random.default_rng([METRICS.index(kind), boxed])
    X, y, Z = rng.standard_normal((60, 5)), rng.integers(0, 3, 60), rng.standard_normal((4, 5))
    model = NearestNeighbors(1, metric_of(kind, 5, rng)).fit(X, y)
    labels = model.predict(Z)
    box = (np.minimum(X.min(axis=0), Z.min(axis=0)), np.maximum(X.max(axis=0), Z.max(axis=0))) if boxed else None
    result = search(model, Z, labels, norm=norm, box=box)
    assert all(status is EXACT for status in result.status)
    assert_promises(model, result, Z, labels, box)
    other = exact_radius(model, Z, labels, norm=norm, box=box, method="program", solver=solver)
    assert_same_radii(model, result, other, Z)


@pytest.mark.parametrize("kind", METRICS)
def test_multipliers_prove_the_lower_bound_by_hand(norm, kind):
    """Distances and ``M`` alone: ``(d_j − Σ λ_i d_i) / ‖2 M (Σ λ_i x_i − x_j)‖_q``."""
    rng = np.random.default_rng(METRICS.index(kind))
    X, y, Z = rng.standard_normal((80, 6)), rng.integers(0, 2, 80), rng.standard_normal((60, 6))
    model = NearestNeighbors(1, metric_of(kind, 6, rng)).fit(X, y)
    labels, M = model.predict(Z), model.metric_.mahalanobis_matrix
    result = search(model, Z, labels, norm=norm)
    for q, z in enumerate(Z):
        i, lam, j = result.positives[q], result.multipliers[q], result.negative[q]
        D = oracle.direct_distances(X, M, z[None])[0]
        bound = (D[j] - lam @ D[i]) / as_norm(norm).dual_of(2 * M @ (lam @ X[i] - X[j]))
        assert bound >= result.lower[q] * (1 - 1e-12)  # rounding here; the lower bound has given up more
        assert bound == pytest.approx(result.upper[q], rel=TOLERANCE)
    assert max(map(len, result.positives)) > 1


def real(name, n_train, n_test):
    train, test = DATA / f"{name}.bz2", DATA / f"{name}.t.bz2"
    if not (train.exists() and test.exists()):
        pytest.skip("set CONVEXRML_DATA to a folder with the data sets")
    data = load_data(train, test)
    return data.X_train[:n_train], data.y_train[:n_train], data.X_test[:n_test], data.y_test[:n_test]


@pytest.mark.parametrize(("name", "rank"), [("pendigits", None), ("pendigits", 5), ("splice", None)])
def test_on_real_data(name, rank):
    X, y, Z, labels = real(name, 500, 8)
    metric = None if rank is None else np.random.default_rng(0).standard_normal((rank, X.shape[1]))
    model = NearestNeighbors(1, metric).fit(X, y)
    box = (np.minimum(0, Z.min()), np.maximum(1, Z.max()))
    for limits in (None, box):
        result = search(model, Z, labels, box=limits)
        assert_promises(model, result, Z, labels, limits)
        assert INTERVAL not in set(result.status)
        other = exact_radius(model, Z, labels, box=limits, solver="daqp")
        assert_same_radii(model, result, other, Z)


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["daqp", "clarabel"])
@pytest.mark.parametrize("name", ["splice", "pendigits", "satimage", "usps"])
def test_on_real_data_at_length(norm, name, solver):
    if norm != 2 and name == "usps" and solver == "daqp":
        pytest.skip("daqp makes these linear programs dense: minutes each")
    X, y, Z, labels = real(name, 1000, 10)
    model = NearestNeighbors().fit(X, y)
    result = search(model, Z, labels, norm=norm)
    assert_promises(model, result, Z, labels)
    assert INTERVAL not in set(result.status)
    assert_same_radii(model, result, exact_radius(model, Z, labels, norm=norm, solver=solver), Z)


# --- the same, however it is asked ----------------------------------------------------------------------------------


def a_task(n=50, d=4, classes=3, seed=0, N=120):
    rng = np.random.default_rng(seed)
    X, y, Z = rng.standard_normal((N, d)), rng.integers(0, classes, N), rng.standard_normal((n, d))
    model = NearestNeighbors().fit(X, y)
    labels = model.predict(Z)
    labels[::7] = (labels[::7] + 1) % classes
    return model, Z, labels


def assert_identical(one, other, norm):
    """Bit by bit for norm 2.

    The linear programs of norms 1 and ∞ start from the basis that HiGHS was left with by the query before, so another
    split ends in other last bits, or in another vertex of equal length: the radius is the same to 1e-12.
    """
    assert one.status.tolist() == other.status.tolist()
    if norm == 2:
        for name in ("lower", "upper", "perturbation", "negative", "solves"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        for name in ("positives", "multipliers"):
            assert all(map(np.array_equal, getattr(one, name), getattr(other, name)))
    else:
        np.testing.assert_allclose(one.lower, other.lower, rtol=1e-12)
        np.testing.assert_allclose(one.upper, other.upper, rtol=1e-12)


def test_any_number_of_workers_gives_the_same(norm):
    model, Z, labels = a_task()
    alone = search(model, Z, labels, norm=norm)
    for n_jobs in (1, 2, -1):
        assert_identical(alone, search(model, Z, labels, norm=norm, n_jobs=n_jobs), norm)


def test_neither_order_nor_company_matters(norm, monkeypatch):
    model, Z, labels = a_task(n=30)
    whole = search(model, Z, labels, norm=norm)
    order = np.random.default_rng(1).permutation(len(Z))
    assert_identical(search(model, Z[order], labels[order], norm=norm), search_module.selected(whole, order), norm)
    for q in range(0, len(Z), 6):
        one = search(model, Z[q : q + 1], labels[q : q + 1], norm=norm)
        assert_identical(one, search_module.selected(whole, np.array([q])), norm)
    for size in (1, 7, 17):
        monkeypatch.setattr(search_module, "_QUERIES_PER_TASK", size)
        assert_identical(search(model, Z, labels, norm=norm), whole, norm)


def test_no_queries_more_than_one_tile_and_a_repeated_query():
    model, Z, labels = a_task(n=1)
    many = search(model, np.repeat(Z, 40, axis=0), np.repeat(labels, 40))
    assert len(set(many.upper)) == len(set(many.lower)) == 1
    assert (many.perturbation == many.perturbation[0]).all()


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_progress_counts_every_query_once(norm, n_jobs):
    model, Z, labels = a_task(n=23)
    seen = []
    search(model, Z, labels, norm=norm, n_jobs=n_jobs, progress=seen.append)
    assert sum(seen) == 23
    assert min(seen) > 0
    assert len(seen) > 1


def test_float32_is_computed_in_float64(norm):
    rng = np.random.default_rng(0)
    X, y, Z = rng.standard_normal((50, 3)).astype(np.float32), rng.integers(0, 2, 50), rng.standard_normal((6, 3))
    Z = Z.astype(np.float32)
    single, double = NearestNeighbors().fit(X, y), NearestNeighbors().fit(X.astype(np.float64), y)
    labels = double.predict(Z)
    one, other = search(single, Z, labels, norm=norm), search(double, Z.astype(np.float64), labels, norm=norm)
    assert_identical(one, other, 2)  # the same programs in the same order: bit by bit for every norm


def test_auto_is_the_search_unless_a_solver_is_named(norm):
    model, Z, labels = a_task(n=3)
    assert exact_radius(model, Z, labels, norm=norm).solver == "search"
    assert exact_radius(model, Z, labels, norm=norm, method="auto", solver="daqp").solver == "daqp"
    assert exact_radius(model, Z, labels, norm=norm, method="program").solver == "clarabel"


@pytest.mark.parametrize(
    ("options", "begins"),
    [
        ({"method": "search", "solver": "daqp"}, "solver"),
        ({"method": "search", "accuracy": "fast"}, "accuracy: "),
        ({"method": "program", "n_jobs": 2}, "n_jobs: "),
        ({"solver": "daqp", "n_jobs": 1}, "n_jobs: "),
        ({"method": "simplex"}, "method: unknown road 'simplex'"),
        ({"method": "search", "norm": 3}, "norm: "),
        ({"method": "search", "box": (10, 11)}, "box: does not contain query 0"),
    ],
)
def test_what_does_not_go_together_is_refused(options, begins):
    model, Z, labels = a_task(n=2)
    with pytest.raises(InvalidInputError, match="^" + begins):
        exact_radius(model, Z, labels, **options)


# --- degenerate geometry --------------------------------------------------------------------------------------------


def assert_agrees(model, Z, labels, norm, box=None, closed=True):
    """Promises of the search, agreement with daqp; returns the result."""
    Z, labels = np.asarray(Z, dtype=float), np.asarray(labels)
    result = search(model, Z, labels, norm=norm, box=box)
    assert_promises(model, result, Z, labels, box)
    if closed:
        assert INTERVAL not in set(result.status)
    assert_same_radii(model, result, exact_radius(model, Z, labels, norm=norm, box=box, solver="daqp"), Z)
    return result


def test_two_points_on_a_line(norm):
    model = NearestNeighbors().fit([[-1.0], [3.0]], [0, 1])
    result = assert_agrees(model, [[-1.0], [0.5], [1.0], [3.0], [-50.0]], [0, 0, 0, 1, 0], norm)
    assert [s.name for s in result.status] == ["EXACT", "EXACT", "MISCLASSIFIED", "EXACT", "EXACT"]
    np.testing.assert_allclose(result.radius, [2.0, 0.5, 0.0, 2.0, 51.0], rtol=1e-13)


def test_duplicated_sites(norm):
    rng = np.random.default_rng(0)
    X = np.repeat(rng.standard_normal((8, 3)), 5, axis=0)
    y = np.repeat(np.arange(8) % 2, 5)
    Z = rng.standard_normal((4, 3))
    once = NearestNeighbors().fit(X[::5], y[::5])
    result = assert_agrees(NearestNeighbors().fit(X, y), Z, once.predict(Z), norm)
    other = search(once, Z, once.predict(Z), norm=norm)
    assert ((result.lower <= other.upper) & (other.lower <= result.upper)).all()
    np.testing.assert_allclose(result.radius, other.radius, rtol=TOLERANCE)


def test_thousands_of_equal_points(norm):
    each = 3000 if norm == 2 else 1000
    X = np.vstack([np.zeros((each, 2)), np.full((each, 2), 2.0)])
    model = NearestNeighbors().fit(X, np.repeat([0, 1], each))
    result = search(model, [[0.0, 0.0], [2.5, 2.0]], [0, 1], norm=norm)
    assert_promises(model, result, [[0.0, 0.0], [2.5, 2.0]], [0, 1])
    half = 1 / as_norm(norm).dual_of(np.array([0.5, 0.5])) if norm != 2 else math.sqrt(2)
    np.testing.assert_allclose(
        result.radius,
        [half, half + (0.25 if norm == math.inf else 0.5 if norm == 1 else 0.5 / math.sqrt(2))],
        rtol=1e-12,
    )


def test_conflicting_duplicates_have_radius_zero(norm):
    model = NearestNeighbors().fit([[0.0, 0.0], [0.0, 0.0], [5.0, 5.0]], [0, 1, 1])
    result = search(model, [[0.0, 0.0], [0.5, 0.0], [4.0, 4.0]], [0, 0, 1], norm=norm)
    assert [s.name for s in result.status] == ["MISCLASSIFIED", "MISCLASSIFIED", "UNREACHABLE"] or result.upper[2] > 0
    assert result.upper[:2].tolist() == [0.0, 0.0]
    assert_agrees(model, [[0.0, 0.0], [0.5, 0.0], [4.0, 4.0]], [0, 0, 1], norm)


def test_one_class_cannot_be_left(norm):
    model = NearestNeighbors().fit([[0.0, 1.0], [1.0, 0.0]], ["only", "only"])
    result = search(model, [[0.0, 0.0]], ["only"], norm=norm)
    assert result.status[0] is UNREACHABLE
    assert (result.lower[0], result.upper[0], result.negative[0]) == (math.inf, math.inf, -1)
    assert np.isnan(result.perturbation).all()
    assert len(result.positives[0]) == len(result.multipliers[0]) == 0


def test_a_thousand_classes(norm):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1000, 4))
    model = NearestNeighbors().fit(X, np.arange(1000))
    Z = X[:3] + 0.01 * rng.standard_normal((3, 4))
    result = search(model, Z, [0, 1, 2], norm=norm)
    assert_promises(model, result, Z, [0, 1, 2])
    gaps = oracle.direct_distances(X, np.eye(4), Z)
    for q in range(3):  # one positive: the triplet bounds are the radii
        others = np.arange(1000) != q
        apart = 2 * as_norm(norm).dual_of(X[others] - X[q])
        assert result.radius[q] == pytest.approx(((gaps[q, others] - gaps[q, q]) / apart).min(), rel=TOLERANCE)


@pytest.mark.parametrize("exponent", [-12, -6, 6, 12])
def test_radii_scale_with_the_data(norm, exponent):
    """Scaling by a power of two moves no bit: the nearest to 1e±12 and 1e±6."""
    factor = 2.0 ** round(exponent * math.log2(10))
    model, Z, labels = a_task(n=6, N=40)
    scaled = NearestNeighbors().fit(model.training_points_ * factor, model.labels_)
    one, other = search(model, Z, labels, norm=norm), search(scaled, Z * factor, labels, norm=norm)
    assert one.status.tolist() == other.status.tolist()
    np.testing.assert_allclose(other.upper, one.upper * factor, rtol=1e-13)
    np.testing.assert_allclose(other.lower, one.lower * factor, rtol=1e-12)
    decimal = NearestNeighbors().fit(model.training_points_ * 10.0**exponent, model.labels_)
    assert_agrees(decimal, Z * 10.0**exponent, labels, norm)


def test_large_offsets(norm):
    """Data near 1e8 with differences near 1: inputs themselves are rounded to 1e-8, the rest is one shift away."""
    rng = np.random.default_rng(0)
    X, Z = np.round(rng.standard_normal((40, 3)) * 8) / 4 + 1e8, np.round(rng.standard_normal((5, 3)) * 8) / 4 + 1e8
    y = rng.integers(0, 2, 40)
    model, centred = NearestNeighbors().fit(X, y), NearestNeighbors().fit(X - 1e8, y)
    labels = centred.predict(Z - 1e8)
    result = assert_agrees(model, Z, labels, norm, closed=False)
    near = search(centred, Z - 1e8, labels, norm=norm)
    np.testing.assert_allclose(result.lower, near.lower, rtol=1e-12)  # exact quarters: the same scores
    assert (result.upper - near.upper <= 4 * 1e8 * 2.0**-52 * 3).all()  # a witness is a float near 1e8, in 3 features


def test_constant_features_and_singular_metrics(norm):
    rng = np.random.default_rng(1)
    X, Z = rng.standard_normal((30, 4)), rng.standard_normal((4, 4))
    X[:, 2] = Z[:, 2] = 7.0
    y = rng.integers(0, 2, 30)
    assert_agrees(NearestNeighbors().fit(X, y), Z, NearestNeighbors().fit(X, y).predict(Z), norm)
    blind = np.diag([1.0, 0.0, 1.0, 0.0])
    model = NearestNeighbors(1, blind).fit(X, y)
    result = assert_agrees(model, Z, model.predict(Z), norm)
    if norm == 2:
        assert np.abs(result.perturbation[:, [1, 3]]).max() <= 1e-8  # nothing is gained there: only the nudge moves it


def test_a_metric_that_sees_nothing(norm):
    model = NearestNeighbors(1, np.zeros((2, 2))).fit([[0.0, 0.0], [1.0, 1.0]], [0, 1])
    assert search(model, [[0.0, 0.0]], [0], norm=norm).status[0] is MISCLASSIFIED


def test_queries_on_top_of_training_points(norm):
    model, _, _ = a_task(N=60)
    Z, labels = model.training_points_[:8], model.labels_[:8]
    result = assert_agrees(model, Z, labels, norm)
    assert all(status is EXACT for status in result.status)


@pytest.mark.parametrize("seed", range(4))
def test_near_ties_on_a_grid_of_thirds(norm, seed):
    """Half-way between grid points, where the classifier's own rounding decides; checked in rational arithmetic."""
    rng = np.random.default_rng(seed)
    X, y = rng.integers(-4, 5, (14, 2)) / 3, rng.integers(0, 2, 14)
    Z = (X[rng.integers(0, 14, 12)] + X[rng.integers(0, 14, 12)]) / 2
    model, instance = NearestNeighbors().fit(X, y), oracle.Instance(X, y)
    labels = model.predict(Z)
    result = search(model, Z, labels, norm=norm)
    assert_promises(model, result, Z, labels)
    for q, z in enumerate(Z):
        exact = instance.exact(z, labels[q], norm)
        assert oracle.at_most(result.lower[q], exact, norm)
        assert result.upper[q] >= oracle.as_float(exact, norm) * (1 - 1e-12) - 1e-14


# --- boxes ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def corridor():
    """Label 0 at the origin, label 1 at (4, 0) and (0, 6): the boundaries are x = 2 and y = 3."""
    return NearestNeighbors().fit([[0.0, 0.0], [4.0, 0.0], [0.0, 6.0]], [0, 1, 1])


def test_a_box_sends_the_witness_elsewhere(norm, corridor):
    result = assert_agrees(corridor, [[0.0, 0.0]], [0], norm, ([-9.0, -9.0], [1.0, 9.0]))
    assert (result.status[0], result.negative[0]) == (EXACT, 2)
    assert result.radius[0] == pytest.approx(3.0, rel=TOLERANCE)


def test_a_box_that_ends_on_the_boundary(norm, corridor):
    result = assert_agrees(corridor, [[0.0, 0.0]], [0], norm, ([-1.0, -1.0], [2.0, 1.0]), closed=False)
    assert result.lower[0] <= 2.0
    assert result.upper[0] == pytest.approx(2.0, rel=1e-14)  # whole numbers: the corner x = 2 is a witness


def test_boxes_that_keep_everything_out(norm, corridor):
    for box in (([-1.0, -1.0], [1.5, 2.5]), ([0.0, 0.0], [0.0, 0.0]), ([0.0, 0.0], [1.0, 1.0])):
        result = assert_agrees(corridor, [[0.0, 0.0]], [0], norm, box)
        assert result.status[0] is UNREACHABLE
        assert result.upper[0] == math.inf


@pytest.mark.parametrize("side", [9.0, math.inf], ids=["closed", "open"])
def test_boxes_with_open_sides(norm, corridor, side):
    """An unbounded side must not cost the proof that the box keeps (4, 0) out; the radius is that of (0, 6)."""
    for box, radius in (
        (([-side, -side], [side, side]), 2.0),
        (([0.0, 0.0], [side, side]), 2.0),
        (([-side, -9.0], [1.0, 9.0]), 3.0),
        (([-side, -side], [1.0, side]), 3.0),
    ):
        result = assert_agrees(corridor, [[0.0, 0.0]], [0], norm, box)
        assert result.status[0] is EXACT
        assert result.radius[0] == pytest.approx(radius, rel=TOLERANCE)


def test_a_half_line_that_ends_before_the_boundary(norm):
    """Out of reach in one dimension, x ≤ −1.25 where the boundary is −0.5: every sum behind the proof is exact."""
    model = NearestNeighbors().fit([[-1.0], [0.0]], [0, 1])
    result = assert_agrees(model, [[-2.0]], [0], norm, (-math.inf, -1.25))
    assert result.status[0] is UNREACHABLE


@pytest.mark.parametrize("upper", [0.25, 0.28, 0.4159376995938511])
def test_a_witness_on_the_side_of_a_box(norm, upper):
    """The radius ends on the side x = `upper` where ``z + fl(upper − z)`` is rounded to a float beyond that side."""
    z = np.array([-0.3, 0.2])
    assert z[0] + (upper - z[0]) > upper
    model = NearestNeighbors().fit([[0.0, 0.0], [1.0, -1.0]], [0, 1])
    assert_agrees(model, z[None], [0], norm, ([-9.0, -9.0], [upper, 9.0]))


def test_a_box_of_zero_width_in_some_features(norm):
    rng = np.random.default_rng(2)
    X, y, Z = rng.standard_normal((40, 3)), rng.integers(0, 2, 40), rng.standard_normal((1, 3))
    model = NearestNeighbors().fit(X, y)
    box = (Z[0] - [0.0, 5.0, 5.0], Z[0] + [0.0, 5.0, 5.0])
    result = assert_agrees(model, Z, model.predict(Z), norm, box)
    assert result.status[0] is EXACT
    assert result.perturbation[0, 0] == 0.0


def test_a_box_around_the_query_only_is_judged_in_real_numbers(norm):
    """Of all points only z is admissible, and exactly on the boundary: lower bounds hold for real numbers, so 0.

    The classifier's rounding may break such a tie in favour of the label; that proves nothing about distances.
    """
    seen = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        X = rng.integers(-9, 10, (6, 2)) / 3
        y = np.arange(6) % 2
        z = (X[0] + X[1]) / 2
        model, instance = NearestNeighbors().fit(X, y), oracle.Instance(X, y)
        label = int(model.predict(z[None])[0])
        result = search(model, z[None], [label], norm=norm, box=(z, z))
        exact = instance.exact(z, label, norm, (z, z))
        seen += result.status[0] is not MISCLASSIFIED and exact == 0
        assert oracle.at_most(result.lower[0], exact, norm), (X.tolist(), z.tolist(), label)
    assert seen > 0


# --- small instances on which the programs close an interval, so the search should ----------------------------------


def test_a_wide_box_costs_nothing(norm):
    """The box holds every training point: the deduction for rounding has to be that without a box."""
    model = NearestNeighbors().fit([[1.0], [1.001]], [1, 0])
    free = search(model, [[1.03]], [0], norm=norm)
    boxed = search(model, [[1.03]], [0], norm=norm, box=(-9999.0, 9999.0))
    assert free.status[0] is boxed.status[0] is EXACT
    assert boxed.lower[0] == pytest.approx(free.lower[0], rel=1e-12)


def test_a_box_whose_corner_is_on_the_boundary():
    """The nearest admissible point is the corner (−9.5, −9), half-way between a positive and the negative: radius 5.

    At the solution three rows of a plane are active, and the last is violated by rounding alone: not a proof of
    emptiness.
    """
    X = [[0.0, -3.0], [-9.0, -6.0], [0.0, 15.0], [0.0, 0.0], [0.0, 14.0], [-10.0, -12.0]]
    M = [[5.971425707267909, 0.3618757084360431], [0.3618757084360431, 0.4389227513664021]]
    model = NearestNeighbors(1, M).fit(X, [1, 0, 0, 0, 0, 1])
    result = search(model, [[-6.5, -5.0]], [0], box=([-9.5, -9.0], [-6.5, math.inf]))
    certified = certified_radius(model, [[-6.5, -5.0]], [0]).lower[0]
    assert result.lower[0] >= certified > 2
    assert result.lower[0] <= 5.0
    assert result.upper[0] == pytest.approx(5.0, rel=TOLERANCE)


def test_a_radius_below_rounding_has_a_witness():
    """1e-3 from a boundary between points near 1e4: the lower bound is 0, but a mislabelled point is near."""
    X = [[-14748.842665772947], [12273.004180893298], [12273.005947301323], [4572.197508949636], [-14748.841280671064]]
    model = NearestNeighbors().fit(X, [1, 0, 0, 1, 0])
    result = search(model, [[-14748.843]], [1])
    assert result.upper[0] <= 0.02


@pytest.mark.parametrize("order", [1, 2, math.inf], ids=["l1", "l2", "linf"])
def test_a_boundary_between_points_that_are_close_together(order):
    """Sites 1e-8 apart: a violation of 1e-12 in their scores is one of 1e-4 in position; rows want scaling."""
    model = NearestNeighbors().fit([[0.5], [0.0], [0.50000001]], [0, 1, 1])
    result = search(model, [[0.45]], [0], norm=order)
    assert result.negative[0] == 2
    assert result.radius[0] == pytest.approx(0.050000005, rel=1e-7)


@pytest.mark.parametrize("order", [1, 2, math.inf], ids=["l1", "l2", "linf"])
@pytest.mark.parametrize(
    ("X", "y", "z", "side"),
    [
        ([-0.7, 1.0, -0.3, 0.0], [1, 0, 0, 1], 0.5, 0.5000000007),
        ([9.245475248400531, 9.245475248400531, 0.0, 6.934106436300398], [0, 1, 0, 1], 8.089790842350464, 8.9918),
    ],
    ids=["narrow", "conflict"],
)
def test_a_tie_beside_the_side_of_a_box(order, X, y, z, side):
    """A boundary at a rounding's distance, a training point beyond the box: any small step is a witness."""
    model = NearestNeighbors().fit(np.array(X)[:, None], y)
    result = search(model, [[z]], [1], norm=order, box=(-9.0, side))
    assert result.upper[0] <= 1e-9


# --- random instances of every kind ---------------------------------------------------------------------------------


def fuzzed(instances, seed, jobs=1):
    failures, worst, queries = [], 0.0, 0
    for number, verdict in fuzz_search.run(instances, seed, jobs=jobs):
        failures += [(number, *failure) for failure in verdict.failures]
        worst = max(worst, verdict.disagreement)
        queries += verdict.counts["queries"]
    assert queries >= instances
    assert failures == []
    assert worst <= TOLERANCE


def test_random_instances():
    fuzzed(300, seed=1)


@pytest.mark.slow
def test_random_instances_at_length():
    fuzzed(20000, seed=0, jobs=2)


def test_notes_name_the_queries_of_the_caller(monkeypatch):
    """Whatever the order and the batches in which they were solved."""
    from convexrml import lazy_lp

    def gives_up(self, record, negative):
        record.notes.append(f"at {record.z[0]:.0f}")
        return 0.0

    monkeypatch.setattr(lazy_lp.LazyLinearProgram, "__call__", gives_up)
    model = NearestNeighbors().fit([[0.0], [100.0]], [0, 1])
    Z = np.array([[90.0], [1.0], [80.0], [2.0], [70.0]])
    notes = search(model, Z, model.predict(Z), norm=1, n_jobs=2).notes
    assert sorted(notes) == [f"query {q}: at {z:.0f}" for q, z in enumerate(Z[:, 0])]
