"""The mean radius: its slope, the hinge that models it, and a sequence of SDPs that ascends."""

import itertools
import math

import numpy as np
import pytest
from random_triplets import SDP_SOLVERS, random_metric, two_clouds

import convexrml
from convexrml.formulations import MeanRadius
from convexrml.max_min import radius_ceilings
from convexrml.mean_radius import MeanRadiusObjective
from convexrml.norms import as_norm
from convexrml.profiles import get_profile
from convexrml.triplets import Triplets

PRECISE = [name for name in SDP_SOLVERS if get_profile(name).at("accurate").tolerance <= 1e-6]


def triplets(seed=0, d=3):
    return two_clouds(seed, 40, d, apart=0.7)


@pytest.fixture(params=[math.inf, 0.4], ids=["no cap", "cap"])
def cap(request):
    return request.param


def test_value_is_the_mean_of_triplet_bounds_where_all_are_right(norm):
    T = triplets()
    M = random_metric(np.random.default_rng(0))
    right = T.margins(M) > 0
    kept = Triplets(T.V[right], T.S[right], T.weights[right])
    J = MeanRadiusObjective(kept, as_norm(norm))
    assert J.value(M) == pytest.approx(kept.weights @ kept.radii(M, as_norm(norm)), rel=1e-12)
    assert J.value(7 * M) == pytest.approx(J.value(M), rel=1e-12)


def test_wrong_triplets_count_minus_the_distance_to_being_right(norm):
    T = triplets()
    M = random_metric(np.random.default_rng(0))
    t = MeanRadiusObjective(T, as_norm(norm)).radii(M)
    turned = Triplets(-T.V, T.S, T.weights).radii(M, as_norm(norm))  # x⁺ and x⁻ exchanged
    np.testing.assert_allclose(-t[t < 0], turned[t < 0], rtol=1e-12)


def test_no_metric_exceeds_a_ceiling(norm):
    rng = np.random.default_rng(1)
    T = triplets()
    ceilings = radius_ceilings(T, as_norm(norm))
    for _ in range(300):
        assert (T.radii(random_metric(rng), as_norm(norm)) <= ceilings).all()


def test_gradient_agrees_with_finite_differences(norm, cap):
    rng = np.random.default_rng(2)
    J = MeanRadiusObjective(triplets(), as_norm(norm), cap)
    M, D = random_metric(rng), rng.normal(size=(3, 3))
    D, h = (D + D.T) / 2, 1e-6
    difference = (J.value(M + h * D) - J.value(M - h * D)) / (2 * h)
    assert np.sum(J.gradient(M) * D) == pytest.approx(difference, rel=1e-6, abs=1e-9)


def test_model_agrees_in_value(norm, cap):
    """At M the hinge is the shortfall of J from its ceiling."""
    J = MeanRadiusObjective(triplets(), as_norm(norm), cap)
    M = random_metric(np.random.default_rng(3))
    assert J.model(M).value(M) == pytest.approx(J.ceiling - J.value(M), rel=1e-10)


@pytest.mark.parametrize("solver", PRECISE)
def test_sequence_ascends_and_every_step_is_bounded(solver, norm, cap):
    program = MeanRadius(triplets(), norm, cap=cap)
    J, found = program.objective, program.solve(solver, max_steps=6)
    values = [step.value for step in found.history]
    assert values[0] == J.value(np.eye(3))
    assert all(a < b for a, b in itertools.pairwise(values))
    assert values[-1] <= found.value == J.value(found.variables["matrix"]) <= found.ceiling
    assert found.value > values[0]
    for step in found.history:
        # what the model promises is within what weak duality allows, up to the solver's gap on the shortfall
        assert step.gain <= step.gain_bound <= step.gain + 1e-6 * found.ceiling
        assert step.gain_bound >= 0
    assert np.trace(found.variables["matrix"]) == pytest.approx(3, rel=1e-12)
    assert np.linalg.eigvalsh(found.variables["matrix"])[0] > 0


