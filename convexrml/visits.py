"""Exact 1-NN radii one negative at a time: in order of their bound, until the next bound passes the incumbent."""

from __future__ import annotations

import dataclasses
import heapq
import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from convexrml.bounds import deciding_positive, triplet_bounds
from convexrml.neighbors import NearestNeighbors
from convexrml.norms import Box, Norm
from convexrml.results import ExactRadii, RadiusStatus
from convexrml.rounding import Rounding
from convexrml.witness import nearest_mislabelled, witnessed_norm

_POSITIVES_AT_FIRST = 8
ROUNDING_WIDTH = 1e-9  # relative width that outward rounding and the nudge of a witness may add to a solver's gap


@dataclasses.dataclass
class Record:
    """What is known of one query while its negatives are visited."""

    z: NDArray[np.float64]
    row: NDArray[np.float64]
    perturbation: NDArray[np.float64]
    lower: float = math.inf
    upper: float = math.inf
    status: RadiusStatus = RadiusStatus.INTERVAL
    negative: int = -1
    positives: NDArray[np.int64] = dataclasses.field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    multipliers: NDArray[np.float64] = dataclasses.field(default_factory=lambda: np.zeros(0))
    solves: int = 0
    notes: list[str] = dataclasses.field(default_factory=list)

    def improve(
        self,
        witness: NDArray[np.float64] | None,
        norm: Norm,
        negative: int,
        positives: NDArray[np.int64],
        lam: NDArray[np.float64],
    ) -> None:
        """Keep the witness, and the multipliers against its negative, if it is nearer than the incumbent."""
        if witness is None:
            return
        upper = witnessed_norm(self.z, witness, norm)
        if upper < self.upper:
            weights = np.maximum(np.nan_to_num(lam), 0.0)
            support = np.flatnonzero(weights)
            self.upper, self.perturbation, self.negative = upper, witness, negative
            self.positives, self.multipliers = positives[support], weights[support] / (weights.sum() or 1.0)


class Against(Protocol):
    """A way to deal with one negative.

    Called with the record and the negative's index; keeps any witness that it finds in the record, and returns a lower
    bound on the radius against this negative, inf if it proves the negative out of reach.
    """

    def __call__(self, record: Record, negative: int) -> float:  # noqa: D102 - said above
        ...


def visit(
    model: NearestNeighbors,
    label: int,
    z: NDArray[np.float64],
    norm: Norm,
    against: Against,
    tolerance: float,
    box: Box | None = None,
) -> Record:
    """Exact radius of one query: visit the negatives until the next bound passes the incumbent."""
    row = model.scores(z[None])[0]
    record = Record(z=z, row=row, perturbation=np.full(len(z), np.nan))
    negatives = np.flatnonzero(model.labels_ != label)
    if len(negatives) == 0:
        record.status = RadiusStatus.UNREACHABLE
        return record
    if model.mislabelled_by_scores(row[None], np.array([label]))[0]:
        visit_mislabelled(record, model, label, norm, box)
        return record
    positives = np.flatnonzero(model.labels_ == label)
    nearest_first = positives[np.argsort(row[positives], kind="stable")]

    def bounds(of: NDArray[np.int64], over: NDArray[np.int64]) -> NDArray[np.float64]:
        return triplet_bounds(model, z, row, over, of, norm)

    first = bounds(negatives, nearest_first[:_POSITIVES_AT_FIRST])
    queue = [(bound, False, int(j)) for bound, j in zip(first, negatives, strict=True)]
    heapq.heapify(queue)
    while queue and queue[0][0] < record.upper:
        bound, complete, j = heapq.heappop(queue)
        if not complete:  # only the nearest positives have been asked so far
            heapq.heappush(queue, (float(bounds(np.array([j]), nearest_first)[0]), True, j))
            continue
        proved = against(record, j)
        if record.negative == j and (bound > proved or len(record.positives) == 0):  # one positive is better evidence
            record.positives = np.array([deciding_positive(model, row, positives, j, norm)])
            record.multipliers = np.ones(1)
        record.lower = min(record.lower, max(bound, proved))
    if queue:
        record.lower = min(record.lower, queue[0][0])
    z_length = float(np.linalg.norm(z - model.shift_))
    blur = boundary_rounding(model.sites_, model.rounding(norm), z_length, record.negative, record.positives, norm)
    record.status = status_of(record.lower, record.upper, tolerance, blur)
    return record


