"""Cases of a proof that no plurality is lost: a majority may be, while the label still has more votes than any other.

Where a majority is lost nearer than the radius, points are told one by one to be among the k nearest (*inside*) or not
(*outside*), until the votes counted cannot be lost, or multipliers close the case.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from convexrml.checker import may_lose
from convexrml.kernels import local, multipliers
from convexrml.majority_case import DEEPEST, MajorityCase, NotProvedError

_MOST_RECORDS = 20_000


class PluralityCase(MajorityCase):
    """One query's tree while it is written, for a plurality."""

    def majority_lost(self) -> None:
        """Close a case in which a majority is lost nearer than the radius, a plurality not: split until it is closed.

        A negative is inside first, a positive outside.
        """
        while (t := self._undecided()) is not None:
            split = self.tree.positive if self.near.classes[t] == self.label else self.tree.negative
            split(int(self.names[t]))
            self.majority_lost()

    def _undecided(self) -> int | None:
        """The point to be decided next, where the case cannot be closed; None when it is.

        At the case's own point, a point that is nearer than one inside is decided first; then, of those that would
        complete the k nearest, one that is farther than a point outside: for that moves the point.  If there is none,
        these are the k nearest; where they lose the vote, the radius is not proved.
        """
        tree, near, k = self.tree, self.near, self.search.k
        if len(tree) > _MOST_RECORDS or tree.depth > DEEPEST:
            raise NotProvedError
        classes, known = near.classes.tolist(), [tree.known.get(name) for name in self.names.tolist()]
        low = Counter(c for c, inside in zip(classes, known, strict=True) if inside)
        out = Counter(c for c, inside in zip(classes, known, strict=True) if inside is False)
        high = self._free() - out
        if not self._may_lose(low, high):
            tree.count()
            return None
        full = {c: not self._may_lose(low + Counter([c]), high) for c in high}
        swept = set(range(near.n_negatives)) - set(self.open)
        inside = [t for t, value in enumerate(known) if value]
        outside = [
            t for t, value in enumerate(known) if not value and (value is False or t in swept or full[classes[t]])
        ]
        active, weights, evidence = self.solved(np.array(inside, dtype=np.int64), np.array(outside, dtype=np.int64))
        if multipliers.proved(evidence, near.rules) >= self.radius:
            self.dual(active, weights)
            return None
        phi = np.empty(len(near.halves))
        local.half_scores(near, self.desk.normal, phi)
        undecided = sorted(set(range(len(phi))) - set(inside) - set(outside), key=lambda t: phi[t])
        likely = undecided[: k - len(inside)]
        if not likely:
            raise NotProvedError
        if phi[likely[0]] < max((phi[t] for t in inside), default=-np.inf) - self.slack:
            return likely[0]
        if phi[likely[-1]] > min((phi[t] for t in outside), default=np.inf) + self.slack:
            return likely[-1]
        there = low + Counter(classes[t] for t in likely)
        if self._may_lose(there, there):
            raise NotProvedError
        own = [t for t in likely if classes[t] == self.label]
        return own[-1] if own else likely[-1]

    def _may_lose(self, low: Counter[int], high: Counter[int]) -> bool:
        return may_lose(low, high, self.label, self.search.k, "plurality")

    def _free(self) -> Counter[int]:
        """How many points of each class can be inside at all: negatives only if they are open."""
        start = self.search.data.class_start
        return Counter(self.near.classes[self.open].tolist()) + Counter(
            {self.label: int(start[self.label + 1] - start[self.label])}
        )
