import dataclasses
import functools
import math

import numpy as np
import oracle
import pytest

import convexrml.solve
from convexrml import MahalanobisMetric, NearestNeighbors, RadiusStatus, certified_radius, profiles
from convexrml.errors import InvalidInputError, NotFittedError, SolverFailedError, UnknownSolverError, UnsupportedError
from convexrml.exact import exact_radius as any_road
from convexrml.norms import as_norm
from convexrml.solve import ClaimedStatus, SolverReport

exact_radius = functools.partial(any_road, method="program")  # this file is about the explicit programs
KNOWN = (RadiusStatus.EXACT, RadiusStatus.MISCLASSIFIED, RadiusStatus.UNREACHABLE)
FLOAT_ORACLE = 1e-8  # relative: ten times what HiGHS and the least squares are asked for


def assert_sound(result, data, exact, box=None, instance=None):
    """Everything that an interval promises, checked without the package: exact bounds, witness, evidence."""
    instance = instance or oracle.Instance(data.X, data.y, L=data.L)
    norm = result.norm.order
    for q, (z, label) in enumerate(zip(data.Z, data.labels, strict=True)):
        lower, upper, status = result.lower[q], result.upper[q], result.status[q]
        assert not math.isnan(lower)
        assert not math.isnan(upper)
        assert 0 <= lower <= upper
        assert oracle.at_most(lower, exact[q], norm), f"{lower} exceeds {oracle.as_float(exact[q], norm)}"
        assert upper >= oracle.as_float(exact[q], norm) * (1 - 1e-12)
        if status is RadiusStatus.UNREACHABLE:
            assert math.isinf(exact[q])
        if status is RadiusStatus.MISCLASSIFIED:
            assert exact[q] == 0
        if status is RadiusStatus.EXACT:
            assert math.isfinite(upper)
            assert upper - lower <= result.tolerance * upper + 1e-9
        if math.isinf(upper):
            assert np.isnan(result.perturbation[q]).all()
            continue
        delta = result.perturbation[q]
        size = as_norm(norm).of(delta)
        assert size <= upper <= size * (1 + 1e-12) + 1e-12 * np.abs(z).max()
        p = z + delta
        if box is not None:
            assert ((box[0] <= p) & (p <= box[1])).all()
        D = instance.distances(oracle.rational(p))
        assert instance.margin(p, label) <= max(D) / 10**12, "the witness should be mislabelled, up to rounding"
        if result.negative[q] >= 0:
            assert data.y[result.negative[q]] != label


def assert_evidence(result, data, model):
    """The multipliers prove the lower bound against the witness's negative, by hand (no box)."""
    for q, (z, label) in enumerate(zip(data.Z, data.labels, strict=True)):
        if result.status[q] is not RadiusStatus.EXACT:
            continue
        i, lam, j = result.positives[q], result.multipliers[q], result.negative[q]
        assert (data.y[i] == label).all()
        assert (lam > 0).all()
        assert lam.sum() == pytest.approx(1.0, abs=1e-12)
        D = oracle.direct_distances(data.X, data.M, z[None])[0]
        w = 2 * data.M @ (lam @ data.X[i] - data.X[j])
        bound = (D[j] - lam @ D[i]) / as_norm(result.norm).dual_of(w)
        assert bound >= result.lower[q] * (1 - 1e-12)
        assert bound == pytest.approx(result.upper[q], rel=10 * result.tolerance)


# --- by hand --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("norm", "radius"), [(1, 25 / 8), (2, 2.5), (math.inf, 25 / 14)], ids=["l1", "l2", "linf"])
def test_one_point_per_class(norm, radius):
    model = NearestNeighbors().fit([[0.0, 0.0], [3.0, 4.0]], ["here", "there"])
    result = exact_radius(model, [[0.0, 0.0]], ["here"], norm=norm)
    assert result.status[0] is RadiusStatus.EXACT
    assert result.lower[0] <= radius <= result.upper[0]
    assert result.upper[0] - result.lower[0] <= result.tolerance * radius
    assert result.radius[0] == pytest.approx(radius, rel=1e-8)
    assert (result.negative[0], result.positives[0].tolist(), result.multipliers[0].tolist()) == (1, [0], [1.0])


