"""Inner products and distances, in a fixed order of summation.

Rows are named by their number, and arrays are copied in loops: a view, ``rows[t]``, and an assignment to one from
another array, ``u[:] = v``, keep count of references to the arrays' memory, and so does every function in which they
occur.  That takes longer than a short sum (half of a branch and bound's time, where it was measured).  `row_dot` may
take a view because it is compiled into its callers, where none is left of it.
"""

import numpy as np
from numba import njit


@njit(cache=True, forceinline=True)
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


@njit(cache=True, forceinline=True)
def row_dot(U, t, p):
    """``⟨u_t, p⟩`` of row t, with the same bits as `dot`."""
    return dot(U[t], p)


@njit(cache=True)
def distance(U, i, j, order):
    """``‖u_i − u_j‖`` of rows i and j in the norm of the given order (1, 2, or anything else for ∞)."""
    d = U.shape[1]
    a0 = a1 = a2 = a3 = 0.0
    f = 0
    if order == 2.0:
        while f + 4 <= d:
            a0 += (U[i, f] - U[j, f]) * (U[i, f] - U[j, f])
            a1 += (U[i, f + 1] - U[j, f + 1]) * (U[i, f + 1] - U[j, f + 1])
            a2 += (U[i, f + 2] - U[j, f + 2]) * (U[i, f + 2] - U[j, f + 2])
            a3 += (U[i, f + 3] - U[j, f + 3]) * (U[i, f + 3] - U[j, f + 3])
            f += 4
        while f < d:
            a0 += (U[i, f] - U[j, f]) * (U[i, f] - U[j, f])
            f += 1
        return np.sqrt((a0 + a1) + (a2 + a3))
    if order == 1.0:
        while f + 4 <= d:
            a0 += abs(U[i, f] - U[j, f])
            a1 += abs(U[i, f + 1] - U[j, f + 1])
            a2 += abs(U[i, f + 2] - U[j, f + 2])
            a3 += abs(U[i, f + 3] - U[j, f + 3])
            f += 4
        while f < d:
            a0 += abs(U[i, f] - U[j, f])
            f += 1
        return (a0 + a1) + (a2 + a3)
    while f < d:
        a0 = max(a0, abs(U[i, f] - U[j, f]))
        f += 1
    return a0


@njit(cache=True)
def column_products(columns, start, stop, p, products):
    """``⟨u_t, p⟩`` of the columns ``start:stop``, in loops over neighbouring numbers, as vector registers like it."""
    d, f = columns.shape[0], 0
    products[start:stop] = 0.0
    while f + 4 <= d:
        p0, p1, p2, p3 = p[f], p[f + 1], p[f + 2], p[f + 3]
        for t in range(start, stop):
            first = p0 * columns[f, t] + p1 * columns[f + 1, t]
            products[t] += first + (p2 * columns[f + 2, t] + p3 * columns[f + 3, t])
        f += 4
    while f < d:
        for t in range(start, stop):
            products[t] += p[f] * columns[f, t]
        f += 1


@njit(cache=True)
def copied(source, count, target):
    """Copy the first `count` entries."""
    for c in range(count):
        target[c] = source[c]


@njit(cache=True)
def same(U, i, j):
    """Whether rows i and j are equal, entry by entry."""
    for f in range(U.shape[1]):
        if U[i, f] != U[j, f]:
            return False
    return True


@njit(cache=True)
def products_of_rows(U, X):
    """``⟨u_i, x_i⟩`` for each row: equal rows give equal bits."""
    result = np.empty(U.shape[0])
    for i in range(U.shape[0]):
        result[i] = row_dot(U, i, X[i])
    return result
