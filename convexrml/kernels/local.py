"""The training points that can matter within a ball around one query, copied side by side: negatives first.

Their half scores ``φ_t(w) = h_t − ⟨u_t, w⟩`` order them around ``z + w`` as the classifier does.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from convexrml.kernels.rounding import STRETCH, gap_rounding, widened
from convexrml.kernels.triplets import pair_bound
from convexrml.kernels.vectors import column_products, distance


class Local(NamedTuple):
    """The part of a training set that matters within ``‖w‖₂ ≤ radius`` of one query.

    Attributes
    ----------
    rows : (n,) integer array
        Row in the training set of each point here; the first `n_negatives` are negatives.
    sites, halves, spreads, lengths, classes : (n, d) and (n,) arrays
        ``u_t``, ``h_t = score_t(z) / 2``, a bound on ``‖u_t − Mz‖₂``, ``‖x_t − m‖₂``, labels.
    columns : (d, n) array
        The sites once more, feature by feature.
    n_negatives : int
    image : (d,) array
        ``M (z − m)``.
    room_lower, room_upper : (d,) arrays
        The box around w (infinite where there is none).
    boxed : bool
    rules : (6,) array
        See `convexrml.kernels.rounding`.
    z_length, reach : float
        ``‖z − m‖₂``, and a bound on ``‖z + w − m‖₂`` within the ball.
    """

    rows: NDArray[np.int64]
    sites: NDArray[np.float64]
    columns: NDArray[np.float64]
    halves: NDArray[np.float64]
    spreads: NDArray[np.float64]
    lengths: NDArray[np.float64]
    classes: NDArray[np.int64]
    n_negatives: int
    image: NDArray[np.float64]
    room_lower: NDArray[np.float64]
    room_upper: NDArray[np.float64]
    boxed: bool
    rules: NDArray[np.float64]
    z_length: float
    reach: float


@njit(cache=True, nogil=True)
def smallest(values, start, stop, count, places):
    """Write the places of the `count` least of ``values[start:stop]`` into `places`, in order; how many there are."""
    return smallest_with(values, start, stop, count, places, 0)


@njit(cache=True, nogil=True)
def smallest_with(values, start, stop, count, places, found):
    """`smallest` of ``values[start:stop]`` and of those at the first `found` places, which are in order."""
    for t in range(start, stop):
        if found == count and values[t] >= values[places[count - 1]]:
            continue
        if found < count:
            found += 1
        c = found - 1
        while c > 0 and values[places[c - 1]] > values[t]:
            places[c] = places[c - 1]
            c -= 1
        places[c] = t
    return found


@njit(cache=True, nogil=True)
def matter(sites, lengths, longest, row, squared, offset, start, stop, radius, s, rules, z_length, reach):
    """Rows of the training set that can matter within the ball, negatives first, and how many those are.

    The query's label holds the rows ``start:stop``; `longest` is the greatest of the lengths.  A negative matters if
    fewer than s of its triplet bounds with the s nearest positives reach the radius; a positive if it can be no farther
    than such a negative somewhere in the ball, ``h_i − spread_i radius ≤ max_j (h_j + spread_j radius)``.

    *The others change no vote that is lost nearer than the radius*, a plurality's neither.  Any other negative has s
    nearer positives there: among the k nearest it makes the label's votes a majority; and it is not nearer than a
    member, which has at most s − 1 nearer positives, so that it counts in no condition on members.
    """
    N = row.shape[0]
    near = np.empty(s, dtype=np.int64)
    n_near = smallest(row, start, stop, s, near)
    farthest = 0.0
    for c in range(n_near):
        farthest = max(farthest, squared[near[c]] + offset)
    off = np.sqrt(max(farthest, 0.0)) + widened(rules, longest, longest, 0.0)
    index = np.empty(N, dtype=np.int64)
    n_negatives, highest = 0, -np.inf
    loss = gap_rounding(rules, longest, longest, z_length, reach)
    bounded = n_near == s and radius < np.inf
    base, scale = (row[near[s - 1]] + loss, 0.5 / (radius * rules[STRETCH])) if bounded else (0.0, 0.0)
    for j in range(N):
        if start <= j < stop:
            continue
        spread = squared[j] + offset
        if bounded:
            rest = (row[j] - base) * scale - off
            if rest > 0.0 and rest * rest >= spread:
                continue
            c = 0
            while c < s and pair_bound(sites, lengths, row, near[c], j, 2.0, rules, z_length, 0.0) >= radius:
                c += 1
            if c == s:
                continue
        index[n_negatives] = j
        n_negatives += 1
        highest = max(highest, 0.5 * row[j] + np.sqrt(max(spread, 0.0)) * radius)
    n = n_negatives
    if n_negatives == 0:
        return index[:0].copy(), 0
    highest += loss
    for i in range(start, stop):
        if radius == np.inf or 0.5 * row[i] - np.sqrt(max(squared[i] + offset, 0.0)) * radius <= highest:
            index[n] = i
            n += 1
    return index[:n].copy(), n_negatives


@njit(cache=True, nogil=True)
def gathered(
    index, n_negatives, sites, lengths, labels, row, squared, offset, image, room_lower, room_upper, boxed, rules,
    z_length, reach,
):  # fmt: skip
    """Copy the listed rows of a training set side by side."""
    n, d = index.shape[0], sites.shape[1]
    own, columns, halves, spreads = np.empty((n, d)), np.empty((d, n)), np.empty(n), np.empty(n)
    its_lengths, classes = np.empty(n), np.empty(n, dtype=np.int64)
    for c in range(n):
        t = index[c]
        for f in range(d):
            own[c, f] = sites[t, f]
        halves[c], spreads[c] = 0.5 * row[t], np.sqrt(max(squared[t] + offset, 0.0))
        its_lengths[c], classes[c] = lengths[t], labels[t]
    for f in range(d):
        for c in range(n):
            columns[f, c] = own[c, f]
    return Local(
        index, own, columns, halves, spreads, its_lengths, classes, n_negatives, image, room_lower, room_upper, boxed,
        rules, z_length, reach,
    )  # fmt: skip


@njit(cache=True, nogil=True)
def half_scores(local, w, phi):
    """Write ``φ_t(w)`` of all local points into `phi`."""
    halves = local.halves
    column_products(local.columns, 0, halves.shape[0], w, phi)
    for t in range(halves.shape[0]):
        phi[t] = halves[t] - phi[t]


@njit(cache=True, nogil=True)
def separations(local, first, last):
    """``‖u_i − u_j‖₂``, carried above the true one, of negatives j and points i: ``(n_negatives, last − first)``."""
    result = np.empty((local.n_negatives, last - first))
    for j in range(local.n_negatives):
        for i in range(first, last):
            apart = distance(local.sites, i, j, 2.0)
            result[j, i - first] = widened(local.rules, local.lengths[i], local.lengths[j], apart)
    return result


@njit(cache=True, nogil=True)
def narrowed(local, apart, bounds, radius):
    """Which points still matter once distances are known: negatives in reach, and positives that these can pass.

    A negative whose s-th largest bound (`largest_bounds`) reaches the radius has s nearer positives in all of the ball,
    and changes no vote that is lost there: see `matter`.  In the ball negative j is farther than positive i only if
    ``h_i − h_j ≤ ‖u_i − u_j‖ radius``; a positive that no negative in reach can pass is farther than all members.
    """
    n, m = local.halves.shape[0], local.n_negatives
    useful = np.zeros(n, dtype=np.bool_)
    for j in range(m):
        useful[j] = bounds[j, bounds.shape[1] - 1] < radius
    for i in range(m, n):
        for j in range(m):
            if not useful[j]:
                continue
            loss = 0.5 * gap_rounding(local.rules, local.lengths[i], local.lengths[j], local.z_length, local.reach)
            if local.halves[i] - local.halves[j] <= apart[j, i - m] * radius + loss:
                useful[i] = True
                break
    return useful


@njit(cache=True, nogil=True)
def enter(largest, bound):
    """Enter a bound among the largest so far, which are in order, largest first; the least drops out."""
    place = largest.shape[0] - 1
    if bound <= largest[place]:
        return
    while place > 0 and largest[place - 1] < bound:
        largest[place] = largest[place - 1]
        place -= 1
    largest[place] = bound


@njit(cache=True, nogil=True)
def largest_bounds(local, apart, count):
    """The `count` largest triplet bounds of each negative with the positives, rounding subtracted, largest first.

    The last is the least perturbation after which the negative can be no farther than all but ``count − 1`` positives.
    0 where there are fewer positives.  The same numbers as those behind `triplets.certified_radii`.
    """
    n, m = local.halves.shape[0], local.n_negatives
    result = np.zeros((m, count))
    for j in range(m):
        for i in range(m, n):
            gap = 2.0 * (local.halves[j] - local.halves[i])
            if gap <= 0.0 or gap <= 2.0 * apart[j, i - m] * result[j, count - 1]:
                continue
            gap -= gap_rounding(local.rules, local.lengths[i], local.lengths[j], local.z_length, 0.0)
            if gap > 0.0:
                enter(result[j], gap / (2.0 * apart[j, i - m]) if apart[j, i - m] > 0.0 else np.inf)
    return result


@njit(cache=True, nogil=True)
def largest_bounds_outside(local, other, apart, count):
    """The `count` largest triplet bounds of each negative of a class with all points of other classes, largest first.

    *A lower bound.*  Where negative j is no farther than all but ``count − 1`` of these points, it is no farther than
    one of the `count` with the largest bounds: ``‖w‖ ≥ t_ij`` for that one, and so at least the last.  This holds in
    exact arithmetic for any pair of points, of whatever labels; points that are not listed here could only raise it.
    Rounding in the scores, at the query and at w, is subtracted from each gap, distances are carried above the true
    ones: it holds as well for the scores that the classifier computes.

    Rows of negatives of other classes are 0, and so are places beyond the number of points.
    """
    n, m = local.halves.shape[0], local.n_negatives
    result = np.zeros((m, count))
    for j in range(m):
        if local.classes[j] != other:
            continue
        for i in range(n):
            gap = 2.0 * (local.halves[j] - local.halves[i])
            if local.classes[i] == other or gap <= 0.0:
                continue
            gap -= gap_rounding(local.rules, local.lengths[i], local.lengths[j], local.z_length, 0.0)
            if gap <= 0.0:
                continue
            enter(result[j], gap / (2.0 * apart[j, i]) if apart[j, i] > 0.0 else np.inf)
    return result
