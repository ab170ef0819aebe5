"""Exact radii for k > 1 against full enumeration; and the enumeration against other ways to the same number."""

import collections
import dataclasses
import functools
import itertools
import math
from fractions import Fraction

import fuzz_k_nearest
import fuzz_search
import numpy as np
import oracle
import pytest

from convexrml import MahalanobisMetric, NearestNeighbors, RadiusStatus, attack_radius, certified_radius, exact_radius
from convexrml.errors import InvalidInputError, UnsupportedError
from convexrml.votes import Vote, same_vote

VOTES = ("majority", "plurality")
NORMS = (1, 2, math.inf)
# The enumeration solves its programs by nnls and HiGHS, which agree with rational arithmetic to 1e-9 (tested below).
ORACLE = 1e-9
# An interval is closed to a relative 1e-9; the rest is how far half-spaces moved by MARGIN may move the radius.
CLOSED = 1e-7
MARGIN = 1e-11  # of the size of the data: rounding in scores is some 1e-16 of their size, over distances of sites


@dataclasses.dataclass(frozen=True)
class Case:
    """One query of a tiny training set."""

    X: np.ndarray
    y: np.ndarray
    L: np.ndarray | None
    z: np.ndarray
    label: int
    k: int
    box: tuple | None = None

    @property
    def M(self):  # noqa: N802
        return np.eye(self.X.shape[1]) if self.L is None else self.L.T @ self.L

    @property
    def size(self):
        return max(np.abs(self.X).max(), np.abs(self.z).max())

    def model(self):
        metric = None if self.L is None else MahalanobisMetric.from_components(self.L)
        return NearestNeighbors(self.k, metric).fit(self.X, self.y)

    def truth(self, norm, vote, margin=0.0):
        return oracle.float_k_nearest(
            self.X, self.y, self.M, self.z, self.label, self.k, norm, vote, self.box, margin * self.size
        )

    def search(self, norm, vote, **limits):
        return exact_radius(
            self.model(), self.z[None], [self.label], norm=norm, box=self.box, vote=vote, method="search", **limits
        )


