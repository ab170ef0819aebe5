"""Witnesses that rounding leaves in doubt, and intervals that it leaves wide, settled in exact arithmetic."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from convexrml.checker import Check
from convexrml.evidence import Prover
from convexrml.findings import Finding, Meeting
from convexrml.neighbors import NearestNeighbors
from convexrml.norms import Box, Norm
from convexrml.results import ExactRadii, RadiusStatus
from convexrml.visits import ROUNDING_WIDTH, Record, boundary_rounding, status_of, visit_mislabelled
from convexrml.votes import Vote
from convexrml.witness import first_mislabelled, nudged_little, sure_witness, witnessed_norm

_AIM = 1 - ROUNDING_WIDTH / 4
_BACK = 2e-9  # of the way to the training point: more than the search nudges at first
_STEPS = np.linspace(0, 1, 33)[1:, None]
_FEET = 4
_GAPS = 2.0**-51 * 4.0 ** np.arange(20)  # relative to a node's bound in floating point


def settled_votes(
    found: ExactRadii,
    model: NearestNeighbors,
    Z: NDArray[np.float64],
    y: NDArray[np.int64],
    findings: Iterable[Finding | None] = (),
) -> ExactRadii:
    """The record with upper bounds witnessed in exact arithmetic, for any k; one that is not is left out, with a note.

    See `convexrml.witness.sure_witness`; `y` are encoded labels.  Where rounding keeps the ends of an interval apart,
    and a search's finding tells where they meet, exact arithmetic narrows it: `_met` draws the witness back to there,
    `_proved` raises the lower end.
    """
    notes, lower, known = list(found.notes), found.lower.copy(), dict(enumerate(findings))
    upper, perturbation, status = found.upper.copy(), found.perturbation.copy(), found.status.copy()
    for a in np.flatnonzero(np.isfinite(found.upper)):
        finding = known.get(int(a))
        open_end = RadiusStatus.INTERVAL if finding is None or finding.limit is None else finding.limit
        delta = sure_witness(model, Z[a], int(y[a]), perturbation[a], found.box, found.vote)
        if delta is None:
            notes.append(
                f"query {a}: left out a witness that loses by the classifier's own scores, not in exact arithmetic"
            )
            upper[a], perturbation[a] = math.inf, math.nan
            status[a] = open_end if status[a].closed else status[a]
            continue
        if not np.array_equal(delta, perturbation[a]):
            upper[a], perturbation[a] = witnessed_norm(Z[a], delta, found.norm), delta
            if status[a] in (RadiusStatus.EXACT, RadiusStatus.MISCLASSIFIED):
                rounded = status[a] is RadiusStatus.MISCLASSIFIED  # rounding alone had it at 0
                blur = _tie_rounding(model, Z[a], int(y[a]), found.norm) if rounded else 0.0
                closed = status_of(lower[a], upper[a], ROUNDING_WIDTH, blur).closed
                status[a] = RadiusStatus.EXACT if closed else open_end
        if finding is not None and finding.meetings and upper[a] - lower[a] > ROUNDING_WIDTH * upper[a]:
            perturbation[a] = _met(model, Z[a], int(y[a]), perturbation[a], finding.meetings, found)
            upper[a] = witnessed_norm(Z[a], perturbation[a], found.norm)
            lower[a] = _proved(model, Z[a], int(y[a]), lower[a], upper[a], finding, found)
            if status_of(lower[a], upper[a], ROUNDING_WIDTH, 0.0).closed:
                status[a] = RadiusStatus.EXACT
    return dataclasses.replace(
        found, lower=lower, upper=upper, perturbation=perturbation, status=status, notes=tuple(notes)
    )


def _tie_rounding(model: NearestNeighbors, z: NDArray[np.float64], label: int, norm: Norm) -> float:
    """How far rounding may move the boundaries between the nearest points of the label and the nearest others."""
    row, own = model.scores(z[None])[0], model.labels_ == label
    nearest = np.argsort(row, kind="stable")
    positives, negatives = (nearest[some[nearest]][: model.n_neighbors] for some in (own, ~own))
    z_length, rounding = float(np.linalg.norm(z - model.shift_)), model.rounding(norm)
    return max(boundary_rounding(model.sites_, rounding, z_length, int(j), positives, norm) for j in negatives)


def _met(
    model: NearestNeighbors,
    z: NDArray[np.float64],
    label: int,
    witness: NDArray[np.float64],
    meetings: Sequence[Meeting],
    found: ExactRadii,
) -> NDArray[np.float64]:
    """The nearest of the first witnesses on the ways from where ends meet to the witness.

    The search narrows a cell by what rounding may hide; exact arithmetic does without.
    """
    best, length = witness, witnessed_norm(z, witness, found.norm)
    for one in sorted(meetings, key=lambda one: float(np.linalg.norm(one.foot - witness)))[:_FEET]:
        drawn = _drawn_back(model, z, label, one.foot, witness, found.box, found.vote)
        if drawn is not None and witnessed_norm(z, drawn, found.norm) < length:
            best, length = drawn, witnessed_norm(z, drawn, found.norm)
    return best


def _proved(
    model: NearestNeighbors,
    z: NDArray[np.float64],
    label: int,
    lower: float,
    upper: float,
    finding: Finding,
    found: ExactRadii,
) -> float:
    """The largest radius tried that exact arithmetic proves of all meetings, if it is above the lower bound.

    A foot's length is what its node's multipliers prove, up to rounding.  What lies outside of the meetings is bounded
    by the search, which has subtracted all rounding.
    """
    prover = Prover(model)
    nearest = min(float(np.linalg.norm(one.foot)) for one in finding.meetings)
    for radius in np.unique(np.minimum(nearest * (1 - _GAPS), min(upper, finding.beyond)))[::-1].tolist():
        if radius <= lower:
            break
        claim = prover.claim(z, label, radius, found.norm, found.box, found.vote)
        case = Check(claim.to_bytes(), model.exact, use_filter=True)
        if all(
            case.closed(one.members.tolist(), one.others.tolist(), one.multipliers.tolist(), one.sides)
            for one in finding.meetings
        ):
            return radius
    return lower


def _drawn_back(
    model: NearestNeighbors,
    z: NDArray[np.float64],
    label: int,
    back: NDArray[np.float64],
    witness: NDArray[np.float64],
    box: Box | None,
    vote: Vote = Vote.PLURALITY,
) -> NDArray[np.float64] | None:
    """The first witness, in steps, on the way from where the search's nudge came from to its witness; None if none is.

    The steps are asked about together, which costs as much as one or two of them; smaller ones lead to the first.
    """
    name, step = model.classes_[label], (witness - back) / len(_STEPS)
    coarse = first_mislabelled(model, z, name, z + back + _STEPS * (witness - back), box, vote)
    if coarse is None:
        return None
    fine = first_mislabelled(model, z, name, z + (coarse - step) + _STEPS * step, box, vote)
    return coarse if fine is None else fine


def settled(
    found: ExactRadii,
    doubtful: NDArray[np.bool_],
    model: NearestNeighbors,
    Z: NDArray[np.float64],
    y: NDArray[np.int64],
) -> ExactRadii:
    """The record with every upper bound witnessed in exact arithmetic; `y` are encoded labels.

    The search accepts a witness for sure when its scores differ by more than rounding may hide.  That costs a little
    length, which counts where the radius is small, and ties of whole numbers never differ.  For the queries that are
    `doubtful`, or whose interval is wider than the tolerance, the point at the distance of the lower bound is nudged
    into the negative's cell again, by as little as exact arithmetic allows; and a lower bound next to it is tried, for
    which every negative's multipliers are checked without deducting any rounding.
    """
    finite = np.isfinite(found.upper)
    useful = (found.lower > 0) | np.array([not status.closed for status in found.status])
    with np.errstate(invalid="ignore"):
        wide = finite & useful & (found.upper - found.lower > found.tolerance * found.upper)
    queries = np.flatnonzero((doubtful & finite) | wide)
    if len(queries) == 0:
        return found
    prover, lower, upper = Prover(model), found.lower.copy(), found.upper.copy()
    perturbation, status, negative = found.perturbation.copy(), found.status.copy(), found.negative.copy()
    positives, multipliers = list(found.positives), list(found.multipliers)
    for a in queries:
        z, label = Z[a], int(y[a])
        if status[a] is RadiusStatus.MISCLASSIFIED:
            record = Record(z, model.scores(z[None])[0], np.full(len(z), np.nan))
            visit_mislabelled(record, model, label, found.norm, found.box)
            upper[a], perturbation[a], status[a] = record.upper, record.perturbation, record.status
            negative[a], positives[a], multipliers[a] = record.negative, record.positives, record.multipliers
        else:
            j = int(found.negative[a])
            start, inner = perturbation[a] * min(1.0, found.lower[a] / upper[a]), model.training_points_[j]
            delta = nudged_little(model, z, label, start, inner, found.box, perturbation[a])
            reached = math.inf if delta is None else witnessed_norm(z, delta, found.norm)
            if not doubtful[a] and reached - lower[a] > found.tolerance * reached:
                back = perturbation[a] - _BACK * (inner - z - perturbation[a])
                drawn = _drawn_back(model, z, label, back, perturbation[a], found.box)
                if drawn is not None and witnessed_norm(z, drawn, found.norm) < reached:
                    delta, reached = drawn, witnessed_norm(z, drawn, found.norm)
            if doubtful[a] or reached < upper[a]:
                upper[a], perturbation[a] = reached, np.nan if delta is None else delta
            aim = upper[a] * _AIM
            if 0 < lower[a] < aim < math.inf and prover.reaches(
                z, label, aim, found.norm, found.box, found.positives[a]
            ):
                lower[a] = aim
            z_length, rounding = float(np.linalg.norm(z - model.shift_)), model.rounding(found.norm)
            blur = boundary_rounding(model.sites_, rounding, z_length, j, found.positives[a], found.norm)
            status[a] = status_of(lower[a], upper[a], ROUNDING_WIDTH, blur)
    return dataclasses.replace(
        found, lower=lower, upper=upper, perturbation=perturbation, status=status, negative=negative,
        positives=tuple(positives), multipliers=tuple(multipliers),
    )  # fmt: skip
