"""Proof trees for exact k-NN radii in ℓ2: the branch and bound once more, depth first, with the radius in hand."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from convexrml.certificate import Proof, ProofTree
from convexrml.grouped import grouped_sites
from convexrml.k_nearest import KNearestSearch, Limits
from convexrml.kernels import local, multipliers
from convexrml.kernels.branching import desk_for
from convexrml.kernels.incumbent import slack_of
from convexrml.kernels.pairs import nearest_of_pairs
from convexrml.kernels.pruning import farthest_in_box
from convexrml.neighbors import NearestNeighbors
from convexrml.queries import Query, each_query, prepared
from convexrml.results import ExactRadii
from convexrml.votes import Vote

Indices = NDArray[np.int64]
_LESS = 1e-11  # relative; what rounding subtracts from the same multipliers differs less, found once more
_MOST_NODES = 10**5
_SMALLEST = 1e-15  # of the lengths around: a ball for a box that is a single point


class NotProvedError(Exception):
    """A case was met that this radius does not close."""


def majority_proofs(
    model: NearestNeighbors,
    Z: NDArray[np.float64],
    y: NDArray[np.int64],
    radii: ExactRadii,
    closed_form: NDArray[np.float64],
) -> tuple[NDArray[np.float64], list[Proof | None]]:
    """Radii that can be proved of exact k-NN radii in ℓ2, and their proofs; None where the closed form has to do.

    Where a plurality's radius exceeds the majority's, the majority's is searched for and proved.

    Parameters
    ----------
    model : NearestNeighbors
    Z : (n, d) array
    y : (n,) integer array
        Encoded labels.
    radii : ExactRadii
    closed_form : (n,) array
        Certified radii of the same queries.
    """
    data = grouped_sites(model)
    search = KNearestSearch(data, model.metric_, model.n_neighbors, Vote.MAJORITY, radii.box)
    lower, proofs = np.minimum(radii.lower, closed_form), list[Proof | None]()
    for a, q in enumerate(each_query(data, prepared(model, data, Z, y, radii.box))):
        proof, known = None, float(radii.lower[a])
        if known > closed_form[a]:
            radius = radius_to_prove(search, q, known)
            proof = majority_proof(search, q, radius)
            if proof is None and radii.vote is Vote.PLURALITY:
                known = search.search(q, Limits(nodes=_MOST_NODES)).lower
                radius = radius_to_prove(search, q, known)
                proof = majority_proof(search, q, radius) if known > closed_form[a] else None
            if proof is not None:
                lower[a] = math.inf if math.isinf(known) else radius
        proofs.append(proof)
    return lower, proofs


def radius_to_prove(search: KNearestSearch, q: Query, lower: float) -> float:
    """The radius to prove for a search's lower bound: a little less, or beyond all of a closed box."""
    if math.isfinite(lower):
        return lower * (1 - _LESS)
    if search.box is None:
        return math.inf
    around = float(np.linalg.norm(q.centred) + search.data.rounding.lengths.max())
    return max(float(farthest_in_box(q.box_lower - q.z, q.box_upper - q.z)), _SMALLEST * around)


def majority_proof(search: KNearestSearch, q: Query, radius: float) -> Proof | None:
    """A proof that no point nearer than `radius` loses the majority; None if none was found.

    Negatives that s triplet bounds keep away are swept; the others are the tree's.  The radius has to be one that the
    search has proved, less a little: each case is closed by its own multipliers, found once more, and what rounding
    subtracts from them differs in the last places.

    Parameters
    ----------
    search : KNearestSearch
    q : Query
    radius : float
        In a closed box, a radius beyond all of its points proves that none loses the majority.
    """
    data, s = search.data, (search.k + 1) // 2
    start, stop = data.class_start[q.label], data.class_start[q.label + 1]
    negatives = np.concatenate([np.arange(start), np.arange(stop, len(data.sites))])
    if len(negatives) < s:  # whatever the radius
        tree = ProofTree()
        tree.count()
        return tree.proof(np.sort(data.order[negatives]), np.zeros((0, s)))
    if stop - start < s or math.isinf(radius):
        return None
    near = search.around(q, radius, radius)
    m = near.n_negatives
    apart = local.separations(near)
    nearest = data.order[start + np.argsort(q.row[start:stop], kind="stable")[:s]]
    swept = dict.fromkeys(data.order[np.setdiff1d(negatives, near.rows[:m])].tolist(), nearest)
    case = _Case(search, q, near, apart, radius)
    candidates = []
    for j, bound in enumerate(local.largest_bounds(near, apart, s)[:, s - 1]):
        if bound >= radius:
            swept[int(data.order[near.rows[j]])] = case.farthest(j, s)
        else:
            candidates.append((bound, j))
    try:
        if len(candidates) < s:
            case.tree.count()
        else:
            case.close([], [], [], [j for _, j in sorted(candidates)])
    except NotProvedError:
        return None
    open_ones = (
        np.sort(data.order[near.rows[[j for _, j in candidates]]]) if candidates else np.zeros(0, dtype=np.int64)
    )
    rows = [swept[j] for j in sorted(swept)]
    return case.tree.proof(open_ones, np.array(rows, dtype=np.int64).reshape(len(rows), s))


