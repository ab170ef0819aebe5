"""The judge's hand: holds what two roads say against each other, query by query, and writes the verdict down."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convexrml.checker import Rejected, check
from convexrml.evidence import Prover
from convexrml.neighbors import NearestNeighbors
from convexrml.norms import Box, Norm
from convexrml.results import AttackRadii, ExactRadii, RadiusStatus, selected
from convexrml.verdicts import Comparison, Verdict
from convexrml.votes import Vote, same_vote


@dataclasses.dataclass(frozen=True)
class Docket:
    """Writes down the verdicts for one norm and one box."""

    norm: Norm
    box: int
    comparisons: list[Comparison]

    def enter(
        self, verdict: Verdict, query: int, below: str, lower: float, above: str, upper: float, reason: str = ""
    ) -> None:
        """Write down one comparison."""
        self.comparisons.append(
            Comparison(verdict, query, self.norm, self.box, below, above, float(lower), float(upper), reason)
        )

    def bound_against_witness(
        self, below: str, lower: NDArray[np.float64], above: str, upper: NDArray[np.float64],
        reasons: Sequence[str] | None = None,
    ) -> None:  # fmt: skip
        """Each lower bound of one road against the witnessed upper bound of another (or of its own)."""
        for query, (low, high) in enumerate(zip(lower, upper, strict=True)):
            if math.isnan(low) or math.isnan(high):
                self.enter(Verdict.SKIPPED, query, below, low, above, high, "not a number")
            elif low > high:
                self.enter(Verdict.VIOLATED, query, below, low, above, high, reasons[query] if reasons else "")
            elif math.isinf(high) and not math.isinf(low):
                self.enter(Verdict.SKIPPED, query, below, low, above, high, "no witness")
            else:
                self.enter(Verdict.HOLDS, query, below, low, above, high)

    def exact_against_witness(self, name: str, interval: ExactRadii, above: str, upper: NDArray[np.float64]) -> None:
        """An exact road's lower bound; where it is a solver's word, a violation says whose."""
        claimed = [status is RadiusStatus.CLAIMED for status in interval.status]
        word = [f"the lower bound is {name}'s word, without a proof" if claim else "" for claim in claimed]
        self.bound_against_witness(f"exact {name}", interval.lower, above, upper, word)

    def witnesses(
        self,
        model: NearestNeighbors,
        Z: NDArray[np.float64],
        y: NDArray[Any],
        box: Box | None,
        vote: Vote,
        road: str,
        radii: AttackRadii | ExactRadii,
    ) -> None:
        """Ask the classifier about every witness, and measure it."""
        found = np.isfinite(radii.upper)
        moved = np.where(found[:, None], Z + np.where(found[:, None], radii.perturbation, 0.0), Z)
        sound = np.asarray(np.isfinite(moved).all(axis=1))
        moved[~sound] = Z[~sound]
        length = self.norm.of(radii.perturbation)
        mislabelled = model.mislabels(moved, y, vote=vote)
        inside = np.ones(len(Z), dtype=bool) if box is None else box.contains(moved)
        for query in range(len(Z)):
            name, low, high = f"witness of {road}", float(length[query]), float(radii.upper[query])
            if not found[query]:
                self.enter(Verdict.SKIPPED, query, name, low, road, high, "no witness")
            elif not (sound[query] and mislabelled[query]):
                reason = "the classifier does not mislabel the witness"
                self.enter(Verdict.VIOLATED, query, name, low, road, high, reason)
            elif not inside[query]:
                self.enter(Verdict.VIOLATED, query, name, low, road, high, "the witness is outside the box")
            else:
                verdict = Verdict.HOLDS if low <= high else Verdict.VIOLATED
                self.enter(verdict, query, name, low, road, high)

    def bound_against_interval(self, certified: NDArray[np.float64], above: str, interval: ExactRadii) -> None:
        """Each certified radius against an exact interval."""
        for query, low in enumerate(certified):
            below, high = float(interval.lower[query]), float(interval.upper[query])
            if math.isnan(low) or math.isnan(below) or math.isnan(high):
                self.enter(Verdict.SKIPPED, query, "certified", low, above, high, "not a number")
            elif low > high:
                self.enter(Verdict.VIOLATED, query, "certified", low, above, high)
            elif low > below * (1 + interval.tolerance):
                reason = f"the exact interval starts at {below!r}"
                self.enter(Verdict.INCONCLUSIVE, query, "certified", low, above, high, reason)
            elif not interval.status[query].closed:
                status = interval.status[query]
                met = "" if status is RadiusStatus.INTERVAL else f" ({status.name.lower().replace('_', ' ')})"
                self.enter(Verdict.SKIPPED, query, "certified", low, above, high, f"no usable gap{met}")
            else:
                self.enter(Verdict.HOLDS, query, "certified", low, above, high)

    def certificates(
        self, model: NearestNeighbors, Z: NDArray[np.float64], y: NDArray[Any], name: str, interval: ExactRadii
    ) -> None:
        """Each exact interval as a certificate: what integers alone confirm of it.

        Only intervals that are in order can be certified; the others are convicted elsewhere.
        """
        lower, upper = interval.lower, interval.upper
        with np.errstate(invalid="ignore"):
            usable = (
                (lower >= 0) & (lower <= upper) & (np.isinf(upper) | np.isfinite(interval.perturbation).all(axis=1))
            )
        at = np.flatnonzero(usable)
        made = iter(Prover(model).certificates(Z[at], y[at], selected(interval, at)) if len(at) else [])
        one_vote = interval.vote is Vote.MAJORITY or same_vote(model.n_neighbors, len(model.classes_))
        for query in range(len(Z)):
            below, low, above = f"certificate of exact {name}", math.nan, f"exact {name}"
            if not usable[query]:
                self.enter(Verdict.SKIPPED, query, below, low, above, float(lower[query]), "nothing to certify")
                continue
            certificate = next(made)
            low, high = certificate.lower, float(lower[query])
            try:
                check(certificate.to_bytes(), model.exact)
            except Rejected as rejected:
                self.enter(Verdict.VIOLATED, query, below, low, above, high, f"the checker rejects it: {rejected}")
                continue
            if math.isfinite(upper[query]) and certificate.upper is None:
                reason = "the witness does not lose the vote in exact arithmetic"
                self.enter(Verdict.VIOLATED, query, below, low, above, float(upper[query]), reason)
            elif low >= high * (1 - interval.tolerance):
                self.enter(Verdict.HOLDS, query, below, low, above, high)
            elif interval.status[query] is RadiusStatus.EXACT and one_vote and self.norm.order == 2:
                reason = "exact arithmetic proves less than was found"
                self.enter(Verdict.INCONCLUSIVE, query, below, low, above, high, reason)
            else:
                self.enter(Verdict.SKIPPED, query, below, low, above, high, "only the closed form is certified")

    def skip(self, below: str, lower: NDArray[np.float64], above: str, reason: str) -> None:
        """A road that gave nothing at all."""
        for query, low in enumerate(lower):
            self.enter(Verdict.SKIPPED, query, below, low, above, math.nan, reason)
