"""What rounding may do to a difference of scores and to a distance of sites, for one pair of sites.

`rules` holds what is common to all pairs, see `convexrml.rounding.Rounding`: the unit γ α, the widening of the reach,
the stretch and the widening of distances, and the losses to underflow in scores and in distances.  `a_i` is the length
``‖x_i − m‖₂``, `z_length` is ``‖z − m‖₂``, and `reach` a further bound on where witnesses may lie.
"""

from numba import njit

UNIT_ROUNDOFF = 2.0**-53
UNIT, REACH_WIDENING, STRETCH, SITE_WIDENING, LOST_SCORE, LOST_LENGTH = range(6)


@njit(cache=True, nogil=True)
def gap_rounding(rules, a_i, a_j, z_length, reach):
    """Bound on the rounding in ``score_j − score_i`` at the query and at a witness, together."""
    far = max(z_length + rules[REACH_WIDENING] * (z_length + a_j), reach)
    squares = a_i * a_i + a_j * a_j + 2.0 * (a_i + a_j) * far
    return 2.0 * rules[UNIT] * squares + rules[LOST_SCORE] * (1.0 + a_i + a_j + far)


@njit(cache=True, nogil=True)
def score_rounding(rules, a_i, a_j, p_length):
    """Bound on the rounding in ``score_j − score_i`` at one point p, ``p_length = ‖p − m‖₂``."""
    squares = a_i * a_i + a_j * a_j + 2.0 * (a_i + a_j) * p_length
    return rules[UNIT] * squares + rules[LOST_SCORE] * (1.0 + a_i + a_j + p_length)


@njit(cache=True, nogil=True)
def widened(rules, a_i, a_j, separation):
    """A computed ``‖u_i − u_j‖_q``, carried above the true one."""
    return rules[STRETCH] * separation + rules[SITE_WIDENING] * rules[UNIT] * (a_i + a_j) + rules[LOST_LENGTH]