def drawn(seed, n_max=12, d_max=3, boxes=False):
    """A case of one of several kinds: whole numbers (ties everywhere), floats, duplicates, lines, singular metrics."""
    rng = np.random.default_rng(seed)
    k = int(rng.choice([3, 3, 5, 5, 7]))
    n, d = int(rng.integers(k if rng.random() < 0.2 else min(k + 3, n_max), n_max + 1)), int(rng.integers(1, d_max + 1))
    whole = rng.random() < 0.6

    def draw(*shape):
        return rng.integers(-3, 4, shape).astype(float) if whole else rng.standard_normal(shape)

    X, z = draw(n, d), draw(d)
    y = rng.integers(0, rng.integers(2, 5), n)
    if rng.random() < 0.2:
        some = rng.integers(0, n, max(2, n // 3))
        X[some] = X[some[0]]
    if rng.random() < 0.1:
        z = X[0].copy()
    L = None
    if rng.random() < 0.4:
        L = rng.integers(-2, 3, (int(rng.integers(1, d + 1)), d)).astype(float)
    box = None
    if boxes and rng.random() < 0.5:
        sides = rng.choice([0.0, 0.5, 2.0, 4.0, 8.0, math.inf, math.inf], (2, d))
        box = (z - sides[0], z + sides[1])
    case = Case(X, y, L, z, 0, k, box)
    nearest = y[np.argsort(oracle.direct_distances(X, case.M, z[None])[0], kind="stable")[:k]]
    return dataclasses.replace(case, label=int(np.bincount(nearest).argmax()) if rng.random() < 0.9 else int(y[0]))


# --- the oracle itself ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", NORMS)
def test_one_neighbour_is_the_other_oracle(cloud, norm):
    for seed in range(6):
        data = cloud(seed=seed, n=6, d=2, classes=3, queries=1, rank=[None, 2, 1][seed % 3])
        instance, z, label = oracle.Instance(data.X, data.y, L=data.L), data.Z[0], data.labels[0]
        for box, vote in itertools.product((None, (z - 2.0, z + [2.0, math.inf])), VOTES):
            exact = instance.exact(z, label, norm, box)
            assert instance.k_nearest(z, label, 1, norm, vote, box) == exact
            value = oracle.float_k_nearest(data.X, data.y, data.M, z, label, 1, norm, vote, box)
            assert value == pytest.approx(oracle.as_float(exact, norm), rel=ORACLE)


LINES = {
    # name: (positions, labels, k, query, radius by majority, radius by plurality)
    "two of three": ([0, 1, 2, 6, 8], "aaabb", 3, 0, Fraction(9, 2), Fraction(9, 2)),  # 8 overtakes 1
    "too few negatives": ([0, 1, 2, 3, 9], "aaaab", 3, 0, math.inf, math.inf),
    "positives packed around each negative": ([0, 1, 2, 9, 10, 11], "abaaba", 3, 1, math.inf, math.inf),
    "one vote each is lost": ([0, 1, 2, 3, 9], "aabcd", 3, 0, Fraction(3, 2), Fraction(3, 2)),
    "five": ([0, 1, 2, 3, 4, 20, 21], "aabcdaa", 5, 0, Fraction(0), math.inf),  # two of five, all others differ
    "a shared lead is lost": ([0, 1, 2, 3, 4, 20], "aabbca", 5, 0, Fraction(0), Fraction(0)),
    "a tie in distance is lost": ([0, -2, 2, 2], "aabb", 3, 0, Fraction(0), Fraction(0)),
}


@pytest.mark.parametrize("name", LINES)
def test_lines_by_hand(name):
    X, y, k, z, *expected = LINES[name]
    X, y = np.array(X, dtype=float)[:, None], np.array(list(y))
    for (vote, radius), norm in itertools.product(zip(VOTES, expected, strict=True), NORMS):
        found = oracle.Instance(X, y).k_nearest([z], "a", k, norm, vote)
        assert found == (radius if math.isinf(radius) else radius ** oracle.power(norm))


@pytest.mark.parametrize("vote", VOTES)
def test_on_a_line_the_order_changes_at_midpoints_only(vote):
    """So that looking at the query and at all midpoints, where every tie is present, finds the radius."""
    seen = collections.Counter()
    for seed in range(150):
        rng = np.random.default_rng(seed)
        k = int(rng.choice([3, 5, 7]))
        X, y = rng.integers(-8, 9, int(rng.integers(k, 11))).astype(float), None
        y = rng.integers(0, rng.integers(2, 5), len(X))
        z = float(rng.integers(-8, 9))
        label = int(np.bincount(y[np.argsort(np.abs(X - z), kind="stable")[:k]]).argmax())
        places = [z, *((a + b) / 2 for a, b in itertools.combinations(X, 2))]
        lost = [abs(p - z) for p in places if oracle.vote_lost((X - p) ** 2, y, label, k, vote)]
        expected = min(lost, default=math.inf)
        assert oracle.float_k_nearest(X[:, None], y, np.eye(1), [z], label, k, 2, vote) == pytest.approx(expected)
        if len(X) <= 8:
            assert oracle.Instance(X[:, None], y).k_nearest([z], label, k, 1, vote) == expected
            seen["exactly"] += 1
        seen["zero" if expected == 0 else "infinite" if math.isinf(expected) else "finite"] += 1
    assert min(seen.values()) >= 15 and len(seen) == 4


@pytest.mark.parametrize("norm", NORMS)
def test_floating_point_against_rational_numbers(norm):
    """The tolerance ORACLE; certified ≤ majority ≤ plurality without any rounding; the same where `same_vote` says."""
    seen = collections.Counter()
    for seed in range(60 if norm == 2 else 40):
        case = drawn(seed, n_max=8, d_max=3 if norm == 2 else 2, boxes=True)
        instance = oracle.Instance(case.X, case.y, L=case.L)
        radii = {}
        for vote in VOTES:
            exact = radii[vote] = instance.k_nearest(case.z, case.label, case.k, norm, vote, case.box)
            assert case.truth(norm, vote) == pytest.approx(oracle.as_float(exact, norm), rel=ORACLE, abs=0)
            seen["zero" if exact == 0 else "infinite" if math.isinf(exact) else "finite"] += 1
        closed_form = certified_radius(case.model(), case.z[None], [case.label], norm=norm).lower[0]
        assert oracle.at_most(closed_form, radii["majority"], norm)
        assert radii["majority"] <= radii["plurality"]
        if same_vote(case.k, len(set(case.y.tolist()))):
            assert radii["majority"] == radii["plurality"]
        seen["votes differ"] += radii["majority"] != radii["plurality"]
    assert all(seen[kind] >= 3 for kind in ("zero", "infinite", "finite", "votes differ")), seen


def test_the_order_of_bounds_and_of_votes():
    """certified ≤ majority ≤ attack, majority ≤ plurality ≤ attack; and the oracle's own points lose the vote."""
    differ = points = 0
    for seed in range(200):
        case, norm = drawn(1000 + seed, boxes=True), NORMS[seed % 3]
        ask = (case.model(), case.z[None], [case.label])
        majority, plurality = (case.truth(norm, vote) for vote in VOTES)
        assert certified_radius(*ask, norm=norm).lower[0] <= majority * (1 + ORACLE)
        assert majority <= plurality * (1 + ORACLE)
        for vote, radius in zip(VOTES, (majority, plurality), strict=True):
            attack = attack_radius(*ask, norm=norm, box=case.box, vote=vote)
            assert attack.upper[0] >= radius * (1 - ORACLE) and attack.vote is Vote(vote)
        differ += majority < plurality
        for vote in VOTES:
            given = (case.X, case.y, case.M, case.z, case.label, case.k, norm, vote, case.box, 1e-9)
            radius, point = oracle.float_k_nearest_point(*given)
            if point is not None:
                assert np.linalg.norm(point, norm) == radius
                root = np.eye(len(point)) if case.L is None else case.L  # the same distance for points of the same site
                D = ((case.X @ root.T - root @ (case.z + point)) ** 2).sum(axis=1)
                assert oracle.vote_lost(D, case.y, case.label, case.k, vote)
                points += 1
        if same_vote(case.k, len(set(case.y.tolist()))):
            assert majority == plurality
    assert differ >= 10 and points >= 100


# --- the roads against the oracle -----------------------------------------------------------------------------------


@functools.cache
def available(norm):
    """Whether `exact_radius` searches for k > 1 in this norm."""
    model = NearestNeighbors(3).fit([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1])
    try:
        exact_radius(model, [[0.0]], [0], norm=norm, vote="plurality", method="search")
    except UnsupportedError:
        return False
    return True


def needs(norm):
    return pytest.mark.skipif(not available(norm), reason=f"no search for k > 1 in norm {norm}")


def examine(case, norm, vote, seen):
    """Hold one search against the enumeration."""
    result = case.search(norm, vote)
    lower, upper, status = float(result.lower[0]), float(result.upper[0]), result.status[0]
    truth, least, most = (case.truth(norm, vote, margin) for margin in (0.0, -MARGIN, MARGIN))
    said = f"{case}: [{lower!r}, {upper!r}] {status}, truth {truth!r} ({least!r} to {most!r})"
    assert 0 <= lower <= upper, said
    assert lower <= truth * (1 + ORACLE), said
    assert upper >= least * (1 - ORACLE), said
    assert result.n_neighbors == case.k and result.vote is Vote(vote)
    if math.isfinite(upper):
        witness = case.z + result.perturbation[0]
        assert case.model().mislabels(witness[None], [case.label], vote=vote)[0], said
        assert case.box is None or ((case.box[0] <= witness) & (witness <= case.box[1])).all(), said
        assert np.linalg.norm(result.perturbation[0], norm) <= upper, said
    if truth == 0:
        assert (lower, upper, status) == (0.0, 0.0, RadiusStatus.MISCLASSIFIED), said
        seen["zero"] += 1
    elif math.isinf(least):
        assert math.isinf(lower) and math.isinf(upper) and status is RadiusStatus.UNREACHABLE, said
        assert math.isinf(result.radius[0])
        seen["infinite"] += 1
    elif most <= least * (1 + CLOSED):
        assert status is RadiusStatus.EXACT, said
        assert result.radius[0] == pytest.approx(truth, rel=CLOSED), said
        seen["finite"] += 1
    else:  # a cell without an inside: rounding may lose it
        assert upper <= most * (1 + CLOSED), said
        seen["on the edge"] += 1


@pytest.mark.parametrize("chunk", range(8))
@pytest.mark.parametrize("norm", [pytest.param(norm, marks=needs(norm)) for norm in NORMS])
def test_search_against_enumeration(norm, chunk):
    """8 chunks of 70 cases, both votes, in each norm."""
    seen = collections.Counter()
    for seed in range(70):
        case = drawn([7, chunk, seed], boxes=chunk % 2 == 1)
        for vote in VOTES:
            examine(case, norm, vote, seen)
    assert seen["finite"] >= 30 and seen["infinite"] >= 3 and seen["zero"] >= 3, seen
    assert seen["on the edge"] <= 0.1 * seen.total(), seen


@pytest.mark.parametrize("classes", [3, 4, 5, 6])
def test_pluralities_of_many_classes_against_enumeration(classes):
    """k = 3, 5, 7, 9; duplicates of other labels too, whole numbers, boxes."""
    seen = collections.Counter()
    for seed in range(40):
        rng, k = np.random.default_rng([11, classes, seed]), (3, 5, 7, 9)[seed % 4]
        n, d = int(rng.integers(k + 2, 13)), int(rng.integers(1, 4))
        X = rng.integers(-3, 4, (n, d)).astype(float) if seed % 3 == 0 else rng.standard_normal((n, d))
        y, z = rng.permutation(np.arange(n) % classes), 0.5 * rng.standard_normal(d)
        if seed % 5 == 0:
            X[1:4] = X[0]
        L = rng.integers(-2, 3, (d, d)) + 3.0 * np.eye(d) if seed % 7 == 0 else None
        box = (z - rng.uniform(0.3, 3, d), z + rng.uniform(0.3, 3, d)) if seed % 4 == seed // 4 % 4 else None
        case = Case(X, y, L, z, 0, k, box)
        label = int(case.model().predict(z[None])[0])
        examine(dataclasses.replace(case, label=label), 2, "plurality", seen)
    assert seen["finite"] >= 5 and seen["on the edge"] <= 4, seen


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("norm", [pytest.param(norm, marks=needs(norm)) for norm in NORMS])
def test_search_on_lines_by_hand(norm, name):
    X, y, k, z, *expected = LINES[name]
    model = NearestNeighbors(k).fit(np.array(X, dtype=float)[:, None], list(y))
    for vote, radius in zip(VOTES, expected, strict=True):
        result = exact_radius(model, [[z]], ["a"], norm=norm, vote=vote, method="search")
        assert result.radius[0] == pytest.approx(float(radius), rel=1e-9)


@pytest.mark.parametrize("norm", [pytest.param(norm, marks=needs(norm)) for norm in NORMS])
def test_many_queries_at_once(norm, cloud):
    """The order of the queries, the workers and the batches change nothing."""
    data = cloud(seed=4, n=30, d=3, classes=3, queries=12, integers=False)
    model = data.model(5)
    ask = {"norm": norm, "vote": "plurality", "method": "search"}
    together = exact_radius(model, data.Z, data.labels, n_jobs=2, **ask)
    backwards = exact_radius(model, data.Z[::-1], data.labels[::-1], **ask)
    ticks = []
    for q in range(len(data.Z)):
        alone = exact_radius(model, data.Z[q : q + 1], data.labels[q : q + 1], progress=ticks.append, **ask)
        for other, at in ((together, q), (backwards, len(data.Z) - 1 - q)):
            assert other.status[at] is alone.status[0]
            assert other.lower[at] == pytest.approx(alone.lower[0], rel=1e-9)
            assert other.upper[at] == pytest.approx(alone.upper[0], rel=1e-9)
    assert sum(ticks) == len(data.Z)


# --- intervals at any time ------------------------------------------------------------------------------------------


@pytest.fixture
def crowd():
    """Overlapping classes, so that trees have more than a few nodes."""

    def make(seed, k, classes=2, n=200, d=6, queries=6):
        rng = np.random.default_rng(seed)
        y = rng.integers(0, classes, n)
        X = rng.standard_normal((n, d)) + 0.7 * y[:, None]
        Z = rng.standard_normal((queries, d))
        model = NearestNeighbors(k).fit(X, y)
        return model, Z, model.predict(Z)

    return make


@pytest.mark.parametrize("vote", VOTES)
@pytest.mark.parametrize("k", [3, 5, 7])
def test_a_node_limit_leaves_a_certified_interval(crowd, k, vote):
    """It grows with the limit, and never leaves certified and final radius."""
    limited = 0
    for seed in range(4):
        ask = crowd(seed, k, classes=2 + seed % 2)
        how = {"vote": vote, "method": "search"}
        final = exact_radius(*ask, **how)
        certified = certified_radius(*ask).lower
        assert all(status.closed for status in final.status)
        before = certified * (1 - 1e-12)
        for node_limit in (1, 2, 3, 5, 10, 30, 100, 10**6):
            result = exact_radius(*ask, node_limit=node_limit, **how)
            assert (result.lower >= before * (1 - 1e-12)).all()
            assert (result.lower <= final.upper).all() and (final.lower <= result.upper).all()
            found = np.isfinite(result.upper)
            lost = result.perturbation[found] + ask[1][found]
            assert not found.any() or ask[0].mislabels(lost, ask[2][found], vote=vote).all()
            for status, width in zip(result.status, result.upper - result.lower, strict=True):
                assert status.closed or (status is RadiusStatus.NODE_LIMIT and width > 0)
            assert (result.solves <= node_limit).all()
            limited += sum(status is RadiusStatus.NODE_LIMIT for status in result.status)
            assert np.isnan(result.radius).tolist() == [not status.closed for status in result.status]
            before = result.lower
        assert [status.closed for status in result.status] == [True] * len(final)
    assert limited >= 10


def test_no_time_still_leaves_a_certified_interval(crowd):
    ask = crowd(1, 7)
    result = exact_radius(*ask, method="search", time_limit=0)
    final = exact_radius(*ask, method="search")
    assert (result.lower >= certified_radius(*ask).lower * (1 - 1e-12)).all()
    assert (result.lower <= final.upper).all() and (final.lower <= result.upper).all()
    assert any(status is RadiusStatus.TIME_LIMIT for status in result.status)
    assert all(status.closed or status is RadiusStatus.TIME_LIMIT for status in result.status)


@pytest.mark.parametrize("norm", NORMS)
def test_one_neighbour_by_the_same_entry(cloud, norm):
    """Both votes are the same question, and the answer is the one without a vote."""
    data = cloud(seed=6, n=14, d=3, classes=3, queries=5, integers=False)
    plain = exact_radius(data.model(1), data.Z, data.labels, norm=norm)
    for vote in VOTES:
        result = exact_radius(data.model(1), data.Z, data.labels, norm=norm, vote=vote)
        for name in ("lower", "upper", "perturbation", "negative"):
            np.testing.assert_array_equal(getattr(result, name), getattr(plain, name))
        assert result.n_neighbors == 1 and all(status is RadiusStatus.EXACT for status in result.status)


# --- random instances of every kind ---------------------------------------------------------------------------------


def fuzzed(instances, seed, jobs=1):
    failures, weaker, counts = [], collections.Counter(), collections.Counter()
    for number, verdict in fuzz_search.run(instances, seed, jobs=jobs, game=fuzz_k_nearest.GAME):
        failures += [(number, *failure) for failure in verdict.failures]
        weaker.update(kind for kind, _ in verdict.weaker)
        counts += verdict.counts
    assert failures == []
    assert counts["finite"] >= 0.1 * instances and counts["infinite"] >= 0.1 * instances
    assert weaker.total() <= 0.01 * instances, weaker


def test_random_instances():
    fuzzed(300, seed=1)


@pytest.mark.slow
def test_random_instances_at_length():
    fuzzed(20000, seed=0, jobs=2)


def test_an_instance_survives_the_disk(tmp_path):
    for number in range(20):
        before = fuzz_k_nearest.drawn(5, number)
        before.save(tmp_path / "one.npz")
        after = fuzz_k_nearest.Instance.load(tmp_path / "one.npz")
        assert str(before) == str(after) and (before.k, before.vote) == (after.k, after.vote)
        assert all(len(small.X) <= len(before.X) for small in fuzz_k_nearest.smaller(before))


def test_votes_that_there_are_not():
    model = NearestNeighbors(3).fit([[0.0], [1.0], [2.0]], [0, 0, 1])
    with pytest.raises(InvalidInputError, match=r"^vote: "):
        exact_radius(model, [[0.0]], [0], vote="unanimity")


def test_a_box_of_one_point_is_not_unreachable_where_rounding_hides_a_tie():
    X = [[0.0], [4 / 3], [0.0], [-1.0], [0.0], [-1.0], [-2 / 3], [-4 / 3]]  # the two farthest tie
    model = NearestNeighbors(7).fit(X, [1, 2, 0, 0, 0, 1, 1, 0])
    assert model.exact.lost(np.zeros(1), 0, 7, "plurality")
    assert exact_radius(model, [[0.0]], [0], box=(0.0, 0.0)).lower.tolist() == [0.0]


def test_a_box_that_no_negative_can_be_a_member_in():
    """Negatives pass the first sieve, by the nearest positives, and fail the second, by all of them: none is left."""
    model = NearestNeighbors(3).fit([[0.0], [-0.8], [-0.9], [-1.1], [-1.3]], [0, 0, 0, 1, 2])
    found = exact_radius(model, [[0.0]], [0], box=([-0.8999999998627514], [0.4999999999194815]))
    assert found.lower[0] == found.upper[0] == math.inf
    assert found.status[0] is RadiusStatus.UNREACHABLE
