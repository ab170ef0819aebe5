"""Scores of queries against sites, and the nearest sites by score."""

import numpy as np
from numba import njit, prange

from convexrml.kernels.vectors import dot

_SITES_PER_BLOCK = 64


@njit(parallel=True, cache=True)
def scores(sites, offsets, points):
    """``score_i(p) = c_i − 2⟨u_i, p⟩`` for all points ``(n, d)`` and sites ``(N, d)``: an ``(n, N)`` array."""
    n, N = points.shape[0], sites.shape[0]
    result = np.empty((n, N))
    for block in prange((N + _SITES_PER_BLOCK - 1) // _SITES_PER_BLOCK):  # a block of sites stays in cache
        for a in range(n):
            for i in range(block * _SITES_PER_BLOCK, min(N, (block + 1) * _SITES_PER_BLOCK)):
                result[a, i] = offsets[i] - 2.0 * dot(sites[i], points[a])
    return result


@njit(cache=True)
def _precedes(score, tie, other_score, other_tie):
    return score < other_score or (score == other_score and tie < other_tie)


@njit(parallel=True, cache=True)
def nearest(point_scores, labels, last_label, k):
    """The k sites of least score for each row, in order.

    Sites of equal score are ordered by index, except that those labelled ``last_label[a]`` come after all others
    of that score in row a (−1: no such label).
    """
    n, N = point_scores.shape
    result = np.empty((n, k), dtype=np.int64)
    for a in prange(n):
        count = 0
        for i in range(N):
            score, tie = point_scores[a, i], labels[i] == last_label[a]
            if count == k:
                worst = result[a, k - 1]
                if not _precedes(score, tie, point_scores[a, worst], labels[worst] == last_label[a]):
                    continue
            else:
                count += 1
            place = count - 1
            while place > 0:
                before = result[a, place - 1]
                if not _precedes(score, tie, point_scores[a, before], labels[before] == last_label[a]):
                    break
                result[a, place] = before
                place -= 1
            result[a, place] = i
    return result