def test_the_vertex_of_two_bisectors(norm):
    """Positives (±1, 0), negative (0, 3), query (0, 0): straight up to (0, h), where 1 + h² = (3 − h)², h = 4/3.

    The bisectors are ±x + 3 y = 4.  Norms 1 and 2 stop at their vertex with both multipliers at a half; so does ∞.
    A single bisector is at distance 4/3, 4/√10 and 1: only norm 1 has a tight triplet bound.
    """
    model = NearestNeighbors().fit([[1.0, 0.0], [-1.0, 0.0], [0.0, 3.0]], [0, 0, 1])
    result = exact_radius(model, [[0.0, 0.0]], [0], norm=norm)
    assert result.status[0] is RadiusStatus.EXACT
    assert result.lower[0] <= np.nextafter(4 / 3, 2)
    assert result.radius[0] == pytest.approx(4 / 3, rel=1e-8)
    certified = certified_radius(model, [[0.0, 0.0]], [0], norm=norm).lower[0]
    assert certified == pytest.approx({1: 4 / 3, 2: 4 / math.sqrt(10), math.inf: 1.0}[norm], rel=1e-9)
    if norm != 1:
        assert result.positives[0].tolist() == [0, 1]
        np.testing.assert_allclose(result.multipliers[0], [0.5, 0.5], atol=1e-6)


def test_on_a_line(norm, solver, takes):
    if not takes(solver):
        pytest.skip(f"{solver} does not take this class")
    model = NearestNeighbors().fit([[-1.0], [1.0], [5.0], [-7.0]], [0, 0, 1, 1])
    result = exact_radius(model, [[0.5], [4.0], [3.0], [-8.0]], [0, 1, 0, 1], norm=norm, solver=solver)
    for q, radius in enumerate((2.5, 1.0, 0.0)):
        assert result.lower[q] <= radius <= result.upper[q] * (1 + 1e-15)
        assert result.radius[q] == pytest.approx(radius, rel=2 * result.tolerance)
    assert [s.name for s in result.status] == ["EXACT", "EXACT", "MISCLASSIFIED", "EXACT"]
    assert result.radius[3] == pytest.approx(4.0, rel=2 * result.tolerance)


# --- against exact arithmetic ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("boxed", [False, True], ids=["free", "box"])
@pytest.mark.parametrize("rank", [None, 1, 2])
def test_intervals_hold_the_exact_value(cloud, norm, solver, takes, boxed, rank):
    if not takes(solver):
        pytest.skip(f"{solver} does not take this class")
    known = 0
    for seed in range(2):
        data = cloud(seed=seed, n=7, d=2, classes=2 + seed, rank=rank, queries=3)
        box = (-6.0, 6.0) if boxed else None
        instance = oracle.Instance(data.X, data.y, L=data.L)
        exact = [instance.exact(z, label, norm, box) for z, label in zip(data.Z, data.labels, strict=True)]
        model = data.model()
        result = exact_radius(model, data.Z, data.labels, norm=norm, box=box, solver=solver)
        assert_sound(result, data, exact, box, instance)
        if not boxed:
            assert_evidence(result, data, model)
        known += sum(status in KNOWN for status in result.status)
        assert (certified_radius(model, data.Z, data.labels, norm=norm).lower <= result.upper).all()
    assert known >= 5, "most intervals should close"


@pytest.mark.parametrize("box", [None, (-2.0, 2.0), (-math.inf, 1.5)], ids=["free", "box", "half open"])
@pytest.mark.parametrize("solver_name", ["clarabel", "daqp"])
def test_larger_instances_against_scipy(cloud, norm, box, solver_name):
    for seed in range(3):
        data = cloud(seed=seed, n=25, d=4, classes=3, integers=False, rank=3, queries=4)
        Z = data.Z if box is None else np.clip(data.Z, -2.0, 1.5)
        labels = data.model().predict(Z)
        result = exact_radius(data.model(), Z, labels, norm=norm, box=box, solver=solver_name)
        for q in range(4):
            true = oracle.float_exact(data.X, data.y, data.M, Z[q], labels[q], norm, box)
            assert result.lower[q] <= true * (1 + FLOAT_ORACLE)
            assert result.upper[q] >= true * (1 - FLOAT_ORACLE)
            assert result.status[q] in KNOWN
            if math.isfinite(true):
                assert result.radius[q] == pytest.approx(true, rel=FLOAT_ORACLE + result.tolerance)


