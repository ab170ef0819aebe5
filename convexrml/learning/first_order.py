"""Robust hinge at scale: a restarted primal-dual method that stops on its own proven gap.

``F(M) = Σ c_i [g_i + 2τ_i ‖M v_i‖_q − v_iᵀ M s_i]₊ + R(M)`` is the saddle point, over ``M ⪰ 0`` and multipliers with
``0 ≤ a_i ≤ c_i``, ``‖q_i‖_p ≤ a_i``, of

    ``Σ g_i a_i − ⟨C(a, q), M⟩ + R(M),    C(a, q) = Σ sym((a_i s_i − 2τ_i q_i) v_iᵀ).``

The primal-dual hybrid gradient method (Chambolle and Pock, 2011) alternates

    ``M'  = prox of ηR at M + η C(a, q)``                 one eigendecomposition,
    ``W   = V (2M' − M)``                                 one product,
    ``a'_i, q'_i = projections of a_i + σ_i (g_i − ⟨w_i, s_i⟩), q_i + σ_i 2τ_i w_i``,
    ``C(a', q')``                                         one product.

Step lengths, the balance ω between primal and dual, and restarts from averages follow PDLP (Applegate et al., 2021);
the restarts look at the true gap, which PDLP has to replace.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from convexrml.errors import InvalidInputError
from convexrml.hinge import RobustHingeObjective
from convexrml.kernels.dual_cone import accumulate, ascend, squared_difference
from convexrml.learning.proximal import proximal
from convexrml.validation import number_from, positive_number, whole_number

_CHECK_EVERY = 20  # iterations between two measurements of the gap, which cost about two iterations
_POWER_STEPS = 4  # the norm only sets the first step, which then adapts
_RESTART_AT, _RESTART_ON_RISE, _RESTART_AFTER = 0.2, 0.8, 0.36  # PDLP's three conditions


class FirstOrderStatus(enum.Enum):
    """Why the solver stopped."""

    CONVERGED = "the relative gap between value and lower bound is at most the tolerance"
    ITERATION_LIMIT = "the iteration limit was met; value and lower bound enclose the optimum"
    TIME_LIMIT = "the time limit was met; value and lower bound enclose the optimum"


@dataclasses.dataclass(frozen=True)
class Progress:
    """What was known after some iterations.

    Attributes
    ----------
    n_iter : int
    seconds : float
    value, lower_bound : float
        The best so far.
    gap : float
        ``(value − lower_bound) / value``.
    """

    n_iter: int
    seconds: float
    value: float
    lower_bound: float
    gap: float


@dataclasses.dataclass(frozen=True, eq=False)
class FirstOrderSolution:
    """A metric and multipliers whose values enclose the optimum.

    Attributes
    ----------
    status : FirstOrderStatus
    matrix : (d, d) array
        M, positive semidefinite and feasible.
    multipliers : tuple of (m,) and (m, d) arrays
        a and q behind the lower bound.
    value : float
        F at `matrix`.
    lower_bound : float
        On the optimum, by weak duality (`RobustHingeObjective.lower_bound`).
    gap : float
        ``(value − lower_bound) / value``; 0 where the value is 0.
    n_iter, n_restarts : int
    history : tuple of Progress
    """

    status: FirstOrderStatus
    matrix: NDArray[np.float64]
    multipliers: tuple[NDArray[np.float64], NDArray[np.float64]]
    value: float
    lower_bound: float
    gap: float
    n_iter: int
    n_restarts: int
    history: tuple[Progress, ...]


def minimise(
    objective: RobustHingeObjective,
    *,
    tol: float = 1e-3,
    max_iter: int = 20_000,
    max_time: float | None = None,
    start: NDArray[np.float64] | None = None,
    callback: Callable[[Progress], object] | None = None,
) -> FirstOrderSolution:
    """Minimise the robust hinge over ``M ⪰ 0`` to a relative gap that is measured, not claimed.

    Parameters
    ----------
    objective : RobustHingeObjective
    tol : float
        Relative gap ``(value − lower bound) / value`` at which to stop.
    max_iter : int
    max_time : float, optional
        Seconds; looked at together with the gap, every few iterations.
    start : (d, d) array, optional
        M to start from; made feasible.  By default the identity, scaled as suits the objective.
    callback : callable, optional
        Called with a `Progress` each time the gap is measured.

    Returns
    -------
    FirstOrderSolution

    Raises
    ------
    InvalidInputError
        If a limit or the tolerance makes no sense, or `start` does not fit the triplets.
    """
    number_from("tol", tol, 0)
    whole_number("max_iter", max_iter, minimum=1)
    if max_time is not None:
        positive_number("max_time", max_time)
    d = objective.triplets.n_features
    if start is not None and np.shape(start) != (d, d):
        raise InvalidInputError(f"start: needs shape {(d, d)}; found {np.shape(start)}")
    return _Ascent(objective, start).run(tol, max_iter, math.inf if max_time is None else max_time, callback)


class _Ascent:
    """The state of the method: iterate, averages since the last restart, and the best of each side."""

    def __init__(self, objective: RobustHingeObjective, start: NDArray[np.float64] | None) -> None:
        T, d = objective.triplets, objective.triplets.n_features
        self.objective, self.V, self.S = objective, T.V, T.S
        self.reaches = np.ascontiguousarray(np.broadcast_to(2 * np.asarray(objective.tau), len(T)))
        self.margins = np.ascontiguousarray(np.broadcast_to(objective.margin, len(T)))
        v, s = np.linalg.norm(T.V, axis=1), np.linalg.norm(T.S, axis=1)
        rows = v * np.sqrt(s**2 + self.reaches**2)  # how strongly a multiplier pulls at M
        self.scales = T.weights / np.maximum(rows, 1e-6 * rows.max()) if rows.max() > 0 else T.weights.copy()
        identity = _at_margin(objective, np.eye(d))
        self.M = objective.regulariser.feasible(identity if start is None else start)
        self.a, self.Q = np.zeros(len(T)), np.zeros_like(T.V)
        self.C = np.zeros((d, d))
        self.spare = (np.empty(len(T)), np.empty_like(T.V))
        self.Z = np.empty_like(T.V)
        self.best_M, self.value = self.M, float(objective.value(self.M))
        self.best_y, self.bound = (self.a.copy(), self.Q.copy()), objective.lower_bound(self.a, self.Q)
        self.step = 1 / max(self.operator_norm(), np.finfo(float).tiny)
        dual = math.sqrt(float(np.sum(T.weights**2 / self.scales)))
        self.weight = dual / max(float(np.linalg.norm(self.M)), 1e-3 * float(np.linalg.norm(identity)), 1e-300)
        self.n_iter = 0
        self.n_restarts = 0
        self.restart_here(math.inf)

    def operator_norm(self) -> float:
        """Norm of ``M ↦ (⟨M v_i, s_i⟩, 2τ_i M v_i)`` in the scaled multipliers, by power iteration."""
        M, norm = np.eye(len(self.C)) / math.sqrt(len(self.C)), 0.0
        for _ in range(_POWER_STEPS):
            W = self.V @ M
            a = self.scales * np.einsum("ij,ij->i", W, self.S)
            Z = a[:, None] * self.S + (self.scales * self.reaches**2)[:, None] * W
            M = self.symmetric(Z)
            norm = float(np.linalg.norm(M))
            if norm == 0:
                return 0.0
            M = M / norm
        return math.sqrt(norm)

    def symmetric(self, Z: NDArray[np.float64]) -> NDArray[np.float64]:
        """``Σ sym(z_i v_iᵀ)``."""
        product = Z.T @ self.V
        return (product + product.T) / 2

    def restart_here(self, gap: float) -> None:
        """Forget the averages, and remember where they start."""
        self.M_origin, self.a_origin, self.Q_origin = self.M, self.a.copy(), self.Q.copy()
        self.M_sum, self.a_sum, self.Q_sum = np.zeros_like(self.M), np.zeros_like(self.a), np.zeros_like(self.Q)
        self.C_sum = np.zeros_like(self.C)
        self.step_sum, self.since = 0.0, 0
        self.gap_at_restart, self.gap_before = gap, gap

    def advance(self) -> None:
        """One accepted iteration; the step is cut until it is admissible."""
        while True:
            eta, sigma = self.step / self.weight, self.step * self.weight
            M = proximal(self.objective.regulariser, self.M + eta * self.C, eta)
            W = self.V @ (2 * M - self.M)
            a, Q = self.spare
            steps = sigma * self.scales
            moved = ascend(W, self.S, self.objective.triplets.weights, steps, self.reaches, self.margins,
                           self.objective.norm.order, self.a, self.Q, a, Q, self.Z)  # fmt: skip
            C = self.symmetric(self.Z)
            interaction = abs(float(np.sum((C - self.C) * (M - self.M))))
            moved = float(np.sum((M - self.M) ** 2)) * self.weight + moved * self.step
            limit = moved / (2 * interaction) if interaction > 0 else math.inf
            used, k = self.step, self.n_iter + 2
            self.step = min((1 - k**-0.3) * limit, (1 + k**-0.6) * self.step)
            self.n_iter += 1
            if used <= limit:
                break
        self.spare = (self.a, self.Q)
        self.M, self.a, self.Q, self.C = M, a, Q, C
        self.M_sum += used * M
        self.C_sum += used * C
        self.a_sum += used * a
        accumulate(self.Q_sum, Q, used)
        self.step_sum += used
        self.since += 1

    def candidate(self, M: NDArray[np.float64], a: NDArray[np.float64], Q: NDArray[np.float64]) -> float:
        """The gap of a pair, which joins the best of each side."""
        value, bound = float(self.objective.value(M)), float(self.objective.lower_bound(a, Q))
        if value < self.value:
            self.best_M, self.value = M, value
        if bound > self.bound:
            self.best_y, self.bound = (a.copy(), Q.copy()), bound
        return value - bound

    def consider_restart(self) -> None:
        """Measure current and average iterates; go on from the better one where PDLP's conditions say so."""
        average = self.M_sum / self.step_sum, self.a_sum / self.step_sum, self.Q_sum / self.step_sum
        gap_average = self.candidate(*average)
        gap = self.candidate(self.M, self.a, self.Q)
        better = min(gap, gap_average)
        enough = better <= _RESTART_AT * self.gap_at_restart
        rising = better <= _RESTART_ON_RISE * self.gap_at_restart and better > self.gap_before
        long = self.since >= _RESTART_AFTER * self.n_iter
        if not (enough or rising or long):
            self.gap_before = better
            return
        if gap_average < gap:
            self.M, self.a, self.Q = average
            self.C = self.C_sum / self.step_sum
        primal = float(np.linalg.norm(self.M - self.M_origin))
        dual = math.sqrt(squared_difference(self.a, self.Q, self.a_origin, self.Q_origin, self.scales))
        if primal > 0 and dual > 0:
            self.weight = math.sqrt(self.weight * dual / primal)
        self.n_restarts += 1
        self.restart_here(better)

    def run(
        self, tol: float, max_iter: int, max_time: float, callback: Callable[[Progress], object] | None
    ) -> FirstOrderSolution:
        """Iterate until the gap is closed or a limit is met."""
        started = time.perf_counter()
        history: list[Progress] = []
        while True:
            gap = _relative_gap(self.value, self.bound)
            now = Progress(self.n_iter, time.perf_counter() - started, self.value, self.bound, gap)
            history.append(now)
            if callback is not None:
                callback(now)
            if gap <= tol:
                status = FirstOrderStatus.CONVERGED
            elif self.n_iter >= max_iter:
                status = FirstOrderStatus.ITERATION_LIMIT
            elif now.seconds >= max_time:
                status = FirstOrderStatus.TIME_LIMIT
            else:
                for _ in range(_CHECK_EVERY):
                    self.advance()
                self.consider_restart()
                continue
            return FirstOrderSolution(
                status,
                self.best_M,
                self.best_y,
                self.value,
                self.bound,
                gap,
                self.n_iter,
                self.n_restarts,
                tuple(history),
            )


def _relative_gap(value: float, bound: float) -> float:
    """``(value − bound) / value``: how far a nonnegative objective may be above its optimum; 0 where both meet."""
    return (value - bound) / value if value > bound else 0.0


def _at_margin(objective: RobustHingeObjective, M: NDArray[np.float64]) -> NDArray[np.float64]:
    """``t M`` whose median positive-part margin is the mean g: a scale to start from; ``t = 1`` where there is none."""
    margin, median = float(np.mean(objective.margin)), float(np.median(np.maximum(objective.triplets.margins(M), 0)))
    return M * (margin / median) if margin > 0 and median > 0 else M
