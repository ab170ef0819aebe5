"""The first-order solver: projections, the M-step, and the optimum of the explicit program within a proven gap."""

import math

import cvxpy as cp
import numpy as np
import pytest
import threadpoolctl

import convexrml
from convexrml.formulations import RobustHinge
from convexrml.hinge import RobustHingeObjective
from convexrml.kernels import dual_cone
from convexrml.learning.first_order import FirstOrderStatus, minimise
from convexrml.learning.proximal import project_simplex, proximal
from convexrml.norms import as_norm
from convexrml.regularisers import FixedTrace, FrobeniusPrior, TracePenalty
from convexrml.triplets import Triplets


def instance(seed, m, d, norm, regulariser, *, tau=0.2):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(3, m, d)) / math.sqrt(d)
    x, plus = X[0], X[0] + 0.6 * X[1]
    triplets = Triplets(plus - X[2], 2 * x - plus - X[2], rng.uniform(0.5, 1.5, m) / m)
    R = {
        "fixed_trace": FixedTrace(float(d)),
        "trace_penalty": TracePenalty(0.05 / d),
        "frobenius": FrobeniusPrior(0.05),
    }
    return RobustHingeObjective(triplets, as_norm(norm), tau, 1.0, R[regulariser])


REGULARISERS = ("fixed_trace", "trace_penalty", "frobenius")


@pytest.mark.parametrize("order", [1.0, 2.0, math.inf])
def test_projection_is_the_nearest_point(order):
    rng = np.random.default_rng(0)
    for trial in range(40):
        d, ceiling = int(rng.integers(1, 6)), 1.0
        a0, q0 = rng.normal() * 1.5, rng.normal(size=d) * (0.2, 1, 5)[trial % 3]
        q = q0.copy()
        a = dual_cone.project(a0, q, ceiling, order)
        assert 0 <= a <= ceiling and np.linalg.norm(q, order) <= a * (1 + 1e-14) + 1e-15
        # Variational inequality: the projection P of z is the point of the set with ⟨z − P, y − P⟩ ≤ 0 for all y in it.
        ys = rng.normal(size=(400, d))
        heights = rng.uniform(0, ceiling, 400)
        ys *= (heights * rng.uniform(0, 1, 400) ** 0.2 / np.linalg.norm(ys, order, axis=1))[:, None]
        corners = np.r_[heights[:200], np.full(200, ceiling)]
        inner = (a0 - a) * (corners - a) + (ys - q) @ (q0 - q)
        assert inner.max() <= 1e-12 * (1 + abs(a0) + np.abs(q0).sum()) ** 2
        # ... and, against sampling that misses corners, its distance is that of a program's solution.
        if trial < 6:
            height, point = cp.Variable(), cp.Variable(d)
            program = cp.Problem(
                cp.Minimize(cp.sum_squares(point - q0) + cp.square(height - a0)),
                [cp.norm(point, order) <= height, height <= ceiling],
            )
            program.solve(solver="CLARABEL")
            assert (a - a0) ** 2 + np.sum((q - q0) ** 2) == pytest.approx(program.value, abs=1e-6)


@pytest.mark.parametrize("order", [1.0, 2.0, math.inf])
def test_kernels_stay_inside_their_arrays(order):
    F = instance(0, 7, 3, {1.0: 1, 2.0: 2}.get(order, "inf"), "frobenius")
    T = F.triplets
    states = []
    for plain in (False, True):
        a, Q = np.zeros(7), np.zeros((7, 3))
        new, Z = (np.empty(7), np.empty((7, 3))), np.empty((7, 3))
        call = dual_cone.ascend.py_func if plain else dual_cone.ascend
        moved = call(T.V.copy(), T.S, T.weights, T.weights, np.full(7, 0.4), np.ones(7), order, a, Q, *new, Z)
        states.append((moved, *new, Z))
    for compiled, plain in zip(*states, strict=True):
        np.testing.assert_allclose(compiled, plain, rtol=1e-13)


def test_simplex_projection():
    np.testing.assert_allclose(project_simplex(np.array([3.0, 1.0, -5.0]), 2.0), [2.0, 0.0, 0.0])
    np.testing.assert_allclose(project_simplex(np.array([-3.0, -1.0, -1.0]), 2.0), [0.0, 1.0, 1.0])


@pytest.mark.parametrize("regulariser", [FixedTrace(4.0), TracePenalty(0.7), FrobeniusPrior(0.7)])
def test_m_step_minimises(regulariser):
    rng = np.random.default_rng(1)
    A, step = rng.normal(size=(4, 4)), 0.6
    A = A + A.T

    def objective(M):
        return step * regulariser.value(M) + np.sum((M - A) ** 2) / 2

    M = proximal(regulariser, A, step)
    assert (M == M.T).all() and np.linalg.eigvalsh(M)[0] > -1e-14
    for _ in range(300):
        other = regulariser.feasible(M + rng.normal(size=(4, 4)) * rng.choice([1e-3, 0.1, 1]))
        assert objective(M) <= objective(other) + 1e-12


def test_a_regulariser_without_m_step_is_refused():
    with pytest.raises(TypeError, match="no proximal step"):
        proximal(object(), np.eye(2), 1.0)


