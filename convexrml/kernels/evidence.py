"""Evidence for every negative, not only the binding one: positives that keep it away, or multipliers."""

import numpy as np
from numba import njit

from convexrml.kernels.active_set import nearest_point
from convexrml.kernels.search import proved_bound
from convexrml.kernels.triplets import pair_bound


@njit(cache=True, nogil=True)
def sweep(sites, lengths, row, hints, positives, negatives, s, dual_order, rules, z_length, radius, found):
    """For each negative, s positives whose triplet bounds reach `radius`, written into a row of `found`.

    The `hints` are asked first, then all positives (nearest first), as long as they are nearer than the negative.
    Returns how many were found for each negative; s is enough.
    """
    counts = np.zeros(negatives.shape[0], dtype=np.int64)
    n_hints = hints.shape[0]
    for b in range(negatives.shape[0]):
        j, count = negatives[b], 0
        for c in range(n_hints + positives.shape[0]):
            i = hints[c] if c < n_hints else positives[c - n_hints]
            if row[j] <= row[i]:
                if c < n_hints:
                    continue
                break
            if pair_bound(sites, lengths, row, i, j, dual_order, rules, z_length, 0.0) < radius:
                continue
            known = False
            for m in range(count):
                known = known or found[b, m] == i
            if not known:
                found[b, count] = i
                count += 1
                if count == s:
                    break
        counts[b] = count
    return counts


@njit(cache=True, nogil=True)
def multipliers_against(
    sites, lengths, row, positives, halves, spreads, image, j, room_lower, room_upper, boxed, rules, z_length, reach,
    tolerance, stop_at,
):  # fmt: skip
    """Multipliers of the nearest point of the half-spaces against j, and the bound on ``‖δ‖₂`` that they prove.

    Their indices count positives first, then upper and lower sides of the box.
    """
    d, n = sites.shape[1], positives.shape[0]
    Q, R = np.empty((d + 1, d)), np.empty((d + 1, d + 1))
    active, lam = np.empty(d + 2, dtype=np.int64), np.empty(d + 2)
    half = 0.5 * row[j]
    _, m, _ = nearest_point(
        sites, positives, n, halves, spreads, image, sites[j], half, room_lower, room_upper, boxed, tolerance, stop_at,
        Q, R, active, lam,
    )  # fmt: skip
    proved = proved_bound(
        sites, lengths, positives, n, halves, j, half, room_lower, room_upper, active, lam, m, rules, z_length, reach
    )
    return active[:m], lam[:m], proved
