"""Witnesses in the classifier's own arithmetic: the same scores, bit for bit, of the few sites that can matter."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def one_score(site, offset, centred):
    """``c − 2⟨u, p⟩`` in the order of summation of `scores`, so with the same bits."""
    total = 0.0
    for f in range(centred.shape[0]):
        total += centred[f] * site[f]
    return offset - 2.0 * total


@njit(cache=True, nogil=True)
def is_witness(sites, offsets, j, positives, count, centred):
    """Whether the classifier's own scores put row j no farther than every listed positive."""
    own = one_score(sites[j], offsets[j], centred)
    for c in range(count):
        if one_score(sites[positives[c]], offsets[positives[c]], centred) < own:
            return False
    return True


@njit(cache=True, nogil=True)
def admissible(z, step, box_lower, box_upper, shift, moved):
    """Write ``(z + δ) − m`` into `moved` as the classifier computes it; whether ``z + δ`` is in the box."""
    inside = True
    for f in range(z.shape[0]):
        point = z[f] + step[f]
        inside = inside and box_lower[f] <= point <= box_upper[f]
        moved[f] = point - shift[f]
    return inside


@njit(cache=True, nogil=True)
def step_inside(z, point, lower, upper):
    """The step from z to the number nearest to `point` between two sides, such that ``z + step`` is between them."""
    step = min(max(point, lower), upper) - z
    if z + step > upper:  # z + fl(side − z) may round to the float beyond: aim one float inside
        return np.nextafter(upper, -np.inf) - z
    if z + step < lower:
        return np.nextafter(lower, np.inf) - z
    return step


@njit(cache=True, nogil=True)
def nudge(sites, offsets, j, inner, positives, count, z, delta, box_lower, box_upper, shift, nudges, step, moved):
    """Move ``z + δ`` toward the point `inner` of j's cell until it is a witness: writes `step`; whether it worked."""
    for nu in nudges:
        for f in range(z.shape[0]):
            point = z[f] + delta[f]
            point += nu * (inner[f] - point)
            step[f] = step_inside(z[f], point, box_lower[f], box_upper[f])
        if admissible(z, step, box_lower, box_upper, shift, moved) and is_witness(
            sites, offsets, j, positives, count, moved
        ):
            return True
    return False
