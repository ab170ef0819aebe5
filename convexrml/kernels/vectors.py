"""Inner products and distances of rows, in a fixed order of summation."""

import numpy as np
from numba import njit


@njit(cache=True)
def dot(u, p):
    """``⟨u, p⟩``, in four running sums that the compiler can keep in one vector register."""
    d = u.shape[0]
    a0 = a1 = a2 = a3 = 0.0
    f = 0
    while f + 4 <= d:
        a0 += u[f] * p[f]
        a1 += u[f + 1] * p[f + 1]
        a2 += u[f + 2] * p[f + 2]
        a3 += u[f + 3] * p[f + 3]
        f += 4
    while f < d:
        a0 += u[f] * p[f]
        f += 1
    return (a0 + a1) + (a2 + a3)


@njit(cache=True)
def distance(u, v, order):
    """``‖u − v‖`` in the norm of the given order (1, 2, or anything else for ∞)."""
    d = u.shape[0]
    a0 = a1 = a2 = a3 = 0.0
    f = 0
    if order == 2.0:
        while f + 4 <= d:
            a0 += (u[f] - v[f]) * (u[f] - v[f])
            a1 += (u[f + 1] - v[f + 1]) * (u[f + 1] - v[f + 1])
            a2 += (u[f + 2] - v[f + 2]) * (u[f + 2] - v[f + 2])
            a3 += (u[f + 3] - v[f + 3]) * (u[f + 3] - v[f + 3])
            f += 4
        while f < d:
            a0 += (u[f] - v[f]) * (u[f] - v[f])
            f += 1
        return np.sqrt((a0 + a1) + (a2 + a3))
    if order == 1.0:
        while f + 4 <= d:
            a0 += abs(u[f] - v[f])
            a1 += abs(u[f + 1] - v[f + 1])
            a2 += abs(u[f + 2] - v[f + 2])
            a3 += abs(u[f + 3] - v[f + 3])
            f += 4
        while f < d:
            a0 += abs(u[f] - v[f])
            f += 1
        return (a0 + a1) + (a2 + a3)
    while f < d:
        a0 = max(a0, abs(u[f] - v[f]))
        f += 1
    return a0


@njit(cache=True)
def products_of_rows(U, X):
    """``⟨u_i, x_i⟩`` for each row: equal rows give equal bits."""
    result = np.empty(U.shape[0])
    for i in range(U.shape[0]):
        result[i] = dot(U[i], X[i])
    return result
