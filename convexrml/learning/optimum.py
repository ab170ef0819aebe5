"""The optimum of a robust hinge by the solver that was asked for: the first-order method, or the explicit SDP."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from convexrml.errors import SolverFailedError
from convexrml.hinge import RobustHingeObjective
from convexrml.learning.first_order import Progress, minimise

FIRST_ORDER = "first_order"


@dataclasses.dataclass(frozen=True, eq=False)
class Optimum:
    """A metric, its value, and how far that may be above the optimum.

    Attributes
    ----------
    matrix : (d, d) array
    value, lower_bound, gap : float
        F at `matrix`, the proven bound on the optimum, and their relative gap.
    n_iter : int
        Iterations, as the solver counts them; 1 where it does not.
    """

    matrix: NDArray[np.float64]
    value: float
    lower_bound: float
    gap: float
    n_iter: int


def optimum(
    objective: RobustHingeObjective,
    solver: str,
    *,
    tol: float,
    max_iter: int,
    max_time: float,
    start: NDArray[np.float64],
    callback: Callable[[Progress], object],
) -> Optimum:
    """Minimise with ``"first_order"``, or with a profile of that name; the limits are the first-order solver's.

    Raises
    ------
    SolverError
        If the named solver is unknown, missing, takes no SDPs, fails or returns nothing.
    """
    if solver == FIRST_ORDER:
        found = minimise(
            objective,
            tol=tol,
            max_iter=max_iter,
            max_time=max_time if math.isfinite(max_time) else None,
            start=start,
            callback=callback,
        )
        return Optimum(found.matrix, found.value, found.lower_bound, found.gap, found.n_iter)
    from convexrml.formulations import RobustHinge  # cvxpy is loaded only when a program is built

    F = objective
    program = RobustHinge(F.triplets, tau=F.tau, norm=F.norm, margin=F.margin, regulariser=F.regulariser)
    solution = program.solve(solver)
    if not math.isfinite(solution.value):
        raise SolverFailedError(f"{solver}: returned no metric ({solution.report.claimed.value})")
    iterations = solution.report.iterations or 1
    return Optimum(
        solution.variables["matrix"], solution.value, solution.lower_bound, solution.residuals.gap, iterations
    )