@dataclasses.dataclass(frozen=True, eq=False)
class _Row:
    """A pair (member, other) with its multiplier."""

    j: int
    i: int
    multiplier: float


class _Case:
    """One query's tree while it is written."""

    def __init__(
        self, search: KNearestSearch, q: Query, near: local.Local, apart: NDArray[np.float64], radius: float
    ) -> None:
        self.near, self.apart, self.radius = near, apart, radius
        self.names = search.data.order[near.rows]
        self.s = (search.k + 1) // 2
        self.tree = ProofTree()
        self.positives = np.arange(near.n_negatives, len(near.halves))
        self.slack = slack_of(near) if len(near.halves) else 0.0
        self.desk = desk_for(len(near.halves), len(q.z), search.k)

    def farthest(self, j: int, count: int) -> Indices:
        """Names of the `count` positives with the largest triplet bounds against negative j."""
        gaps = self.near.halves[j] - self.near.halves[self.positives]
        bounds = gaps / np.maximum(self.apart[j], 1e-300)
        return np.asarray(self.names[self.positives[np.argsort(-bounds, kind="stable")[:count]]])

    def close(self, members: list[int], kept: list[int], excused: list[int], candidates: list[int]) -> None:
        """Write the records that close a case, which is known by its members, kept and excused positives.

        `candidates` are the other negatives that are not ruled out, hardest last.
        """
        near, desk = self.near, self.desk
        allowed = np.setdiff1d(self.positives, excused)
        others = allowed if len(excused) == self.s - 1 else np.array(kept, dtype=np.int64)
        none = np.zeros(0, dtype=np.int64)
        rows, _ = nearest_of_pairs(
            near.sites, near.halves, near.spreads, near.image, np.array(members, dtype=np.int64), len(members), others,
            len(others), 0, none, 0, near.room_lower, near.room_upper, near.boxed, 1e-3 * self.slack,
            self.radius * (1 + 1e-6), desk.w, 0, desk.active, desk.multipliers, desk.Q, desk.R, desk.work,
        )  # fmt: skip
        active, weights = desk.active[:rows].copy(), np.maximum(desk.multipliers[:rows], 0.0)
        evidence = multipliers.weighed(
            near, active, weights, rows, desk.normal, desk.magnitude, desk.work[0, : near.sites.shape[1]]
        )  # fmt: skip
        if multipliers.proved(evidence, near.rules) >= self.radius:
            self._dual(active, weights)
            return
        phi = np.empty(len(near.halves))
        local.half_scores(near, desk.normal, phi)
        free = self.s - len(excused)
        if members and len(excused) < self.s - 1:
            high = phi[members].max()
            nearer = [int(i) for i in np.setdiff1d(allowed, kept) if phi[i] < high - self.slack]
            if len(nearer) >= free:
                self._split(members, kept, excused, candidates, nearer, phi, evidence, active, weights)
                return
        if len(members) == self.s:
            raise NotProvedError
        left = []
        for j in candidates:
            bound, chain = self._if_member(j, allowed, kept, free, phi, evidence)
            if bound < self.radius:
                left.append((bound, j))
                continue
            self.tree.negative(int(self.names[j]))
            for c, row in enumerate(chain):
                if c + 1 < len(chain):
                    self.tree.positive(int(self.names[row.i]))
                self._dual(active, weights, row)
        hardest_last = [j for _, j in sorted(left)]
        while len(hardest_last) >= self.s - len(members):
            j = hardest_last.pop()
            self.tree.negative(int(self.names[j]))
            self.close([*members, j], kept, excused, list(hardest_last))
        self.tree.count()

    def _split(
        self,
        members: list[int],
        kept: list[int],
        excused: list[int],
        candidates: list[int],
        nearer: list[int],
        phi: NDArray[np.float64],
        evidence: multipliers.Evidence,
        active: Indices,
        weights: NDArray[np.float64],
    ) -> None:
        """Of the positives that are too near, one of the farthest few is kept: case by case."""
        m, free = self.near.n_negatives, self.s - len(excused)
        far = []
        for i in nearer:
            pulls = [(phi[j] - phi[i]) / self.apart[j, i - m] if self.apart[j, i - m] > 0 else 0.0 for j in members]
            far.append((max(pulls), members[int(np.argmax(pulls))], i))
        far.sort(key=lambda one: -one[0])
        before: list[int] = []
        for c, (_, j, i) in enumerate(far[:free]):
            if c + 1 < free:
                self.tree.positive(int(self.names[i]))
            row, bound = self._one_more(j, i, phi, evidence)
            if bound >= self.radius:
                self._dual(active, weights, row)
            else:
                self.close(members, [*kept, i], [*excused, *before], candidates)
            before.append(i)

    def _if_member(
        self,
        j: int,
        allowed: Indices,
        kept: list[int],
        free: int,
        phi: NDArray[np.float64],
        evidence: multipliers.Evidence,
    ) -> tuple[float, list[_Row]]:
        """What is proved if j joins the members, and the rows that prove it: one kept positive's, or `free` others'."""
        m = self.near.n_negatives
        pulls = np.where(self.apart[j] > 0, phi[j] - phi[self.positives], 0.0) / np.maximum(self.apart[j], 1e-300)
        best: tuple[float, list[_Row]] = (0.0, [])
        for i in kept:
            if pulls[i - m] > 0:
                row, bound = self._one_more(j, i, phi, evidence)
                best = max(best, (bound, [row]), key=lambda one: one[0])
        if best[0] >= self.radius:
            return best
        eager = [int(i) for i in np.setdiff1d(allowed, kept) if pulls[i - m] > 0]
        eager.sort(key=lambda i: -pulls[i - m])
        if len(eager) < free:
            return best
        found = [self._one_more(j, i, phi, evidence) for i in eager[:free]]
        return max(best, (min(bound for _, bound in found), [row for row, _ in found]), key=lambda one: one[0])

    def _one_more(self, j: int, i: int, phi: NDArray[np.float64], evidence: multipliers.Evidence) -> tuple[_Row, float]:
        """The row of member j and other i with its best multiplier, and what is proved with it."""
        violation, apart = float(phi[j] - phi[i]), float(self.apart[j, i - self.near.n_negatives])
        if not (violation > 0 and apart > 0):
            return _Row(j, i, 0.0), 0.0
        more = multipliers.with_one_more(self.near, evidence, j, i, violation, apart)
        return _Row(j, i, violation / (apart * apart)), float(multipliers.proved(more, self.near.rules))

    def _dual(self, active: Indices, weights: NDArray[np.float64], one_more: _Row | None = None) -> None:
        """Close by the active rows' multipliers, and perhaps one more."""
        n, d = self.near.sites.shape
        pairs = [(int(row // n), int(row % n), float(w)) for row, w in zip(active, weights, strict=True) if row >= 0]
        if one_more is not None:
            pairs.append((one_more.j, one_more.i, one_more.multiplier))
        box: dict[int, float] = {}
        for row, weight in zip(active, weights, strict=True):
            if row < 0:  # the checker counts rows of pairs twice
                f = int(-1 - row)
                box[f % d] = box.get(f % d, 0.0) + (2 * float(weight) if f < d else -2 * float(weight))
        J, I, lam = zip(*pairs, strict=True) if pairs else ((), (), ())  # noqa: E741
        self.tree.multipliers(self.names[list(J)], self.names[list(I)], lam, box)
