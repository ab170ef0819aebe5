"""Radii computed anew, from distances alone: nothing of the package's formulas, kernels or programs is used here.

With rational arithmetic (`fractions`) every answer is exact: a float is a rational number.  The least norm over a
polyhedron is found by visiting every set of constraints that can be active, which only tiny instances allow.
A radius is handed out raised to `power(norm)` (squared for norm 2), so that it stays rational; see `at_most`.
"""

import collections
import itertools
import math
from fractions import Fraction

import numpy as np
from scipy.optimize import linprog, nnls

NORMS = (1, 2, math.inf)
EXACT_TYPES = (int, float, np.integer, np.floating, np.bool_, Fraction)


def rational(array):
    return np.vectorize(Fraction, otypes=[object])(np.asarray(array, dtype=np.float64))


def power(norm):
    return 2 if norm == 2 else 1


def at_most(value, radius, norm):
    """Whether the float `value` is no greater than the exact radius (as handed out here); no rounding anywhere."""
    if math.isinf(value):
        return math.isinf(radius)
    return Fraction(float(value)) ** power(norm) <= radius


def as_float(radius, norm):
    return float(radius) if math.isinf(radius) else float(radius) ** (1 / power(norm))


def dual_power(vector, norm):
    """The dual norm of a rational vector, raised to `power(norm)`."""
    if norm == 2:
        return sum(v * v for v in vector)
    return max(abs(v) for v in vector) if norm == 1 else sum(abs(v) for v in vector)


def norm_power(vector, norm):
    return dual_power(vector, {1: math.inf, 2: 2, math.inf: 1}[norm])


class Instance:
    """A training set under ``d(p, x) = (p − x)ᵀ M (p − x)``, in rational numbers."""

    def __init__(self, X, y, M=None, L=None):
        self.X, self.y = rational(X), np.asarray(y)
        d = self.X.shape[1]
        if L is not None:
            L = rational(L)
            self.M = L.T @ L
        else:
            self.M = rational(np.eye(d) if M is None else M)
            self.M = (self.M + self.M.T) / 2

    def distances(self, p):
        return [(p - x) @ self.M @ (p - x) for x in self.X]

    def groups(self, label):
        return np.flatnonzero(self.y == label), np.flatnonzero(self.y != label)

    def triplet(self, z, i, j, norm, D):
        """``|d_j − d_i|_+ / ‖2 M (x_i − x_j)‖_q``, raised to the power of the norm."""
        gap = D[j] - D[i]
        if gap <= 0:
            return Fraction(0)
        separation = dual_power(2 * self.M @ (self.X[i] - self.X[j]), norm)
        return gap ** power(norm) / separation if separation else math.inf

    def certified(self, z, label, k, norm):
        """The s-th smallest over negatives of the s-th largest over positives, by sorting whole matrices."""
        z, s = rational(z), (k + 1) // 2
        D = self.distances(z)
        positives, negatives = self.groups(label)
        if len(negatives) < s:
            return math.inf
        largest = []
        for j in negatives:
            bounds = sorted((self.triplet(z, i, j, norm, D) for i in positives), reverse=True)
            largest.append(bounds[s - 1] if len(bounds) >= s else Fraction(0))
        return sorted(largest)[s - 1]

    def rows(self, z, label, j):
        """``A δ ≤ b``: after δ, training point j is no farther than any positive."""
        D = self.distances(z)
        positives, _ = self.groups(label)
        A = np.array([2 * self.M @ (self.X[i] - self.X[j]) for i in positives], dtype=object)
        return A, np.array([D[i] - D[j] for i in positives], dtype=object)

    def polyhedron(self, z, label, j, box):
        return self.boxed(*self.rows(z, label, j), z, box)

    def boxed(self, A, b, z, box):
        """The rows of a box, in δ, below those given."""
        if box is None:
            return A, b
        d = len(z)
        one = rational(np.eye(d))
        for sign, side in ((1, box[1]), (-1, box[0])):
            for f, bound in enumerate(np.broadcast_to(np.asarray(side, dtype=np.float64), d)):
                if math.isfinite(bound):
                    A = np.vstack([A, sign * one[f]])
                    b = np.append(b, sign * (Fraction(float(bound)) - z[f]))
        return A, b

    def exact(self, z, label, norm, box=None):
        """The exact 1-NN radius: least norm over the polyhedra of all negatives."""
        z = rational(z)
        _, negatives = self.groups(label)
        least = least_norm_squared if norm == 2 else least_linear_norm
        return min((least(*self.polyhedron(z, label, j, box), norm) for j in negatives), default=math.inf)

    def k_nearest(self, z, label, k, norm, vote="plurality", box=None):
        """The exact k-NN radius: least norm over the order-k cells of all sets that lose the vote.

        δ is in the cell of T when every training point of T is no farther from z + δ than every one outside.  All
        orders of ties are covered: whichever of them is chosen is one of the sets.
        """
        z = rational(z)
        D, n = self.distances(z), len(self.X)
        cost = [[self.triplet(z, o, t, norm, D) for o in range(n)] for t in range(n)]
        least = least_norm_squared if norm == 2 else least_linear_norm
        sets = []
        for T in losing_sets(self.y, label, k, vote):
            outside = [o for o in range(n) if o not in T]
            sets.append((max((cost[t][o] for t in T for o in outside), default=Fraction(0)), T, outside))
        best = math.inf
        for bound, T, outside in sorted(sets):
            if bound >= best:
                break
            pairs = [(t, o) for t in T for o in outside]
            A = np.array([2 * self.M @ (self.X[o] - self.X[t]) for t, o in pairs], dtype=object).reshape(-1, len(z))
            b = np.array([D[o] - D[t] for t, o in pairs], dtype=object)
            best = min(best, least(*distinct(*self.boxed(A, b, z, box)), norm))
        return best

    def margin(self, p, label):
        """Squared distance to the nearest negative minus that to the nearest positive: at most 0 when mislabelled."""
        D = self.distances(rational(p))
        positives, negatives = self.groups(label)
        return min(D[j] for j in negatives) - min(D[i] for i in positives)


