"""The kernels of the search, one by one: each against brute force or exact arithmetic."""

import math
from fractions import Fraction

import numpy as np
import oracle
import pytest
from test_kernels import plain

from convexrml import NearestNeighbors
from convexrml.formulations.half_spaces import half_spaces
from convexrml.kernels import active_set, pruning, witness
from convexrml.kernels import rounding as rounding_kernel
from convexrml.kernels import scores as score_kernels
from convexrml.kernels import search as search_kernel
from convexrml.norms import Box, Norm

U = 2.0**-53
SOLVED, PASSED, EMPTY, LIMIT = range(4)


class Polyhedron:
    """``⟨u_i − u_j, δ⟩ ≤ halves_i − half`` and perhaps a box, as the kernel wants it told."""

    def __init__(self, A, b, room=None, site=None):
        """`A` (n, d) and `b` (n,); `site` is an arbitrary u_j, so ``u_i = A_i + u_j``; the half score of u_j is 0."""
        self.A, self.b = np.atleast_2d(np.asarray(A, dtype=float)), np.asarray(b, dtype=float)
        n, d = self.A.shape
        self.site = np.zeros(d) if site is None else np.asarray(site, dtype=float)
        self.sites = self.A + self.site
        self.boxed = room is not None
        self.room = (np.full(d, -np.inf), np.full(d, np.inf)) if room is None else tuple(map(np.asarray, room))
        self.image = 0.5 * self.site
        self.spreads = np.linalg.norm(self.sites - self.image, axis=1) * (1 + 1e-12)
        self.positives = np.arange(n)

    def solve(self, tolerance=0.0, stop_at=np.inf, kernel=active_set.nearest_point):
        """δ, active rows, multipliers, outcome; work space no larger than the docstring says."""
        n, d = self.A.shape
        active, multipliers = np.full(d + 1, -1), np.full(d + 1, np.nan)
        delta, m, outcome = kernel(
            self.sites, self.positives, n, self.b, self.spreads, self.image, self.site, 0.0, *self.room, self.boxed,
            tolerance, stop_at, np.empty((d + 1, d)), np.empty((d + 1, d + 1)), active, multipliers,
        )  # fmt: skip
        return delta, active[:m], multipliers[:m], outcome

    def rows(self):
        """All constraints as ``G δ ≤ h``, numbered as the kernel numbers them."""
        if not self.boxed:
            return self.A, self.b
        d = self.A.shape[1]
        return np.vstack([self.A, np.eye(d), -np.eye(d)]), np.concatenate([self.b, self.room[1], -self.room[0]])

    def exact_square(self):
        """The least ``‖δ‖²``, by trying all sets of active constraints in rational arithmetic; ∞ if empty."""
        G, h = self.rows()
        there = np.isfinite(h)
        return oracle.least_norm_squared(oracle.rational(G[there]), oracle.rational(h[there]))


def drawn(rng, kind, boxed):
    """Small whole-number polyhedra with every degeneracy; whole numbers keep the rational oracle quick."""
    d = int(rng.integers(1, 4))
    n = int(rng.integers(1, 6))
    A = rng.integers(-3, 4, (n, d)).astype(float)
    b = rng.integers(-4, 5, n).astype(float)
    if kind == "duplicates":
        A, b = np.vstack([A, A]), np.concatenate([b, b])
    elif kind == "parallel":
        A, b = np.vstack([A, 2 * A, -A]), np.concatenate([b, 2 * b - 1, 6 - b])
    elif kind == "dependent":
        A, b = np.vstack([A, A.sum(axis=0), A[0] - A[-1]]), np.concatenate([b, [b.sum()], [-1.0]])
    elif kind == "vertex":  # many rows through one point
        A = rng.integers(-3, 4, (n + 3, d)).astype(float)
        b = A @ rng.integers(-2, 3, d)
    elif kind == "zero row":
        A[0] = 0.0
    room = None
    if boxed:
        room = (-rng.integers(0, 3, d).astype(float), rng.integers(0, 3, d).astype(float))
        room[0][rng.random(d) < 0.2], room[1][rng.random(d) < 0.2] = -np.inf, np.inf
    return Polyhedron(A, b, room, site=rng.integers(-2, 3, d))


