"""One row: build an instance, solve it by one road, measure the answer from the original data."""

from __future__ import annotations

import collections
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import convexrml
from convexrml.compare import direct
from convexrml.compare.families import Family, Instance, Program, get_family
from convexrml.compare.verdict import tolerances
from convexrml.errors import (
    SolverCapabilityError,
    SolverError,
    SolverFailedError,
    SolverLicenceError,
    SolverMissingError,
    SolverOptionError,
)
from convexrml.formulations import ClaimedSolution, MaxMinRadius, RobustHinge
from convexrml.profiles import also_from, get_profile
from convexrml.solve import ClaimedStatus

SEARCH, DIRECT = "search", "qpsolvers:"

# What a solve may end with besides an answer, as the row says it.
_SAID: tuple[tuple[type[SolverError], str], ...] = (
    (SolverMissingError, "missing solver"),
    (SolverLicenceError, "no licence"),
    (SolverOptionError, "refused option"),
    (SolverCapabilityError, "not its class"),
    (SolverFailedError, "failed"),
)
ANSWERED = "answered"
_REPEAT_BELOW = 0.5  # seconds: what is faster is timed again, and the least time counts, which others disturbed least
_REPEATS = 5
_DIGITS = {"gap": 3, "primal": 3, "dual": 3, "cone": 3, "seconds": 5, "compile_seconds": 5, "solve_seconds": 5}

Begin = Callable[[], None]


def measure(key: dict[str, Any], payload: dict[str, Any], begin: Begin) -> dict[str, Any]:
    """The runner's work: `key` has family, size, seed, solver, accuracy; `payload` the plan, and a folder of profiles.

    The road is walked once on the family's smallest instance first, so that loading and compiling count for nobody.
    What is done in less than half a second is done up to five times.

    Returns
    -------
    dict
        ``outcome`` and, where there is an answer, everything that was measured of it.
    """
    family, solver, accuracy = get_family(key["family"]), key["solver"], key["accuracy"]
    folder = payload.get("profiles")
    with also_from(None if folder is None else Path(folder)):
        try:
            _warm_up(family, solver, accuracy)
            once = _road(family, Instance(key["family"], key["size"], key["seed"]), payload["plan"], solver, accuracy)
            begin()
            base = _reset_peak()
            rows = [once()]
            while len(rows) < _REPEATS and rows[0]["seconds"] < _REPEAT_BELOW:
                rows.append(once())
        except SolverError as error:
            outcome = next((name for kind, name in _SAID if isinstance(error, kind)), "failed")
            return {"outcome": outcome, "message": str(error).replace(str(Path.home()), "~")}
        row = {name: _short(name, value) for name, value in min(rows, key=lambda row: row["seconds"]).items()}
        peak = max(_peak(), base)  # the kernel counts pages in lots, and its two counts differ by some
        return {"outcome": ANSWERED, **row, "repeats": len(rows), "peak_memory": peak, "base_memory": base}


def _warm_up(family: Family, solver: str, accuracy: str) -> None:
    tiny = Instance(family.name, family.smallest, 0)
    try:
        _road(family, tiny, family.plan(tiny), solver, accuracy)()
    except SolverFailedError:
        pass  # that it fails on the smallest says nothing about this one, which has its own row


def _road(
    family: Family, instance: Instance, plan: Mapping[str, Any], solver: str, accuracy: str
) -> Callable[[], dict[str, Any]]:
    """What is timed, from the data in memory to an answer that is measured; data are made before."""
    if solver == SEARCH:
        return _by_search(family, instance)
    if solver.startswith(DIRECT):
        return lambda: direct.solved(family.build(instance, plan), solver.removeprefix(DIRECT), accuracy)
    options = {name: _plain(value) for name, value in get_profile(solver).at(accuracy).options.items()}
    return lambda: _measured(family.build(instance, plan), solver, accuracy) | {"options": options}


def _measured(program: Program | MaxMinRadius, solver: str, accuracy: str) -> dict[str, Any]:
    if isinstance(program, MaxMinRadius):
        return _bisected(program, solver, accuracy)
    solution = program.solve(solver, accuracy)
    report = solution.report
    row = {
        "claimed": report.claimed.name,
        "value": solution.value,
        "compile_seconds": report.compile_seconds,
        "solve_seconds": report.solve_seconds,
        "seconds": report.seconds,
        "iterations": report.iterations,
        "version": report.version,
    }
    if isinstance(solution, ClaimedSolution):
        return row | {"primal": solution.primal_residual, "dual": None, "cone": None, "gap": None, "lower": None}
    found = solution.residuals
    row |= {"lower": solution.lower_bound, "dual": found.dual, "gap": found.gap}
    if not isinstance(program, RobustHinge):
        return row | {"primal": found.primal, "cone": None}
    # The value is that of a feasible matrix: with the lower bound a proof, whoever found it.
    return row | {"primal": None, "cone": found.primal, "proved": [solution.lower_bound, solution.value]}


def _bisected(program: MaxMinRadius, solver: str, accuracy: str) -> dict[str, Any]:
    """Bisection as a whole: it claims an optimum when its bounds meet; its times are those of its steps together."""
    wanted = tolerances(accuracy).gap / 2
    found = program.solve(solver, accuracy, tolerance=wanted)
    reports = [step.report for step in found.steps]
    counts = [report.iterations for report in reports if report.iterations is not None]
    return {
        "claimed": (ClaimedStatus.OPTIMAL if found.gap <= wanted else ClaimedStatus.OPTIMAL_INACCURATE).name,
        "steps": dict(collections.Counter(report.claimed.name for report in reports)),
        "value": found.lower,
        "lower": found.lower,
        "proved": [found.lower, found.upper],
        "gap": found.gap,
        "primal": None,  # of a feasible matrix
        "dual": None,  # of multipliers that prove what they prove
        "cone": None,
        "compile_seconds": sum(report.compile_seconds for report in reports),
        "solve_seconds": sum(report.solve_seconds for report in reports),
        "seconds": found.seconds,
        "iterations": sum(counts) if counts else None,
        "version": reports[0].version if reports else None,
    }


def _by_search(family: Family, instance: Instance) -> Callable[[], dict[str, Any]]:
    if family.search is None:
        raise SolverCapabilityError(f"the search has no road to {family.name}")
    search = family.search(instance)

    def once() -> dict[str, Any]:
        started = time.perf_counter()
        lower, upper = search()
        seconds = time.perf_counter() - started
        gap = (upper - lower) / upper if upper > 0 else 0.0
        return {
            "claimed": "OPTIMAL",
            "value": upper,
            "lower": lower,
            "primal": 0.0,  # a witness that the classifier mislabels, in exact arithmetic
            "dual": 0.0,  # multipliers that are evaluated with rounding subtracted
            "cone": None,
            "gap": gap,
            "compile_seconds": 0.0,
            "solve_seconds": seconds,
            "seconds": seconds,
            "iterations": None,
            "version": convexrml.__version__,
            "options": {},
        }

    return once


def _short(name: str, value: Any) -> Any:
    return float(f"{value:.{_DIGITS[name]}g}") if name in _DIGITS and value is not None else value


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _reset_peak() -> int:
    """Let the kernel count the peak of resident memory from here; returns the resident bytes now."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak() -> int:
    return _status("VmHWM")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))