def test_points_on_grids_full_of_ties(cloud, norm):
    for seed in range(3):
        data = cloud(seed=seed, n=10, d=2, classes=3, queries=6, span=2)
        instance = oracle.Instance(data.X, data.y)
        exact = [instance.exact(z, label, norm) for z, label in zip(data.Z, data.labels, strict=True)]
        result = exact_radius(data.model(), data.Z, data.labels, norm=norm)
        assert_sound(result, data, exact)
        assert [s is RadiusStatus.MISCLASSIFIED for s in result.status] == [value == 0 for value in exact]
        assert all(status in KNOWN for status in result.status)


def test_queries_on_training_points(cloud, norm):
    data = cloud(seed=7, n=8, d=2)
    X, unique = np.unique(data.X, axis=0, return_index=True)
    data = dataclasses.replace(data, X=X, y=data.y[unique], Z=X, labels=data.y[unique])
    instance = oracle.Instance(data.X, data.y)
    exact = [instance.exact(z, label, norm) for z, label in zip(data.Z, data.labels, strict=True)]
    assert min(exact) > 0
    assert_sound(exact_radius(data.model(), data.Z, data.labels, norm=norm), data, exact)


# --- degenerate -----------------------------------------------------------------------------------------------------


def test_duplicates_with_conflicting_labels(norm):
    model = NearestNeighbors().fit([[0.0, 0.0], [0.0, 0.0], [6.0, 0.0], [20.0, 0.0]], [0, 1, 0, 1])
    result = exact_radius(model, [[0.0, 0.0], [0.0, 0.0], [6.0, 0.0]], [0, 1, 0], norm=norm)
    assert [s.name for s in result.status] == ["MISCLASSIFIED", "MISCLASSIFIED", "EXACT"]
    assert result.upper[:2].tolist() == [0.0, 0.0]
    assert result.radius[2] == pytest.approx(3.0, rel=1e-8)


def test_one_class_alone(norm):
    result = exact_radius(NearestNeighbors().fit([[0.0], [4.0]], ["only"] * 2), [[1.0]], ["only"], norm=norm)
    assert result.status[0] is RadiusStatus.UNREACHABLE
    assert (result.lower[0], result.upper[0], result.radius[0]) == (math.inf, math.inf, math.inf)


def test_the_zero_metric(norm):
    model = NearestNeighbors(metric=np.zeros((2, 2))).fit([[0.0, 0.0], [3.0, 4.0]], [0, 1])
    assert exact_radius(model, [[0.0, 0.0]], [0], norm=norm).status[0] is RadiusStatus.MISCLASSIFIED


@pytest.mark.parametrize("metric", [np.diag([1.0, 0.0]), np.array([[1.0, 0.0]])], ids=["matrix", "components"])
def test_points_equal_under_a_singular_metric(norm, metric):
    model = NearestNeighbors(metric=metric).fit([[0.0, 0.0], [0.0, 9.0], [6.0, -3.0], [20.0, 0.0]], [0, 1, 0, 1])
    result = exact_radius(model, [[0.0, 0.0], [0.0, 5.0], [6.0, 77.0]], [0, 1, 0], norm=norm)
    assert [s.name for s in result.status] == ["MISCLASSIFIED", "MISCLASSIFIED", "EXACT"]
    assert result.radius[2] == pytest.approx(3.0, rel=1e-8)


def test_points_equal_under_an_oblique_metric_leave_no_wrong_interval(norm):
    rng = np.random.default_rng(0)
    for _ in range(6):
        L = rng.integers(1, 4, (1, 2)).astype(float) / 7
        X = np.array([[0.3, 0.1], [0.3, 0.1] + np.array([L[0, 1], -L[0, 0]]), [5.0, 2.0]])
        instance = oracle.Instance(X, [0, 1, 0], L=L)
        result = exact_radius(NearestNeighbors(metric=L).fit(X, [0, 1, 0]), X[:2] + 0.01, [0, 1], norm=norm)
        for q, (z, label) in enumerate(zip(X[:2] + 0.01, (0, 1), strict=True)):
            assert oracle.at_most(result.lower[q], instance.exact(z, label, norm), norm)
            assert result.upper[q] <= 1e-9 or result.status[q] is RadiusStatus.INTERVAL