KINDS = ("plain", "duplicates", "parallel", "dependent", "vertex", "zero row")


def check_solution(p, delta, active, multipliers):
    """Optimal by the conditions of Karush, Kuhn and Tucker, to 1e-9 of data whose entries are near 1."""
    G, h = p.rows()
    violation = G @ delta - h
    assert violation.max() <= 1e-9
    assert (multipliers >= 0).all()
    assert len(set(active.tolist())) == len(active)
    np.testing.assert_allclose(violation[active], 0.0, atol=1e-9)
    np.testing.assert_allclose(delta, -G[active].T @ multipliers, atol=1e-9)


def check_empty(p, active, multipliers):
    """Farkas: a nonnegative combination of the rows vanishes while that of the right-hand sides is negative."""
    G, h = p.rows()
    assert multipliers.min() >= -1e-9
    weights = np.maximum(multipliers, 0) / multipliers.max()
    assert np.abs(G[active].T @ weights).max() <= 1e-9
    assert h[active] @ weights < -1e-9


@pytest.mark.parametrize("boxed", [False, True], ids=["free", "box"])
@pytest.mark.parametrize("kind", KINDS)
def test_nearest_point_against_exact_arithmetic(kind, boxed):
    rng = np.random.default_rng([KINDS.index(kind), boxed])
    seen = {SOLVED: 0, EMPTY: 0}
    for _ in range(60):
        p = drawn(rng, kind, boxed)
        square = p.exact_square()
        delta, active, multipliers, outcome = p.solve(tolerance=1e-12)
        assert outcome == (EMPTY if math.isinf(square) else SOLVED)
        seen[outcome] += 1
        if outcome == EMPTY:
            check_empty(p, active, multipliers)
        else:
            check_solution(p, delta, active, multipliers)
            # whole numbers below 10: squares are computed to about 1e-14, roots near 0 to its root
            assert float(delta @ delta) == pytest.approx(float(square), rel=1e-10, abs=1e-12)
    assert seen[SOLVED] > 5
    assert seen[EMPTY] > 0 or kind == "vertex"  # the rows of a vertex always have a common point


