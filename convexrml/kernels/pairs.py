"""The nearest point at which some sites are no farther than others: the active-set method over pairs of sites.

*Members* and *others* are lists of local sites; every member has to be no farther than every other:
``φ_j(w) ≤ φ_i(w)`` with the half scores ``φ_t(w) = h_t − ⟨u_t, w⟩``.  There are two such pairs of lists; the members of
the second are the first few of those of the first.  A row between member j and other i has the number ``j n + i``, the
upper side of feature f of a box ``−1 − f``, its lower side ``−1 − d − f``.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from convexrml.kernels.active_set import EMPTY, NEGLIGIBLE, enforce, orthogonal_part
from convexrml.kernels.vectors import column_products, copied, dot, row_dot

_DEARER = 8  # reading a site than computing a half score from columns, about
SOLVED, PASSED, INFEASIBLE, UNFINISHED = 0, 1, 2, 3
_LENGTH_TOLERANCE = 2.0**-50  # of ‖w‖, for the sides of a box


class Known(NamedTuple):
    """Half scores `phi` at a point `start`, 0 say, which tell the sites that have to be read from those that do not.

    The first `n_listed` columns hold the sites of all points in question, which are `listed`: once many of them have to
    be read, all their half scores are computed anew.  `total` is work space.
    """

    start: NDArray[np.float64]
    phi: NDArray[np.float64]
    listed: NDArray[np.int64]
    columns: NDArray[np.float64]
    total: NDArray[np.float64]
    n_listed: int


@njit(cache=True, nogil=True)
def known_at(known, halves, w):
    """Compute the half scores of the listed points at another point."""
    phi, listed, total = known.phi, known.listed, known.total
    column_products(known.columns, 0, known.n_listed, w, total)
    for c in range(known.n_listed):
        phi[listed[c]] = halves[listed[c]] - total[c]
    copied(w, w.shape[0], known.start)


@njit(cache=True, nogil=True, forceinline=True)
def worst_pair(sites, halves, spreads, members, n_members, others, n_others, w, phi, shift, moved):
    """The farthest member, the nearest other, and by how much the first is farther; 0 if it is not.

    ``|φ_t(w) − φ_t(w₀) + shift| ≤ spread_t ‖w − w₀‖``, where `phi` holds ``φ_t(w₀)``, shift is ``⟨Mz, w − w₀⟩``, and
    `moved` the last factor: points that can be neither the farthest nor the nearest are passed over unread.  Returns
    how many were read, too.
    """
    high, j, read = -np.inf, -1, 0
    for a in range(n_members):
        t = members[a]
        if phi[t] - shift + spreads[t] * moved <= high:
            continue
        read += 1
        value = halves[t] - row_dot(sites, t, w)
        if value > high:
            high, j = value, t
    low, i = high, -1
    for c in range(n_others):
        t = others[c]
        if phi[t] - shift - spreads[t] * moved >= low:
            continue
        read += 1
        value = halves[t] - row_dot(sites, t, w)
        if value < low:
            low, i = value, t
    return high - low if i >= 0 else 0.0, j, i, read


@njit(cache=True, nogil=True, forceinline=True)
def normal_of(sites, index, row):
    """Write the normal of a row (numbered as above) into `row`: ``u_i − u_j``, or ± a unit vector."""
    n, d = sites.shape
    if index >= 0:
        j, i = index // n, index % n
        for f in range(d):
            row[f] = sites[i, f] - sites[j, f]
    else:
        row[:] = 0.0
        f = -1 - index
        row[f % d] = 1.0 if f < d else -1.0


@njit(cache=True, nogil=True, forceinline=True)
def bound_of(halves, room_lower, room_upper, index):
    """The right-hand side of a row: ``h_i − h_j``, or the room to a side."""
    n, d = halves.shape[0], room_lower.shape[0]
    if index >= 0:
        return halves[index % n] - halves[index // n]
    f = -1 - index
    return room_upper[f] if f < d else -room_lower[f - d]


@njit(cache=True, nogil=True)
def led_to(sites, active, multipliers, m, row, w):
    """Write ``−Σ λ_k a_k``, where m active rows lead, into `w`."""
    w[:] = 0.0
    for k in range(m):
        normal_of(sites, active[k], row)
        for f in range(w.shape[0]):
            w[f] -= multipliers[k] * row[f]


@njit(cache=True, nogil=True)
def factorised(sites, active, m, Q, R, coefficients, direction, row):
    """Factorise the m active rows of an earlier solve; whether it worked."""
    for k in range(m):
        normal_of(sites, active[k], row)
        square = orthogonal_part(Q, k, row, coefficients, direction)
        norm = np.sqrt(square)
        if not norm > 1e-8 * np.sqrt(dot(row, row)):
            return False
        for f in range(row.shape[0]):
            Q[k, f] = direction[f] / norm
        for c in range(k):
            R[c, k] = coefficients[c]
        R[k, k] = norm
    return True


@njit(cache=True, nogil=True)
def nearest_of_pairs(
    sites, halves, spreads, image, members, n_members, others, n_others, n_second, second, n_second_others,
    room_lower, room_upper, boxed, tolerance, stop_at, known, w, m, active, multipliers, Q, R, work,
):  # fmt: skip
    """``min ½‖w‖²`` such that every member is no farther than every other (and w in the box): m and the outcome.

    Starts from the m active rows handed in, which have to be optimal for themselves (m = 0: from w = 0), and adds the
    most violated row; the multipliers stay dual feasible, so that at every moment they prove a lower bound.  Half
    scores are `known` where the active rows handed in lead (m = 0: anywhere).  `w`, `active` and `multipliers` receive
    the answer; `work` is ``(4, d + 2)``.  Outcomes: SOLVED to `tolerance`; PASSED, ‖w‖ reached `stop_at`; INFEASIBLE,
    and the multipliers tend to a proof of it; UNFINISHED at the iteration limit.
    """
    d = sites.shape[1]
    row, direction, coefficients, ratio = work[0, :d], work[1, :d], work[2], work[3]
    n, start, phi = sites.shape[0], known.start, known.phi
    if m > 0 and factorised(sites, active, m, Q, R, coefficients, direction, row):
        copied(start, d, w)
    else:
        m = 0
        w[:] = 0.0
    read = 0
    for _ in range(50 * (d + 10)):
        length = np.sqrt(dot(w, w))
        if m > 0 and length >= stop_at:
            return m, PASSED
        if _DEARER * read > known.n_listed:
            known_at(known, halves, w)
        shift, moved = 0.0, 0.0
        for f in range(d):
            shift += image[f] * (w[f] - start[f])
            moved += (w[f] - start[f]) * (w[f] - start[f])
        moved = np.sqrt(moved)
        violation, j, i, read = worst_pair(
            sites, halves, spreads, members, n_members, others, n_others, w, phi, shift, moved
        )  # fmt: skip
        if n_second > 0:
            again, j2, i2, more = worst_pair(
                sites, halves, spreads, members, n_second, second, n_second_others, w, phi, shift, moved
            )  # fmt: skip
            read += more
            if again > violation:
                violation, j, i = again, j2, i2
        index = j * n + i
        if boxed:
            for f in range(d):
                if w[f] - room_upper[f] > violation:
                    violation, index = w[f] - room_upper[f], -1 - f
                if room_lower[f] - w[f] > violation:
                    violation, index = room_lower[f] - w[f], -1 - d - f
        if violation <= (tolerance if index >= 0 else _LENGTH_TOLERANCE * length):
            return m, SOLVED
        for k in range(m):
            if active[k] == index:  # violated by rounding alone: no step can help
                return m, SOLVED
        normal_of(sites, index, row)
        m, outcome = enforce(
            row, index, violation, index < 0, w, m, Q, R, active, multipliers, coefficients, ratio, direction
        )
        if outcome == NEGLIGIBLE:
            return m, SOLVED
        if outcome == EMPTY:
            return m, INFEASIBLE
    return m, UNFINISHED
