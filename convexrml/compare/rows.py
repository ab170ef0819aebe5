"""The rows of a comparison, read from a ledger: what was measured, the certified optimum, and the verdict."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

from convexrml.compare.measure import ANSWERED, DIRECT, SEARCH
from convexrml.compare.runner import DONE
from convexrml.compare.verdict import Verdict, distance, judge
from convexrml.errors import DataFileError
from convexrml.ledger import OPEN, RUNNING, Ledger, Task


@dataclasses.dataclass(frozen=True)
class Row:
    """One finished solve.

    Attributes
    ----------
    family, solver, accuracy : str
    size, seed : int
    plan : mapping
        What was known of the instance before.
    outcome : str
        ``"answered"``, or why there is no answer: the runner's outcomes and those of `measure`.
    message : str
        What was said of it.
    measured : mapping
        All that was measured; empty without an answer.
    truth : (lower, upper)
        The interval in which the optimum is proved.
    verdict : Verdict
    """

    family: str
    size: int
    seed: int
    solver: str
    accuracy: str
    plan: Mapping[str, Any]
    outcome: str
    message: str
    measured: Mapping[str, Any]
    truth: tuple[float, float]
    verdict: Verdict

    @property
    def success(self) -> bool:
        """Claimed optimal, and valid at the accuracy."""
        return self.verdict is Verdict.SUCCESS

    @property
    def error(self) -> float:
        """Relative distance from the certified optimum; NaN without an answer."""
        return distance(self.measured.get("value"), self.truth)

    @property
    def seconds(self) -> float:
        """Compiling and solving; NaN without an answer."""
        return float(self.measured.get("seconds", math.nan))

    @property
    def available(self) -> bool:
        """Whether the solver is installed and has its licence."""
        return self.outcome not in ("missing solver", "no licence", "not its class")

    @property
    def instance(self) -> tuple[str, int, int]:
        """Family, size and seed."""
        return self.family, self.size, self.seed


def read_rows(ledger: Ledger) -> list[Row]:
    """The finished rows of a ledger, sorted; the rest is not there yet.

    Raises
    ------
    DataFileError
        If the ledger is of something else.
    """
    tasks = [task for task in ledger.tasks() if task.status not in (OPEN, RUNNING)]
    if any("solver" not in task.key or "plan" not in task.payload for task in tasks):
        raise DataFileError(f"{ledger.path}: these are results of something else than a comparison of solvers")
    truths = _truths(tasks)
    rows = [_row(task, truths[_instance(task)]) for task in tasks]
    return sorted(rows, key=lambda row: (row.family, row.accuracy, row.size, row.seed, road_order(row.solver)))


def road_order(solver: str) -> tuple[bool, bool, str]:
    """Sorts the search first, then the roads through cvxpy, then the direct ones."""
    return solver != SEARCH, solver.startswith(DIRECT), solver


def _instance(task: Task) -> tuple[str, int, int]:
    return task.key["family"], task.key["size"], task.key["seed"]


def _truths(tasks: Iterable[Task]) -> dict[tuple[str, int, int], tuple[float, float]]:
    """The proved interval of each instance: the plan's, drawn together by every answer that is a proof of its own.

    A row's ``proved`` are a lower bound by weak duality and the value of a point that satisfies all constraints, both
    evaluated with nothing but the instance's data.
    """
    truths: dict[tuple[str, int, int], tuple[float, float]] = {}
    for task in tasks:
        lower, upper = truths.get(_instance(task), (-math.inf, math.inf))
        known = [(task.payload["plan"].get("lower", -math.inf), task.payload["plan"].get("upper", math.inf))]
        known += [tuple(task.result["proved"])] if task.result and task.result.get("proved") else []
        for below, above in known:
            lower, upper = max(lower, below), min(upper, above)
        truths[_instance(task)] = (lower, upper)
    return {instance: (min(ends), max(ends)) for instance, ends in truths.items()}  # proofs may cross by a rounding


def _row(task: Task, truth: tuple[float, float]) -> Row:
    result = task.result or {}
    outcome = str(result.get("outcome", "failed")) if task.status == DONE else task.status
    measured = result if outcome == ANSWERED else {}
    return Row(
        family=task.key["family"],
        size=task.key["size"],
        seed=task.key["seed"],
        solver=task.key["solver"],
        accuracy=task.key["accuracy"],
        plan=task.payload["plan"],
        outcome=outcome,
        message=str(result.get("message") or task.error or ""),
        measured=measured,
        truth=truth,
        verdict=judge(measured, truth, task.key["accuracy"]),
    )
