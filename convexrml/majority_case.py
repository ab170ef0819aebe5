"""Cases of a proof that no majority is lost: which negatives are members of it, which positives are kept or excused."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from convexrml.certificate import ProofTree
from convexrml.k_nearest import KNearestSearch
from convexrml.kernels import local, multipliers
from convexrml.kernels.branching import desk_for
from convexrml.kernels.incumbent import slack_of
from convexrml.kernels.pairs import Known, nearest_of_pairs
from convexrml.queries import Query
from convexrml.search_tree import named_rows

Indices = NDArray[np.int64]
DEEPEST = 300  # splits; the checker refuses trees that are much deeper


class NotProvedError(Exception):
    """A case was met that this radius does not close."""


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """A pair (member, other) with its multiplier."""

    j: int
    i: int
    multiplier: float


class MajorityCase:
    """One query's tree while it is written."""

    def __init__(
        self, search: KNearestSearch, q: Query, near: local.Local, apart: NDArray[np.float64], radius: float
    ) -> None:
        self.near, self.apart, self.radius, self.open = near, apart, radius, list[int]()
        self.search, self.label = search, q.label
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
        if self.tree.depth > DEEPEST:
            raise NotProvedError
        near, desk = self.near, self.desk
        allowed = np.setdiff1d(self.positives, excused)
        others = allowed if len(excused) == self.s - 1 else np.array(kept, dtype=np.int64)
        active, weights, evidence = self.solved(np.array(members, dtype=np.int64), others)
        if multipliers.proved(evidence, near.rules) >= self.radius:
            self.dual(active, weights)
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
            self.majority_lost()
            return
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
                self.dual(active, weights, row)
        hardest_last = [j for _, j in sorted(left)]
        while len(hardest_last) >= self.s - len(members):
            j = hardest_last.pop()
            self.tree.negative(int(self.names[j]))
            self.close([*members, j], kept, excused, list(hardest_last))
        self.tree.count()

    def majority_lost(self) -> None:
        """Close a case in which a majority is lost nearer than the radius."""
        raise NotProvedError

    def solved(self, inside: Indices, outside: Indices) -> tuple[Indices, NDArray[np.float64], multipliers.Evidence]:
        """Rows and multipliers for the nearest point at which none inside is farther than any outside, and their worth.

        The desk's `normal` receives the step to that point.
        """
        near, desk = self.near, self.desk
        known = Known(np.zeros(len(desk.w)), near.halves.copy(), desk.all, near.columns, desk.value, len(near.halves))
        rows, _ = nearest_of_pairs(
            near.sites, near.halves, near.spreads, near.image, inside, len(inside), outside, len(outside), 0, outside,
            0, near.room_lower, near.room_upper, near.boxed, 1e-3 * self.slack, self.radius * (1 + 1e-6),
            known, desk.w, 0, desk.active, desk.multipliers, desk.Q, desk.R, desk.work,
        )  # fmt: skip
        active, weights = desk.active[:rows].copy(), np.maximum(desk.multipliers[:rows], 0.0)
        evidence = multipliers.weighed(
            near, active, weights, rows, desk.normal, desk.magnitude, desk.work[0, : near.sites.shape[1]]
        )  # fmt: skip
        return active, weights, evidence

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
                self.dual(active, weights, row)
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
    ) -> tuple[float, list[Row]]:
        """What is proved if j joins the members, and the rows that prove it: one kept positive's, or `free` others'."""
        m = self.near.n_negatives
        pulls = np.where(self.apart[j] > 0, phi[j] - phi[self.positives], 0.0) / np.maximum(self.apart[j], 1e-300)
        best: tuple[float, list[Row]] = (0.0, [])
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

    def _one_more(self, j: int, i: int, phi: NDArray[np.float64], evidence: multipliers.Evidence) -> tuple[Row, float]:
        """The row of member j and other i with its best multiplier, and what is proved with it."""
        violation, apart = float(phi[j] - phi[i]), float(self.apart[j, i - self.near.n_negatives])
        if not (violation > 0 and apart > 0):
            return Row(j, i, 0.0), 0.0
        more = multipliers.with_one_more(self.near, evidence, j, i, violation, apart)
        return Row(j, i, violation / (apart * apart)), float(multipliers.proved(more, self.near.rules))

    def dual(self, active: Indices, weights: NDArray[np.float64], one_more: Row | None = None) -> None:
        """Close by the active rows' multipliers, and perhaps one more."""
        J, I, lam, box = named_rows(active, weights, self.names, self.near.sites.shape[1])  # noqa: E741
        if one_more is not None:
            J, I = np.append(J, self.names[one_more.j]), np.append(I, self.names[one_more.i])  # noqa: E741
            lam = np.append(lam, one_more.multiplier)
        self.tree.multipliers(J, I, lam, box)
