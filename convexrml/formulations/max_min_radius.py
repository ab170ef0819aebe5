"""The metric with the largest least radius of all triplets: bisection over SDPs, each with a proof of its answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

from convexrml import solve as solving
from convexrml.formulations.cones import DualNorms
from convexrml.formulations.half_spaces import power_of_two
from convexrml.formulations.sides import returned
from convexrml.formulations.writing import Writable
from convexrml.max_min import MaxMinObjective
from convexrml.norms import Norm, as_norm
from convexrml.solve import SolverReport
from convexrml.triplets import Triplets, require_triplets
from convexrml.validation import positive_number

_STALLED = 0.9  # a proof of either answer leaves about half of the interval


@dataclasses.dataclass(frozen=True, eq=False)
class RadiusStep:
    """One radius that was asked about.

    Attributes
    ----------
    radius : float
        t.
    lower : float
        The least radius of the metric that came back: at least t where the answer is yes.
    upper : float
        What the multipliers that came back prove; at most about t where the answer is no.
    report : SolverReport
    """

    radius: float
    lower: float
    upper: float
    report: SolverReport


@dataclasses.dataclass(frozen=True, eq=False)
class RadiusInterval:
    """The largest least radius, enclosed: ``lower ≤ t* ≤ upper``.

    Attributes
    ----------
    lower : float
        The least radius of ``variables["matrix"]``, evaluated in floating point from the triplets.
    upper : float
        Proven by `MaxMinRadius.upper_bound` from ``duals``, rounding included; from single triplets where ``duals`` is
        empty.
    variables : dict
        ``"matrix"``: M, shape ``(d, d)``; feasible.
    duals : dict
        ``"separation"``: a, shape ``(m,)``; ``"length"``: q, shape ``(m, d)``; ``"radius"``: the t that they belong to.
    steps : tuple of RadiusStep
        What was asked, in order; empty where the bounds met before.
    """

    lower: float
    upper: float
    variables: dict[str, NDArray[np.float64]]
    duals: dict[str, NDArray[np.float64]]
    steps: tuple[RadiusStep, ...]

    @property
    def gap(self) -> float:
        """``(upper − lower) / upper``; 0 when both are 0."""
        return (self.upper - self.lower) / self.upper if self.upper > 0 else 0.0

    @property
    def seconds(self) -> float:
        """Wall-clock time of compiling and solving."""
        return sum(step.report.seconds for step in self.steps)


class MaxMinRadius(Writable):
    """The metric under which the least triplet bound is largest: quasiconvex, an SDP for each radius asked about.

        ``max t   s.t.   v_iᵀ M s_i ≥ 2 t ‖M v_i‖_q  ∀ i,   M ⪰ f I,   trace M = d.``

    For a fixed t the question is whether there is such an M.  It is put as a program that always has a solution,

        ``ρ(t) = max ρ   s.t.   v_iᵀ M s_i − 2 t r_i ≥ ρ ‖v_i‖₂,   ‖M v_i‖_q ≤ r_i,   M ⪰ f I,   trace M = d,``

    and answers by its sign, with a proof either way, evaluated in the triplets themselves:

    - *yes*: M; its least radius is a lower bound on the optimum ``t*``, whatever the solver thinks of it;
    - *no*: the multipliers a of the rows and ``2 t q`` of the cones.  The dual is

        ``min f trace C + (1 − f) d λmax(C),   C = Σ sym((a_i s_i − 2 t q_i) v_iᵀ),   a ≥ 0,  Σ a_i ‖v_i‖₂ = 1,
        ‖q_i‖_p ≤ a_i,``

      and any multipliers that make it negative prove ``t* ≤ t`` (`upper_bound`; `MaxMinObjective` derives it).

    Both proofs are drawn from every solve, and `solve` halves what is left between them.  The floor f keeps M from
    mapping a ``v_i`` to 0, which would satisfy its row for every t with a radius of 0.

    *A second way.*  `quasiconcave` is the same program in cvxpy's quasiconvex rules, to be solved by
    ``problem.solve(qcp=True, eps=1e-4, solver=...)``: cvxpy's own bisection over bare feasibility, without proofs.
    With a finer eps the solver fails near the optimum on some instances, and the bisection with it (seen at 1e-6 with
    cvxpy 1.9.3 and Clarabel 0.11.1).

    Parameters
    ----------
    triplets : Triplets
        Weights play no part.
    norm : {1, 2, inf}, default 2
        Of perturbations.
    floor : float, default 1e-3
        f, in (0, 1): the least eigenvalue of M, whose mean eigenvalue is 1.

    Attributes
    ----------
    problem : cvxpy.Problem
        ``ρ(t)``, in units of its own.
    matrix : cvxpy.Expression
        M, shape ``(d, d)``.
    objective : MaxMinObjective
        Values and bounds without a solver.

    Raises
    ------
    InvalidInputError
        If an argument does not fit.

    Examples
    --------
    >>> from convexrml.formulations import MaxMinRadius
    >>> from convexrml.triplets import Triplets
    >>> triplets = Triplets.from_indices([[0.0], [1.0], [3.0]], [0], [1], [2])
    >>> found = MaxMinRadius(triplets).solve()  # x = 0 is 2 away from the middle of 1 and 3
    >>> round(found.lower, 6), round(found.upper, 6)
    (2.0, 2.0)
    """  # noqa: D205

    def __init__(self, triplets: Triplets, norm: float | str | Norm = 2, *, floor: float = 1e-3) -> None:
        self.triplets = require_triplets(triplets)
        self.norm = as_norm(norm)
        self.objective = MaxMinObjective(triplets, self.norm, floor)
        m, d = triplets.V.shape
        self._sigma = power_of_two(float(max(np.abs(triplets.V).max(), np.abs(triplets.S).max())))
        self._V, self._S = triplets.V / self._sigma, triplets.S / self._sigma
        self._t = cp.Parameter(nonneg=True, name="t", value=0.0)
        self._excess = cp.Variable((d, d), PSD=True, name="excess")
        self.matrix = self._excess + floor * np.eye(d)
        lengths, rho = cp.Variable(m, name="lengths"), cp.Variable(name="rho")
        self._cones = DualNorms(self._V, self.matrix, lengths, self.norm)
        self._trace = cp.trace(self._excess) == d * (1 - floor)
        self._rows = self._margins() - 2 * self._t * lengths >= rho * np.linalg.norm(self._V, axis=1)
        self.problem = cp.Problem(cp.Maximize(rho), [self._rows, *self._cones.constraints, self._trace])

    def solve(
        self, solver: str = "clarabel", accuracy: str = "accurate", *, tolerance: float = 1e-6, **options: object
    ) -> RadiusInterval:
        """Enclose the largest least radius.

        Parameters
        ----------
        solver : str, default "clarabel"
            The name of a profile that takes SDPs: see ``convexrml solvers``.
        accuracy : {"accurate", "fast"} or another accuracy of the profile
            What the solver is asked for.
        tolerance : float, default 1e-6
            Stop at ``upper − lower ≤ tolerance · upper``.  Also when a solve hardly shortens the interval: the solver
            cannot prove more, and the interval says how much that is.
        **options
            Native options of the solver, laid over the profile's.

        Returns
        -------
        RadiusInterval
            ``lower ≤ t* ≤ upper``, in the units of the input, with the metric and the multipliers behind them.

        Raises
        ------
        InvalidInputError
            If the tolerance is not positive.
        SolverError
            If the solver is unknown, missing, without licence, refuses an option or fails.
        """
        positive_number("tolerance", tolerance)
        M = np.eye(self.triplets.n_features)
        lower, upper = self.objective.value(M), self.objective.closed_bound()
        duals: dict[str, NDArray[np.float64]] = {}
        steps: list[RadiusStep] = []
        t = lower if lower == 0 else (lower + upper) / 2  # at 0: whether any metric is right about all triplets
        while upper - lower > tolerance * upper:
            before = upper - lower
            candidate, multipliers, report = self.ask(t, solver, accuracy, **options)
            steps.append(RadiusStep(t, self.objective.value(candidate), self.upper_bound(multipliers), report))
            if steps[-1].lower > lower:
                lower, M = steps[-1].lower, candidate
            if steps[-1].upper < upper:
                upper, duals = steps[-1].upper, multipliers
            if t > 0 and upper - lower > _STALLED * before:
                break
            t = (lower + upper) / 2
        return RadiusInterval(lower, upper, {"matrix": M}, duals, tuple(steps))

    def ask(
        self, t: float, solver: str = "clarabel", accuracy: str = "accurate", **options: object
    ) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]], SolverReport]:
        """Solve for one radius.

        Parameters
        ----------
        t : float
            The radius, in the units of the input.
        solver : str, default "clarabel"
            A profile's name: see ``convexrml solvers``.
        accuracy : {"accurate", "fast"} or another accuracy of the profile
            What the solver is asked for.
        **options
            Native options of the solver, laid over the profile's.

        Returns
        -------
        M : (d, d) array
            Made feasible; the identity where nothing was returned.
        duals : dict of arrays
            In the form of `RadiusInterval.duals`.
        report : SolverReport
            What the solver claimed.

        Raises
        ------
        SolverError
            As `solve`.
        """
        self._t.value = t / self._sigma
        report = solving.run(self.problem, solver, accuracy, options=options or None)
        m, d = self.triplets.V.shape
        M = returned(self.matrix.value, d * d).reshape(d, d)
        z = self._cones.multipliers()
        duals = {
            "separation": returned(self._rows.dual_value, m),
            "length": z * (self._sigma / (2 * t)) if t > 0 else np.zeros_like(z),
            "radius": np.array(float(t)),
        }
        return self.objective.feasible(M) if np.isfinite(M).all() else np.eye(d), duals, report

    def upper_bound(self, duals: Mapping[str, NDArray[np.float64]]) -> float:
        """Upper bound on the largest least radius from *any* multipliers, by weak duality; rounding is subtracted.

        Parameters
        ----------
        duals : mapping of arrays
            In the form of `RadiusInterval.duals`.

        Returns
        -------
        float
            In the units of the input; what single triplets prove where the multipliers prove nothing better.
        """
        return self.objective.upper_bound(duals["separation"], duals["length"], float(duals["radius"]))

    def quasiconcave(self) -> cp.Problem:
        """The whole program in cvxpy's quasiconvex rules; its value is t in units of the input.

        Numerators and lengths are variables of their own, for cvxpy takes a ratio only of these.

        Returns
        -------
        cvxpy.Problem
            For ``solve(qcp=True, eps=..., solver=...)``.
        """
        m = len(self.triplets)
        numerators, lengths = cp.Variable(m, nonneg=True), cp.Variable(m, pos=True)
        cones = DualNorms(self._V, self.matrix, lengths, self.norm)
        margins = cp.sum(cp.multiply(self._S, cones.products), axis=1)
        ratios = [numerators[i] / lengths[i] for i in range(m)]
        least = cp.minimum(*ratios) if m > 1 else ratios[0]
        return cp.Problem(
            cp.Maximize(self._sigma / 2 * least), [numerators <= margins, *cones.constraints, self._trace]
        )

    def _margins(self) -> cp.Expression:
        return cp.sum(cp.multiply(self._S, self._cones.products), axis=1)
