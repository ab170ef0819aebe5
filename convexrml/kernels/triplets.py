"""Triplet bounds and the certified radii made of them, exact by pruning pairs, never by weakening the bound."""

import numpy as np
from numba import njit, prange

from convexrml.kernels.rounding import STRETCH, gap_rounding, widened
from convexrml.kernels.vectors import distance

_NEGATIVES_AT_FIRST = 8


@njit(cache=True)
def triplet_bound(gap, separation):
    """``gap / (2 separation)``: 0 when the gap is not positive, ∞ when only the separation vanishes."""
    if gap <= 0.0:
        return 0.0
    if separation <= 0.0:
        return np.inf
    return gap / (2.0 * separation)


@njit(cache=True)
def insert_least(values, firsts, seconds, count, value, first, second):
    """Insert a value with its two indices into ascending lists of which `count` places are taken; the new count.

    A full list drops its greatest value.
    """
    size = values.shape[0]
    if count == size:
        if value >= values[size - 1]:
            return count
    else:
        count += 1
    place = count - 1
    while place > 0 and values[place - 1] > value:
        values[place], firsts[place], seconds[place] = values[place - 1], firsts[place - 1], seconds[place - 1]
        place -= 1
    values[place], firsts[place], seconds[place] = value, first, second
    return count


@njit(cache=True, nogil=True)
def pair_bound(sites, lengths, row, i, j, dual_order, rules, z_length, reach):
    """Triplet bound of the positive i and the negative j, all rounding subtracted."""
    gap = row[j] - row[i] - gap_rounding(rules, lengths[i], lengths[j], z_length, reach)
    if gap <= 0.0:
        return 0.0
    return triplet_bound(gap, widened(rules, lengths[i], lengths[j], distance(sites, i, j, dual_order)))


@njit(cache=True, nogil=True)
def sth_largest_bound(sites, lengths, row, positives, j, s, dual_order, rules, z_length, stop_at, minus_t, t_i, t_j):
    """The s-th largest of ``t_ij`` over the positives (nearest first), and its positive; 0 and −1 if fewer are nearer.

    Stops as soon as s of them reach `stop_at`.
    """
    count = 0
    for i in positives:
        if row[j] <= row[i]:
            break  # all later gaps are smaller
        t = pair_bound(sites, lengths, row, i, j, dual_order, rules, z_length, 0.0)
        count = insert_least(minus_t, t_i, t_j, count, -t, i, j)
        if count == s and -minus_t[s - 1] >= stop_at:
            break
    return (-minus_t[s - 1], t_i[s - 1]) if count == s else (0.0, -1)


@njit(parallel=True, cache=True)
def certified_radii(
    sites, lengths, point_scores, squared, offset, labels, own_label, s, dual_order, widening, rules, z_lengths
):
    """Certified radius of each query: the s-th smallest over negatives j of the s-th largest over positives i of t_ij.

    t_ij as `pair_bound` has it.  The nearest negatives give an incumbent, the s-th smallest value so far; another
    negative is left unread when the triangle inequality, ``‖u_i − u_j‖_q ≤ widening (‖u_i − Mz‖₂ + ‖u_j − Mz‖₂)`` with
    ``squared + offset`` bounding ``‖u_i − Mz‖₂²``, makes s of its triplet bounds reach the incumbent, and otherwise as
    soon as s of them have been seen to.  Returns the radii and, for each, the positive and the negative of the deciding
    triplet (−1 where there is none).
    """
    n, N = point_scores.shape
    radii = np.full(n, np.inf)
    positive = np.full(n, -1, dtype=np.int64)
    negative = np.full(n, -1, dtype=np.int64)
    longest = lengths.max()
    for a in prange(n):
        row, z_length = point_scores[a], z_lengths[a]
        own = np.flatnonzero(labels == own_label[a])
        positives = own[np.argsort(row[own])]
        least, least_i, least_j = np.empty(s), np.empty(s, dtype=np.int64), np.empty(s, dtype=np.int64)
        minus_t, t_i, t_j = np.empty(s), np.empty(s, dtype=np.int64), np.empty(s, dtype=np.int64)
        # the nearest negatives, by insertion
        first = min(2 * s + _NEGATIVES_AT_FIRST, N)
        near_score, near, unused = np.empty(first), np.empty(first, dtype=np.int64), np.empty(first, dtype=np.int64)
        count = 0
        for j in range(N):
            if labels[j] != own_label[a] and (count < first or row[j] < near_score[first - 1]):
                count = insert_least(near_score, near, unused, count, row[j], j, j)
        found = 0
        for b in range(count):
            stop_at = least[s - 1] if found == s else np.inf
            if stop_at <= 0.0:
                break
            value, i = sth_largest_bound(
                sites, lengths, row, positives, near[b], s, dual_order, rules, z_length, stop_at, minus_t, t_i, t_j
            )
            found = insert_least(least, least_i, least_j, found, value, i, near[b])
        if found == s and count == first and least[s - 1] > 0.0 and positives.shape[0] >= s:
            farthest = 0.0
            for c in range(s):
                farthest = max(farthest, squared[a, positives[c]] + offset[a])
            base = row[positives[s - 1]] + gap_rounding(rules, longest, longest, z_length, 0.0)
            off = np.sqrt(farthest) + widened(rules, longest, longest, 0.0)
            scale = 1.0 / (2.0 * least[s - 1] * rules[STRETCH] * widening)
            last = near_score[count - 1]
            for j in range(N):
                if row[j] < last or labels[j] == own_label[a]:
                    continue
                rest = (row[j] - base) * scale - off
                if rest > 0.0 and rest * rest >= squared[a, j] + offset[a]:
                    continue
                before = False
                for b in range(count):
                    before = before or near[b] == j
                if before:
                    continue
                value, i = sth_largest_bound(
                    sites, lengths, row, positives, j, s, dual_order, rules, z_length, least[s - 1], minus_t, t_i, t_j
                )
                if value < least[s - 1]:
                    found = insert_least(least, least_i, least_j, found, value, i, j)
                    if least[s - 1] <= 0.0:
                        break
                    scale = 1.0 / (2.0 * least[s - 1] * rules[STRETCH] * widening)
        if found == s:
            radii[a], positive[a], negative[a] = least[s - 1], least_i[s - 1], least_j[s - 1]
    return radii, positive, negative


@njit(cache=True, nogil=True)
def largest_over_positives(sites, lengths, row, positives, negatives, dual_order, rules, z_length):
    """``max_i t_ij`` over the given positives (nearest first) for each of the given negatives of one query."""
    n = negatives.shape[0]
    result = np.zeros(n)
    for b in range(n):
        j = negatives[b]
        for i in positives:
            if row[j] <= row[i]:
                break
            result[b] = max(result[b], pair_bound(sites, lengths, row, i, j, dual_order, rules, z_length, 0.0))
    return result