def visit_mislabelled(record: Record, model: NearestNeighbors, label: int, norm: Norm, box: Box | None) -> None:
    """Settle a query that the classifier mislabels as it stands.

    Where exact arithmetic does not agree, its radius lies between 0 and the length of a witness, within rounding of 0;
    the evidence is the nearest negative and the nearest positive.
    """
    of_label = model.labels_ == label
    rival = int(np.argmin(np.where(of_label, math.inf, record.row)))
    nearest = np.array([np.argmin(np.where(of_label, record.row, math.inf))])
    record.lower = 0.0
    record.improve(nearest_mislabelled(model, record.z, label, rival, box), norm, rival, nearest, np.ones(1))
    if record.upper == 0:
        record.negative, record.positives, record.multipliers = -1, nearest[:0], np.zeros(0)
        record.status = RadiusStatus.MISCLASSIFIED
        return
    z_length = float(np.linalg.norm(record.z - model.shift_))
    blur = boundary_rounding(model.sites_, model.rounding(norm), z_length, rival, nearest, norm)
    record.status = status_of(0.0, record.upper, ROUNDING_WIDTH, blur)


def status_of(lower: float, upper: float, tolerance: float, blur: float) -> RadiusStatus:
    """What an interval says of the radius of a query that is labelled correctly.

    It is closed when its width is at most `tolerance` relative to the radius, or, for radii near 0, at most `blur`, by
    which rounding moves the boundary.  An interval whose ends have crossed is not closed: the judge convicts it.
    """
    if math.isinf(lower):
        return RadiusStatus.UNREACHABLE
    closed = lower <= upper < math.inf and upper - lower <= max(tolerance * upper, blur)
    return RadiusStatus.EXACT if closed else RadiusStatus.INTERVAL


def boundary_rounding(
    sites: NDArray[np.float64],
    rounding: Rounding,
    z_length: float,
    negative: int,
    positives: NDArray[np.int64],
    norm: Norm,
) -> float:
    """How far rounding may move the boundary between the binding negative and the binding positives.

    The deduction from a difference of scores, over ``2 ‖u_i − u_j‖_q``, once for the lower bound and once for the
    witness.  0 where nothing binds.
    """
    if negative < 0 or len(positives) == 0:
        return 0.0
    gap = rounding.gap(positives, negative, z_length)
    separation = norm.dual_of(sites[positives] - sites[negative])
    return float((gap[separation > 0] / separation[separation > 0]).max(initial=0.0))


def visit_all(
    model: NearestNeighbors,
    Z: NDArray[np.float64],
    y: NDArray[np.int64],
    norm: Norm,
    box: Box | None,
    against_of_label: Callable[[int], Against],
    tolerance: float,
    name: str,
    progress: Callable[[int], object] | None,
    numbers: NDArray[np.int64] | None = None,
) -> ExactRadii:
    """Exact radii of all queries, label by label: what is prepared for one label serves all of its queries.

    Notes call queries by `numbers`, their places in Z if not given.
    """
    records: dict[int, Record] = {}
    for label in np.unique(y):
        against = against_of_label(int(label))
        for query in np.flatnonzero(y == label):
            records[int(query)] = visit(model, int(label), Z[query], norm, against, tolerance, box)
            if progress is not None:
                progress(1)
    done = [records[query] for query in range(len(Z))]
    return ExactRadii(
        lower=np.array([record.lower for record in done]),
        upper=np.array([record.upper for record in done]),
        perturbation=np.array([record.perturbation for record in done]),
        status=np.array([record.status for record in done], dtype=object),
        negative=np.array([record.negative for record in done], dtype=np.int64),
        positives=tuple(record.positives for record in done),
        multipliers=tuple(record.multipliers for record in done),
        solves=np.array([record.solves for record in done], dtype=np.int64),
        tolerance=tolerance,
        solver=name,
        norm=norm,
        box=box,
        notes=tuple(
            f"query {number}: {note}"
            for number, record in zip(range(len(Z)) if numbers is None else numbers, done, strict=True)
            for note in record.notes
        ),
    )
