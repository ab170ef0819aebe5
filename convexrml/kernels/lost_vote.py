"""Witnesses of a lost vote: near a point at which it is lost up to rounding, one at which it is lost beyond doubt."""

import numpy as np
from numba import njit

from convexrml.kernels.cells import cell_at, nearest_in_cell
from convexrml.kernels.incumbent import lost, slack_of
from convexrml.kernels.local import half_scores
from convexrml.kernels.pairs import SOLVED
from convexrml.kernels.rounding import score_rounding
from convexrml.kernels.tree import SECONDS
from convexrml.kernels.vectors import distance, dot
from convexrml.kernels.witness import admissible, one_score, step_inside

# of the rounding in a difference of half scores; members and others both move by it
_MARGINS = np.array([0.55, 8.0, 128.0, 1e4, 1e6, 1e8, 0.0])


@njit(cache=True, nogil=True)
def witnessed(local, offsets, z, shift, box_lower, box_upper, rule, target, near, radius, space, step, moved):
    """Move a point at which the vote is lost, up to rounding, to one where it is lost beyond doubt; −1 if that failed.

    `near` is w; the target's cell is read off there, and its nearest point taken with every other raised by a margin,
    until the classifier's own scores of the local points lose the vote.  Writes the step from z, and returns how far
    rounding may move the boundary of that cell at its binding rows, and whether no rounding in the scores of the local
    points can undo it.
    """
    n, d = local.sites.shape
    phi, values, slack = np.empty(n), np.empty(n), slack_of(local)
    half_scores(local, near, phi)
    for margin in _MARGINS:
        rows, outcome = nearest_in_cell(local, target, phi, margin * slack, 1e-3 * slack, np.inf, space)
        if rows < 0 or outcome != SOLVED:
            continue
        for f in range(d):
            step[f] = step_inside(z[f], z[f] + space.w[f], box_lower[f], box_upper[f])
        if np.sqrt(dot(step, step)) > radius or not admissible(z, step, box_lower, box_upper, shift, moved):
            continue
        for t in range(n):
            values[t] = one_score(local.sites, t, offsets[local.rows[t]], moved)
        if lost(rule, values, local.classes, space)[0]:
            sure = is_sure(local, target, phi, values, np.sqrt(dot(moved, moved)), space)
            return blur_of(local, space.active, space.multipliers, rows, space.w), sure
    return -1.0, False


@njit(cache=True, nogil=True)
def is_sure(local, target, phi, values, p_length, space):
    """Whether the target's cell at `phi` holds at scores `values` even if each difference is off by its rounding."""
    n_members, n_others, n_second = cell_at(local, target, phi, space.members, space.others, space.second)
    longest = local.lengths.max()
    loss = score_rounding(local.rules, longest, longest, p_length)
    farthest, farthest_second, nearest = -np.inf, -np.inf, np.inf
    for a in range(n_members):
        farthest = max(farthest, values[space.members[a]])
        if a < target[SECONDS]:
            farthest_second = farthest
    for c in range(n_others):
        nearest = min(nearest, values[space.others[c]])
    if n_members == 0 or not farthest + loss < nearest:
        return False
    nearest = np.inf
    for c in range(n_second):
        nearest = min(nearest, values[space.second[c]])
    return farthest_second + loss < nearest


@njit(cache=True, nogil=True)
def blur_of(local, active, multipliers, rows, w):
    """How far rounding keeps bound and witness apart: a deduction and a margin on every binding row.

    If every right-hand side moves by at most ε, the least ‖w‖ moves by ``ε Σλ / ‖w‖``, with the multipliers of ``w = −Σ
    λ_k a_k``; near 0, by ε over the distance of one row's sites.
    """
    n, total, nearest = local.sites.shape[0], 0.0, 0.0
    length, moved = np.sqrt(dot(w, w)), 2.5 * slack_of(local)
    for k in range(rows):
        if active[k] >= 0:
            j, i = active[k] // n, active[k] % n
            apart = distance(local.sites, i, j, 2.0)
            nearest = max(nearest, moved / apart if apart > 0.0 else 0.0)
            total += max(multipliers[k], 0.0)
    return max(nearest, moved * total / length if length > 0.0 else 0.0)