@pytest.mark.parametrize("regulariser", REGULARISERS)
@pytest.mark.parametrize("norm", [1, 2, "inf"])
def test_agrees_with_the_explicit_program(norm, regulariser):
    m, d = (60, 6) if norm != 2 else (120, 8)
    F = instance(len(regulariser), m, d, norm, regulariser)
    found = minimise(F, tol=1e-6)
    assert found.status is FirstOrderStatus.CONVERGED and found.gap <= 1e-6
    program = RobustHinge(F.triplets, tau=F.tau, norm=norm, margin=F.margin, regulariser=F.regulariser)
    solution = program.solve("clarabel")
    assert solution.value == pytest.approx(found.value, rel=1e-5)
    assert found.lower_bound <= solution.value and solution.lower_bound <= found.value
    assert F.value(found.matrix) == found.value and F.lower_bound(*found.multipliers) == found.lower_bound
    np.testing.assert_array_equal(found.matrix, found.matrix.T)
    assert np.linalg.eigvalsh(found.matrix)[0] >= -1e-13 * np.trace(found.matrix)


@pytest.mark.slow
@pytest.mark.parametrize(("m", "d", "regulariser"), [(500, 16, "fixed_trace"), (500, 16, "trace_penalty"),
                                                     (100, 36, "frobenius"), (300, 24, "trace_penalty")])  # fmt: skip
def test_agrees_with_larger_programs(m, d, regulariser):
    F = instance(d, m, d, 2, regulariser)
    found = minimise(F, tol=3e-6)
    program = RobustHinge(F.triplets, tau=F.tau, norm=2, margin=F.margin, regulariser=F.regulariser)
    assert program.solve("clarabel").value == pytest.approx(found.value, rel=1e-5)


def test_no_perturbation_and_a_tau_for_each_triplet():
    for tau in (0.0, np.linspace(0, 0.3, 60)):
        F = instance(3, 60, 5, 2, "frobenius", tau=tau)
        found = minimise(F, tol=1e-6)
        program = RobustHinge(F.triplets, tau=tau, norm=2, margin=1.0, regulariser=F.regulariser)
        assert program.solve("clarabel").value == pytest.approx(found.value, rel=1e-5)


def test_limits_leave_an_interval():
    F = instance(0, 80, 8, 2, "fixed_trace")
    best = minimise(F, tol=1e-6)
    ends = FirstOrderStatus.ITERATION_LIMIT, FirstOrderStatus.TIME_LIMIT
    for limits, status in zip(({"max_iter": 1}, {"max_time": 1e-9}), ends, strict=True):
        found = minimise(F, tol=0, **limits)
        assert found.status is status and found.gap > 0
        assert found.lower_bound <= best.value and best.lower_bound <= found.value


def test_a_start_at_the_optimum_and_progress():
    F, seen = instance(0, 80, 8, 2, "trace_penalty"), []
    cold = minimise(F, tol=1e-5, callback=seen.append)
    assert tuple(seen) == cold.history and seen[-1].gap == cold.gap
    assert all(b.value <= a.value and b.lower_bound >= a.lower_bound for a, b in zip(seen, seen[1:], strict=False))
    warm = minimise(F, tol=1e-5, start=cold.matrix)
    assert warm.history[0].value == pytest.approx(cold.value, rel=1e-12)


def test_an_optimum_of_zero_is_reached():
    triplets = Triplets.from_indices([[0.0], [1.0], [3.0]], [0], [1], [2])  # margin 8 M, length 2 M
    found = minimise(RobustHingeObjective(triplets, as_norm(2), 0.5, 1.0, FixedTrace(1.0)))
    assert found.value == found.lower_bound == found.gap == 0


@pytest.mark.parametrize("limit", [{"tol": -1.0}, {"tol": math.nan}, {"max_iter": 0}, {"max_time": 0.0},
                                   {"start": np.eye(3)}])  # fmt: skip
def test_limits_that_make_no_sense_are_refused(limit):
    with pytest.raises(convexrml.errors.InvalidInputError, match=next(iter(limit))):
        minimise(instance(0, 5, 2, 2, "frobenius"), **limit)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_units_do_not_matter(scale):
    F = instance(0, 80, 6, 2, "fixed_trace")
    T = Triplets(F.triplets.V * scale, F.triplets.S * scale, F.triplets.weights)
    G = RobustHingeObjective(T, F.norm, F.tau * scale, F.margin * scale**2, F.regulariser)
    one, other = minimise(F, tol=1e-5), minimise(G, tol=1e-5)
    assert other.value / scale**2 == pytest.approx(one.value, rel=2e-5)  # the sum of both gaps


def test_the_number_of_threads_does_not_matter():
    F = instance(5, 300, 24, 2, "trace_penalty")
    matrices = []
    for threads in (1, 2, 2):
        with threadpoolctl.threadpool_limits(threads):
            matrices.append(minimise(F, tol=1e-4).matrix)
    np.testing.assert_array_equal(matrices[1], matrices[2])
    np.testing.assert_allclose(matrices[0], matrices[1], rtol=0, atol=1e-8)