def losing_sets(y, label, k, vote):
    """All sets of k training points among which the label loses the vote; sharing the most votes is losing."""
    y = np.asarray(y)
    for T in itertools.combinations(range(len(y)), k):
        count = collections.Counter(y[list(T)].tolist())
        own = count.pop(label, 0)
        if own <= (k - 1) // 2 if vote == "majority" else own <= max(count.values(), default=-1):
            yield T


def distinct(A, b):
    """The rows of ``A δ ≤ b`` without those that another row of the same direction implies."""
    least = {}
    for a, bound in zip(A, b, strict=True):
        size = max((abs(v) for v in a), default=0) or 1
        key = tuple(v / size for v in a)
        least[key] = min(least.get(key, math.inf), bound / size)
    rows = [key for key in least if any(key) or least[key] < 0]
    return np.array(rows, dtype=object).reshape(len(rows), A.shape[1]), np.array([least[r] for r in rows], dtype=object)


def solved(A, b):
    """Solution of a square rational system, None when it is singular."""
    n = len(b)
    rows = [[*A[r], b[r]] for r in range(n)]
    for c in range(n):
        pivot = next((r for r in range(c, n) if rows[r][c] != 0), None)
        if pivot is None:
            return None
        rows[c], rows[pivot] = rows[pivot], rows[c]
        rows[c] = [v / rows[c][c] for v in rows[c]]
        for r in range(n):
            if r != c and rows[r][c] != 0:
                rows[r] = [v - rows[r][c] * w for v, w in zip(rows[r], rows[c], strict=True)]
    return np.array([row[-1] for row in rows], dtype=object)


def feasible(A, b, x):
    return all(a @ x <= bound for a, bound in zip(A, b, strict=True))


def least_norm_squared(A, b, _norm=2):
    d = A.shape[1]
    best = Fraction(0) if all(bound >= 0 for bound in b) else math.inf
    for size in range(1, d + 1):
        for active in map(list, itertools.combinations(range(len(b)), size)):
            multipliers = solved(A[active] @ A[active].T, b[active])
            if multipliers is None:
                continue
            x = A[active].T @ multipliers
            if x @ x < best and feasible(A, b, x):
                best = x @ x
    return best


