"""What multipliers prove in ℓ2, with all rounding subtracted: of a whole solve, and with one more row."""

from typing import NamedTuple

import numpy as np
from numba import njit

from convexrml.kernels.pairs import bound_of, normal_of
from convexrml.kernels.rounding import STRETCH, UNIT_ROUNDOFF, gap_rounding, widened
from convexrml.kernels.vectors import dot


class Evidence(NamedTuple):
    """What a node's multipliers prove: ``‖w‖ ≥ (value − value_error) / (√square · stretch + length_error)``."""

    value: float
    square: float
    value_error: float
    length_error: float


@njit(cache=True, nogil=True)
def proved(evidence, rules):
    """The lower bound on ‖w‖ that evidence proves: ∞ if it proves that there is no such w."""
    value = evidence.value - evidence.value_error
    if not value > 0.0:
        return 0.0
    length = rules[STRETCH] * np.sqrt(max(evidence.square, 0.0)) + evidence.length_error
    return value / length if length > 0.0 else np.inf


@njit(cache=True, nogil=True)
def weighed(local, active, multipliers, m, normal, magnitude, row):
    """The evidence in m multipliers; `normal` receives ``−Σ λ_k a_k``.  Deductions as in `search.proved_bound`."""
    sites, lengths, rules, z_length, reach = local.sites, local.lengths, local.rules, local.z_length, local.reach
    halves, room_lower, room_upper = local.halves, local.room_lower, local.room_upper
    n, d = sites.shape
    gamma = 4.0 * (m + 2 * d + 8) * UNIT_ROUNDOFF
    normal[:], magnitude[:] = 0.0, 0.0
    value, size, value_error, length_error = 0.0, 0.0, 0.0, 0.0
    for k in range(m):
        multiplier = max(multipliers[k], 0.0)
        term = -multiplier * bound_of(halves, room_lower, room_upper, active[k])
        value += term
        size += abs(term)
        normal_of(sites, active[k], row)
        for f in range(d):
            normal[f] -= multiplier * row[f]
        if active[k] >= 0:
            j, i = active[k] // n, active[k] % n
            a_i, a_j = lengths[i], lengths[j]
            value_error += 0.5 * multiplier * gap_rounding(rules, a_i, a_j, z_length, reach)
            length_error += multiplier * widened(rules, a_i, a_j, 0.0)
            for f in range(d):
                magnitude[f] += multiplier * (abs(sites[i, f]) + abs(sites[j, f]))
        else:
            magnitude[(-1 - active[k]) % d] += multiplier
    return Evidence(
        value,
        dot(normal, normal),
        value_error + gamma * size,
        length_error + gamma * np.sqrt(dot(magnitude, magnitude)),
    )


@njit(cache=True, nogil=True)
def with_one_more(local, evidence, j, i, violation, apart):
    """What the evidence proves together with the best multiplier μ of one more row, between member j and other i.

    With ``g = h_j − h_i``, ``a`` its normal and ``t = g − violation = −⟨a, Σ λ_k a_k⟩``: the value grows by μ g and the
    square by ``2 μ t + μ² ‖a‖²``, and ``μ = violation / ‖a‖²`` makes ``√(‖w‖² + violation² / ‖a‖²)`` of it where the
    evidence was optimal.  ``μ² apart²`` is not below ``μ² ‖a‖²``; the rounding in t, of four products, is added.
    """
    mu = violation / (apart * apart)
    gap = local.halves[j] - local.halves[i]
    t, a_i, a_j = gap - violation, local.lengths[i], local.lengths[j]
    d = local.sites.shape[1]
    loss = 0.5 * gap_rounding(local.rules, a_i, a_j, local.z_length, local.reach)
    terms = abs(gap) + abs(violation) + (local.spreads[i] + local.spreads[j]) * local.reach
    blur = 8.0 * (d + 8) * UNIT_ROUNDOFF * terms
    square = evidence.square + 2.0 * mu * (t + blur + loss) + mu * mu * apart * apart
    return Evidence(
        evidence.value + mu * gap,
        square * (1.0 + 16.0 * UNIT_ROUNDOFF),
        evidence.value_error + mu * (loss + 8.0 * UNIT_ROUNDOFF * abs(gap)) + 4.0 * UNIT_ROUNDOFF * abs(evidence.value),
        evidence.length_error + mu * widened(local.rules, a_i, a_j, 0.0),
    )
