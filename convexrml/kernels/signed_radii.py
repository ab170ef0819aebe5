"""What binds the signed exact 1-NN radius in ℓ2 of each query of a batch, with no allowance for rounding.

Training points are grouped by label here: class c holds the rows ``class_start[c]`` to ``class_start[c + 1]``.
"""

import numpy as np
from numba import njit

from convexrml.kernels.active_set import nearest_point
from convexrml.kernels.pruning import positives_that_matter, rivals

_NO_ROUNDING = np.array([0.0, 0.0, 1.0, 0.0, 0.0, 0.0])  # see convexrml.kernels.rounding
_SOLVED_TO = 1e-12  # of the scores


@njit(cache=True, nogil=True)
def nearest_of(row, first, last, start, stop):
    """Where the least of ``row[first:last]`` and ``row[start:stop]`` is; −1 if both are empty."""
    best = -1
    for j in range(first, last):
        if best < 0 or row[j] < row[best]:
            best = j
    for j in range(start, stop):
        if best < 0 or row[j] < row[best]:
            best = j
    return best


@njit(cache=True, nogil=True)
def binding_rows(sites, class_start, scores, squared, images, own_class, own_row, rows, weights, sizes):
    """Write, for each query, the rows and signed weights whose dual value is its signed exact radius.

    A query is on the right side when a site of its class (its own, `own_row`, left out; −1: none) is nearest.  Then its
    radius is the least distance to a cell ``{score_j ≤ score_i for all own i}`` of another class's site j; on the wrong
    side it is minus the least distance to a cell ``{score_i ≤ score_j for all others j}`` of an own site i.  Both are
    one search with the parts exchanged.  With multipliers λ, which add up to 1, the weights are λ on the own side and
    −1 on j, or 1 on i and −λ on the others: the radius is ``−⟨w, scores⟩ / (2 ‖Σ w_i u_i‖)`` in both cases.

    Parameters
    ----------
    sites : (N, d) array
    class_start : (n_classes + 1,) integer array
    scores, squared : (n, N) arrays
        Of the sites at each query, and ``‖u_i − M z‖²``.  The scores of the queries' own rows are overwritten.
    images : (n, d) array
        ``M z``.
    own_class, own_row : (n,) integer arrays
    rows, weights : (n, d + 2) arrays
        Receive the binding rows and their weights.
    sizes : (n,) integer array
        Receives how many there are; 0 if the active-set method met its iteration limit in every cell.

    Notes
    -----
    No cell is empty: it contains its training point.
    """
    n, N = scores.shape
    d = sites.shape[1]
    lengths, outside, none = np.zeros(N), np.zeros(N, dtype=np.bool_), np.zeros(d)
    holders, halves, spreads = np.empty(N, dtype=np.int64), np.empty(N), np.empty(N)
    candidates, bounds = np.empty(N, dtype=np.int64), np.empty(N)
    Q, R = np.empty((d + 1, d)), np.empty((d + 1, d + 1))
    active, lam = np.empty(d + 2, dtype=np.int64), np.empty(d + 2)
    for a in range(n):
        row, sq = scores[a], squared[a]
        start, stop = class_start[own_class[a]], class_start[own_class[a] + 1]
        if own_row[a] >= 0:
            row[own_row[a]] = np.inf
        own, other = nearest_of(row, start, stop, 0, 0), nearest_of(row, 0, start, stop, N)
        right = row[own] < row[other]
        # the holding side's rows are in h0:h1 and h2:h3, the rivals in r0:r1 and r2:r3
        h0, h1, h2, h3 = (start, stop, 0, 0) if right else (0, start, stop, N)
        r0, r1, r2, r3 = (0, start, stop, N) if right else (start, stop, 0, 0)
        nearest, rival, sign = (own, other, 1.0) if right else (other, own, -1.0)
        value, sizes[a] = np.inf, 0
        count = _holders(row, sq, h0, h1, h2, h3, np.inf, 0.0, holders, halves, spreads)
        candidates[0], bounds[0], n_candidates = rival, 0.0, 1
        tolerance = _SOLVED_TO * (abs(row[nearest]) + abs(row[rival]))
        for stage in range(2):  # the nearest rival gives an incumbent, then whatever may beat it
            if stage == 1:
                if value <= 0.0:
                    break
                n_candidates = 0
                for first, last in ((r0, r1), (r2, r3)):
                    n_candidates = rivals(
                        sites, lengths, row, sq, 0.0, nearest, first, last, value, _NO_ROUNDING, 0.0, 0.0, outside,
                        candidates, bounds, n_candidates,
                    )  # fmt: skip
                if value < np.inf:
                    highest = -np.inf
                    for c in range(n_candidates):
                        j = candidates[c]
                        highest = max(highest, 0.5 * row[j] + np.sqrt(max(sq[j], 0.0)) * value)
                    count = _holders(row, sq, h0, h1, h2, h3, highest + tolerance, value, holders, halves, spreads)
            order = np.argsort(bounds[:n_candidates])
            for c in range(n_candidates):
                j = candidates[order[c]]
                if stage == 1 and bounds[order[c]] >= value:
                    break
                if stage == 1 and j == rival:
                    continue
                step, m, end = nearest_point(
                    sites, holders, count, halves, spreads, images[a], sites[j], 0.5 * row[j], none, none, False,
                    tolerance, value, Q, R, active, lam,
                )  # fmt: skip
                length = np.sqrt(np.sum(step * step))
                if end != 0 or length >= value:
                    continue
                value = length
                total = 0.0
                for k in range(m):
                    total += lam[k]
                if not total > 0.0:  # a tie up to rounding
                    rows[a, 0], weights[a, 0], sizes[a] = nearest, sign, 1
                else:
                    sizes[a] = 0
                    for k in range(m):
                        if lam[k] > 0.0:
                            rows[a, sizes[a]] = holders[active[k]]
                            weights[a, sizes[a]] = sign * lam[k] / total
                            sizes[a] += 1
                rows[a, sizes[a]], weights[a, sizes[a]] = j, -sign
                sizes[a] += 1


@njit(cache=True, nogil=True)
def _holders(row, sq, h0, h1, h2, h3, threshold, radius, found, halves, spreads):
    """`positives_that_matter` of two ranges of rows."""
    count = positives_that_matter(row, sq, 0.0, h0, h1, threshold, radius, found, halves, spreads)
    return count + positives_that_matter(
        row, sq, 0.0, h2, h3, threshold, radius, found[count:], halves[count:], spreads[count:]
    )