def least_linear_norm(A, b, norm):
    d = A.shape[1]
    if norm == 1:
        facets = rational(list(itertools.product((1, -1), repeat=d)))
    else:
        facets = rational(np.vstack([np.eye(d), -np.eye(d)]))
    G = np.vstack(
        [np.hstack([A, rational(np.zeros((len(b), 1)))]), np.hstack([facets, rational(-np.ones((len(facets), 1)))])]
    )
    h = np.concatenate([b, rational(np.zeros(len(facets)))])
    best = math.inf
    for active in map(list, itertools.combinations(range(len(h)), d + 1)):
        vertex = solved(G[active], h[active])
        if vertex is not None and vertex[-1] < best and feasible(G, h, vertex):
            best = vertex[-1]
    return best


def float_polyhedron(X, y, M, z, label, j, box=None):
    """The polyhedron of `Instance.polyhedron` in floating point, from direct distances."""
    X, y, z = np.asarray(X, dtype=float), np.asarray(y), np.asarray(z, dtype=float)
    D = np.einsum("nd,de,ne->n", X - z, M, X - z)
    positives = np.flatnonzero(y == label)
    A, b = 2 * (X[positives] - X[j]) @ M, D[positives] - D[j]
    if box is not None:
        d = len(z)
        A = np.vstack([A, np.eye(d), -np.eye(d)])
        b = np.concatenate([b, np.broadcast_to(box[1], d) - z, z - np.broadcast_to(box[0], d)])
        A, b = A[np.isfinite(b)], b[np.isfinite(b)]
    return A, b


def float_exact(X, y, M, z, label, norm, box=None):
    """The exact 1-NN radius by scipy: HiGHS for the linear norms, non-negative least squares for norm 2."""
    negatives = np.flatnonzero(np.asarray(y) != label)
    points = [_float_least(*float_polyhedron(X, y, M, z, label, j, box), norm) for j in negatives]
    return min((float(np.linalg.norm(point, norm)) for point in points if point is not None), default=math.inf)


def _float_least(A, b, norm):
    """A point of least norm in ``A δ ≤ b``; None where there is none."""
    return _float_least_euclidean(A, b) if norm == 2 else _float_least_linear(A, b, norm)


def _float_least_euclidean(A, b):
    """Lawson and Hanson, Solving Least Squares Problems, ch. 23: least distance programming.

    Where rows contradict each other by a hair the residual is small but not 0, and says nothing: that is told by the
    point it leads to.
    """
    scale = max(np.abs(b).max(), 1e-300)
    E, f = np.vstack([-A.T, -b / scale]), np.append(np.zeros(A.shape[1]), 1.0)
    u, rest = nnls(E, f)
    residual = E @ u - f
    if rest < 1e-9:
        return None
    point = -residual[:-1] / residual[-1]
    return None if (A @ point - b / scale > 1e-8 * (1 + np.linalg.norm(point))).any() else point * scale


def _float_least_linear(A, b, norm):
    """A linear program, in units in which its tolerances are small: those of the half-space farthest from 0."""
    n, d = A.shape
    scale = max(-b.min(), 0.0)
    if scale == 0:
        return np.zeros(d)
    b = b / scale
    if norm == 1:  # δ = p − m, the sum of both is least
        result = linprog(np.ones(2 * d), np.hstack([A, -A]), b, bounds=(0, None), method="highs", options=_TIGHT)
    else:
        G = np.vstack(
            [np.hstack([A, np.zeros((n, 1))]), *(np.hstack([s * np.eye(d), -np.ones((d, 1))]) for s in (1, -1))]
        )
        h = np.concatenate([b, np.zeros(2 * d)])
        bounds = [(None, None)] * d + [(0, None)]
        result = linprog(np.append(np.zeros(d), 1.0), G, h, bounds=bounds, method="highs", options=_TIGHT)
    assert result.status in (0, 2), result.message
    if result.status == 2:
        return None
    return scale * (result.x[:d] - result.x[d:] if norm == 1 else result.x[:d])


