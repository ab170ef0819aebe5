"""What solving a formulation yields: values and residuals measured here, from the original data."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from convexrml.solve import SolverReport


@dataclasses.dataclass(frozen=True)
class Residuals:
    """How far a primal–dual pair is from optimal, in units free of the data's scale.

    Attributes
    ----------
    primal : float
        Largest violation of a constraint; for programs over a metric, how far M had to be moved to be feasible,
        relative to its size.
    dual : float
        Violation of dual feasibility (stationarity and the sign of the multipliers).
    gap : float
        ``(value − lower bound) / value``; NaN where one of them is missing.
    """

    primal: float
    dual: float
    gap: float


@dataclasses.dataclass(frozen=True, eq=False)
class Solution:
    """The outcome of one solve.

    Attributes
    ----------
    value : float
        The objective at ``variables``, measured here from the original data (NaN where nothing was returned).  An upper
        bound on the optimum of a minimisation where the formulation says that ``variables`` are feasible, else only as
        far as ``residuals.primal`` is 0.
    lower_bound : float
        A lower bound on the optimum by weak duality, whatever the quality of the multipliers; rounding subtracted.
    variables : dict
        What was looked for, in the units of the input.  `MinimalPerturbation`: ``"perturbation"`` δ, shape ``(d,)``.
        Programs over a metric: ``"matrix"`` M, shape ``(d, d)``.
    duals : dict
        The multipliers that `lower_bound` used, in the units of the input, as the solver returned them (so possibly of
        the wrong sign).  `MinimalPerturbation`: ``"closer"``, one per positive, shape ``(n₊,)``; ``"box_upper"`` and
        ``"box_lower"``, ``(d,)``, zero where the box has no side.  `RobustHinge`: ``"hinge"`` a, shape ``(m,)``, and
        ``"length"`` q, shape ``(m, d)``.
    residuals : Residuals
        How far from optimal the pair is, measured here.
    report : SolverReport
        What the solver claimed, and what it took.
    """

    value: float
    lower_bound: float
    variables: dict[str, NDArray[np.float64]]
    duals: dict[str, NDArray[np.float64]]
    residuals: Residuals
    report: SolverReport

    @property
    def seconds(self) -> float:
        """Wall-clock time of compiling and solving."""
        return self.report.seconds


@dataclasses.dataclass(frozen=True, eq=False)
class ClaimedSolution:
    """The outcome of one solve of a mixed-integer program, which has no multipliers to prove it optimal.

    Attributes
    ----------
    value : float
        ``‖δ‖_p`` of the returned δ in the units of the input, measured here (NaN where nothing was returned).  An
        upper bound on the optimum only as far as `primal_residual` is 0.
    claimed : float
        The optimum as the solver claims it, in the same units: inf where it claims that there is no solution, NaN where
        it claims nothing.  Its word, within its tolerances.
    variables : dict
        ``"perturbation"``: δ, shape ``(d,)``, in the units of the input.
    chosen, excused : integer arrays
        The training points of other labels that outvote the query's, and those of its label that are nearer all the
        same.
    primal_residual : float
        Largest violation, over all training points and the sides of the box, of what these two sets promise at δ; in
        units free of the data's scale.
    report : SolverReport
        What the solver claimed, and what it took.
    """

    value: float
    claimed: float
    variables: dict[str, NDArray[np.float64]]
    chosen: NDArray[np.int64]
    excused: NDArray[np.int64]
    primal_residual: float
    report: SolverReport


def relative_gap(value: float, lower_bound: float) -> float:
    """``(value − lower_bound) / value``; 0 when both are 0, NaN when the value is not a number."""
    if value == lower_bound:
        return 0.0
    return (value - lower_bound) / value if value != 0 and math.isfinite(value) else math.nan
