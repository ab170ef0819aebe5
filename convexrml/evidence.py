"""Certificates for radii that are known: positives or multipliers against every negative, for a given lower bound.

Whoever found a radius keeps evidence against the binding negative at most.  Here every negative is asked, with the
claimed radius in hand: nearly all are kept away by the nearest positive alone, a few by another one, and the last few
need multipliers, from the dual active-set method (ℓ2) or a linear program (ℓ1, ℓ∞).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexrml.bounds import certified_radius
from convexrml.certificate import Certificate, Proof, ProofTree
from convexrml.checker import Rejected, check, digest
from convexrml.errors import InvalidInputError
from convexrml.formulations.half_spaces import half_spaces
from convexrml.kernels import evidence as kernel
from convexrml.neighbors import NearestNeighbors
from convexrml.norms import Box, Norm
from convexrml.results import CertifiedRadii, ExactRadii
from convexrml.rounding import UNIT_ROUNDOFF
from convexrml.visits import Record
from convexrml.votes import Vote

_ENOUGH = 1 + 1e-6  # times the radius: multipliers that prove this are good enough
_STEPS = 4.0 ** np.arange(12)  # by how many roundings a radius is lowered that its multipliers miss


@dataclasses.dataclass(frozen=True, eq=False)
class _Case:
    """One query, and what is to be proved of it."""

    z: NDArray[np.float64]
    label: int
    row: NDArray[np.float64]
    radius: float
    norm: Norm
    box: Box | None
    positives: NDArray[np.int64]
    negatives: NDArray[np.int64]


class Prover:
    """Makes the certificates of one classifier.

    Parameters
    ----------
    model : NearestNeighbors
        Fitted.
    """

    def __init__(self, model: NearestNeighbors) -> None:
        self.model = model
        self.training = model.exact
        self._programs: dict[tuple[int, float, Box | None], Any] = {}

    def certificates(
        self,
        Z: ArrayLike,
        y: ArrayLike,
        radii: ExactRadii | CertifiedRadii,
        *,
        proofs: Sequence[Proof | None] | None = None,
        about: Sequence[Mapping[str, Any]] | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> list[Certificate]:
        """Certificates for radii that this classifier's queries have.

        The radius claimed is ``radii.lower``; where the evidence falls short of it in exact arithmetic, the claim is
        lowered to what the evidence proves, so that the checker accepts every certificate.  An upper bound whose
        witness does not lose the vote in exact arithmetic is left out.  With more than one neighbour and no `proofs`,
        exact radii in norm 2 are proved by the tree of a branch and bound (where a plurality's grows too large, the
        majority's radius, which is no larger); otherwise the claim is the closed-form bound, at most ``radii.lower``.

        Parameters
        ----------
        Z : (n, d) array
        y : (n,) array
        radii : ExactRadii or CertifiedRadii
            Of these queries.
        proofs : sequence of Proof, optional
            Evidence that is known already, for ``radii.lower``; None where there is none.
        about : sequence of mappings, optional
            What else each certificate tells.
        progress : callable, optional
            Called with the number of queries finished since the last call.

        Returns
        -------
        list of Certificate

        Raises
        ------
        InvalidInputError
            If Z, y and the radii do not belong together.
        """
        points = self.model.require_queries(Z)
        labels = self.model.encode(y, len(points))
        if len(radii) != len(points):
            raise InvalidInputError(f"radii: there are {len(radii)} of them for {len(points)} queries")
        if radii.n_neighbors != self.model.n_neighbors:
            raise InvalidInputError(f"radii: are those of {radii.n_neighbors} neighbours, not {self.model.n_neighbors}")
        if self.model.n_neighbors > 1 and proofs is None:
            closed_form = certified_radius(self.model, points, y, norm=radii.norm).lower
            proofs = [None] * len(points)
            lower = np.minimum(radii.lower, closed_form)
            if isinstance(radii, ExactRadii) and radii.norm.order == 2:
                from convexrml.k_nearest_proof import vote_proofs  # cycle-free, but needed for these radii only

                lower, proofs = vote_proofs(self.model, points, labels, radii, closed_form)
            radii = dataclasses.replace(radii, lower=lower)
        made = []
        for batch in self.model.batches(len(points)):
            rows = self.model.scores(points[batch])
            for a, row in zip(range(batch.start, batch.stop), rows, strict=True):
                given = None if proofs is None else proofs[a]
                tell = {} if about is None else about[a]
                made.append(self._certificate(points[a], int(labels[a]), row, radii, a, given, tell))
                if progress is not None:
                    progress(1)
        return made

    def _certificate(
        self,
        z: NDArray[np.float64],
        label: int,
        row: NDArray[np.float64],
        radii: ExactRadii | CertifiedRadii,
        a: int,
        given: Proof | None,
        about: Mapping[str, Any],
    ) -> Certificate:
        lower, upper, witness, box, vote = float(radii.lower[a]), None, None, None, Vote.MAJORITY
        hints = np.zeros(0, dtype=np.int64)
        if isinstance(radii, ExactRadii):
            box, vote, hints = radii.box, radii.vote, radii.positives[a]
            if math.isfinite(radii.upper[a]):
                upper, witness = float(radii.upper[a]), z + radii.perturbation[a]
                if not self.training.lost(witness, label, self.model.n_neighbors, vote.value):
                    upper, witness = None, None
        else:
            hints = radii.positive[a : a + 1]
            hints = hints[hints >= 0]
        proof, sure = given, 0.0  # what a given proof is worth is up to the checker
        if lower > 0 and given is None:
            proof, sure = self._prove(self._case(z, label, row, lower, radii.norm, box), hints)
        hashes = {**self.training.sha256, "query": digest("query", z)}
        made = Certificate(
            lower, upper, radii.norm, self.model.n_neighbors, vote, self.training.labels[label], z, witness, box,
            proof if lower > 0 else None, hashes, about,
        )  # fmt: skip
        return made if sure >= lower else self._lowered(made, sure)

    def reaches(
        self, z: NDArray[np.float64], label: int, radius: float, norm: Norm, box: Box | None, hints: NDArray[np.int64]
    ) -> bool:
        """Whether exact arithmetic proves that the 1-NN radius of z, with an encoded label, is at least `radius`.

        `hints` are positives to be asked first.
        """
        case = self._case(z, label, self.model.scores(z[None])[0], radius, norm, box)
        proof, _ = self._prove(case, hints)
        claim = self.claim(z, label, radius, norm, box, proof=proof)
        try:
            check(claim.to_bytes(), self.training)
        except Rejected:
            return False
        return True

    def claim(
        self,
        z: NDArray[np.float64],
        label: int,
        radius: float,
        norm: Norm,
        box: Box | None,
        vote: Vote = Vote.PLURALITY,
        proof: Proof | None = None,
    ) -> Certificate:
        """The claim that the radius of z, with an encoded label, is at least `radius`; no upper bound."""
        name, hashes = self.training.labels[label], {**self.training.sha256, "query": digest("query", z)}
        return Certificate(radius, None, norm, self.model.n_neighbors, vote, name, z, None, box, proof, hashes)

    def _case(
        self, z: NDArray[np.float64], label: int, row: NDArray[np.float64], radius: float, norm: Norm, box: Box | None
    ) -> _Case:
        of_label = self.model.labels_ == label
        positives = np.flatnonzero(of_label)
        positives = positives[np.argsort(row[positives], kind="stable")]
        return _Case(z, label, row, radius, norm, box, positives, np.flatnonzero(~of_label))

    def _lowered(self, made: Certificate, sure: float) -> Certificate:
        """The certificate as it is if the checker accepts it, else with the largest radius tried that it accepts."""
        below = made.lower * (1 - 2 * UNIT_ROUNDOFF * _STEPS) if math.isfinite(made.lower) else np.zeros(0)
        refused = ""
        for lower in [made.lower, *below[below > sure].tolist(), sure]:
            tried = dataclasses.replace(made, lower=lower, proof=made.proof if lower > 0 else None)
            try:
                check(tried.to_bytes(), self.training)
            except Rejected as reason:
                refused = str(reason)
                continue
            return tried
        raise AssertionError(f"evidence that was computed with rounding subtracted is refused: {refused}")

    def _prove(self, case: _Case, hints: NDArray[np.int64]) -> tuple[Proof, float]:
        """Evidence for every negative, and the radius that it proves for certain, at most the one it is meant for."""
        model, s = self.model, (self.model.n_neighbors + 1) // 2
        rounding = model.rounding(case.norm)
        z_length = float(np.linalg.norm(case.z - model.shift_))
        found = np.full((len(case.negatives), s), -1, dtype=np.int64)
        nearest_and_hints = np.concatenate([case.positives[:s], hints])
        counts = kernel.sweep(
            model.sites_, rounding.lengths, case.row, nearest_and_hints, case.positives, case.negatives, s,
            case.norm.dual_order, rounding.rules, z_length, case.radius, found,
        )  # fmt: skip
        swept = counts == s
        tree, sure = ProofTree(), case.radius
        if s > 1 and np.count_nonzero(~swept) >= s:  # rounding leaves too many open to count: the checker has to judge
            self._sweep_by_best(case, found, swept)
            sure = 0.0
        left = case.negatives[~swept]
        if s == 1:
            for j in left.tolist():
                sure = min(sure, self._against(case, j, tree.negative(j)))
        tree.count()
        return tree.proof(left, found[swept]), sure

    def _sweep_by_best(self, case: _Case, found: NDArray[np.int64], swept: NDArray[np.bool_]) -> None:
        """Sweep all but s − 1 open negatives by the positives with the largest triplet bounds; no rounding deducted."""
        s, sites = found.shape[1], self.model.sites_
        places = np.flatnonzero(~swept)
        reached = np.full(len(places), -np.inf)
        for at, place in enumerate(places):
            j = case.negatives[place]
            lengths = case.norm.dual_of(sites[case.positives] - sites[j])
            gaps = case.row[j] - case.row[case.positives]
            bounds = np.divide(gaps, lengths, out=np.full(len(gaps), -np.inf), where=lengths > 0)
            best = np.argsort(-bounds, kind="stable")[:s]
            if len(best) == s:
                found[place], reached[at] = case.positives[best], bounds[best[-1]]
        swept[places[np.argsort(reached, kind="stable")[s - 1 :]]] = True

    def _against(self, case: _Case, j: int, tree: ProofTree) -> float:
        """Write multipliers against the negative j; the radius that they prove for certain."""
        if case.norm.order == 2:
            return self._by_active_set(case, j, tree)
        return self._by_linear_program(case, j, tree)

    def _by_active_set(self, case: _Case, j: int, tree: ProofTree) -> float:
        model, box, row = self.model, case.box, case.row
        rounding = model.rounding(case.norm)
        z_length = float(np.linalg.norm(case.z - model.shift_))
        images, spread_rounding = model.images(case.z[None])
        image = images[0]
        near = np.concatenate([case.positives, [j]])
        squared = model.site_squares[near] - 2 * (model.sites_[near] @ image) + image @ image + spread_rounding[0]
        spreads, halves = np.sqrt(np.maximum(squared, 0.0)), row[near] / 2
        room_lower = np.full(len(case.z), -np.inf) if box is None else box.lower - case.z
        room_upper = np.full(len(case.z), np.inf) if box is None else box.upper - case.z
        farthest = float(np.linalg.norm(np.maximum(room_upper, -room_lower)))
        stop_at = _ENOUGH * min(case.radius, farthest)
        with np.errstate(invalid="ignore"):
            touch = halves[:-1] - spreads[:-1] * stop_at <= halves[-1] + spreads[-1] * stop_at
        some = np.flatnonzero(touch | np.isnan(spreads[:-1] * stop_at) | math.isinf(stop_at))
        outside = box is not None and not box.contains(model.training_points_[j])
        reach = z_length + farthest if outside and math.isfinite(farthest) else 0.0
        tolerance = 1e-3 * float(rounding.gap(case.positives[:1], j, z_length, reach)[0])
        active, lam, proved = kernel.multipliers_against(
            model.sites_, rounding.lengths, row, case.positives[some], halves[some], spreads[some], image, j,
            room_lower, room_upper, box is not None, rounding.rules, z_length, reach, tolerance, stop_at,
        )  # fmt: skip
        n, d = len(some), len(case.z)
        useful = lam > 0
        active, lam = active[useful], lam[useful]
        pairs = active < n
        sides = {
            int(index - n) % d: float(2 * weight if index < n + d else -2 * weight)
            for index, weight in zip(active[~pairs], lam[~pairs], strict=True)
        }
        tree.multipliers(np.full(pairs.sum(), j), case.positives[some[active[pairs]]], lam[pairs], sides)
        return 0.0 if math.isinf(case.radius) else float(proved)

    def _by_linear_program(self, case: _Case, j: int, tree: ProofTree) -> float:
        from convexrml.lazy_lp import LazyLinearProgram  # HiGHS is loaded only where it is used

        key = (case.label, case.norm.order, case.box)
        if key not in self._programs:
            self._programs[key] = LazyLinearProgram(self.model, case.label, case.norm, case.box)
        program = self._programs[key]
        record = Record(case.z, case.row, np.full(len(case.z), np.nan))
        lam = program.multipliers(record, j, _ENOUGH * case.radius)
        support = np.flatnonzero(lam)
        positives = program.positives[support]
        h = half_spaces(self.model, case.z, positives, j, case.norm, case.box, case.row)
        sides = box_multipliers(2 * h.combine(lam[support]), h.room_lower, h.room_upper, case.radius, case.norm)
        tree.multipliers(np.full(len(support), j), positives, lam[support], sides)
        return 0.0 if math.isinf(case.radius) or case.box is not None else h.weak_duality(lam[support])


def box_multipliers(
    w: NDArray[np.float64], room_lower: NDArray[np.float64], room_upper: NDArray[np.float64], radius: float, norm: Norm
) -> dict[int, float]:
    """The v that makes ``h(v) + r ‖w + v‖_q`` least, in ℓ1 and ℓ∞, with h(v) the largest ⟨v, δ⟩ over the box.

    To take a unit off ``|w_f|`` costs the room ``c_f`` on its side.  In ℓ∞ (q = 1) it saves r: take all where ``c_f <
    r``.  In ℓ1 (q = ∞) the largest entries are levelled together, as long as their rooms add up to less than r.  inf
    stands for ``−w_f`` exactly, see `convexrml.certificate.ProofTree.multipliers`.
    """
    room = np.where(w > 0, -room_lower, room_upper)  # δ_f moves against w_f
    if math.isinf(norm.order):
        return dict.fromkeys(np.flatnonzero((room < radius) & (w != 0)).tolist(), math.inf)
    order = np.argsort(-np.abs(w))
    reached = np.flatnonzero(np.cumsum(room[order]) >= radius)
    if len(reached) == 0:
        return dict.fromkeys(np.flatnonzero(w).tolist(), math.inf)
    above = order[: reached[0]]
    level = abs(w[order[reached[0]]])
    return {int(f): float(-np.sign(w[f]) * (abs(w[f]) - level)) for f in above if abs(w[f]) > level}
