"""The perturbation QP handed to a solver as arrays, through qpsolvers: what is left out is cvxpy."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from convexrml.errors import SolverCapabilityError, SolverMissingError
from convexrml.formulations import MinimalPerturbation
from convexrml.profiles import get_profile, require_installed
from convexrml.solve import ClaimedStatus, SolverReport, translated

INSTALL = "pip install convexrml[qpsolvers]"


def callable_directly() -> tuple[str, ...]:
    """The profiles' names that qpsolvers can call here; none where it is not installed."""
    if importlib.util.find_spec("qpsolvers") is None:
        return ()
    import qpsolvers

    return tuple(qpsolvers.available_solvers)


def solved(program: object, solver: str, accuracy: str) -> dict[str, Any]:
    """Solve ``min ½‖η‖²  s.t.  G η ≤ h`` with the options of a profile, and measure the answer as the program does.

    Compiling is making the arrays; solving is the call of qpsolvers, which brings them into the solver's form.

    Raises
    ------
    SolverMissingError
        If qpsolvers or the solver is not installed.
    SolverCapabilityError
        If the program is no perturbation QP, or qpsolvers does not know the solver.
    SolverLicenceError, SolverOptionError, SolverFailedError
        By the solver.
    """
    if not isinstance(program, MinimalPerturbation):
        raise SolverCapabilityError(f"qpsolvers takes the perturbation QP, found {type(program).__name__}")
    profile = get_profile(solver)
    require_installed(profile)
    if importlib.util.find_spec("qpsolvers") is None:
        raise SolverMissingError(f"qpsolvers is not installed; install it with: {INSTALL}")
    import qpsolvers

    if profile.name not in callable_directly():
        raise SolverCapabilityError(f"qpsolvers has no interface to {profile.title}")
    level = profile.at(accuracy)
    options: dict[str, Any] = dict(_flat(level.options))
    started = time.perf_counter()
    G, h = program.arrays()
    d = G.shape[1]
    posed = qpsolvers.Problem(np.eye(d), np.zeros(d), G, h)
    compiled = time.perf_counter()
    try:
        solution = qpsolvers.solve_problem(posed, solver=profile.name, **options)
    except MemoryError:
        raise
    except Exception as error:  # whatever a solver raises
        raise translated(error, profile, list(options), list(options)) from error
    ended = time.perf_counter()
    report = SolverReport(
        solver=profile.name,
        version=profile.version(),
        accuracy=accuracy,
        tolerance=level.tolerance,
        claimed=ClaimedStatus.OPTIMAL if solution.found else ClaimedStatus.USER_LIMIT,
        compile_seconds=compiled - started,
        solve_seconds=ended - compiled,
        seconds=ended - started,
        iterations=None,
    )
    eta, multipliers = _array(solution.x, d), _array(solution.z, len(h))
    found = program.measured(eta, {"closer": multipliers}, report)
    return {
        "claimed": report.claimed.name,
        "value": found.value,
        "lower": found.lower_bound,
        "primal": found.residuals.primal,
        "dual": found.residuals.dual,
        "cone": None,
        "gap": found.residuals.gap,
        "compile_seconds": report.compile_seconds,
        "solve_seconds": report.solve_seconds,
        "seconds": report.seconds,
        "iterations": None,
        "version": report.version,
        "options": options,
    }


def _flat(options: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Native options without the tables that cvxpy's interface nests them in."""
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from _flat(value)
        else:
            yield name, value


def _array(values: Any, size: int) -> Any:
    return np.full(size, np.nan) if values is None or len(values) != size else np.asarray(values, dtype=np.float64)