@pytest.mark.parametrize("solver", sorted(set(SDP_SOLVERS) - set(PRECISE)))
def test_a_rough_solver_costs_ascent_but_no_truth(solver, norm, cap):
    """SDPA may even return nothing: then the start stays, with a bound on what was missed that is still a bound."""
    program = MeanRadius(triplets(), norm, cap=cap)
    J, found = program.objective, program.solve(solver, max_steps=2)
    assert J.value(np.eye(3)) <= found.value == J.value(found.variables["matrix"])
    gain = program.solve("clarabel", max_steps=1).history[0].gain  # the same first step, solved closely
    assert gain <= found.history[0].gain_bound


def test_no_metric_gains_more_in_the_model_than_is_proved(norm):
    program = MeanRadius(triplets(), norm)
    M, rng = np.eye(3), np.random.default_rng(4)
    step = program.solve(max_steps=1).history[0]
    F = program.program(M).objective
    for _ in range(300):
        assert F.value(M) - F.value(random_metric(rng)) <= step.gain_bound


def test_in_the_plane_it_finds_the_best_of_a_grid():
    """All metrics of the plane up to scale, by angle and ratio: from three starts, one sequence reaches their best."""
    T = triplets(5, d=2)
    program = MeanRadius(T, 2)
    best = 0.0
    for angle, ratio in itertools.product(np.linspace(0, np.pi, 91), np.geomspace(1e-4, 1, 60)):
        Q = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        best = max(best, program.objective.value(Q * [1.0, ratio] @ Q.T))
    starts = (None, np.diag([1.0, 0.1]), np.diag([0.1, 1.0]))
    assert max(program.solve(start=start).value for start in starts) >= best - 1e-3 * abs(best)


def test_stationary_where_nothing_can_be_gained():
    """One triplet whose radius is at its ceiling already: the first SDP proves it, and the sequence stays."""
    T = Triplets.from_indices([[0.0, 0.0], [-1.0, 0.0], [3.0, 0.0]], [0], [1], [2])
    found = MeanRadius(T).solve()
    assert found.value == pytest.approx(1, rel=1e-12)
    assert found.stationarity <= 1e-6
    assert len(found.history) == 1 and found.history[0].length == 0
    np.testing.assert_array_equal(found.variables["matrix"], np.eye(2))


def test_one_feature_leaves_nothing_to_learn(norm):
    T = triplets(d=1)
    found = MeanRadius(T, norm).solve()
    assert found.value == pytest.approx(MeanRadiusObjective(T, as_norm(norm)).value(np.eye(1)), rel=1e-12)
    assert found.stationarity <= 1e-6


def test_duplicated_triplets_and_triplets_without_direction(norm):
    """Each counted twice: J doubles.  v = 0: counts nothing."""
    T = triplets()
    V = np.vstack([T.V, T.V, np.zeros((1, 3))])
    S = np.vstack([T.S, T.S, np.ones((1, 3))])
    J = MeanRadiusObjective(Triplets(V, S, np.concatenate([T.weights, T.weights, [1.0]])), as_norm(norm))
    once = MeanRadiusObjective(T, as_norm(norm))
    M = random_metric(np.random.default_rng(6))
    assert J.value(M) == pytest.approx(2 * once.value(M), rel=1e-12)
    np.testing.assert_allclose(J.gradient(M), 2 * once.gradient(M), rtol=1e-10, atol=1e-12)


def test_what_does_not_fit_is_refused():
    T = triplets()
    with pytest.raises(convexrml.errors.InvalidInputError, match="cap"):
        MeanRadius(T, cap=0.0)
    for arguments, name in (
        ({"start": np.zeros((3, 3))}, "start"),
        ({"start": np.eye(2)}, "start"),
        ({"max_steps": 0}, "max_steps"),
        ({"tolerance": 0.0}, "tolerance"),
    ):
        with pytest.raises(convexrml.errors.InvalidInputError, match=name):
            MeanRadius(T).solve(**arguments)
    with pytest.raises(convexrml.errors.InvalidInputError, match="maps every"):
        MeanRadiusObjective(T, as_norm(2)).model(np.zeros((3, 3)))