def test_a_constant_feature(norm):
    X = np.array([[0.0, 5.0], [4.0, 5.0], [9.0, 5.0]])
    result = exact_radius(NearestNeighbors().fit(X, [0, 1, 0]), [[1.0, 5.0]], [0], norm=norm)
    assert result.radius[0] == pytest.approx(1.0, rel=1e-8)


# --- boxes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("far", [-1.0, -1e6, -math.inf], ids=str)
def test_a_box_that_keeps_every_negative_out_of_reach(norm, far):
    model = NearestNeighbors().fit([[0.0], [4.0], [5.0]], [0, 1, 1])
    result = exact_radius(model, [[0.0], [1.0]], [0, 0], norm=norm, box=(far, 1.0))
    assert [s.name for s in result.status] == ["UNREACHABLE", "UNREACHABLE"]
    assert np.isinf(result.lower).all()
    assert np.isinf(result.upper).all()


def test_a_box_that_takes_more_than_one_positive_to_be_out_of_reach(norm):
    """Neither bisector alone keeps the negative out of the box, both together do."""
    model = NearestNeighbors().fit([[2.0, 0.0], [-2.0, 0.0], [0.0, 3.0]], [0, 0, 1])
    result = exact_radius(model, [[0.0, 0.0]], [0], norm=norm, box=([-3.0, -1.0], [3.0, 0.8]))
    assert result.status[0] is RadiusStatus.UNREACHABLE
    assert exact_radius(model, [[0.0, 0.0]], [0], norm=norm, box=([-3.0, -1.0], [3.0, 0.9])).radius[0] == pytest.approx(
        5 / 6, rel=1e-8
    )


def test_a_box_of_no_width_in_a_feature(norm):
    """Only the first feature may move: 3a = 12.5."""
    model = NearestNeighbors().fit([[0.0, 0.0], [3.0, 4.0]], [0, 1])
    result = exact_radius(model, [[0.0, 0.0]], [0], norm=norm, box=([-9.0, 0.0], [9.0, 0.0]))
    assert result.status[0] is RadiusStatus.EXACT
    assert result.radius[0] == pytest.approx(12.5 / 3, rel=1e-8)
    assert result.perturbation[0, 1] == 0.0
    still = exact_radius(model, [[0.0, 0.0]], [0], norm=norm, box=([0.0, 0.0], [0.0, 0.0]))
    assert still.status[0] is RadiusStatus.UNREACHABLE


def test_a_box_that_touches_the_query_and_one_that_touches_the_boundary(norm):
    model = NearestNeighbors().fit([[0.0], [4.0]], [0, 1])
    touched = exact_radius(model, [[1.0]], [0], norm=norm, box=(1.0, 9.0))
    assert touched.status[0] is RadiusStatus.EXACT
    assert touched.radius[0] == pytest.approx(1.0, rel=1e-8)
    edge = exact_radius(model, [[1.0]], [0], norm=norm, box=(0.0, 2.0))
    assert edge.lower[0] <= 1.0 <= edge.upper[0]
    beyond = exact_radius(model, [[1.0]], [0], norm=norm, box=(0.0, np.nextafter(2.0, 0.0)))
    assert 1.0 - 1e-9 <= beyond.lower[0]
    assert math.isinf(beyond.upper[0])


def test_a_wide_box_changes_nothing(cloud, norm):
    data = cloud(seed=3, n=10, d=2, queries=3)
    free = exact_radius(data.model(), data.Z, data.labels, norm=norm)
    for box in ((-1e3, 1e3), (-math.inf, math.inf), (-math.inf, 1e3)):
        boxed = exact_radius(data.model(), data.Z, data.labels, norm=norm, box=box)
        np.testing.assert_allclose(boxed.radius, free.radius, rtol=2 * free.tolerance)


