"""One row: build an instance, solve it by one road, measure the answer from the original data."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import convexrml
from convexrml.compare import direct
from convexrml.compare.families import Family, Instance, Program, get_family
from convexrml.errors import (
    SolverCapabilityError,
    SolverError,
    SolverFailedError,
    SolverLicenceError,
    SolverMissingError,
    SolverOptionError,
)
from convexrml.formulations import ClaimedSolution
from convexrml.profiles import also_from, get_profile

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
_REPEAT_BELOW = 0.5  # seconds: what is faster is timed three times, and the median counts
_REPEATS = 3

Begin = Callable[[], None]


def measure(key: dict[str, Any], payload: dict[str, Any], begin: Begin) -> dict[str, Any]:
    """The runner's work: `key` has family, size, seed, solver, accuracy; `payload` the plan, and a folder of profiles.

    The road is walked once on the family's smallest instance first, so that loading and compiling count for nobody.

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
            return {"outcome": outcome, "message": str(error)}
        row = rows[0] | {
            name: statistics.median(row[name] for row in rows)
            for name in ("seconds", "compile_seconds", "solve_seconds")
        }
        return {"outcome": ANSWERED, **row, "repeats": len(rows), "peak_memory": _peak(), "base_memory": base}


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


def _measured(program: Program, solver: str, accuracy: str) -> dict[str, Any]:
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
    residuals = dataclasses.asdict(solution.residuals)
    return row | {"cone": None, "lower": solution.lower_bound} | residuals


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
