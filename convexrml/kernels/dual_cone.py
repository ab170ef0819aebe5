"""Ascent of the multipliers of the robust hinge: one pass over the triplets, with projections in closed form."""

import numpy as np
from numba import njit


@njit(cache=True)
def project(a, q, ceiling, order):
    """Project ``(a, q)`` on ``{‖q‖_p ≤ a ≤ ceiling}``; q is overwritten, the new a is returned.

    The projection on the cone ``‖q‖_p ≤ a`` is the answer if it stays below the ceiling.  Else the ceiling binds: a is
    the ceiling and q its projection on the ball of that radius.
    """
    if order == 2.0:
        return _project_two(a, q, ceiling)
    if order == 1.0:
        return _project_one(a, q, ceiling)
    return _project_infinity(a, q, ceiling)


@njit(cache=True)
def _project_two(a, q, ceiling):
    length = np.sqrt((q * q).sum())
    if length <= a:
        new = a
    elif length <= -a:
        new = 0.0
    else:
        new = 0.5 * (length + a)
    new = min(new, ceiling)
    if length > new:
        q *= new / length
    return new


@njit(cache=True)
def _project_one(a, q, ceiling):
    """Soft thresholds: ``a + t = Σ (|q_f| − t)₊`` on the cone, ``Σ (|q_f| − t)₊ = ceiling`` where that binds."""
    total, largest = np.abs(q).sum(), np.abs(q).max()
    if largest <= -a:
        q[:] = 0.0
        return 0.0
    if total <= a:
        new, threshold = a, 0.0
    else:
        threshold = _threshold(q, a, 1.0, max(0.0, -a))
        new = a + threshold
    if new > ceiling:
        new = ceiling
        threshold = 0.0 if total <= ceiling else _threshold(q, ceiling, 0.0, 0.0)
    if threshold > 0.0:
        for f in range(q.shape[0]):
            q[f] = np.sign(q[f]) * max(abs(q[f]) - threshold, 0.0)
    return new


@njit(cache=True)
def _project_infinity(a, q, ceiling):
    """Clipping at a: ``new = a + Σ (|q_f| − new)₊`` on the cone."""
    if np.abs(q).sum() <= -a:
        q[:] = 0.0
        return 0.0
    new = a if np.abs(q).max() <= a else _threshold(q, -a, 1.0, 0.0)
    new = min(new, ceiling)
    for f in range(q.shape[0]):
        q[f] = min(max(q[f], -new), new)
    return new


@njit(cache=True)
def _threshold(q, level, slope, start):
    """The t with ``Σ (|q_f| − t)₊ = level + slope·t``, by Newton's method from a `start` below it.

    The difference of the sides is convex and decreasing: the steps go up, and are finitely many.
    """
    t = start
    while True:
        total, count = 0.0, 0
        for f in range(q.shape[0]):
            if abs(q[f]) > t:
                total += abs(q[f])
                count += 1
        if count + slope == 0.0:
            return t
        following = (total - level) / (count + slope)
        if not following > t:
            return t
        t = following


@njit(cache=True)
def ascend(W, S, ceilings, steps, reaches, margins, order, a, Q, a_new, Q_new, Z):
    """One projected ascent of all multipliers, and the rows ``z_i = a_i s_i − reach_i q_i`` of the matrix they make.

    ``a_i += step_i (margin_i − ⟨w_i, s_i⟩)``, ``q_i += step_i reach_i w_i``, projected on ``‖q_i‖_p ≤ a_i ≤ c_i``.

    Parameters
    ----------
    W, S : (m, d) arrays
        ``w_i = M v_i`` and ``s_i``.
    ceilings, steps, reaches, margins : (m,) arrays
        ``c_i``, step lengths, ``2 τ_i``, ``g_i``.
    order : float
        p.
    a, Q : (m,) and (m, d) arrays
        The multipliers.
    a_new, Q_new, Z : arrays of the same shapes, overwritten

    Returns
    -------
    float
        ``Σ ((a_new − a)² + ‖q_new − q‖²) / step_i``.
    """
    m, d = W.shape
    moved = 0.0
    for i in range(m):
        slack, stride = margins[i], steps[i] * reaches[i]
        for f in range(d):
            slack -= W[i, f] * S[i, f]
            Q_new[i, f] = Q[i, f] + stride * W[i, f]
        a_new[i] = project(a[i] + steps[i] * slack, Q_new[i], ceilings[i], order)
        change = (a_new[i] - a[i]) ** 2
        for f in range(d):
            change += (Q_new[i, f] - Q[i, f]) ** 2
            Z[i, f] = a_new[i] * S[i, f] - reaches[i] * Q_new[i, f]
        moved += change / steps[i]
    return moved


@njit(cache=True)
def accumulate(total, values, weight):
    """``total += weight · values``, in place, no temporary."""
    for i in range(values.shape[0]):
        for f in range(values.shape[1]):
            total[i, f] += weight * values[i, f]


@njit(cache=True)
def squared_difference(a, Q, b, R, scales):
    """``Σ ((a_i − b_i)² + ‖q_i − r_i‖²) / scale_i``."""
    total = 0.0
    for i in range(Q.shape[0]):
        change = (a[i] - b[i]) ** 2
        for f in range(Q.shape[1]):
            change += (Q[i, f] - R[i, f]) ** 2
        total += change / scales[i]
    return total
