import math
from types import SimpleNamespace

import cvxpy as cp
import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from convexrml import MahalanobisMetric, NearestNeighbors, certified_radius, profiles
from convexrml.errors import InvalidInputError, SolverCapabilityError, UnknownSolverError
from convexrml.formulations import MinimalPerturbation, Reachability
from convexrml.formulations.half_spaces import power_of_two
from convexrml.formulations.solution import relative_gap

BOX = (-7.0, 7.0)
# What a solver may leave of a constraint or of stationarity, in units where ‖η‖ is near 1: ten times the loosest gap
# that an accurate profile states.
FEASIBILITY = 1e-6


@pytest.fixture
def posed(cloud, norm):
    """A program with its data: six points of two classes in the plane, whole numbers, under a metric."""

    def make(seed=0, box=None, **kwargs):
        data = cloud(seed=seed, n=8, d=2, rank=2, **kwargs)
        wrong = np.flatnonzero(data.y != data.labels[0])
        program = MinimalPerturbation(
            data.model(), data.Z[0], data.labels[0], negative=int(wrong[0]), norm=norm, box=box
        )
        return SimpleNamespace(data=data, program=program, z=data.Z[0], label=data.labels[0], negatives=wrong)

    return make


def exact_value(posed, z, j, norm, box=None):
    instance = oracle.Instance(posed.data.X, posed.data.y, L=posed.data.L)
    least = oracle.least_norm_squared if norm == 2 else oracle.least_linear_norm
    return least(*instance.polyhedron(oracle.rational(z), posed.label, j, box), norm)


def test_one_point_per_class_by_hand(norm):
    """The bisector of 0 and (3, 4) is 3a + 4b = 12.5."""
    model = NearestNeighbors().fit([[0.0, 0.0], [3.0, 4.0]], ["here", "there"])
    solution = MinimalPerturbation(model, [0.0, 0.0], "here", negative=1, norm=norm).solve()
    radius = {1: 25 / 8, 2: 2.5, math.inf: 25 / 14}[norm]
    assert solution.value == pytest.approx(radius, rel=1e-9)
    assert solution.lower_bound <= radius
    assert solution.lower_bound == pytest.approx(radius, rel=1e-8)
    delta = {1: [0, 25 / 8], 2: [1.5, 2.0], math.inf: [25 / 14, 25 / 14]}[norm]
    np.testing.assert_allclose(solution.variables["perturbation"], delta, atol=1e-7)


@pytest.mark.parametrize("box", [None, BOX, (-math.inf, 7.0), ([-7.0, -math.inf], [math.inf, 7.0])], ids=str)
def test_the_program_is_dpp(posed, box):
    program = posed(box=box).program
    assert program.problem.is_dpp()
    assert program.problem.is_dcp()
    assert Reachability(program).problem.is_dpp()
    sides = set() if box is None else {"box_upper"} if box == (-math.inf, 7.0) else {"box_upper", "box_lower"}
    assert set(program.constraints) == {"closer"} | sides


@pytest.mark.parametrize("box", [None, BOX], ids=["free", "box"])
def test_values_against_exact_arithmetic(posed, norm, solver, takes, box):
    if not takes(solver):
        pytest.skip(f"{solver} does not take this class")
    tolerance = profiles.get_profile(solver).accuracies["accurate"].tolerance
    for seed in range(4):
        this = posed(seed, box=box)
        for j in this.negatives[:3]:
            this.program.pose(negative=int(j))
            exact = exact_value(this, this.z, j, norm, box)
            if exact == 0 or math.isinf(exact):
                continue
            solution = this.program.solve(solver)
            true = oracle.as_float(exact, norm)
            assert oracle.at_most(solution.lower_bound, exact, norm)
            assert solution.lower_bound >= true * (1 - 10 * tolerance - 1e-9)
            assert solution.value == pytest.approx(true, rel=10 * tolerance + 1e-9)
            assert solution.residuals.primal <= FEASIBILITY
            # Where the quadratic objective becomes a cone, only the gap is closed, and ½‖η + w‖² is part of it.
            as_cone = norm == 2 and solver in ("cvxopt", "ecos", "sdpa")
            assert solution.residuals.dual <= (math.sqrt(2 * tolerance) if as_cone else FEASIBILITY)
            assert solution.residuals.gap == relative_gap(solution.value, solution.lower_bound)
            assert abs(solution.residuals.gap) <= 10 * tolerance + 1e-9
            assert solution.report.solver == solver


