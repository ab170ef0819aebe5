"""Witnesses that rounding leaves in doubt, and intervals that it leaves wide, settled in exact arithmetic."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from convexrml.neighbors import NearestNeighbors
from convexrml.results import ExactRadii, RadiusStatus
from convexrml.visits import ROUNDING_WIDTH, boundary_rounding, status_of, status_where_mislabelled
from convexrml.witness import nearest_mislabelled, nudged, witnessed_norm


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
    into the negative's cell again, by as little as exact arithmetic allows.
    """
    finite = np.isfinite(found.upper)
    with np.errstate(invalid="ignore"):
        wide = finite & (found.upper - found.lower > found.tolerance * found.upper)
    queries = np.flatnonzero((doubtful & finite) | wide)
    if len(queries) == 0:
        return found
    upper, perturbation, status = found.upper.copy(), found.perturbation.copy(), found.status.copy()
    for a in queries:
        z, label = Z[a], int(y[a])
        if status[a] is RadiusStatus.MISCLASSIFIED:
            row = model.scores(z[None])[0]
            rival = int(np.argmin(np.where(model.labels_ == label, math.inf, row)))
            delta = nearest_mislabelled(model, z, label, rival, found.box)
            upper[a] = math.inf if delta is None else witnessed_norm(z, delta, found.norm)
            status[a] = status_where_mislabelled(model, z, label, rival, upper[a], found.norm)
        else:
            j = int(found.negative[a])
            start, inner = perturbation[a] * min(1.0, found.lower[a] / upper[a]), model.training_points_[j]
            delta = nudged(model, z, model.classes_[label], start, inner, found.box)
            reached = math.inf if delta is None else witnessed_norm(z, delta, found.norm)
            if not doubtful[a] and reached >= upper[a]:
                continue
            upper[a] = reached
            z_length = float(np.linalg.norm(z - model.shift_))
            rounding = model.rounding(found.norm)
            blur = boundary_rounding(model.sites_, rounding, z_length, j, found.positives[a], found.norm)
            status[a] = status_of(found.lower[a], reached, ROUNDING_WIDTH, blur)
        perturbation[a] = np.nan if delta is None else delta
    return dataclasses.replace(found, upper=upper, perturbation=perturbation, status=status)