# --- changes that leave the radius alone ----------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e6, 1e12])
def test_scaling_features_and_metric(cloud, norm, scale):
    data = cloud(seed=6, n=12, d=3, integers=False, rank=3, queries=3)
    plain = exact_radius(data.model(), data.Z, data.labels, norm=norm)
    assert all(status is RadiusStatus.EXACT for status in plain.status)
    metric = MahalanobisMetric.from_components(data.L)
    features = exact_radius(
        NearestNeighbors(metric=metric).fit(data.X * scale, data.y), data.Z * scale, data.labels, norm=norm
    )
    np.testing.assert_allclose(features.radius, plain.radius * scale, rtol=4 * plain.tolerance)
    metric = MahalanobisMetric.from_components(data.L * scale)
    scaled = exact_radius(NearestNeighbors(metric=metric).fit(data.X, data.y), data.Z, data.labels, norm=norm)
    np.testing.assert_allclose(scaled.radius, plain.radius, rtol=4 * plain.tolerance)


def test_permutation_names_and_translation(cloud, norm):
    data = cloud(seed=8, n=12, d=2, queries=4)
    plain = exact_radius(data.model(), data.Z, data.labels, norm=norm).radius
    order = np.random.default_rng(0).permutation(12)
    names = np.array(["z", "a"])
    other = exact_radius(
        NearestNeighbors().fit(data.X[order], names[data.y[order]]), data.Z, names[data.labels], norm=norm
    )
    np.testing.assert_allclose(other.radius, plain, rtol=1e-8)
    moved = exact_radius(NearestNeighbors().fit(data.X + 1e6, data.y), data.Z + 1e6, data.labels, norm=norm)
    np.testing.assert_allclose(moved.upper, plain, rtol=1e-8)  # the witness is rounded to 1e6 · 2⁻⁵³
    np.testing.assert_allclose(moved.lower, plain, rtol=1e-8)


@pytest.mark.parametrize("far", [1e2, 1e4, 1e6, 1e8, 1e9])
@pytest.mark.parametrize("method", ["program", "auto"])
def test_a_far_point_leaves_no_wrong_radius(norm, far, method):
    """A sentinel value in the data may widen what is known of the others, and never be called exact for it."""
    model = NearestNeighbors().fit([[0.0], [4.0], [far]], [0, 1, 1])
    result = any_road(model, [[1.0]], [0], norm=norm, method=method)
    assert result.lower[0] <= 1.0 <= result.upper[0] * (1 + 1e-12)
    if result.status[0] is RadiusStatus.EXACT:
        assert result.radius[0] == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("far", [1e4, 1e6, 1e8])
def test_a_far_point_costs_the_others_next_to_nothing(norm, far):
    """Only what stands near a query should enter the allowance for rounding of its scores."""
    model = NearestNeighbors().fit([[0.0], [4.0], [far]], [0, 1, 1])
    assert certified_radius(model, [[1.0]], [0], norm=norm).lower[0] >= 1 - 1e-7
    assert exact_radius(model, [[1.0]], [0], norm=norm).lower[0] >= 1 - 1e-7


# --- solvers that lie -----------------------------------------------------------------------------------------------


def lying(monkeypatch, change, claimed=ClaimedStatus.OPTIMAL):
    """Let every solve end with a claim of an optimum and with values that `change` made of the right ones."""
    honest = convexrml.solve.run
    told = []

    def run(problem, solver="clarabel", accuracy="accurate", **kwargs):
        report = honest(problem, solver, accuracy, **kwargs)
        change(problem)
        told.append(claimed)
        return dataclasses.replace(report, claimed=claimed)

    monkeypatch.setattr(convexrml.solve, "run", run)
    return told


def scale_values(primal, dual):
    def change(problem):
        for variable in problem.variables():
            if variable.value is not None:
                variable.save_value(np.asarray(variable.value) * primal)
        for constraint in problem.constraints:
            for variable in constraint.dual_variables:
                if variable.value is not None:
                    variable.save_value(np.asarray(variable.value) * dual)

    return change


def random_values(problem):
    rng = np.random.default_rng(0)
    for variable in problem.variables():
        variable.save_value(rng.standard_normal(variable.shape))
    for constraint in problem.constraints:
        for variable in constraint.dual_variables:
            variable.save_value(rng.standard_normal(variable.shape))


