"""The dual active-set method for the nearest point of a polyhedron, after Goldfarb and Idnani with identity Hessian."""

import numpy as np
from numba import njit

from convexrml.kernels.vectors import copied, dot, row_dot

ADDED, NEGLIGIBLE, EMPTY = 0, 1, 2
_LENGTH_TOLERANCE = 2.0**-50  # of ‖δ‖, for the sides of a box
_DEPENDENT = 1e-10  # a direction shorter than this fraction of the row lies in the span of the active rows


@njit(cache=True, nogil=True, forceinline=True)
def orthogonal_part(Q, m, row, coefficients, direction):
    """Split ``row = Σ_k coefficients_k Q_k + direction`` against m orthonormal rows; returns ``‖direction‖²``."""
    copied(row, row.shape[0], direction)
    coefficients[:m] = 0.0
    for _ in range(2):  # once more, for what rounding left
        for k in range(m):
            c = row_dot(Q, k, direction)
            coefficients[k] += c
            for f in range(direction.shape[0]):
                direction[f] -= c * Q[k, f]
    return dot(direction, direction)


@njit(cache=True, nogil=True, forceinline=True)
def back_substitute(R, m, coefficients, solution):
    """Solve ``R solution = coefficients`` for the leading m × m upper triangle."""
    for k in range(m - 1, -1, -1):
        total = coefficients[k]
        for c in range(k + 1, m):
            total -= R[k, c] * solution[c]
        solution[k] = total / R[k, k]


@njit(cache=True, nogil=True)
def drop_column(Q, R, m, k):
    """Take column k out of the factorisation ``A_Wᵀ = Qᵀ R`` of m rows; Givens rotations restore the triangle."""
    for c in range(k, m - 1):
        for r in range(c + 2):
            R[r, c] = R[r, c + 1]
    for c in range(k, m - 1):
        a, b = R[c, c], R[c + 1, c]
        length = np.hypot(a, b)
        if length == 0.0:
            continue
        cosine, sine = a / length, b / length
        for column in range(c, m - 1):
            upper, lower = R[c, column], R[c + 1, column]
            R[c, column] = cosine * upper + sine * lower
            R[c + 1, column] = cosine * lower - sine * upper
        R[c + 1, c] = 0.0
        for f in range(Q.shape[1]):
            upper, lower = Q[c, f], Q[c + 1, f]
            Q[c, f] = cosine * upper + sine * lower
            Q[c + 1, f] = cosine * lower - sine * upper


@njit(cache=True, nogil=True)
def most_violated(
    sites, positives, n, halves, spreads, image, site, half, delta, length, room_lower, room_upper, boxed
):
    """The constraint that `delta` violates most, and by how much.

    Half-space i is ``⟨u_i − u_j, δ⟩ ≤ (score_i − score_j)/2``, violated by ``(⟨u_i, δ⟩ − halves_i) − (⟨u_j, δ⟩ −
    half)``.  ``⟨u_i, δ⟩ ≤ ⟨Mz, δ⟩ + spreads_i ‖δ‖``: one that cannot be the worst is passed over without reading its
    site. With a box, index ``n + f`` stands for the upper and ``n + d + f`` for the lower side of feature f.
    """
    d = delta.shape[0]
    own, centre = dot(site, delta) - half, dot(image, delta)
    worst, index = -np.inf, -1
    for i in range(n):
        if centre + spreads[i] * length - halves[i] - own <= worst:
            continue
        violation = row_dot(sites, positives[i], delta) - halves[i] - own
        if violation > worst:
            worst, index = violation, i
    if boxed:
        for f in range(d):
            if delta[f] - room_upper[f] > worst:
                worst, index = delta[f] - room_upper[f], n + f
            if room_lower[f] - delta[f] > worst:
                worst, index = room_lower[f] - delta[f], n + d + f
    return worst, index


@njit(cache=True, nogil=True)
def constraint_row(sites, positives, site, n, index, row):
    """Write the normal of a constraint (see `most_violated`) into `row`."""
    d = row.shape[0]
    if index < n:
        i = positives[index]
        for f in range(d):
            row[f] = sites[i, f] - site[f]
    else:
        row[:] = 0.0
        if index < n + d:
            row[index - n] = 1.0
        else:
            row[index - n - d] = -1.0


