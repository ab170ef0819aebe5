"""Upper bounds on exact k-NN radii: rays to groups of negatives, then the nearest points of the cells they enter."""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from convexrml.kernels.cells import nearest_in_cell
from convexrml.kernels.local import half_scores, smallest, smallest_with
from convexrml.kernels.pairs import SOLVED
from convexrml.kernels.rounding import gap_rounding
from convexrml.kernels.scores import votes_of_row
from convexrml.kernels.vectors import column_products, copied, distance, dot

_HALVINGS = 7
_POOL = 40  # near negatives among which a group is looked for, and positives
_ROUNDS = 8
_GAIN = 1.0 - 1e-9


class Rule(NamedTuple):
    """What it takes to lose a vote.

    Attributes
    ----------
    own : int
        The query's label.
    n_neighbors, n_classes : int
    majority : bool
        Whether a lost majority suffices; otherwise some other label needs as many votes.
    """

    own: int
    n_neighbors: int
    n_classes: int
    majority: bool


class Space(NamedTuple):
    """Work space for votes, cells and the active-set method."""

    least: NDArray[np.float64]
    nearer: NDArray[np.int64]
    tied: NDArray[np.int64]
    members: NDArray[np.int64]
    others: NDArray[np.int64]
    second: NDArray[np.int64]
    active: NDArray[np.int64]
    multipliers: NDArray[np.float64]
    Q: NDArray[np.float64]
    R: NDArray[np.float64]
    work: NDArray[np.float64]
    w: NDArray[np.float64]
    all: NDArray[np.int64]
    phi: NDArray[np.float64]
    total: NDArray[np.float64]


@njit(cache=True, nogil=True)
def space_for(n, d, k, n_classes):
    """Work space for n local points in d dimensions."""
    return Space(
        np.empty(k), np.empty(n_classes, dtype=np.int64), np.empty(n_classes, dtype=np.int64),
        np.empty(k + 1, dtype=np.int64), np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64),
        np.empty(d + 2, dtype=np.int64), np.empty(d + 2), np.empty((d + 1, d)), np.empty((d + 1, d + 1)),
        np.empty((4, d + 2)), np.empty(d), np.arange(n), np.empty(n), np.empty(n),
    )  # fmt: skip


@njit(cache=True, nogil=True)
def lost(rule, values, classes, space):
    """Whether the vote is lost at scores `values`, and the target (class, votes) that is met there, or is nearest."""
    votes, most, other = votes_of_row(
        values, classes, rule.own, rule.n_neighbors, space.least, space.nearer, space.tied
    )  # fmt: skip
    half = rule.n_neighbors // 2
    if rule.majority:
        return votes <= half, -1, half
    return votes <= most, other, min(max(votes, 1), half)


@njit(cache=True, nogil=True)
def write_target(target, k, other, count):
    """Write the target (c, a) as `cells` reads it; ``other = −1`` is the majority's."""
    target[0], target[1], target[3], target[4] = other, k - count, count, k - count
    target[2] = count if other >= 0 else 0


@njit(cache=True, nogil=True)
def group_centre(points, listed, first, n_listed, size, labels, one_class, centre):
    """Write the mean of the `size` listed points nearest to listed point `first` (of its class): whether it exists."""
    n, d = n_listed, points.shape[1]
    apart, places = np.empty(n), np.empty(size, dtype=np.int64)
    for c in range(n):
        of_class = not one_class or labels[listed[c]] == labels[listed[first]]
        apart[c] = distance(points, listed[c], listed[first], 2.0) if of_class else np.inf
    if smallest(apart, 0, n, size, places) < size or not apart[places[size - 1]] < np.inf:
        return False
    centre[:] = 0.0
    for c in range(size):
        for f in range(d):
            centre[f] += points[listed[places[c]], f] / size
    return True


@njit(cache=True, nogil=True)
def crossing(rule, halves, slopes, classes, values, space):
    """The least fraction of a ray, by halving, at which the vote is lost; ∞ if it is not lost at its end."""
    low, high = 0.0, 1.0
    for t in range(values.shape[0]):
        values[t] = halves[t] - slopes[t]
    if not lost(rule, values, classes, space)[0]:
        return np.inf
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        for t in range(values.shape[0]):
            values[t] = halves[t] - middle * slopes[t]
        if lost(rule, values, classes, space)[0]:
            high = middle
        else:
            low = middle
    return high


@njit(cache=True, nogil=True)
def aim(z, centre, box_lower, box_upper, ray):
    """Write the step from z to a point, moved into the box; its length."""
    for f in range(z.shape[0]):
        ray[f] = min(max(centre[f], box_lower[f]), box_upper[f]) - z[f]
    return np.sqrt(dot(ray, ray))


@njit(cache=True, nogil=True)
def slack_of(local):
    """Bound on the rounding in a difference of half scores, of any pair."""
    longest = local.lengths.max()
    return 0.5 * gap_rounding(local.rules, longest, longest, local.z_length, local.reach)


@njit(cache=True, nogil=True)
def pool(row, start, stop):
    """Rows of the nearest negatives and of the nearest positives, negatives first; how many negatives."""
    N = row.shape[0]
    order, index = np.empty(_POOL, dtype=np.int64), np.empty(2 * _POOL, dtype=np.int64)
    n_negatives = smallest(row, 0, start, min(_POOL, N), order)
    n_negatives = smallest_with(row, stop, N, min(_POOL, N), order, n_negatives)
    copied(order, n_negatives, index)
    n_positives = smallest(row, start, stop, min(_POOL, N), order)
    for c in range(n_positives):
        index[n_negatives + c] = order[c]
    return index[: n_negatives + n_positives].copy(), n_negatives


