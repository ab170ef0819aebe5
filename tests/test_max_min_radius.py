"""The largest least radius: known answers, both kinds of proof, and why the metric needs a floor."""

import itertools
import warnings

import numpy as np
import pytest
from random_triplets import SDP_SOLVERS, random_metric, twice, two_clouds

import convexrml
from convexrml.formulations import MaxMinRadius
from convexrml.max_min import MaxMinObjective
from convexrml.norms import as_norm
from convexrml.triplets import Triplets


def separable(seed=0, m=8):
    return two_clouds(seed, m, apart=2.5)


def triplets(*points):
    X = np.array(points, dtype=float).reshape(3 * len(points), -1)
    rows = np.arange(len(X)).reshape(-1, 3)
    return Triplets.from_indices(X, *rows.T)


@pytest.mark.parametrize("solver", SDP_SOLVERS)
def test_interval_closes_and_both_ends_are_proved(solver, norm):
    T = separable()
    program = MaxMinRadius(T, norm)
    found = program.solve(solver, tolerance=1e-5)
    assert 0 < found.lower <= found.upper
    assert found.gap <= 1e-5
    M = found.variables["matrix"]
    assert np.trace(M) == pytest.approx(3, rel=1e-12)
    assert np.linalg.eigvalsh(M)[0] >= 1e-3 * (1 - 1e-9)
    assert T.radii(M, as_norm(norm)).min() == found.lower
    assert program.upper_bound(found.duals) == found.upper
    assert {step.upper <= step.radius * (1 + 1e-9) for step in found.steps} == {True, False}  # both answers were given


def test_no_metric_exceeds_the_upper_end(norm):
    rng = np.random.default_rng(1)
    for seed in range(5):
        program = MaxMinRadius(separable(seed), norm)
        found = program.solve()
        for _ in range(200):
            M, D = program.objective.feasible(random_metric(rng)), rng.normal(size=(3, 3))
            assert program.objective.value(M) <= found.upper
            near = program.objective.feasible(found.variables["matrix"] + 0.01 * (D + D.T))
            assert program.objective.value(near) <= found.upper


def test_random_multipliers_never_fall_below_a_radius_that_is_reached(norm):
    rng = np.random.default_rng(2)
    for seed in range(10):
        T = separable(seed)
        F = MaxMinObjective(T, as_norm(norm), 1e-3)
        reached = MaxMinRadius(T, norm).solve(tolerance=1e-4).lower
        for t in (0.0, reached / 2, reached, 2 * reached, 1e150):
            a = rng.exponential(size=8) ** 4
            q = rng.normal(size=(8, 3))
            assert F.upper_bound(a, q, t) >= reached
            assert F.upper_bound(-a, q * np.nan, t) >= reached
        assert F.closed_bound() >= reached


def test_one_triplet_in_the_plane_has_its_closed_form():
    """x = 0, x⁺ = (−1, 0), x⁻ = (3, 0): by symmetry M = I is best, and the bisector is at x₁ = 1."""
    found = MaxMinRadius(triplets([[0, 0], [-1, 0], [3, 0]])).solve()
    assert found.lower == pytest.approx(1, rel=1e-6)
    assert found.upper == pytest.approx(1, rel=1e-6)


def test_orthogonal_demands_are_traded_off():
    """Two triplets that want different metrics, compared with a fine grid of all metrics in the plane."""
    T = triplets([[1, 0.5], [0, 0], [4, 1]], [[0.5, 1], [0, 0], [1, 3]])
    program = MaxMinRadius(T)
    found = program.solve()
    angles, ratios = np.linspace(0, np.pi, 181), np.geomspace(1e-3, 1, 200)
    grid = []
    for angle, ratio in itertools.product(angles, ratios):
        Q = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        grid.append(program.objective.value(Q * [1.0, ratio] @ Q.T))
    assert found.upper >= max(grid)
    assert max(grid) >= found.lower * (1 - 1e-3)  # what the grid's width may cost