def float_k_nearest(X, y, M, z, label, k, norm, vote="plurality", box=None, margin=0.0):
    """`Instance.k_nearest` in floating point: every set in the order of its largest triplet bound, cut by the best.

    `margin` moves every half-space inwards by a Euclidean length.  A radius is only as certain as the radii with a
    small margin on either side are equal: an order-k cell can be a single point, where rounding decides.
    """
    return float_k_nearest_point(X, y, M, z, label, k, norm, vote, box, margin)[0]


def float_k_nearest_point(X, y, M, z, label, k, norm, vote="plurality", box=None, margin=0.0):
    """The radius of `float_k_nearest`, and a perturbation of that norm (None: the radius is infinite)."""
    X, y, z = np.asarray(X, dtype=float), np.asarray(y), np.asarray(z, dtype=float)
    n, d = X.shape
    sets = list(losing_sets(y, label, k, vote))
    if not sets:
        return math.inf, None
    A = 2 * (X[None] - X[:, None]) @ M  # [t, o]: t is no farther than o
    b = np.einsum("tod,tod->to", A, (X[None] - z + (X[:, None] - z)) / 2)  # d_o − d_t, without their cancellation
    length = np.linalg.norm(A, axis=2)
    apart = length > 1e-12 * length.max(initial=0.0)
    size = np.where(apart, length, 1.0)
    A, b = A / size[..., None], np.where(apart, b / size - margin, 0.0)
    dual = np.linalg.norm(A, {1: math.inf, 2: 2, math.inf: 1}[norm], axis=2)
    cost = np.where(apart, np.maximum(0.0, -b) / np.where(apart, dual, 1.0), 0.0)
    chosen = np.zeros((len(sets), n), dtype=bool)
    chosen[np.arange(len(sets))[:, None], np.array(sets)] = True
    bounds = np.where(chosen[:, :, None] & ~chosen[:, None, :], cost, 0.0).max(axis=(1, 2))
    walls = np.zeros((0, d)), np.zeros(0)
    if box is not None:
        walls = np.vstack([np.eye(d), -np.eye(d)]), np.concatenate([box[1] - z, z - np.asarray(box[0])])
        walls = walls[0][np.isfinite(walls[1])], walls[1][np.isfinite(walls[1])]
    best, nearest = math.inf, None
    shrinkage = {1: 1.0, 2: 1.0, math.inf: 1 / math.sqrt(d)}[norm]  # ‖δ‖ ≥ shrinkage ‖δ‖₂
    for at in np.argsort(bounds, kind="stable"):
        if bounds[at] >= best:
            break
        if bounds[at] == 0:
            return 0.0, np.zeros(d)
        pairs = chosen[at][:, None] & ~chosen[at][None] & apart
        rows, sides = np.vstack([A[pairs], walls[0]]), np.append(b[pairs], walls[1])
        point = _float_least_euclidean(rows, sides)
        if norm != 2 and point is not None and shrinkage * np.linalg.norm(point) < best * (1 + 1e-9):
            point = _float_least_linear(rows, sides, norm)
        if point is not None and np.linalg.norm(point, norm) < best:
            best, nearest = float(np.linalg.norm(point, norm)), point
    return best, nearest


_TIGHT = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}


def direct_distances(X, M, P):
    """``(p − x)ᵀ M (p − x)`` in plain numpy: a ``(len(P), len(X))`` array."""
    difference = np.asarray(P, dtype=float)[:, None, :] - np.asarray(X, dtype=float)[None]
    return np.einsum("pnd,de,pne->pn", difference, M, difference)


def vote_lost(D, y, label, k, vote="plurality"):
    """Whether the label loses the vote among the k nearest, for some order of equally near points."""
    y = np.asarray(y)
    for other in set(y.tolist()) - {label}:
        rank = np.where(y == other, 0, np.where(y == label, 2, 1))  # the order that serves `other` best
        nearest = y[np.lexsort((rank, D))[:k]]
        own = int((nearest == label).sum())
        if own <= (k - 1) // 2 if vote == "majority" else own <= int((nearest == other).sum()):
            return True
    return False