@njit(cache=True, nogil=True)
def descended(local, rule, values, length, best, target, space):
    """From half scores to the nearest point of the cell there in which the vote is lost, as long as that gains.

    At each point the cell is read off again, binding sites last (members) or first (excused).  Returns the norm of the
    nearest point, which `best` receives if it is below `length`, and `target` what is met there.
    """
    n = local.halves.shape[0]
    slack, cell = slack_of(local), np.empty(7, dtype=np.int64)
    for _ in range(_ROUNDS):
        _, other, count = lost(rule, values, local.classes, space)
        write_target(cell, rule.n_neighbors, other, count)
        rows, outcome = nearest_in_cell(local, cell, values, 0.0, 1e-3 * slack, length * _GAIN, space)
        reached = np.sqrt(dot(space.w, space.w))
        if rows < 0 or outcome != SOLVED or not reached < length * _GAIN:
            return length
        length = reached
        copied(space.w, best.shape[0], best)
        copied(cell, cell.shape[0], target)
        half_scores(local, best, values)
        most = 0.0
        for c in range(rows):
            most = max(most, space.multipliers[c])
        for c in range(rows):
            if space.active[c] >= 0 and most > 0.0:
                share = 4.0 * slack * space.multipliers[c] / most
                values[space.active[c] // n] += share
                values[space.active[c] % n] -= share
    return length


@njit(cache=True, nogil=True)
def exchanged(local, rule, length, best, target, n_rounds, space):
    """Exchange one binding site of the cell around `best` at a time, as long as that gains: the norm reached.

    A binding member gives way to the next negative; a binding other is excused, and the farthest excused is not.
    """
    n = local.halves.shape[0]
    tolerance, phi, values = 1e-3 * slack_of(local), np.empty(n), np.empty(n)
    rows = np.empty(space.active.shape[0], dtype=np.int64)
    for _ in range(n_rounds):
        half_scores(local, best, phi)
        n_rows, _ = nearest_in_cell(local, target, phi, 0.0, tolerance, np.inf, space)
        copied(space.active, n_rows, rows)
        before = length
        for c in range(2 * max(n_rows, 0)):
            if rows[c // 2] < 0:
                continue
            copied(phi, n, values)
            if c % 2 == 0:
                values[rows[c // 2] % n] = -np.inf
            else:
                values[rows[c // 2] // n] = np.inf
            found, outcome = nearest_in_cell(local, target, values, 0.0, tolerance, length * _GAIN, space)
            reached = np.sqrt(dot(space.w, space.w))
            if found >= 0 and outcome == SOLVED and reached < length * _GAIN:
                length = reached
                copied(space.w, best.shape[0], best)
                break
        if length == before:
            break
    return length


@njit(cache=True, nogil=True)
def attacked(local, points, z, box_lower, box_upper, rule, n_rays, n_exchanges, radius, best, target, space):
    """The nearest point found at which the vote is lost: cells around `best` and around where rays enter them.

    `best` is a step at which the vote is lost, of norm below `radius` (NaN: none is known); it receives the nearest
    one, whose norm is returned, and `target` what is met there.
    """
    (n, d), m, length = local.sites.shape, local.n_negatives, radius
    order = np.empty(min(max(_POOL, n_rays), m), dtype=np.int64)
    n_near = smallest(local.halves, 0, m, order.shape[0], order)
    near_points, near_classes, places = (
        points[local.rows[order[:n_near]]],
        local.classes[order[:n_near]],
        np.arange(n_near),
    )
    centre, ray, slopes, values = np.empty(d), np.empty(d), np.empty(n), np.empty(n)
    size = (rule.n_neighbors + 1) // 2
    if not np.isnan(best[0]):
        half_scores(local, best, values)
        _, other, count = lost(rule, values, local.classes, space)
        write_target(target, rule.n_neighbors, other, count)
        length = descended(local, rule, values, radius, best, target, space)
    for r in range(min(n_rays, n_near)):
        if not group_centre(near_points, places, r, n_near, size, near_classes, not rule.majority, centre):
            continue
        whole = aim(z, centre, box_lower, box_upper, ray)
        if whole > length:
            for f in range(d):
                ray[f] *= length / whole
        column_products(local.columns, 0, n, ray, slopes)
        theta = min(1.0, crossing(rule, local.halves, slopes, local.classes, values, space))  # not lost: at its end
        for t in range(n):
            values[t] = local.halves[t] - theta * slopes[t]
        length = descended(local, rule, values, length, best, target, space)
    if length < np.inf:
        exchanged(local, rule, length, best, target, n_exchanges, space)
    return np.sqrt(dot(best, best))


@njit(cache=True, nogil=True)
def nearer_around(local, rule, w, length, n_exchanges, best, target, space):
    """The nearest point found from the cell around w on, in which the vote is lost there or soonest; its norm.

    Where that is below `length`, `best` receives the point and `target` what is met there.
    """
    values = np.empty(local.halves.shape[0])
    half_scores(local, w, values)
    reached = descended(local, rule, values, length, best, target, space)
    if reached < length:
        reached = exchanged(local, rule, reached, best, target, n_exchanges, space)
    return reached