def test_one_feature_needs_no_solver(norm):
    """d = 1: radii do not depend on M, and the bounds meet at once."""
    found = MaxMinRadius(triplets([0, 1, 4], [0, -1, 9]), norm).solve()
    assert found.lower == pytest.approx(2.5, rel=1e-12)
    assert found.upper == pytest.approx(2.5, rel=1e-6)


def test_triplet_of_equal_points_leaves_no_radius(norm):
    """v = 0, and an anchor that lies on its negative: no metric separates them."""
    fine = [[0, 0], [1, 0], [4, 1]]
    for hopeless in ([[0, 0], [2, 2], [2, 2]], [[3, 1], [0, 0], [3, 1]]):
        found = MaxMinRadius(triplets(fine, hopeless), norm).solve()
        assert found.lower == 0
        assert found.upper <= 1e-12


def test_triplets_that_no_metric_separates_are_proved_so(norm):
    """Each of two anchors is told the opposite about the same pair of points."""
    found = MaxMinRadius(triplets([[0, 1], [-1, 0], [1, 0]], [[0, 1], [1, 0], [-1, 0]]), norm).solve()
    assert found.lower == 0
    assert found.upper <= 1e-6
    found = MaxMinRadius(triplets([[0, 0], [2, 2], [1, 1]], [[0, 0], [1, 0], [4, 1]]), norm).solve()
    assert found.lower == 0  # x⁻ between x and x⁺: farther under no metric
    assert found.upper == 0


def test_without_a_floor_the_rows_do_not_mean_radii():
    """A metric that forgets v satisfies ``vᵀ M s ≥ 2 t ‖M v‖`` for every t, with a radius of 0."""
    T = triplets([[0, 0], [0, 2], [0, 1]], [[0, 0], [1, 0], [4, 0]])  # the first is hopeless: x⁻ between x and x⁺
    M = np.diag([2.0, 0.0])
    t = 1.5
    rows = T.margins(M) - 2 * t * T.lengths(M, as_norm(2))
    assert (rows >= 0).all()
    assert T.radii(M, as_norm(2)).min() == 0
    assert MaxMinRadius(T).solve().upper == 0


def test_least_radius_grows_as_the_floor_sinks():
    T = separable(3)
    found = [MaxMinRadius(T, floor=floor).solve() for floor in (0.3, 1e-2, 1e-4)]
    assert all(a.lower <= b.upper for a, b in itertools.pairwise(found))


def test_scale_of_the_data_is_the_scale_of_the_radius(norm):
    T = separable()
    known = MaxMinRadius(T, norm).solve()
    for scale in (1e-4, 1e4):
        found = MaxMinRadius(Triplets(T.V * scale, T.S * scale, T.weights), norm).solve()
        assert found.gap <= 1e-6
        assert found.lower == pytest.approx(known.lower * scale, rel=2e-6)


def test_duplicated_triplets_change_nothing(norm):
    T = separable()
    assert MaxMinRadius(twice(T), norm).solve().lower == pytest.approx(MaxMinRadius(T, norm).solve().lower, rel=2e-6)


def test_a_solver_that_stops_early_leaves_a_wider_interval():
    program = MaxMinRadius(separable())
    known, early = program.solve(), program.solve("scs", max_iters=20)
    assert early.lower <= known.upper and known.lower <= early.upper
    assert early.gap > known.gap


def test_quasiconvex_form_agrees():
    program = MaxMinRadius(separable(m=4))
    problem = program.quasiconcave()
    assert problem.is_dqcp() and not problem.is_dcp()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cvxpy tells of every feasibility problem that is close to the boundary
        problem.solve(qcp=True, eps=1e-4, solver="CLARABEL")
    found = program.solve()
    assert problem.value == pytest.approx(found.lower, abs=2e-4 * program._sigma)


def test_what_does_not_fit_is_refused():
    T = separable()
    for floor in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(convexrml.errors.InvalidInputError, match="floor"):
            MaxMinRadius(T, floor=floor)
    with pytest.raises(convexrml.errors.InvalidInputError, match="tolerance"):
        MaxMinRadius(T).solve(tolerance=0)
