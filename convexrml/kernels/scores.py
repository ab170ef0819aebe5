"""Scores of queries against sites, and the nearest sites by score."""

import numpy as np
from numba import njit, prange

_SITES_PER_BLOCK = 256


@njit(cache=True, nogil=True)
def _block_of_scores(columns, first, offsets, start, stop, points, result):
    """Scores of the sites ``start:stop``, which are the columns from `first` on, for all points.

    The innermost loop runs over sites: one feature after the other is added to all of them, in vector registers, and
    each score is still one sum in the order of the features (four are added at once to spare traffic).
    """
    d, width = columns.shape[0], stop - start
    total, c = np.empty(width), offsets[start:stop]
    last = first + width
    for a in range(points.shape[0]):
        p, out = points[a], result[a, start:stop]
        total[:] = 0.0
        f = 0
        while f + 4 <= d:
            p0, p1, p2, p3 = p[f], p[f + 1], p[f + 2], p[f + 3]
            u0, u1 = columns[f, first:last], columns[f + 1, first:last]
            u2, u3 = columns[f + 2, first:last], columns[f + 3, first:last]
            for i in range(width):
                total[i] = (((total[i] + p0 * u0[i]) + p1 * u1[i]) + p2 * u2[i]) + p3 * u3[i]
            f += 4
        while f < d:
            p0, u0 = p[f], columns[f, first:last]
            for i in range(width):
                total[i] += p0 * u0[i]
            f += 1
        for i in range(width):
            out[i] = c[i] - 2.0 * total[i]


@njit(cache=True, nogil=True)
def scores_into(columns, offsets, points, result):
    """`scores`, bit for bit, on one thread, from sites kept as columns ``(d, N)``, into an array already there."""
    N = columns.shape[1]
    for start in range(0, N, _SITES_PER_BLOCK):
        _block_of_scores(columns, start, offsets, start, min(N, start + _SITES_PER_BLOCK), points, result)


@njit(cache=True, nogil=True)
def scores_on_one_thread(sites, offsets, points):
    """`scores`, bit for bit, on one thread."""
    N = sites.shape[0]
    result = np.empty((points.shape[0], N))
    for start in range(0, N, _SITES_PER_BLOCK):
        stop = min(N, start + _SITES_PER_BLOCK)
        _block_of_scores(np.ascontiguousarray(sites[start:stop].T), 0, offsets, start, stop, points, result)
    return result


@njit(parallel=True, cache=True)
def scores(sites, offsets, points):
    """``score_i(p) = c_i − 2⟨u_i, p⟩`` for all points ``(n, d)`` and sites ``(N, d)``: an ``(n, N)`` array."""
    N = sites.shape[0]
    result = np.empty((points.shape[0], N))
    for block in prange((N + _SITES_PER_BLOCK - 1) // _SITES_PER_BLOCK):
        start, stop = block * _SITES_PER_BLOCK, min(N, (block + 1) * _SITES_PER_BLOCK)
        columns = np.ascontiguousarray(sites[start:stop].T)
        _block_of_scores(columns, 0, offsets, start, stop, points, result)
    return result


@njit(cache=True)
def _precedes(score, tie, other_score, other_tie):
    return score < other_score or (score == other_score and tie < other_tie)


@njit(cache=True, nogil=True)
def nearest(point_scores, labels, last_label, k):
    """The k sites of least score for each row, in order.

    Sites of equal score are ordered by index, except that those labelled ``last_label[a]`` come after all others
    of that score in row a (−1: no such label).
    """
    n, N = point_scores.shape
    result = np.empty((n, k), dtype=np.int64)
    for a in range(n):
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


@njit(cache=True, nogil=True)
def votes_of_row(row, labels, own, k, least, nearer, tied):
    """Votes of the label `own` among the k of least score, the most that another label has (−1: none), and its label.

    Sites of equal score at the k-th place are taken as they serve the other label best: its own first, those of the
    label last.  `least` (k,), `nearer` and `tied` (n_classes,) are work space.
    """
    N, places = row.shape[0], np.empty(k, dtype=np.int64)
    least[:] = np.inf
    for i in range(N):
        score = row[i]
        if score >= least[k - 1]:
            continue
        place = k - 1
        while place > 0 and least[place - 1] > score:
            least[place], places[place] = least[place - 1], places[place - 1]
            place -= 1
        least[place], places[place] = score, i
    nearer[:], tied[:] = 0, 0
    last, equal = least[k - 1], 0
    for i in range(N):  # counted, which goes by the vector, before anything is told apart
        equal += row[i] == last
    for c in range(k):
        equal -= least[c] == last
    if equal == 0:
        for c in range(k):
            if least[c] < last:
                nearer[labels[places[c]]] += 1
            else:
                tied[labels[places[c]]] += 1
    else:
        for i in range(N):
            if row[i] < last:
                nearer[labels[i]] += 1
            elif row[i] == last:
                tied[labels[i]] += 1
    left = k - nearer.sum()
    votes = nearer[own] + max(0, left - (tied.sum() - tied[own]))
    most, other = -1, -1
    for c in range(nearer.shape[0]):
        if c != own and nearer[c] + min(left, tied[c]) > most:
            most, other = nearer[c] + min(left, tied[c]), c
    return votes, most, other


@njit(cache=True, nogil=True)
def least_votes(point_scores, labels, own, n_classes, k):
    """`votes_of_row` of each row: the votes of the label ``own[a]``, and the most that another label has."""
    n = point_scores.shape[0]
    votes, most = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    least = np.empty(k)
    nearer, tied = np.empty(n_classes, dtype=np.int64), np.empty(n_classes, dtype=np.int64)
    for a in range(n):
        votes[a], most[a], _ = votes_of_row(point_scores[a], labels, own[a], k, least, nearer, tied)
    return votes, most