def nothing(problem):
    for variable in problem.variables():
        variable.save_value(None)
    for constraint in problem.constraints:
        for variable in constraint.dual_variables:
            variable.save_value(None)


def constant(primal, dual):
    def change(problem):
        for variable in problem.variables():
            variable.save_value(np.full(variable.shape, primal))
        for constraint in problem.constraints:
            for variable in constraint.dual_variables:
                variable.save_value(np.full(variable.shape, dual))

    return change


LIES = {
    "too short": scale_values(0.9, 1.0), "too long": scale_values(1.1, 1.0), "double": scale_values(2.0, 2.0),
    "tiny": scale_values(1e-9, 1.0), "turned round": scale_values(-1.0, 1.0),
    "duals turned round": scale_values(1.0, -1.0),
    "duals gone": scale_values(1.0, 0.0), "tiny duals": scale_values(1.1, 1e-200),
    "vanishing duals": scale_values(1.1, 1e-320),
    "huge duals": scale_values(1.1, 1e307), "huge both": scale_values(1e300, 1e307), "random": random_values,
    "nothing": nothing,
    "zeros": constant(0.0, 0.0), "ones": constant(1.0, 1.0), "nan": constant(math.nan, math.nan),
    "infinite": constant(math.inf, math.inf), "equal tiny duals": constant(3.0, 1e-170),
    "equal huge duals": constant(3.0, 1e306),
}  # fmt: skip


@pytest.mark.parametrize("boxed", [False, True], ids=["free", "box"])
@pytest.mark.parametrize("lie", LIES)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_solver_that_lies_never_makes_a_wrong_radius(cloud, norm, monkeypatch, lie, boxed):
    data = cloud(seed=9, n=8, d=2, rank=2, queries=3)
    box = (-6.0, 6.0) if boxed else None
    instance = oracle.Instance(data.X, data.y, L=data.L)
    exact = [instance.exact(z, label, norm, box) for z, label in zip(data.Z, data.labels, strict=True)]
    assert all(0 < value < math.inf for value in exact)
    told = lying(monkeypatch, LIES[lie])
    result = exact_radius(data.model(), data.Z, data.labels, norm=norm, box=box)
    assert told
    assert_sound(result, data, exact, box, instance)
    for q in range(3):
        if result.status[q] is RadiusStatus.EXACT:
            assert result.radius[q] == pytest.approx(oracle.as_float(exact[q], norm), rel=2 * result.tolerance)
        else:
            assert result.status[q] is RadiusStatus.INTERVAL
            assert math.isnan(result.radius[q])


@pytest.mark.parametrize("lie", ["zeros", "nothing", "nan", "tiny", "random"])
def test_most_lies_leave_an_interval_that_says_so(cloud, norm, monkeypatch, lie):
    data = cloud(seed=9, n=8, d=2, rank=2, queries=3)
    lying(monkeypatch, LIES[lie])
    result = exact_radius(data.model(), data.Z, data.labels, norm=norm)
    assert RadiusStatus.INTERVAL in result.status.tolist()


@pytest.mark.parametrize("boxed", [False, True], ids=["free", "box"])
def test_a_claim_of_infeasibility_is_not_believed(cloud, norm, monkeypatch, boxed):
    data = cloud(seed=9, n=8, d=2, rank=2, queries=3)
    lying(monkeypatch, nothing, ClaimedStatus.INFEASIBLE)
    result = exact_radius(data.model(), data.Z, data.labels, norm=norm, box=(-6.0, 6.0) if boxed else None)
    assert all(status is RadiusStatus.INTERVAL for status in result.status)
    assert np.isinf(result.upper).all()
    assert (result.lower > 0).all()
    certified = certified_radius(data.model(), data.Z, data.labels, norm=norm).lower
    assert (result.lower >= certified * (1 - 1e-12)).all()