@njit(cache=True, nogil=True)
def enforce(row, index, violation, in_lengths, delta, m, Q, R, active, multipliers, coefficients, ratio, direction):
    """Move δ to the least-norm point that satisfies one more constraint: the new number of active rows, and an outcome.

    `row` is the normal of constraint number `index`, which `delta` violates by `violation`; rows that block the way on
    the multipliers' side are dropped.  `in_lengths` says that the violation is a length, as that of a box's side is.
    Q and R hold the active rows' factorisation, `coefficients`, `ratio` and `direction` are work space.  Outcomes:
    ADDED; NEGLIGIBLE, a dependent row that rounding alone violates; EMPTY, the row is a nonpositive combination of
    active rows, and the multipliers, of m + 1 rows with it, tend to a proof of emptiness.
    """
    d, size, length, multiplier = row.shape[0], dot(row, row), np.sqrt(dot(delta, delta)), 0.0
    while True:
        square = orthogonal_part(Q, m, row, coefficients, direction)
        back_substitute(R, m, coefficients, ratio)
        independent = m < d and square > _DEPENDENT * _DEPENDENT * size
        full = violation / square if independent else np.inf
        step, blocking = full, -1
        for k in range(m):
            if ratio[k] > 0.0 and multipliers[k] <= ratio[k] * step:
                step, blocking = multipliers[k] / ratio[k], k
        if step == np.inf and violation <= _DEPENDENT * (length if in_lengths else np.sqrt(size) * length):
            return m, NEGLIGIBLE
        if step == np.inf:
            for k in range(m):
                multipliers[k] = -ratio[k]
            active[m], multipliers[m] = index, 1.0
            return m + 1, EMPTY
        multiplier += step
        for k in range(m):
            multipliers[k] -= step * ratio[k]
        if independent:
            for f in range(d):
                delta[f] -= step * direction[f]
            violation -= step * square
        if blocking < 0:
            norm = np.sqrt(square)
            for f in range(d):
                Q[m, f] = direction[f] / norm
            for k in range(m):
                R[k, m] = coefficients[k]
            R[m, m] = norm
            active[m], multipliers[m] = index, multiplier
            return m + 1, ADDED
        drop_column(Q, R, m, blocking)
        for k in range(blocking, m - 1):
            active[k], multipliers[k] = active[k + 1], multipliers[k + 1]
        m -= 1


@njit(cache=True, nogil=True)
def nearest_point(
    sites, positives, n, halves, spreads, image, site, half, room_lower, room_upper, boxed, tolerance, stop_at,
    Q, R, active, multipliers,
):  # fmt: skip
    """``min ½‖δ‖²`` over the half-spaces against one site (and a box): δ, the number of active rows, the outcome.

    Starts from δ = 0 and adds the most violated constraint; the multipliers stay dual feasible, so that at every
    moment they prove a lower bound.  `active` and `multipliers` receive them; Q and R are work space, ``(d + 1, d)``
    and ``(d + 1, d + 1)``.  Outcomes: 0 solved to `tolerance`; 1 the bound passed `stop_at`; 2 the constraints are
    empty, and the multipliers tend to a proof of it; 3 the iteration limit was met.
    """
    d = site.shape[0]
    delta = np.zeros(d)
    row, direction = np.empty(d), np.empty(d)
    coefficients, ratio = np.empty(d + 1), np.empty(d + 1)
    m = 0
    for _ in range(50 * (d + 10)):
        length = np.sqrt(dot(delta, delta))
        if m > 0 and length >= stop_at:
            return delta, m, 1
        violation, index = most_violated(
            sites, positives, n, halves, spreads, image, site, half, delta, length, room_lower, room_upper, boxed
        )
        if violation <= (tolerance if index < n else _LENGTH_TOLERANCE * length):
            return delta, m, 0
        for k in range(m):
            if active[k] == index:  # violated by rounding alone: no step can help
                return delta, m, 0
        constraint_row(sites, positives, site, n, index, row)
        m, outcome = enforce(
            row, index, violation, index >= n, delta, m, Q, R, active, multipliers, coefficients, ratio, direction
        )
        if outcome == NEGLIGIBLE:
            return delta, m, 0
        if outcome == EMPTY:
            return delta, m, 2
    return delta, m, 3
