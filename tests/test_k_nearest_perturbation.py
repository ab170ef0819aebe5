"""The mixed-integer programs against full enumeration, and the constants and reductions that they rest on."""

import math

import cvxpy as cp
import numpy as np
import oracle
import pytest
from test_k_nearest import VOTES, drawn

from convexrml import NearestNeighbors, attack_radius
from convexrml.errors import InvalidInputError, SolverCapabilityError, SolverLicenceError
from convexrml.formulations import KNearestPerturbation, MinimalPerturbation
from convexrml.formulations.contenders import ball, contenders
from convexrml.profiles import get_profile
from convexrml.solve import ClaimedStatus, problem_class
from convexrml.votes import Vote, same_vote

pytest.importorskip("pyscipopt")

# Of HiGHS and SCIP at `accurate`, and of what half-spaces moved by 1e-11 of the data's size may do to a radius.
TOLERANCE = {2: get_profile("scip").at("accurate").tolerance, 1: 1e-7, math.inf: 1e-7}


def solver_of(norm):
    return "scip" if norm == 2 else "highs"


def firm(case, norm, vote):
    """The radius, and what it becomes when every half-space is moved outwards or inwards by a hair."""
    return [case.truth(norm, vote, margin) for margin in (-1e-11, 0.0, 1e-11)]


def posed(case, norm, vote, **arguments):
    return KNearestPerturbation(case.model(), case.z, case.label, norm=norm, box=case.box, vote=vote, **arguments)


def optimum(program, norm, solver=None):
    return program.solve(solver_of(norm) if solver is None else solver).claimed


@pytest.mark.parametrize("chunk", range(4))
@pytest.mark.parametrize("vote", VOTES)
def test_the_optimum_is_the_radius(norm, vote, chunk):
    seen = 0
    for seed in range(20 * chunk, 20 * chunk + 20):
        case = drawn(seed, n_max=9, boxes=True)
        least, radius, most = firm(case, norm, vote)
        if not 0 < radius < math.inf:
            continue
        seen += 1
        solution = posed(case, norm, vote, radius=1.5 * radius).solve(solver_of(norm))
        assert solution.report.claimed is ClaimedStatus.OPTIMAL
        assert least * (1 - TOLERANCE[norm]) <= solution.claimed <= most * (1 + TOLERANCE[norm])
        assert solution.value == pytest.approx(solution.claimed, rel=TOLERANCE[norm])
        assert solution.primal_residual <= 1e-6
    assert seen >= 2


@pytest.mark.parametrize("vote", VOTES)
def test_neither_the_ball_nor_presolve_changes_the_optimum(norm, vote):
    seen = 0
    for seed in range(100, 118):
        case = drawn(seed, n_max=9, boxes=True)
        least, radius, most = firm(case, norm, vote)
        if not 0 < radius < math.inf or most > least * (1 + 1e-7):
            continue
        seen += 1
        for wider in (1 + 1e-6, 4.0, 100.0):
            found = optimum(posed(case, norm, vote, radius=wider * radius), norm)
            assert found == pytest.approx(radius, rel=max(1.0, wider) * TOLERANCE[norm])
        whole = posed(case, norm, vote, radius=1.1 * radius, presolve=False)
        assert len(whole.contenders.points) == len(case.y) and not whole.contenders.inside.any()
        assert optimum(whole, norm) == pytest.approx(radius, rel=TOLERANCE[norm])
    assert seen >= 3


@pytest.mark.parametrize("vote", VOTES)
def test_a_ball_that_is_too_small_is_told(norm, vote):
    for seed in range(130, 145):
        case = drawn(seed, n_max=9)
        least = firm(case, norm, vote)[0]
        if 0 < least < math.inf:
            program = posed(case, norm, vote, radius=0.9 * least)
            assert optimum(program, norm) > 0.9 * least  # inf where the solver sees it


@pytest.mark.parametrize("solver", ["gurobi", "scip"])
def test_other_solvers_agree(norm, solver):
    pytest.importorskip({"gurobi": "gurobipy", "scip": "pyscipopt"}[solver])
    for seed in (3, 9, 14, 30):
        case = drawn(seed, n_max=9)
        least, radius, most = firm(case, norm, "plurality")
        if 0 < radius < math.inf and most <= least * (1 + 1e-7):
            try:
                found = optimum(posed(case, norm, "plurality", radius=2 * radius), norm, solver)
            except SolverLicenceError as error:
                pytest.skip(str(error))
            assert found == pytest.approx(radius, rel=TOLERANCE[2])


