"""Witnesses: the classifier's own scores, bit for bit, of the few sites that can matter, and what rounding may hide."""

import numpy as np
from numba import njit

from convexrml.kernels.rounding import UNIT_ROUNDOFF, score_rounding
from convexrml.kernels.vectors import dot, same

SQUARES_VANISH = 2.0**-537
NOT, ROUNDED, SURE = range(3)


@njit(cache=True, nogil=True)
def one_score(sites, i, offset, centred):
    """``c − 2⟨u_i, p⟩`` in the order of summation of `scores`, so with the same bits."""
    total = 0.0
    for f in range(centred.shape[0]):
        total += centred[f] * sites[i, f]
    return offset - 2.0 * total


@njit(cache=True, nogil=True)
def is_witness(sites, offsets, points, lengths, rules, j, positives, count, centred):
    """Whether row j is no farther than every listed positive: SURE, by the classifier's own scores only, or NOT.

    It is sure if every difference of scores exceeds what rounding may do to it, or the training points are the same.
    """
    own, p_length = one_score(sites, j, offsets[j], centred), np.sqrt(dot(centred, centred))
    verdict = SURE
    for c in range(count):
        i = positives[c]
        other = one_score(sites, i, offsets[i], centred)
        if other < own:
            return NOT
        if other - own < score_rounding(rules, lengths[i], lengths[j], p_length) and not same(points, i, j):
            verdict = ROUNDED
    return verdict


@njit(cache=True, nogil=True)
def witnessed_length(z, step):
    """``‖δ‖₂``, rounded up so that it is not below the length of ``fl(z + δ) − z`` either.

    The factor ``1 + 4 (d + 4) u`` pays for the difference, the sum and the root; squares that vanish, of d entries
    below 2⁻⁵³⁷, are added.  NaN stays NaN.  `convexrml.witness.witnessed_norms` does the same for rows, in any norm.
    """
    d, asked, moved = step.shape[0], 0.0, 0.0
    away = False
    for f in range(d):
        difference = (z[f] + step[f]) - z[f]
        away = away or step[f] != 0.0 or difference != 0.0
        asked += step[f] * step[f]
        moved += difference * difference
    length = np.sqrt(max(asked, moved)) * (1.0 + 4.0 * (d + 4) * UNIT_ROUNDOFF)
    return length + np.sqrt(d) * SQUARES_VANISH if away else length


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
def nudge(
    sites, offsets, points, lengths, rules, j, positives, count, z, delta, box_lower, box_upper, shift, nudges,
    step, moved,
):  # fmt: skip
    """Move ``z + δ`` toward j's training point until it is a witness for sure, and write `step`.

    If it never is, `step` is the first that the classifier's own scores make one; returns SURE, ROUNDED or NOT.
    """
    d, inner = z.shape[0], points[j]
    first, best = np.empty(d), NOT
    for nu in nudges:
        for f in range(d):
            point = z[f] + delta[f]
            point += nu * (inner[f] - point)
            step[f] = step_inside(z[f], point, box_lower[f], box_upper[f])
        if not admissible(z, step, box_lower, box_upper, shift, moved):
            continue
        verdict = is_witness(sites, offsets, points, lengths, rules, j, positives, count, moved)
        if verdict == SURE:
            return SURE
        if verdict == ROUNDED and best == NOT:
            first[:] = step
            best = ROUNDED
    if best == ROUNDED:
        step[:] = first
    return best
