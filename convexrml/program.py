"""Exact 1-NN radii by the explicit programs: one convex program for each negative that can still matter."""

from __future__ import annotations

import dataclasses
import heapq
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from convexrml import profiles
from convexrml.bounds import triplet_bounds
from convexrml.errors import SolverFailedError
from convexrml.formulations.minimal_perturbation import MinimalPerturbation
from convexrml.formulations.reachability import Reachability
from convexrml.neighbors import NearestNeighbors
from convexrml.norms import Box, Norm
from convexrml.results import ExactRadii, RadiusStatus
from convexrml.witness import nudged, witnessed_norm

_POSITIVES_AT_FIRST = 8
_ROUNDING_WIDTH = 1e-9  # relative width that outward rounding and the nudge of the witness may add to a solver's gap


def exact_radius_by_program(
    model: NearestNeighbors,
    Z: NDArray[np.float64],
    y: NDArray[np.int64],
    norm: Norm,
    box: Box | None,
    solver: str,
    accuracy: str,
    progress: Callable[[int], object] | None,
) -> ExactRadii:
    """Exact radii of 1-NN, the arguments checked already; `y` are encoded labels.  See `exact_radius`."""
    profile = profiles.get_profile(solver)
    profiles.require_installed(profile)
    tolerance = profile.at(accuracy).tolerance + _ROUNDING_WIDTH
    records: list[_Record | None] = [None] * len(Z)
    for label in np.unique(y):  # one compiled program serves all queries of a label
        road = _LabelRoad(model, int(label), norm, box, solver, accuracy, tolerance)
        for query in np.flatnonzero(y == label):
            records[query] = road.radius(Z[query])
            if progress is not None:
                progress(1)
    done = [record for record in records if record is not None]
    return ExactRadii(
        lower=np.array([record.lower for record in done]),
        upper=np.array([record.upper for record in done]),
        perturbation=np.array([record.perturbation for record in done]),
        status=np.array([record.status for record in done], dtype=object),
        negative=np.array([record.negative for record in done]),
        positives=tuple(record.positives for record in done),
        multipliers=tuple(record.multipliers for record in done),
        solves=np.array([record.solves for record in done]),
        tolerance=tolerance,
        solver=profile.name,
        norm=norm,
        box=box,
        notes=tuple(f"query {query}: {note}" for query, record in enumerate(done) for note in record.notes),
    )


@dataclasses.dataclass
class _Record:
    """What is known of one query while its negatives are visited."""

    perturbation: NDArray[np.float64]
    lower: float = math.inf
    upper: float = math.inf
    status: RadiusStatus = RadiusStatus.INTERVAL
    negative: int = -1
    positives: NDArray[np.int64] = dataclasses.field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    multipliers: NDArray[np.float64] = dataclasses.field(default_factory=lambda: np.zeros(0))
    solves: int = 0
    notes: list[str] = dataclasses.field(default_factory=list)