def test_posing_anew_is_the_same_as_building_anew_without_compiling_again(posed, norm):
    for box in (None, BOX):
        this = posed(seed=2, box=box)
        this.program.solve()
        compiled = this.program.problem._cache.param_prog
        assert compiled is not None
        for z in this.data.Z:
            for j in this.negatives:
                this.program.pose(z, int(j))
                again = this.program.solve()
                assert this.program.problem._cache.param_prog is compiled
                new = MinimalPerturbation(
                    this.program.model, z, this.label, negative=int(j), norm=norm, box=box
                ).solve()
                assert again.value == pytest.approx(new.value, rel=1e-12, nan_ok=True)
                assert again.lower_bound == pytest.approx(new.lower_bound, rel=1e-12, nan_ok=True)


def test_pose_keeps_what_is_not_given_and_takes_scores_at_hand(posed):
    this = posed()
    model, j = this.program.model, int(this.negatives[1])
    this.program.pose(negative=j)
    assert np.array_equal(this.program.z, this.z)
    this.program.pose(this.data.Z[1])
    assert this.program.negative == j
    gaps = this.program.half_spaces.gaps
    this.program.pose(this.data.Z[1], j, row=model.scores(this.data.Z[1:2])[0])
    assert np.array_equal(this.program.half_spaces.gaps, gaps)


def test_nothing_of_a_solver_is_known_to_the_program(posed):
    this = posed()
    with pytest.raises(UnknownSolverError):
        this.program.solve("nosuch")
    if this.program.norm.order != 2:
        with pytest.raises(SolverCapabilityError):
            this.program.solve("osqp")


def test_a_constraint_of_ones_own(posed, norm):
    """Only the first feature may move: the program in one dimension, by hand."""
    model = NearestNeighbors().fit([[0.0, 0.0], [3.0, 4.0]], [0, 1])
    program = MinimalPerturbation(model, [0.0, 0.0], 0, negative=1, norm=norm)
    free = program.solve()
    program.problem = cp.Problem(
        program.problem.objective, [*program.problem.constraints, program.perturbation[1] == 0]
    )
    assert program.problem.is_dpp()
    held = program.solve()
    np.testing.assert_allclose(held.variables["perturbation"], [12.5 / 3, 0.0], atol=1e-7)
    assert held.value == pytest.approx(12.5 / 3, rel=1e-8)
    assert held.lower_bound <= free.value * (1 + 1e-9)  # still a bound on the program without it
    program.pose([1.0, 0.0])
    assert program.solve().value == pytest.approx(12.5 / 3 - 1, rel=1e-8)


# --- weak duality ---------------------------------------------------------------------------------------------------


MULTIPLIERS = st.one_of(
    st.floats(0, 10), st.sampled_from([0.0, 1e-9, 1e9]), st.floats(0, 1e308), st.floats(0, 1e-150), st.just(math.nan),
    st.floats(-5, 0), st.just(math.inf),
)  # fmt: skip
ORDINARY = st.one_of(st.floats(0, 10), st.sampled_from([0.0, 1e-9, 1e9]), st.just(math.nan), st.floats(-5, 0))


