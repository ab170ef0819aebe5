"""An upper bound on a radius that is known before anything is solved."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from convexrml.attacks import attack_radius
from convexrml.errors import InvalidInputError
from convexrml.neighbors import NearestNeighbors
from convexrml.norms import Box, Norm
from convexrml.results import AttackRadii
from convexrml.validation import float_array
from convexrml.votes import Vote

_ROUNDED_UP = 1 + 1e-9


def known_radius(
    model: NearestNeighbors,
    z: NDArray[np.float64],
    label: int,
    norm: Norm,
    box: Box | None,
    vote: Vote | None,
    given: float | None,
) -> float:
    """The radius that is given, else the attack radius (no attack without a vote) or the norm of the farthest corner.

    Raises
    ------
    InvalidInputError
        If none is given and none is known, or what is given is not a finite number that is at least 0.
    """
    if given is not None:
        value = float_array("radius", given)
        if value.ndim or value < 0:
            raise InvalidInputError(f"radius: needs one number that is at least 0; found {given!r}")
        return float(value)
    upper = math.inf if vote is None else float(attacked(model, z, label, norm, box, vote).upper[0])
    upper = min(upper, farthest_corner(z, norm, box))
    if math.isinf(upper):
        raise InvalidInputError(
            "radius: no upper bound on the radius is known (no attack succeeded or was made, and the box is open); "
            "give one"
        )
    return upper


def attacked(
    model: NearestNeighbors, z: NDArray[np.float64], label: int, norm: Norm, box: Box | None, vote: Vote
) -> AttackRadii:
    """The attack on one query: on a few targets, and on all training points where that finds nothing."""
    query, name = z[None], model.classes_[[label]]
    found = attack_radius(model, query, name, norm=norm, box=box, vote=vote)
    if math.isfinite(found.upper[0]):
        return found
    return attack_radius(model, query, name, norm=norm, box=box, vote=vote, n_targets=len(model.labels_))


def farthest_corner(z: NDArray[np.float64], norm: Norm, box: Box | None) -> float:
    """The norm that no perturbation within the box exceeds, rounded up: ∞ where a side is open."""
    if box is None:
        return math.inf
    return float(norm.of(np.maximum(box.upper - z, z - box.lower))) * _ROUNDED_UP