def test_one_neighbour_is_the_least_of_the_convex_programs(cloud, norm):
    data = cloud(seed=3, n=9, d=2, classes=3, queries=3, integers=False)
    model = data.model()
    for z, y in zip(data.Z, data.labels, strict=True):
        each = [
            MinimalPerturbation(model, z, y, negative=j, norm=norm).solve("clarabel").value
            for j in np.flatnonzero(data.y != y)
        ]
        assert optimum(KNearestPerturbation(model, z, y, norm=norm), norm) == pytest.approx(min(each), rel=1e-6)


def test_the_radius_is_the_least_over_the_targets(norm):
    seen = 0
    for seed in range(20):
        case = drawn(seed, n_max=9)
        least, radius, most = firm(case, norm, "plurality")
        model = case.model()
        if case.k < 5 or not 0 < radius < math.inf or most > least * (1 + 1e-7):
            continue
        targets = [(c, a) for c in set(model.classes_) - {case.label} for a in range(1, (case.k - 1) // 2 + 1)]
        each = [optimum(posed(case, norm, "plurality", target=t, radius=2 * radius), norm) for t in targets]
        assert min(each) == pytest.approx(radius, rel=TOLERANCE[norm])
        seen += len(targets) > 2
    assert seen


@pytest.mark.parametrize("majority", [True, False])
@pytest.mark.parametrize("boxed", [True, False])
def test_what_is_said_of_the_ball_is_so_at_every_point_of_it(norm, majority, boxed):
    """Contenders, points inside and bounds on the threshold, wherever a sampled point loses the vote."""
    rng, lost = np.random.default_rng(0), 0
    for seed in range(60):
        case = drawn(seed, n_max=14, d_max=3, boxes=boxed)
        model, vote, s = case.model(), VOTES[not majority], (case.k + 1) // 2
        if not majority and same_vote(case.k, len(model.classes_)):
            continue
        row, radius = model.scores(case.z[None])[0], float(rng.choice([0.5, 2.0, 5.0]))
        posed = KNearestPerturbation(model, case.z, case.label, norm=norm, box=case.box, radius=radius)
        within = ball(case.z, posed.norm, radius, posed.box)
        found = contenders(model, case.z, row, model.encode([case.label], 1)[0], within, majority, presolve=True)
        deltas = rng.standard_normal((200, len(case.z)))
        deltas *= radius * rng.random((200, 1)) ** 0.3 / np.linalg.norm(deltas, norm, axis=1, keepdims=True)
        points = case.z + deltas if case.box is None else np.clip(case.z + deltas, *case.box)
        for D in oracle.direct_distances(case.X, case.M, points):
            if not oracle.vote_lost(D, case.y, case.label, case.k, vote):
                continue
            lost += 1
            own = case.y == case.label
            near = np.lexsort((own, D))
            near = near[~own[near]][:s] if majority else near[: case.k]
            t = D[near].max()
            slack = 1e-9 * (1 + D.max())
            kept = np.isin(np.arange(len(D)), found.points)
            assert (D[~kept & own] >= t - slack).all()  # majority: dropped points of the label are not below
            if not majority:
                assert (D[~kept] >= t - slack).all()
            assert (D[found.points[found.inside]] <= t + slack).all()
            assert (D[found.points] - t <= found.above + slack).all()
            assert (t - D[found.points] <= found.below + slack).all()
    assert lost > 200


def test_presolve_leaves_little_where_the_ball_is_small():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((400, 4)), rng.integers(0, 3, 400)
    z, model = X[0] + 0.01, NearestNeighbors(3).fit(X, y)
    upper = attack_radius(model, z[None], model.predict(z[None])).upper[0]
    assert 0 < len(KNearestPerturbation(model, z, model.predict(z[None])[0]).contenders.points) < 100
    assert KNearestPerturbation(model, z, model.predict(z[None])[0]).radius == upper


@pytest.mark.parametrize(("unit", "weight"), [(1e-5, 1.0), (1e5, 1.0), (1.0, 1e-9), (1.0, 1e9)])
def test_radii_scale_with_the_input_and_not_with_the_metric(norm, unit, weight):
    case = drawn(4, n_max=9)
    model = NearestNeighbors(case.k, weight * np.eye(len(case.z))).fit(unit * case.X, case.y)
    plain = optimum(posed(case, norm, "majority", radius=2.5), norm)
    scaled = optimum(
        KNearestPerturbation(model, unit * case.z, case.label, norm=norm, vote="majority", radius=2.5 * unit), norm
    )
    assert 0 < plain < math.inf
    assert scaled == pytest.approx(unit * plain, rel=TOLERANCE[norm])


def test_with_a_margin_the_answer_is_a_witness(norm):
    seen = 0
    for seed in range(40):
        case = drawn(seed, n_max=9, boxes=True)
        least, radius, most = firm(case, norm, "plurality")
        if not 0 < radius < math.inf or most > least * (1 + 1e-7):
            continue
        program, model = posed(case, norm, "plurality", radius=1.1 * radius), case.model()
        solution = program.solve(solver_of(norm))
        for neighbours in (
            np.concatenate([solution.chosen, solution.excused]),
            program.neighbours_at(solution.variables["perturbation"]),
        ):
            inner = program.solve_among(neighbours, 1e-5, solver_of(norm))
            if math.isfinite(inner.value):
                assert inner.value == pytest.approx(radius, rel=1e-3)
                delta = inner.variables["perturbation"] * (1 + 1e-12)
                seen += bool(model.mislabels((case.z + delta)[None], [case.label])[0])
    assert seen >= 3


def test_what_kind_of_program_it_is(norm):
    case = drawn(4, n_max=9)
    program = posed(case, norm, "majority", radius=2.5)
    assert isinstance(program.problem, cp.Problem) and program.problem.is_dcp()
    assert problem_class(program.problem) == ("MIQP" if norm == 2 else "MILP")
    assert program.perturbation.shape == case.z.shape
    if norm == 2:
        with pytest.raises(SolverCapabilityError, match="HiGHS takes LP, QP, MILP, but .* MIQP"):
            program.solve("highs")


def test_constraints_of_ones_own(norm):
    case = drawn(4, n_max=9)
    program = posed(case, norm, "majority", radius=2.5)
    free = optimum(program, norm)
    f = int(np.argmax(np.abs(program.solve(solver_of(norm)).variables["perturbation"])))
    program = posed(case, norm, "majority", radius=50 * free)
    program.problem = cp.Problem(
        program.problem.objective, [*program.problem.constraints, program.perturbation[f] == 0]
    )
    assert program.solve(solver_of(norm)).claimed > free * (1 + 1e-3)


def test_a_label_that_cannot_lose(norm):
    model = NearestNeighbors(3).fit([[0.0], [1.0], [2.0], [9.0]], list("aaab"))
    program = KNearestPerturbation(model, [1.0], "a", norm=norm, box=([0.0], [10.0]))
    assert program.impossible and program.radius == pytest.approx(9.0)
    assert program.solve(solver_of(norm)).claimed == math.inf


def test_a_query_that_is_mislabelled_already(norm):
    model = NearestNeighbors(3).fit([[0.0], [1.0], [2.0], [9.0]], list("aabb"))
    for vote in VOTES:
        solution = KNearestPerturbation(model, [0.0], "b", norm=norm, vote=vote).solve(solver_of(norm))
        assert solution.claimed == pytest.approx(0.0, abs=1e-9) and solution.value == pytest.approx(0.0, abs=1e-9)


def test_arguments_that_cannot_be_used():
    model = NearestNeighbors(3).fit([[0.0], [1.0], [2.0], [9.0]], list("aaab"))
    for arguments, message in (
        ({}, "^radius: no upper bound"),
        ({"box": (0.0, math.inf)}, "^radius: no upper bound"),
        ({"radius": -1.0}, "^radius: needs one number"),
        ({"radius": math.inf}, "^radius: "),
        ({"radius": "far"}, "^radius: "),
        ({"radius": 1.0, "target": "b"}, "^target: give a pair"),
        ({"radius": 1.0, "target": ("a", 1)}, "^target: 'a' is the query's own"),
        ({"radius": 1.0, "target": ("b", 2)}, "^target: count is at most 1"),
        ({"radius": 1.0, "target": ("b", 0)}, "^target: count: must be at least 1"),
        ({"radius": 1.0, "target": ("b", 1), "vote": Vote.MAJORITY}, "^target: belongs to"),
        ({"radius": 1.0, "vote": "unanimous"}, "^vote: "),
        ({"radius": 1.0, "box": (2.0, 3.0)}, "^box: "),
    ):
        with pytest.raises(InvalidInputError, match=message):
            KNearestPerturbation(model, [1.0], "a", **arguments)