def weak_duality_instances():
    built = []
    for norm in oracle.NORMS:
        for box in (None, BOX, ([-7.0, -math.inf], [math.inf, 7.0])):
            for seed in range(3):
                rng = np.random.default_rng(seed)
                X, z = rng.integers(-5, 6, (5, 2)).astype(float), np.array([0.0, 1.0])
                y, L = np.array([0, 0, 0, 1, 1]), rng.integers(-2, 3, (2, 2)).astype(float)
                model = NearestNeighbors(metric=MahalanobisMetric.from_components(L)).fit(X, y)
                program = MinimalPerturbation(model, z, 0, negative=3, norm=norm, box=box)
                instance = oracle.Instance(X, y, L=L)
                least = oracle.least_norm_squared if norm == 2 else oracle.least_linear_norm
                built.append((norm, program, least(*instance.polyhedron(oracle.rational(z), 0, 3, box), norm)))
    return built


@pytest.fixture(scope="module")
def instances():
    return weak_duality_instances()


def check_multipliers(instances, at, lam, mu, nu):
    norm, program, exact = instances[at]
    duals = {"closer": np.array(lam), "box_upper": np.array(mu), "box_lower": np.array(nu)}
    with np.errstate(all="ignore"):
        bound = program.lower_bound(duals)
    assert not math.isnan(bound)
    assert bound >= 0
    assert oracle.at_most(bound, exact, norm), f"{bound} exceeds {oracle.as_float(exact, norm)}: {duals}"
    return bound


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    at=st.integers(0, 26), lam=st.lists(ORDINARY, min_size=3, max_size=3),
    mu=st.lists(ORDINARY, min_size=2, max_size=2),
    nu=st.lists(ORDINARY, min_size=2, max_size=2),
)  # fmt: skip
def test_any_multipliers_give_a_lower_bound(instances, at, lam, mu, nu):
    check_multipliers(instances, at, lam, mu, nu)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    at=st.integers(0, 26),
    lam=st.lists(MULTIPLIERS, min_size=3, max_size=3),
    mu=st.lists(MULTIPLIERS, min_size=2, max_size=2),
    nu=st.lists(MULTIPLIERS, min_size=2, max_size=2),
    scale=st.sampled_from([1.0, 1e-160, 1e-200, 1e-310, 5e-324, 1e300]),
)
def test_multipliers_of_any_magnitude_give_a_lower_bound(instances, at, lam, mu, nu, scale):
    lam, mu, nu = (np.clip(values, -1.0, 1e8) * scale if scale != 1.0 else values for values in (lam, mu, nu))
    check_multipliers(instances, at, lam, mu, nu)


@pytest.mark.parametrize("scale", [5e-324, 1e-308, 1e-200, 1e-160, 1e-100, 1.0, 1e100, 1e300, 1e308])
def test_the_scale_of_multipliers_does_not_matter(norm, scale):
    """The bound is homogeneous of degree 0; here it is 1, by hand."""
    model = NearestNeighbors().fit([[0.0], [4.0]], [0, 1])
    program = MinimalPerturbation(model, [1.0], 0, negative=1, norm=norm)
    bound = program.lower_bound({"closer": np.array([scale])})
    assert 1 - 1e-9 <= bound <= 1


@pytest.mark.parametrize("scale", [1e306, 1e307, 1e308])
def test_multipliers_that_overflow_prove_nothing_too_large(norm, scale):
    """Both sites times the multiplier overflow, their difference is not a number, and the gap is as small as 1e-9."""
    model = NearestNeighbors().fit([[0.0], [0.0], [20.0], [40.0]], [1, 1, 0, 1])
    program = MinimalPerturbation(model, [30 - 1e-9], 0, negative=3, norm=norm)
    with np.errstate(all="ignore"):
        assert program.lower_bound({"closer": np.array([scale])}) <= 1e-9 * (1 + 1e-5)


def test_a_single_multiplier_is_the_triplet_bound(posed, norm):
    for seed in range(5):
        this = posed(seed)
        program, instance = this.program, oracle.Instance(this.data.X, this.data.y, L=this.data.L)
        D = instance.distances(oracle.rational(this.z))
        for place, i in enumerate(program.positives):
            lam = np.zeros(len(program.positives))
            lam[place] = 3.0
            exact = instance.triplet(this.z, i, program.negative, norm, D)
            bound = program.lower_bound({"closer": lam})
            assert oracle.at_most(bound, exact, norm)
            assert bound >= oracle.as_float(exact, norm) * (1 - 1e-9)


