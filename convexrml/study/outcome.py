"""What a study found: radii of every test point, by data set, metric, seed and question; and the errors they make."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexrml.errors import InvalidInputError
from convexrml.ledger import Ledger, storage, text_of
from convexrml.results import error_at
from convexrml.study.plan import BY_TOOL, Plan, Question, read_plan
from convexrml.study.tasks import Case, asked_roads, cases, chunks

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Cell:
    """The radii of one data set's test points under one metric and seed, for one question.

    Attributes
    ----------
    case : Case
    question : Question
    labels : (n,) array
    certified, exact_lower, exact_upper, attack : (n,) arrays
        NaN where a road was not asked for, or a point is not done yet.
    tools : dict of (n,) arrays
        Upper bounds by the attacks of other people's tools that were asked for, by their names in the plan.
    status : (n,) object array
        Names of `convexrml.RadiusStatus`; None where there is no exact radius.
    accepted : (n,) object array
        Whether the certificate was accepted in exact arithmetic; None where there is none.
    fragile : list of dict
        Points whose radius is small but not 0: ``query``, ``z``, ``delta``, ``upper``; the smallest upper bound first.
    """

    case: Case
    question: Question
    labels: NDArray[Any]
    certified: Floats
    exact_lower: Floats
    exact_upper: Floats
    attack: Floats
    tools: dict[str, Floats]
    status: NDArray[Any]
    accepted: NDArray[Any]
    fragile: list[dict[str, Any]]

    @property
    def lower(self) -> Floats:
        """The best proved lower bound of each point; NaN where there is none."""
        return np.fmax(self.certified, self.exact_lower)

    @property
    def upper(self) -> Floats:
        """The best witnessed upper bound of each point; NaN where there is none."""
        return np.fmin.reduce([self.exact_upper, self.attack, *self.tools.values()])

    @property
    def violations(self) -> NDArray[np.int64]:
        """Points where a lower bound exceeds an upper bound, or a certificate was rejected: there should be none."""
        rejected = np.array([verdict is False for verdict in self.accepted], dtype=bool)
        return np.flatnonzero((self.lower > self.upper) | rejected)

    def certified_error(self, radius: float) -> float:
        """The share of points whose lower bound is at most `radius`; NaN if any is missing."""
        return known_error_at(self.lower, radius)

    def empirical_error(self, radius: float) -> float:
        """The share of points whose upper bound is at most `radius`; NaN if any is missing."""
        return known_error_at(self.upper, radius)

    def attack_error(self, name: str, radius: float) -> float:
        """The share of points that one attack, the library's ``attack`` or a tool's, changes within `radius`."""
        return known_error_at(self.by_attack(name), radius)

    def by_attack(self, name: str) -> Floats:
        """The upper bounds of one attack."""
        return self.attack if name == "attack" else self.tools[name]

    @property
    def clean_error(self) -> float:
        """The share of misclassified points, which have radius 0; NaN if any is missing."""
        known = self.upper if np.isfinite(self.upper).any() or not np.isnan(self.upper).all() else self.lower
        return known_error_at(known, 0.0)


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """A study's cells, and what is on record about its runs.

    Attributes
    ----------
    plan : Plan
        What was asked.
    cells : tuple of Cell
        One for each data set, metric, seed and question, as far as the data have been read.
    facts : dict
        ``runs`` (when, command, versions; of all studies that share the results), ``plan`` (the file's text).
    data : dict
        By the name of a data set: sizes and hashes.
    """

    plan: Plan
    cells: tuple[Cell, ...]
    facts: dict[str, Any]
    data: dict[str, Any]

    def of(self, data: str, question: Question, metric: str | None = None) -> list[Cell]:
        """The cells of one data set and question, in the plan's order.

        Parameters
        ----------
        data : str
            Name of a data set of the plan's.
        question : Question
            One of the plan's.
        metric : str, optional
            Name of a metric of the plan's; all of them if not given.

        Returns
        -------
        list of Cell
            One for each metric and seed.
        """
        return [
            cell
            for cell in self.cells
            if cell.case.data.name == data
            and cell.question == question
            and (metric is None or cell.case.metric.name == metric)
        ]

    def radii(self, data: str, question: Question) -> tuple[float, ...]:
        """The radii at which errors are stated.

        Parameters
        ----------
        data : str
            Name of a data set of the plan's.
        question : Question
            One of the plan's.

        Returns
        -------
        tuple of float
            In the units of the features; empty while the first metric's radii, which they may refer to, are not known.
        """
        if not self.plan.relative:
            return self.plan.radii
        first = self.of(data, question, self.plan.metrics[0].name)
        median = float(np.median(first[0].lower)) if first else np.nan
        return tuple(factor * median for factor in self.plan.radii) if 0 < median < np.inf else ()

    def records(self) -> Iterator[dict[str, Any]]:
        """One record for each data set, metric, seed, question and test point.

        Yields
        ------
        dict
            What was asked, and what was found: radii in the units of the features, NaN where nothing is known yet.
        """
        for cell in self.cells:
            about = {"data": cell.case.data.name, "metric": cell.case.metric.name, "seed": cell.case.seed}
            asked = cell.question
            about |= {
                "n_neighbors": asked.n_neighbors,
                "norm": asked.norm,
                "vote": asked.vote,
                "box": str(list(asked.box)),
            }
            for query, label in enumerate(cell.labels.tolist()):
                yield about | {
                    "query": query,
                    "label": label,
                    "certified_lower": float(cell.certified[query]),
                    "exact_lower": float(cell.exact_lower[query]),
                    "exact_upper": float(cell.exact_upper[query]),
                    "attack_upper": float(cell.attack[query]),
                    **{f"{one.name}_upper": self._by_tool(cell, one.name, query) for one in self.plan.attacks},
                    "status": cell.status[query],
                    "certificate_accepted": cell.accepted[query],
                }

    @staticmethod
    def _by_tool(cell: Cell, name: str, query: int) -> float:
        return float(cell.tools[name][query]) if name in cell.tools else float("nan")

    def to_frame(self) -> Any:
        """`records` as a pandas DataFrame.

        Returns
        -------
        pandas.DataFrame
            A row for each data set, metric, seed, question and test point.

        Raises
        ------
        InvalidInputError
            If pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise InvalidInputError("to_frame: needs pandas; install it with: pip install pandas") from error
        return pd.DataFrame.from_records(list(self.records()))


def read_outcome(plan_file: str | Path, results: str | Path) -> Outcome:
    """Read what a study found so far; what is missing is NaN.

    Parameters
    ----------
    plan_file : str or Path
        The study's file.
    results : str or Path
        Its results.

    Returns
    -------
    Outcome
        Its cells, and what is on record about its runs.

    Raises
    ------
    DataFileError
        If the study file or the results cannot be read.
    """
    plan_file, results = Path(plan_file), Path(results)
    plan = read_plan(plan_file)
    with storage(results), Ledger(results) as ledger:
        keys = {text_of(case.data_key): case.data_key for case in cases(plan)}
        read = {text: ledger.result_of(key) for text, key in keys.items()}
        sets = [(case, read[text_of(case.data_key)]) for case in cases(plan)]
        known = [(case, data) for case, data in sets if data is not None]
        cells = tuple(_cell(ledger, plan, case, question, data) for case, data in known for question in plan.questions)
        facts = ledger.facts | {"plan": plan_file.read_text(encoding="utf-8")}
        return Outcome(plan, cells, facts, {case.data.name: data for case, data in known})


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean, least and greatest of values over seeds."""
    return float(np.mean(values)), float(np.min(values)), float(np.max(values))


def _cell(ledger: Ledger, plan: Plan, case: Case, question: Question, data: dict[str, Any]) -> Cell:
    n = data["n_test"]
    certified, lower, upper, attack = (np.full(n, np.nan) for _ in range(4))
    status, accepted = np.full(n, None, dtype=object), np.full(n, None, dtype=object)
    tools = {road.removeprefix(BY_TOOL): np.full(n, np.nan) for road in question.roads if road.startswith(BY_TOOL)}
    fragile = []
    for road in sorted(asked_roads(question), key="exact".__eq__):  # its perturbations, the shortest, are shown
        for start, stop in chunks(n, plan.chunk):
            at, found = slice(start, stop), ledger.result_of(case.radii_key(question, road, start, stop))
            if found is None:
                continue
            if road == "certified":
                certified[at] = found["lower"]
            elif road == "attack":
                attack[at] = found["upper"]
            elif road.startswith(BY_TOOL):
                tools[road.removeprefix(BY_TOOL)][at] = found["upper"]
            else:
                lower[at], upper[at], status[at] = found["lower"], found["upper"], found["status"]
                accepted[at] = found.get("accepted")
            fragile += found.get("fragile", [])
    best = np.fmin(upper, attack)
    robust = np.isnan(lower) | (lower > 0)  # without an exact radius, the witness is all that is known
    nearest = {
        point["query"]: point | {"upper": float(best[point["query"]])} for point in fragile if robust[point["query"]]
    }
    ordered = sorted(nearest.values(), key=lambda point: (point["upper"], point["query"]))
    return Cell(
        case, question, np.array(data["labels"]), certified, lower, upper, attack, tools, status, accepted, ordered
    )


def known_error_at(radii: Floats, radius: ArrayLike) -> Any:
    """`results.error_at` where every radius is known; NaN, of the same shape, if any is missing."""
    return error_at(radii, radius) + (np.nan if np.isnan(radii).any() else 0.0)