@pytest.mark.parametrize("boxed", [False, True], ids=["free", "box"])
@pytest.mark.parametrize("kind", KINDS)
def test_compiled_and_plain_solvers_do_the_same(kind, boxed):
    """The plain kernel runs on work space of the documented size, where an index out of range raises."""
    rng = np.random.default_rng([KINDS.index(kind), boxed, 1])
    for _ in range(15):
        p = drawn(rng, kind, boxed)
        compiled, interpreted = p.solve(1e-12), p.solve(1e-12, kernel=plain(active_set.nearest_point))
        assert compiled[3] == interpreted[3]
        assert compiled[1].tolist() == interpreted[1].tolist()
        np.testing.assert_allclose(compiled[0], interpreted[0], rtol=1e-12, atol=1e-14)  # hypot may differ by an ulp
        np.testing.assert_allclose(compiled[2], interpreted[2], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("boxed", [False, True], ids=["free", "box"])
@pytest.mark.parametrize(("n", "d"), [(30, 2), (8, 8), (60, 5), (200, 20), (15, 40)])
def test_nearest_point_against_another_solver(n, d, boxed):
    daqp = pytest.importorskip("daqp")
    rng = np.random.default_rng([n, d, boxed])
    solved = 0
    for _ in range(8):
        centre = 3 * rng.standard_normal(d)
        A = rng.standard_normal((n, d))
        b = A @ centre + rng.exponential(0.3, n) * (rng.random(n) < 0.7)  # the centre is feasible
        slack = rng.exponential(0.2, (2, d)) - 0.1 * (rng.random() < 0.3)  # the centre may be left out
        room = (np.minimum(centre - slack[0], 0.0), np.maximum(centre + slack[1], 0.0)) if boxed else None
        p = Polyhedron(A, b, room, site=rng.standard_normal(d))
        delta, active, multipliers, outcome = p.solve(tolerance=1e-12)
        G, h = (np.ascontiguousarray(v) for v in p.rows())
        other, _, flag, _ = daqp.solve(
            np.eye(d), np.zeros(d), G, h, np.full(len(h), -1e30), np.zeros(len(h), dtype=np.int32)
        )
        assert outcome == (SOLVED if flag == 1 else EMPTY)
        if outcome == EMPTY:
            check_empty(p, active, multipliers)
            continue
        solved += 1
        check_solution(p, delta, active, multipliers)
        assert np.linalg.norm(delta) == pytest.approx(np.linalg.norm(other), rel=1e-8)  # daqp's default 1e-6, squared
    assert solved >= (3 if boxed else 8)


def test_the_bound_stops_the_solver_but_never_passes_the_optimum():
    rng = np.random.default_rng(5)
    stopped = 0
    for _ in range(100):
        d = int(rng.integers(2, 8))
        A = rng.standard_normal((25, d))
        p = Polyhedron(A, A @ rng.standard_normal(d) * 4, site=rng.standard_normal(d))
        delta, active, multipliers, outcome = p.solve(tolerance=1e-12)
        assert outcome == SOLVED
        length = np.linalg.norm(delta)
        early, active, multipliers, outcome = p.solve(tolerance=1e-12, stop_at=0.7 * length)
        assert outcome == PASSED
        assert 0.7 * length <= np.linalg.norm(early) <= length * (1 + 1e-12)
        assert (multipliers >= 0).all()
        proved = -(p.b[active] @ multipliers) / np.linalg.norm(p.A[active].T @ multipliers)  # weak duality, by hand
        assert 0.7 * length * (1 - 1e-12) <= proved <= length * (1 + 1e-12)
        stopped += len(active) < d
    assert stopped > 10


def test_a_feasible_origin_needs_no_row():
    p = Polyhedron([[1.0, 0.0], [0.0, -1.0]], [1.0, 0.0], ([0.0, 0.0], [0.0, 5.0]))
    delta, active, _, outcome = p.solve()
    assert (delta.tolist(), len(active), outcome) == ([0.0, 0.0], 0, SOLVED)


def test_a_box_of_zero_width_and_a_half_space_beyond_it():
    p = Polyhedron([[-1.0, 0.0]], [-1.0], ([0.0, -1.0], [0.0, 1.0]))
    _, active, multipliers, outcome = p.solve()
    assert outcome == EMPTY
    check_empty(p, active, multipliers)


# --- the factorisation ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 2, 3, 5, 8, 17])
def test_the_factorisation_survives_many_additions_and_removals(d):
    """``A_Wᵀ = Qᵀ R``, Q orthonormal, R triangular: to 1e-12 (each of the 400 rotations adds a few 1e-16)."""
    rng = np.random.default_rng(d)
    for kernel in (active_set.drop_column, plain(active_set.drop_column)):
        Q, R = np.zeros((d + 1, d)), np.zeros((d + 1, d + 1))
        coefficients, direction = np.empty(d + 1), np.empty(d)
        rows = []
        for _ in range(400):
            m = len(rows)
            if m and (m == d or rng.random() < 0.45):
                k = int(rng.integers(0, m))
                kernel(Q, R, m, k)
                del rows[k]
            else:
                row = rng.standard_normal(d)
                if m and rng.random() < 0.2:
                    row = rows[0] + 1e-3 * row  # nearly dependent
                square = active_set.orthogonal_part(Q, m, row, coefficients, direction)
                Q[m], R[:m, m], R[m, m] = direction / np.sqrt(square), coefficients[:m], np.sqrt(square)
                rows.append(row)
            m = len(rows)
            if m:
                np.testing.assert_allclose(Q[:m] @ Q[:m].T, np.eye(m), atol=1e-12)
                np.testing.assert_allclose(Q[:m].T @ np.triu(R[:m, :m]), np.array(rows).T, atol=1e-12)


def test_back_substitution():
    rng = np.random.default_rng(0)
    for m in (1, 2, 5, 9):
        R = np.triu(rng.standard_normal((m + 2, m + 2))) + 3 * np.eye(m + 2)
        right, solution = rng.standard_normal(m), np.full(m + 1, np.nan)
        active_set.back_substitute(R, m, right, solution)
        np.testing.assert_allclose(R[:m, :m] @ solution[:m], right, atol=1e-13)


@pytest.mark.parametrize("boxed", [False, True], ids=["free", "box"])
def test_most_violated_is_the_plain_maximum(boxed):
    """Passing rows over by a bound on their value never loses the worst one, whatever the order of the rows."""
    rng = np.random.default_rng(boxed)
    for trial in range(200):
        n, d = int(rng.integers(1, 40)), int(rng.integers(1, 9))
        A, b = rng.standard_normal((n, d)), rng.standard_normal(n)
        if trial % 4 == 0:  # ties
            A[n // 2 :], b[n // 2 :] = A[0], b[0]
        room = (-rng.exponential(1, d), rng.exponential(1, d)) if boxed else None
        p = Polyhedron(A, b, room, site=rng.standard_normal(d))
        delta = rng.standard_normal(d) * rng.choice([0.0, 1e-3, 1.0, 30.0])
        arguments = (
            p.sites, p.positives, n, p.b, p.spreads, p.image, p.site, 0.0, delta, float(np.linalg.norm(delta)),
            *p.room, boxed,
        )  # fmt: skip
        worst, index = active_set.most_violated(*arguments)
        assert (worst, index) == plain(active_set.most_violated)(*arguments)
        G, h = p.rows()
        values = G @ delta - h
        size = 1 + np.abs(p.sites).max() * np.abs(delta).sum() + np.abs(h).max()
        assert worst == pytest.approx(values.max(), abs=8 * (d + 4) * U * size)
        assert values[index] >= values.max() - 8 * (d + 4) * U * size


def test_constraint_rows():
    p = Polyhedron([[1.0, 2.0], [3.0, 5.0]], [0.0, 0.0], ([-1.0, -1.0], [1.0, 1.0]), site=[7.0, 8.0])
    G, _ = p.rows()
    for index in range(len(G)):
        row = np.full(2, np.nan)
        active_set.constraint_row(p.sites, p.positives, p.site, 2, index, row)
        assert row.tolist() == G[index].tolist()


# --- what may be left out -------------------------------------------------------------------------------------------


def scene(rng, n, d, rank=None):
    """Sites with distances to one query as the search computes them."""
    root = np.eye(d) if rank is None else rng.standard_normal((rank, d))
    X, z = rng.standard_normal((n, d)), rng.standard_normal(d)
    sites = X @ root.T @ root
    offsets, image = np.einsum("ij,ij->i", sites, X), root.T @ root @ z
    squares = np.einsum("ij,ij->i", sites, sites)
    return X, z, sites, offsets - 2 * sites @ z, squares - 2 * sites @ image, image


@pytest.mark.parametrize("rank", [None, 1, 3])
def test_no_positive_is_left_out_that_can_matter(rank):
    """Brute force over the whole ball: one left out stays farther than every negative behind the threshold."""
    rng = np.random.default_rng(rank or 0)
    dropped = 0
    for _ in range(200):
        n, d = 40, int(rng.integers(1, 7))
        _, _, sites, row, squared, image = scene(rng, n, d, rank)
        stop, radius = int(rng.integers(1, n)), rng.exponential(0.4)
        offset = float(image @ image) * (1 + 1e-12) + 1e-12
        spread = np.sqrt(np.maximum(squared + offset, 0))
        threshold = (row[stop:] / 2 + spread[stop:] * radius).max()
        found, halves, spreads = np.empty(n, dtype=np.int64), np.empty(n), np.empty(n)
        count = pruning.positives_that_matter(row, squared, offset, 0, stop, threshold, radius, found, halves, spreads)
        kept = found[:count].tolist()
        assert kept == sorted(kept)
        np.testing.assert_array_equal(halves[:count], row[kept] / 2)
        assert (spreads[:count] >= np.linalg.norm(sites[kept] - image, axis=1) * (1 - 1e-12)).all()
        for i in set(range(stop)) - set(kept):
            dropped += 1
            for j in range(stop, n):  # least of (score_i − score_j)/2 over the ball
                assert (row[i] - row[j]) / 2 - np.linalg.norm(sites[i] - sites[j]) * radius > 0
    assert dropped > 200


@pytest.mark.parametrize("rank", [None, 1, 3])
def test_no_rival_is_left_out_that_can_win(rank):
    """Brute force: a negative is left out exactly when its triplet bound, without shortcuts, reaches the radius."""
    rng = np.random.default_rng(10 + (rank or 0))
    shortcuts = 0
    for _ in range(200):
        n, d = 60, int(rng.integers(1, 7))
        X, z, sites, row, squared, image = scene(rng, n, d, rank)
        first = int(rng.integers(1, n))
        nearest, radius = int(np.argmin(row[:first])), rng.exponential(0.5) + 1e-3
        rules = np.empty(6)
        rules[rounding_kernel.UNIT] = 1e-14
        rules[rounding_kernel.REACH_WIDENING] = rules[rounding_kernel.SITE_WIDENING] = 1.0
        rules[rounding_kernel.STRETCH] = 1 + 4 * (d + 4) * U
        rules[rounding_kernel.LOST_SCORE] = rules[rounding_kernel.LOST_LENGTH] = 1e-300
        lengths, z_length = np.linalg.norm(X, axis=1), float(np.linalg.norm(z))
        offset = float(image @ image) + 1e-12 * float(1 + np.abs(squared).max() + image @ image)
        candidates, bounds = np.empty(n, dtype=np.int64), np.empty(n)
        count = pruning.rivals(
            sites, lengths, row, squared, offset, nearest, first, n, radius, rules, z_length, 0.0,
            np.zeros(n, dtype=bool), candidates, bounds, 0,
        )  # fmt: skip
        kept = candidates[:count].tolist()
        full = np.full(n, np.nan)
        for j in range(first, n):
            gap = row[j] - row[nearest]
            gap -= rounding_kernel.gap_rounding(rules, lengths[nearest], lengths[j], z_length, 0.0)
            apart = np.linalg.norm(sites[j] - sites[nearest])
            apart = rounding_kernel.widened(rules, lengths[nearest], lengths[j], apart)
            full[j] = max(0.0, gap) / (2 * apart)
        np.testing.assert_allclose(bounds[:count], full[kept], rtol=1e-13, atol=1e-15)  # another sum of squares
        out = sorted(set(range(first, n)) - set(kept))
        assert (full[out] >= radius * (1 - 1e-13)).all()
        assert (full[kept] <= radius * (1 + 1e-13)).all()
        shortcuts += len(out)
    assert shortcuts > 500


def test_the_farthest_point_of_a_box():
    lower, upper = np.array([-3.0, 0.0]), np.array([1.0, 4.0])
    assert 5.0 < pruning.farthest_in_box(lower, upper) <= 5.0 * (1 + 2e-6)
    assert pruning.farthest_in_box(np.zeros(2), np.zeros(2)) == 0.0
    assert pruning.farthest_in_box(np.array([-np.inf, 0.0]), upper) == np.inf


# --- bounds and witnesses -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("boxed", [False, True], ids=["free", "box"])
@pytest.mark.parametrize("rank", [None, 2])
def test_the_kernel_proves_what_the_programs_prove(rank, boxed):
    """`proved_bound` against `HalfSpaces.weak_duality` on the same multipliers.

    Both subtract γ times the sum of magnitudes, γ = 4 (m + 2 d + 8) u with m the active rows here and all rows there:
    their difference is at most γ of the larger count, times the cancellation in numerator and denominator.
    """
    rng = np.random.default_rng([rank or 0, boxed])
    norm, proved_any = Norm(2.0), 0
    for _ in range(60):
        n, d = int(rng.integers(4, 30)), int(rng.integers(2, 7))
        X, y, z = rng.standard_normal((n, d)), np.arange(n) % 2, rng.standard_normal(d)
        model = NearestNeighbors(1, None if rank is None else rng.standard_normal((1, d))).fit(X, y)
        box = Box(z - rng.exponential(1, d), z + rng.exponential(1, d)) if boxed else None
        row = model.scores(z[None])[0]
        positives, j = np.flatnonzero(y == 0), int(rng.choice(np.flatnonzero(y == 1)))
        h = half_spaces(model, z, positives, j, norm, box, row)
        count = len(positives)
        image = model.metric_.sites((z - model.shift_)[None])[0][0]
        spreads = np.linalg.norm(model.sites_[positives] - image, axis=1) * (1 + 1e-9)
        active, multipliers = np.empty(d + 1, dtype=np.int64), np.empty(d + 1)
        halves, half = row[positives] / 2, row[j] / 2
        _, m, _ = active_set.nearest_point(
            model.sites_, positives, count, halves, spreads, image, model.sites_[j], half,
            h.room_lower, h.room_upper, boxed, 1e-12, np.inf, np.empty((d + 1, d)), np.empty((d + 1, d + 1)),
            active, multipliers,
        )  # fmt: skip
        rounding = model.rounding(norm)
        z_length, reach = float(np.linalg.norm(z - model.shift_)), 0.0
        if boxed and not box.contains(model.training_points_[j]):
            reach = z_length + float(np.linalg.norm(np.maximum(h.room_upper, -h.room_lower)))
        mine = search_kernel.proved_bound(
            model.sites_, rounding.lengths, positives, count, halves, j, half, h.room_lower, h.room_upper,
            active, multipliers, m, rounding.rules, z_length, reach,
        )  # fmt: skip
        lam, mu, nu = np.zeros(count), np.zeros(d), np.zeros(d)
        for index, multiplier in zip(active[:m], np.maximum(multipliers[:m], 0), strict=True):
            if index < count:
                lam[index] = multiplier
            else:
                (mu if index < count + d else nu)[(index - count) % d] = multiplier
        theirs = h.weak_duality(lam, mu, nu)
        assert (mine > 0) == (theirs > 0)
        if not 0 < theirs < 1e9:  # nearly a proof that there is no such point: all digits cancel
            assert (mine > 1e8) == (theirs > 1e8)
            continue
        proved_any += 1
        above, below = np.where(mu > 0, h.room_upper, 0) * mu, -np.where(nu > 0, h.room_lower, 0) * nu
        terms = np.concatenate([h.gaps * lam, above, below])
        w, magnitudes = h.combine(lam) + mu - nu, lam @ np.abs(h.sites) + lam.sum() * np.abs(h.site) + mu + nu
        gamma = 4 * (count + 2 * d + 8) * U
        cancelled = np.abs(terms).sum() / -terms.sum()
        cancelled += np.linalg.norm(magnitudes) / np.linalg.norm(w)
        assert mine == pytest.approx(theirs, rel=2 * gamma * (2 + cancelled))
    assert proved_any > 20


@pytest.mark.parametrize("d", [1, 2, 3, 4, 5, 7, 8, 13, 64])
@pytest.mark.parametrize("N", [1, 2, 255, 256, 257, 600])
def test_all_ways_to_a_score_give_the_same_bits(N, d):
    rng = np.random.default_rng([N, d])
    sites, offsets = rng.standard_normal((N, d)) * 10.0 ** rng.integers(-3, 4, (N, 1)), rng.standard_normal(N)
    points = rng.standard_normal((5, d))
    parallel = score_kernels.scores(sites, offsets, points)
    assert np.array_equal(parallel, score_kernels.scores_on_one_thread(sites, offsets, points))
    into = np.full((5, N), np.nan)
    score_kernels.scores_into(np.ascontiguousarray(sites.T), offsets, points, into)
    assert np.array_equal(parallel, into)
    single = [[witness.one_score(sites, i, offsets[i], p) for i in range(N)] for p in points]
    assert np.array_equal(parallel, single)


@pytest.mark.parametrize("rank", [None, 2])
def test_is_witness_says_what_the_classifier_says_and_what_is_sure_is_exact(rank):
    rng = np.random.default_rng(3)
    X = rng.integers(-2, 3, (60, 3)) / 3  # near ties everywhere
    y = rng.integers(0, 2, 60)
    model = NearestNeighbors(1, None if rank is None else rng.integers(-1, 2, (rank, 3)) / 3).fit(X, y)
    own, others = np.flatnonzero(y == 0), np.flatnonzero(y == 1)
    rounding, seen = model.rounding(Norm(2.0)), set()
    for p in rng.integers(-4, 5, (200, 3)) / 6:
        centred = p - model.shift_
        said = max(
            witness.is_witness(
                model.sites_, model.offsets_, X, rounding.lengths, rounding.rules, j, own, len(own), centred
            )
            for j in others
        )
        assert (said != witness.NOT) == model.mislabels(p[None], [0])[0]
        exactly = model.exact.lost(p, 0, 1, "plurality")
        assert exactly if said == witness.SURE else True
        seen.add((said, exactly))
    assert {(witness.NOT, False), (witness.SURE, True), (witness.ROUNDED, True)} <= seen


def test_a_nudge_ends_in_the_box_and_in_the_cell():
    model = NearestNeighbors().fit([[0.0, 0.0], [4.0, 0.0]], [0, 1])
    z, delta, step, moved = np.zeros(2), np.array([1.99, 0.0]), np.empty(2), np.empty(2)
    rounding = model.rounding(Norm(2.0))
    nudges = np.array([0.0, 1e-3, 1e-2, 1e-1])

    def nudged(box_upper):
        return witness.nudge(
            model.sites_, model.offsets_, model.training_points_, rounding.lengths, rounding.rules, 1, np.array([0]), 1,
            z, delta, np.full(2, -np.inf), box_upper, model.shift_, nudges, step, moved,
        )  # fmt: skip

    assert nudged(np.full(2, np.inf)) == witness.SURE
    assert step[0] == pytest.approx(1.99 + 1e-2 * 2.01)
    assert model.mislabels((z + step)[None], [0])[0]
    assert nudged(np.array([1.999, 1.0])) == witness.NOT
    assert nudged(np.array([2.0, 1.0])) == witness.ROUNDED  # a tie, which rounding might feign
    assert step.tolist() == [2.0, 0.0]


def test_fractions_bear_the_tolerances_out():
    """The nearest point of one half-space ``⟨a, δ⟩ ≤ b`` is ``b a / ‖a‖²``: exact, against rational numbers."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        a, b = rng.standard_normal(4), -rng.exponential()
        delta, _, multipliers, _ = Polyhedron([a], [b]).solve()
        A, B = oracle.rational(a), Fraction(b)
        exact = np.array([float(B * v / (A @ A)) for v in A])
        np.testing.assert_allclose(delta, exact, rtol=32 * U, atol=32 * U * np.abs(exact).max())
        assert multipliers[0] == pytest.approx(float(-B / (A @ A)), rel=32 * U)