def test_solved_multipliers_are_nonnegative_and_stationary(posed, norm):
    this = posed(seed=3)
    solution = this.program.solve()
    lam = solution.duals["closer"]
    assert (lam >= -1e-9).all()
    assert not solution.duals["box_upper"].any()
    w = this.program.half_spaces.combine(np.maximum(lam, 0))
    b = this.program.half_spaces.gaps
    assert -(b @ lam) / this.program.norm.dual_of(w) == pytest.approx(solution.value, rel=1e-7)


# --- reachability ---------------------------------------------------------------------------------------------------


def empty_by_linprog(A, b):
    """The largest margin by which all rows can hold, and whether it is negative."""
    lengths = np.maximum(np.abs(A).sum(axis=1), 1e-12)
    G = np.hstack([A, lengths[:, None]])
    result = linprog(np.append(np.zeros(A.shape[1]), -1.0), G, b, bounds=[(None, None)] * A.shape[1] + [(None, 1.0)])
    assert result.status == 0
    return -result.fun


@pytest.mark.parametrize("solver_name", ["clarabel", "daqp", "highs", "piqp"])
def test_reachability_proves_emptiness_exactly_when_it_is_so(cloud, norm, solver_name):
    found = {True: 0, False: 0}
    for seed in range(14):
        data = cloud(seed=seed, n=6, d=2, rank=2)
        z, label = data.Z[0], data.labels[0]
        box = (z - [1.0, 2.0], z + [2.0, 1.0])
        program = None
        for j in np.flatnonzero(data.y != label):
            if program is None:
                program = MinimalPerturbation(data.model(), z, label, negative=int(j), norm=norm, box=box)
                reachability = Reachability(program)
            program.pose(negative=int(j))
            margin = empty_by_linprog(*oracle.float_polyhedron(data.X, data.y, data.M, z, label, j, box))
            inner, bound = reachability.solve(solver_name)
            if abs(margin) < 1e-7:
                continue
            proved = math.isinf(bound)
            assert proved == (margin < 0)
            found[proved] += 1
            if not proved:
                assert data.model().mislabels((inner)[None], [label])[0]
                assert program.box.contains(program.box.clip(inner))
                np.testing.assert_allclose(program.box.clip(inner), inner, atol=1e-7)
    assert min(found.values()) >= 3


@pytest.mark.parametrize("side", [(-math.inf, 1.0), (-10.0, 1.0), (-1e6, 1.0)])
def test_an_unreachable_cell_in_one_dimension(norm, side):
    """The boundary is at 2, the box ends at 1; what is open on the far side does not matter."""
    model = NearestNeighbors().fit([[0.0], [4.0]], [0, 1])
    program = MinimalPerturbation(model, [0.0], 0, negative=1, norm=norm, box=side)
    assert program.half_spaces.proves_empty(np.array([1.0]))
    assert Reachability(program).solve()[1] == math.inf


@pytest.mark.parametrize("side", [(-math.inf, 2.0), (-10.0, 2.0), (-10.0, 3.0), (0.0, math.inf), (-math.inf, math.inf)])
def test_a_reachable_cell_is_never_proved_empty(norm, side):
    model = NearestNeighbors().fit([[0.0], [4.0]], [0, 1])
    program = MinimalPerturbation(model, [0.0], 0, negative=1, norm=norm, box=side)
    for scale in (1e-300, 1.0, 1e300):
        assert not program.half_spaces.proves_empty(np.array([scale]))
    assert Reachability(program).solve()[1] <= 2.0  # the bisector


@settings(max_examples=200, deadline=None, derandomize=True)
@given(at=st.integers(0, 26), lam=st.lists(MULTIPLIERS, min_size=3, max_size=3))
def test_no_multipliers_prove_a_reachable_cell_empty(instances, at, lam):
    _, program, exact = instances[at]
    with np.errstate(all="ignore"):
        proved = program.half_spaces.proves_empty(np.array(lam))
    assert not proved or math.isinf(exact)


