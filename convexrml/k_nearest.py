"""Exact k-NN radii in ℓ2, one query at a time: an attack, the points that matter within it, branch and bound."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from convexrml.emptiness import prove_empty
from convexrml.findings import Finding, Limits, Meeting, Witness
from convexrml.grouped import GroupedSites
from convexrml.kernels import attack, incumbent, local, lost_vote, scores
from convexrml.kernels import branch_and_bound as kernel
from convexrml.kernels.branching import desk_for
from convexrml.kernels.pruning import farthest_in_box
from convexrml.kernels.tree import EMPTY_LEAF, FOUND, HEAP_SIZE, N_EVALUATED, N_NODES, Tree
from convexrml.metric import MahalanobisMetric
from convexrml.norms import Box, Norm
from convexrml.queries import Query
from convexrml.results import RadiusStatus
from convexrml.search_tree import grown, named_rows, planted
from convexrml.visits import ROUNDING_WIDTH, status_of
from convexrml.votes import Vote, same_vote
from convexrml.witness import witnessed_norm

RAYS = 8
EXCHANGES = 20
_L2 = Norm(2.0)
_BEYOND = 1 + 1e-9
_SLICE = 64  # nodes between two looks at the clock
_MOST_MEETINGS = 100  # whose multipliers are kept
_FEW = 16
_FAR_AWAY = 100.0  # of the distance to the farthest training point: no bound is claimed beyond
_STRETCHES = (1.0, 10.0, 1000.0)


@dataclasses.dataclass(frozen=True, eq=False)
class _Bounds:
    """What one branch and bound found: the nearest witness, the limit that ended it if one did, and lower bounds.

    `beyond` is one on all but the meetings.
    """

    lower: float
    witness: Witness | None
    limit: RadiusStatus | None
    nodes: int
    meetings: tuple[Meeting, ...] = ()
    beyond: float = 0.0


class KNearestSearch:
    """The searches of one classifier under one vote, for queries in any number.

    Parameters
    ----------
    data : GroupedSites
    metric : MahalanobisMetric
    n_neighbors : int
    vote : Vote
    box : Box or None
    """

    def __init__(
        self, data: GroupedSites, metric: MahalanobisMetric, n_neighbors: int, vote: Vote, box: Box | None
    ) -> None:
        self.data, self.metric, self.k, self.vote, self.box = data, metric, n_neighbors, vote, box
        self.n_classes = len(data.class_start) - 1
        self.labels = np.repeat(np.arange(self.n_classes), np.diff(data.class_start))
        self.majority = vote is Vote.MAJORITY or same_vote(n_neighbors, self.n_classes)
        N, d = data.sites.shape
        self.longest = float(data.rounding.lengths.max())
        self.space = incumbent.space_for(N, d, n_neighbors, self.n_classes)
        self.attacked = attack.Data(
            data.sites, data.columns, data.offsets, data.points, self.labels, data.rounding.lengths, self.longest,
            data.class_start, data.shift, data.rounding.rules, data.euclidean,
        )  # fmt: skip

    def rule(self, label: int) -> incumbent.Rule:
        """What it takes to lose the vote of a label."""
        return incumbent.Rule(label, self.k, self.n_classes, self.majority)

    def is_lost(self, q: Query) -> bool:
        """Whether the query's label loses the vote as it stands."""
        return bool(incumbent.lost(self.rule(q.label), q.row, self.labels, self.space)[0])

    def targets(self, label: int) -> NDArray[np.int64]:
        """The targets (class, count) that the training set can meet, a row each, as `kernels.cells` reads them."""
        sizes = np.diff(self.data.class_start)
        negatives, found = int(sizes.sum() - sizes[label]), []
        half = self.k // 2
        wanted = [(-1, half)]
        if not self.majority:
            wanted = [(c, a) for c in range(self.n_classes) if c != label for a in range(1, half + 1) if sizes[c] >= a]
        for c, a in wanted:
            if negatives >= self.k - a:
                target = np.zeros(7, dtype=np.int64)
                incumbent.write_target(target, self.k, c, a)
                found.append(target)
        return np.array(found, dtype=np.int64).reshape(-1, 7)

    def attack(self, q: Query, n_rays: int = RAYS, n_exchanges: int = EXCHANGES) -> Witness | None:
        """The nearest witness found; None if there is none.  A negative `blur` says that its own scores deny it."""
        rule, best, target = self.rule(q.label), np.full(len(q.z), np.nan), np.empty(7, dtype=np.int64)
        place = attack.Place(
            q.z, q.centred, q.image, q.row, q.squared, q.offset, q.box_lower, q.box_upper, self.box is not None
        )  # fmt: skip
        step = np.empty(len(q.z))
        first, blur, sure = attack.found(
            self.attacked, place, rule, n_rays, n_exchanges, best, target, self.space, step
        )  # fmt: skip
        if first == 0:
            return Witness(0.0, np.zeros(len(q.z)), 0.0)
        if math.isinf(first):
            best = self._any_point(q)
            first = math.sqrt(float(best @ best))
            if math.isnan(first):
                return None
            blur, sure = attack.nearest_found(
                self.attacked, place, rule, first, n_exchanges, best, target, self.space, step
            )  # fmt: skip
        if blur < 0:  # on the boundary as far as floats tell, on neither side for sure
            step = best
        return Witness(witnessed_norm(q.z, step, _L2), step, float(blur), sure)

    def search(self, q: Query, limits: Limits) -> Finding:
        """Exact radius of a query, or an interval where a limit is met."""
        started, none = time.perf_counter(), np.full(len(q.z), np.nan)
        if self.is_lost(q):
            return Finding(0.0, 0.0, np.zeros(len(q.z)), RadiusStatus.MISCLASSIFIED)
        targets = self.targets(q.label)
        within = math.inf if self.box is None else float(farthest_in_box(q.box_lower - q.z, q.box_upper - q.z))
        if len(targets) == 0:
            return Finding(math.inf, math.inf, none, RadiusStatus.UNREACHABLE)
        # a box that is a single point: rounding may hide that the vote is lost there, so a ball around it is searched
        within = max(within, attack.SMALLEST_BALL * float(np.linalg.norm(q.centred) + self.longest))
        witness = self.attack(q)
        if witness is not None and witness.blur < 0:
            witness = None
        found = self._branch_and_bound(q, targets, witness, within, limits, started)
        if witness is None and found.witness is not None:  # once more, now that the search has an end
            witness = found.witness
            rest = dataclasses.replace(limits, nodes=limits.nodes - found.nodes)
            again = self._branch_and_bound(q, targets, witness, within, rest, started)
            found = dataclasses.replace(again, lower=max(again.lower, found.lower), nodes=found.nodes + again.nodes)
        if found.witness is None:
            status = found.limit or status_of(found.lower, math.inf, ROUNDING_WIDTH, 0.0)
            return Finding(found.lower, math.inf, none, status, found.nodes, found.limit)
        upper, step = found.witness.upper, found.witness.step
        lower = min(found.lower, upper)
        status = status_of(lower, upper, ROUNDING_WIDTH, found.witness.blur)
        status = status if status.closed else found.limit or status
        meetings = found.meetings if upper - lower > ROUNDING_WIDTH * upper else ()
        return Finding(lower, upper, step, status, found.nodes, found.limit, meetings, found.beyond)

    def _branch_and_bound(
        self,
        q: Query,
        targets: NDArray[np.int64],
        witness: Witness | None,
        within: float,
        limits: Limits,
        started: float,
    ) -> _Bounds:
        """Search below a witness (None: everywhere, until there is one)."""
        radius = within if witness is None else min(within, witness.upper * _BEYOND)
        far = radius
        if math.isinf(radius):
            far = _FAR_AWAY * float(np.linalg.norm(self.data.points - q.z, axis=1).max())
        near = self.around(q, radius, far)
        if 8 * near.n_negatives * (len(near.halves) - near.n_negatives) > limits.memory:  # their distances
            return _Bounds(0.0, witness, RadiusStatus.MEMORY_LIMIT, 0)
        apart = local.separations(near, near.n_negatives, len(near.halves))
        bounds = local.largest_bounds(near, apart, self.k // 2 + 1)
        useful = local.narrowed(near, apart, bounds, radius)
        reached, passed = useful[: near.n_negatives], useful[near.n_negatives :]
        if not reached.any():
            return _Bounds(math.inf if witness is None else radius, witness, None, 0)
        near = self._gathered(q, near.rows[useful], int(reached.sum()), far)
        apart = np.hstack([local.separations(near, 0, near.n_negatives), apart[reached][:, passed]])
        tree = planted(near, apart, targets, bounds[reached], radius)
        desk = desk_for(len(near.halves), len(q.z), self.k)
        limit, outcome, meetings = _limit_met(limits, tree, started), kernel.MORE, list[Meeting]()
        while limit is None and outcome != kernel.PROVED:
            budget = min(_SLICE - tree.counts[N_EVALUATED] % _SLICE, limits.nodes - tree.counts[N_EVALUATED])
            outcome = kernel.expand(tree, near, apart, targets, radius, int(budget), desk)
            other = None
            if outcome == kernel.WITNESSED:  # if rounding hides it, the search goes on above this node's bound
                node = int(tree.counts[FOUND])
                if len(meetings) < _MOST_MEETINGS:
                    meetings.append(self._meeting(tree, node, near, desk.w))
                else:
                    tree.floor[0] = min(tree.floor[0], tree.key[node])
                other = self._witness(q, near, targets[tree.target[node]], desk.w, far)
            elif outcome == kernel.MORE and tree.counts[N_EVALUATED] % _SLICE == 0:  # the same whatever the limit
                other = self._nearer(q, near, desk.w, radius, far)
            if other is not None and (witness is None or other.upper < witness.upper):
                witness, radius = other, min(radius, other.upper * _BEYOND)
            if outcome == kernel.FULL and 2 * sum(array.nbytes for array in tree) > limits.memory:
                limit = RadiusStatus.MEMORY_LIMIT
            elif outcome == kernel.FULL:
                tree = grown(tree)
            if outcome != kernel.PROVED:
                limit = limit or _limit_met(limits, tree, started)
        beyond = float(tree.floor[0])
        if tree.counts[HEAP_SIZE] > 0:
            beyond = min(beyond, float(tree.heap_key[0]))
        if math.isfinite(tree.floor[1]) and not self._leaves_are_empty(tree, near, q):
            beyond = min(beyond, float(tree.floor[1]))
        lower = min(beyond, min((one.bound for one in meetings), default=math.inf))
        if witness is None and lower >= within:
            lower = math.inf  # nothing in the box is farther
        elif math.isfinite(lower):
            lower = min(lower, far)
        return _Bounds(lower, witness, limit, int(tree.counts[N_EVALUATED]), tuple(meetings), min(beyond, far))

    def around(self, q: Query, radius: float, far: float) -> local.Local:
        """The training points that matter within a ball; bounds hold for witnesses no farther than `far`."""
        data, rules = self.data, self.data.rounding.rules
        start, stop = self.data.class_start[q.label], self.data.class_start[q.label + 1]
        z_length = float(np.linalg.norm(q.centred))
        reach = z_length + far
        index, n_negatives = local.matter(
            data.sites, data.rounding.lengths, self.longest, q.row, q.squared, q.offset, start, stop, radius,
            (self.k + 1) // 2, rules, z_length, reach,
        )  # fmt: skip
        return self._gathered(q, index, n_negatives, far)

    def _gathered(self, q: Query, rows: NDArray[np.int64], n_negatives: int, far: float) -> local.Local:
        data = self.data
        z_length = float(np.linalg.norm(q.centred))
        return local.gathered(
            rows, n_negatives, data.sites, data.rounding.lengths, self.labels, q.row, q.squared, q.offset, q.image,
            q.box_lower - q.z, q.box_upper - q.z, self.box is not None, data.rounding.rules, z_length, z_length + far,
        )  # fmt: skip

    def _witness(
        self, q: Query, near: local.Local, target: NDArray[np.int64], at: NDArray[np.float64], radius: float
    ) -> Witness | None:
        """A witness in the target's cell at the point `at`, a step from the query."""
        step = np.empty(len(q.z))
        blur, _ = lost_vote.witnessed(
            near, self.data.offsets, q.z, self.data.shift, q.box_lower, q.box_upper, self.rule(q.label), target,
            at, radius, self.space, step, np.empty(len(q.z)),
        )  # fmt: skip
        return Witness(witnessed_norm(q.z, step, _L2), step, float(blur)) if blur >= 0 else None

    def _nearer(
        self, q: Query, near: local.Local, at: NDArray[np.float64], radius: float, far: float
    ) -> Witness | None:
        """A witness nearer than a radius, from where a node's nearest point is; None if none is found."""
        best, target = np.empty(len(q.z)), np.empty(7, dtype=np.int64)
        reached = incumbent.nearer_around(near, self.rule(q.label), at, radius, EXCHANGES, best, target, self.space)
        return self._witness(q, near, target, best, far) if reached < radius else None

    def _any_point(self, q: Query) -> NDArray[np.float64]:
        """The step to some point at which the vote is lost, where short rays met none; NaN if none was found.

        Tried are all negatives, nearest first, and points beyond them.
        """
        near = np.argsort(q.row, kind="stable")
        negatives = self.data.points[near[self.labels[near] != q.label]]
        for stretch in _STRETCHES:
            for some in _blocks(negatives, max(1, 2**22 // len(self.labels))):
                block = np.clip(q.z + stretch * (some - q.z), q.box_lower, q.box_upper)
                rows = scores.scores_on_one_thread(self.data.sites, self.data.offsets, block - self.data.shift)
                own, other = scores.least_votes(
                    rows, self.labels, np.full(len(block), q.label), self.n_classes, self.k
                )  # fmt: skip
                found = own <= self.k // 2 if self.majority else own <= other
                if found.any():
                    steps = block[found] - q.z
                    nearest: NDArray[np.float64] = steps[np.argmin(np.linalg.norm(steps, axis=1))]
                    return nearest
        return np.full(len(q.z), np.nan)

    def _meeting(self, tree: Tree, node: int, near: local.Local, foot: NDArray[np.float64]) -> Meeting:
        """A node at whose nearest point its target is met."""
        start, size = tree.active[node]
        rows, lam = tree.arena_index[start : start + size], np.maximum(tree.arena_value[start : start + size], 0.0)
        named = named_rows(rows, lam, self.data.order[near.rows], len(foot))
        return Meeting(float(tree.key[node]), foot.copy(), *named)

    def _leaves_are_empty(self, tree: Tree, near: local.Local, q: Query) -> bool:
        """Whether rational arithmetic confirms every node that the active-set method found to be empty."""
        n, d = near.sites.shape
        for node in np.flatnonzero(tree.state[: tree.counts[N_NODES]] == EMPTY_LEAF):
            start, size = tree.active[node]
            rows = tree.arena_index[start : start + size]
            pairs = [(int(near.rows[row // n]), int(near.rows[row % n])) for row in rows if row >= 0]
            sides = []
            for feature in (-1 - row for row in rows if row < 0):
                upper, f = feature < d, feature % d
                sides.append((int(f), 1.0 if upper else -1.0, float((q.box_upper if upper else q.box_lower)[f])))
            if not prove_empty(self.metric, self.data.points, q.z, pairs, sides):
                return False
        return True


def _blocks(points: NDArray[np.float64], largest: int) -> Iterator[NDArray[np.float64]]:
    """The points in order, few at first."""
    start, size = 0, min(_FEW, largest)
    while start < len(points):
        yield points[start : start + size]
        start, size = start + size, min(4 * size, largest)


def _limit_met(limits: Limits, tree: Tree, started: float) -> RadiusStatus | None:
    if tree.counts[N_EVALUATED] >= limits.nodes:
        return RadiusStatus.NODE_LIMIT
    return RadiusStatus.TIME_LIMIT if time.perf_counter() - started >= limits.seconds else None
