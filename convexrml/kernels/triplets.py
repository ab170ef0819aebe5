"""Triplet bounds and the certified radii made of them, exact by pruning pairs, never by weakening the bound."""

import numpy as np
from numba import njit, prange

from convexrml.kernels.rounding import gap_rounding, widened
from convexrml.kernels.vectors import distance


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
    return triplet_bound(gap, widened(rules, lengths[i], lengths[j], distance(sites[i], sites[j], dual_order)))


@njit(parallel=True, cache=True)
def certified_radii(sites, lengths, point_scores, labels, own_label, s, dual_order, rules, z_lengths):
    """Certified radius of each query: the s-th smallest over negatives j of the s-th largest over positives i of t_ij.

    t_ij as `pair_bound` has it.  Negatives are visited from the nearest on; a negative is left as soon as s of its
    triplet bounds reach the s-th smallest value so far. Returns the radii and, for each, the positive and the negative
    of the deciding triplet (−1 where there is none).
    """
    n, N = point_scores.shape
    radii = np.full(n, np.inf)
    positive = np.full(n, -1, dtype=np.int64)
    negative = np.full(n, -1, dtype=np.int64)
    for a in prange(n):
        row = point_scores[a]
        order = np.argsort(row)
        positives = order[labels[order] == own_label[a]]
        negatives = order[labels[order] != own_label[a]]
        least, least_i, least_j = np.empty(s), np.empty(s, dtype=np.int64), np.empty(s, dtype=np.int64)
        minus_t, t_i, t_j = np.empty(s), np.empty(s, dtype=np.int64), np.empty(s, dtype=np.int64)
        found = 0
        for j in negatives:
            if found == s and least[s - 1] <= 0.0:
                break
            count = 0
            for i in positives:
                if row[j] <= row[i]:
                    break  # positives come nearest first: all later gaps are smaller
                t = pair_bound(sites, lengths, row, i, j, dual_order, rules, z_lengths[a], 0.0)
                count = insert_least(minus_t, t_i, t_j, count, -t, i, j)
                if count == s and found == s and -minus_t[s - 1] >= least[s - 1]:
                    break
            if count == s:
                found = insert_least(least, least_i, least_j, found, -minus_t[s - 1], t_i[s - 1], j)
            else:  # fewer than s positives are nearer than j
                found = insert_least(least, least_i, least_j, found, 0.0, -1, j)
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