# --- units and bad input --------------------------------------------------------------------------------------------


def test_powers_of_two():
    assert power_of_two(3.0) == 4.0
    assert power_of_two(1.0) == 1.0
    assert power_of_two(0.0, math.inf, math.nan, 0.3) == 0.25
    assert power_of_two(0.0) == 1.0
    assert power_of_two(5e-324) == 5e-324
    assert math.isfinite(power_of_two(1.7e308))


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e6, 1e12])
def test_units_do_not_change_the_relative_answer(cloud, norm, scale):
    data = cloud(seed=1, n=8, d=2, integers=False)
    j = int(np.flatnonzero(data.y != data.labels[0])[0])
    one = MinimalPerturbation(data.model(), data.Z[0], data.labels[0], negative=j, norm=norm).solve()
    model = NearestNeighbors().fit(data.X * scale, data.y)
    other = MinimalPerturbation(model, data.Z[0] * scale, data.labels[0], negative=j, norm=norm).solve()
    assert one.value > 0
    assert other.value / scale == pytest.approx(one.value, rel=1e-8)
    assert other.lower_bound / scale == pytest.approx(one.lower_bound, rel=1e-8)


def test_bad_arguments():
    model = NearestNeighbors().fit([[0.0], [4.0], [5.0]], [0, 1, 1])
    cases = [
        (([1.0], 7), {"negative": 1}, "y"), (([1.0], "0"), {"negative": 1}, "y"), (([1.0], None), {"negative": 1}, "y"),
        (([1.0], 0), {"negative": 0}, "negative"), (([1.0], 0), {"negative": 3}, "negative"),
        (([1.0], 0), {"negative": -1}, "negative"), (([1.0], 0), {"negative": 1.0}, "negative"),
        (([1.0], 0), {"negative": None}, "negative"), (([1.0], 0), {"negative": True}, "negative"),
        (([1.0], 0), {"negative": 1, "norm": 3}, "norm"), (([1.0], 0), {"negative": 1, "box": (2, 3)}, "box"),
        (([1.0], 0), {"negative": 1, "box": 5}, "box"), (([1.0], 0), {"negative": 1, "box": (3, 2)}, "box"),
        (([1.0], 0), {"negative": 1, "box": (math.nan, 2)}, "box lower"),
        (([1.0, 2.0], 0), {"negative": 1}, "[zZ]"), (([[1.0]], 0), {"negative": 1}, "[zZ]"),
        (([math.nan], 0), {"negative": 1}, "[zZ]"), ((1.0, 0), {"negative": 1}, "[zZ]"),
    ]  # fmt: skip
    for arguments, keywords, name in cases:
        with pytest.raises(InvalidInputError, match=rf"^{name}: "):
            MinimalPerturbation(model, *arguments, **keywords)


def test_the_first_posed_negative_that_does_not_fit_is_refused_and_nothing_changes():
    model = NearestNeighbors().fit([[0.0], [4.0], [5.0]], [0, 1, 1])
    program = MinimalPerturbation(model, [1.0], 0, negative=1, box=(0, 9))
    for bad in ({"negative": 0}, {"z": [10.0]}, {"z": [math.nan]}, {"negative": 9}):
        with pytest.raises(InvalidInputError):
            program.pose(**bad)
    program.pose([2.0], 2)
    assert program.solve().value == pytest.approx(0.5, rel=1e-8)


def test_the_bound_of_a_half_space_is_the_certified_one(posed, norm):
    for seed in range(4):
        this = posed(seed)
        bounds = []
        for j in this.negatives:
            this.program.pose(negative=int(j))
            bounds.append(this.program.half_spaces.bound)
        certified = certified_radius(this.program.model, this.z[None], [this.label], norm=norm).lower[0]
        assert min(bounds) == pytest.approx(certified, rel=1e-12)