class _LabelRoad:
    """The road to the radii of queries of one label: their programs share the positives, hence one compilation."""

    def __init__(
        self,
        model: NearestNeighbors,
        label: int,
        norm: Norm,
        box: Box | None,
        solver: str,
        accuracy: str,
        tolerance: float,
    ) -> None:
        self.model, self.norm, self.box = model, norm, box
        self.label, self.name = label, model.classes_[label]
        self.solver, self.accuracy, self.tolerance = solver, accuracy, tolerance
        self.positives = np.flatnonzero(model.labels_ == label)
        self.negatives = np.flatnonzero(model.labels_ != label)
        self.program: MinimalPerturbation | None = None
        self.reachability: Reachability | None = None

    def radius(self, z: NDArray[np.float64]) -> _Record:
        """Visit the negatives in order of their bound until the next bound passes the incumbent."""
        record = _Record(perturbation=np.full(len(z), np.nan))
        if len(self.negatives) == 0:
            record.status = RadiusStatus.UNREACHABLE
            return record
        if self.model.mislabels(z[None], [self.name])[0]:
            record.perturbation = np.zeros(len(z))
            record.lower = record.upper = 0.0
            record.status = RadiusStatus.MISCLASSIFIED
            return record
        row = self.model.scores(z[None])[0]
        rounding = 4 * float(self.model.score_rounding(z[None])[0])
        nearest_first = self.positives[np.argsort(row[self.positives], kind="stable")]

        def bounds(positives: NDArray[np.int64], negatives: NDArray[np.int64]) -> NDArray[np.float64]:
            return triplet_bounds(self.model, row, positives, negatives, rounding, self.norm)

        first = bounds(nearest_first[:_POSITIVES_AT_FIRST], self.negatives)
        queue = [(bound, False, int(j)) for bound, j in zip(first, self.negatives, strict=True)]
        heapq.heapify(queue)
        while queue and queue[0][0] < record.upper:
            bound, complete, j = heapq.heappop(queue)
            if not complete:  # only the nearest positives have been asked so far
                heapq.heappush(queue, (float(bounds(nearest_first, np.array([j]))[0]), True, j))
                continue
            record.lower = min(record.lower, max(bound, self._visit(record, z, j, row)))
        if queue:
            record.lower = min(record.lower, queue[0][0])
        record.lower = min(record.lower, record.upper)
        record.status = self._status(record)
        return record

    def _visit(self, record: _Record, z: NDArray[np.float64], j: int, row: NDArray[np.float64]) -> float:
        """Solve the program against negative j; the lower bound that its multipliers prove."""
        if self.program is None:
            self.program = MinimalPerturbation(self.model, z, self.name, negative=j, norm=self.norm, box=self.box)
        self.program.pose(z, j, row=row)
        h = self.program.half_spaces
        if self.box is not None and h.proves_empty(_at(int(np.argmin(h.gaps)), len(h.gaps))):
            return math.inf  # out of reach of the nearest positive alone
        record.solves += 1
        try:
            solution = self.program.solve(self.solver, self.accuracy)
        except SolverFailedError as error:
            record.notes.append(f"negative {j}: {error}")
            return self._reach(record, j)[1]
        lower = solution.lower_bound
        inner = self.model.training_points_[j]
        if self.box is not None and (not self.box.contains(inner) or math.isnan(solution.value)):
            inner_of_box, unreachable = self._reach(record, j)
            if unreachable == math.inf:
                return math.inf
            inner = self.box.clip(inner) if inner_of_box is None else inner_of_box
        witness = nudged(self.model, z, self.name, solution.variables["perturbation"], inner, self.box)
        if witness is not None and (upper := witnessed_norm(z, witness, self.norm)) < record.upper:
            lam = np.maximum(np.nan_to_num(solution.duals["closer"]), 0.0)
            support = np.flatnonzero(lam)
            record.upper, record.perturbation, record.negative = upper, witness, j
            record.positives, record.multipliers = self.positives[support], lam[support] / (lam.sum() or 1.0)
        return lower

    def _reach(self, record: _Record, j: int) -> tuple[NDArray[np.float64] | None, float]:
        """A point deep inside j's cell and 0; or, where the box keeps it out of reach, nothing and ∞."""
        if self.box is None or self.program is None:
            return None, 0.0
        if self.reachability is None:
            self.reachability = Reachability(self.program)
        record.solves += 1
        try:
            inner, unreachable = self.reachability.solve(self.solver, self.accuracy)
        except SolverFailedError as error:
            record.notes.append(f"negative {j}, reachability: {error}")
            return None, 0.0
        return inner, math.inf if unreachable else 0.0

    def _status(self, record: _Record) -> RadiusStatus:
        if math.isinf(record.lower):
            return RadiusStatus.UNREACHABLE
        if math.isinf(record.upper):
            return RadiusStatus.INTERVAL
        closed = record.upper - record.lower <= self.tolerance * record.upper
        return RadiusStatus.EXACT if closed else RadiusStatus.INTERVAL


def _at(index: int, size: int) -> NDArray[np.float64]:
    multipliers = np.zeros(size)
    multipliers[index] = 1.0
    return multipliers