def test_a_solver_that_fails_leaves_a_note(cloud, norm, monkeypatch):
    data = cloud(seed=9, n=8, d=2, queries=2)

    def run(*_args, **_kwargs):
        raise SolverFailedError("out of luck")

    monkeypatch.setattr(convexrml.solve, "run", run)
    for box in (None, (-6.0, 6.0)):
        result = exact_radius(data.model(), data.Z, data.labels, norm=norm, box=box)
        assert all(status is RadiusStatus.INTERVAL for status in result.status)
        assert any("out of luck" in note and note.startswith("query 1: negative ") for note in result.notes)


def test_early_stopping_leaves_an_interval_that_holds_the_value(cloud, norm, monkeypatch):
    """A real solver stopped after a few iterations."""
    data = cloud(seed=10, n=10, d=3, queries=3, integers=False)
    honest = convexrml.solve.run
    monkeypatch.setattr(
        convexrml.solve,
        "run",
        lambda problem, solver, accuracy, **kw: honest(problem, solver, accuracy, options={"max_iter": 4}),
    )
    result = exact_radius(data.model(), data.Z, data.labels, norm=norm)
    for q in range(3):
        true = oracle.float_exact(data.X, data.y, data.M, data.Z[q], data.labels[q], norm)
        assert result.lower[q] <= true * (1 + FLOAT_ORACLE)
        assert result.upper[q] >= true * (1 - FLOAT_ORACLE)


# --- the rest -------------------------------------------------------------------------------------------------------


def test_a_second_label_and_progress(cloud, norm):
    data = cloud(seed=2, n=9, d=2, classes=3, queries=7)
    steps = []
    together = exact_radius(data.model(), data.Z, data.labels, norm=norm, progress=steps.append)
    assert steps == [1] * 7
    for q in range(7):
        alone = exact_radius(data.model(), data.Z[q : q + 1], data.labels[q : q + 1], norm=norm)
        assert alone.radius[0] == pytest.approx(together.radius[q], rel=2 * together.tolerance)
        assert alone.status[0] is together.status[q]
    assert len(together) == 7
    assert (together.solves[[s is RadiusStatus.MISCLASSIFIED for s in together.status]] == 0).all()
    assert together.tolerance == profiles.get_profile("clarabel").accuracies["accurate"].tolerance + 1e-9
    fast = exact_radius(data.model(), data.Z, data.labels, norm=norm, accuracy="fast")
    assert fast.tolerance > together.tolerance


def test_bad_arguments():
    model = NearestNeighbors().fit([[0.0], [4.0]], [0, 1])
    good = ([[1.0]], [0])
    for arguments, keywords, name in (
        (([[0.0, 1.0]], [0]), {}, "Z"), (([[math.nan]], [0]), {}, "Z"), (([], []), {}, "Z"), (([1.0], [0]), {}, "Z"),
        (([[0.0]], [2]), {}, "y"), (([[0.0]], [0, 1]), {}, "y"), (([[0.0]], ["0"]), {}, "y"), (([[0.0]], 0), {}, "y"),
        (good, {"norm": 3}, "norm"), (good, {"norm": [2]}, "norm"), (good, {"box": 5}, "box"),
        (good, {"box": (2, 3)}, "box"),
        (good, {"box": (3, 2)}, "box"), (good, {"box": (math.nan, 2)}, "box lower"), (good, {"box": (0, [1, 2])},
        "box upper"),
        (good, {"method": "magic"}, "method"), (good, {"method": None}, "method"), (good, {"accuracy": "perfect"},
        "accuracy"),
        (good, {"solver": 5}, "solver"),
    ):  # fmt: skip
        with pytest.raises(InvalidInputError, match=rf"^{name}: "):
            exact_radius(model, *arguments, **keywords)
    with pytest.raises(UnknownSolverError, match="clarabel"):
        exact_radius(model, *good, solver="claribel")
    with pytest.raises(NotFittedError):
        exact_radius(NearestNeighbors(), *good)
    with pytest.raises(UnsupportedError, match=r"^norm: .*norm 2.*found 1"):
        exact_radius(NearestNeighbors(3).fit([[0.0], [1.0], [4.0]], [0, 0, 1]), *good, norm=1, method="search")


def test_the_report_of_a_solve_has_no_value():
    assert not {"value", "objective", "optimum"} & {field.name for field in dataclasses.fields(SolverReport)}
