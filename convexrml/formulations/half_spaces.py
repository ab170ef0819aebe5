"""The half-spaces that separate a query's label from one negative, in the query's own coordinates and units."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from convexrml.bounds import triplet_bounds
from convexrml.errors import InvalidInputError
from convexrml.neighbors import NearestNeighbors
from convexrml.norms import Box, Norm
from convexrml.rounding import UNIT_ROUNDOFF
from convexrml.validation import whole_number

_VANISHING = 2.0**-256
_SMALLEST_UNIT = 1e-9  # of the data around the query: a tie up to rounding makes no unit of length


@dataclasses.dataclass(frozen=True, eq=False)
class HalfSpaces:
    """The set of perturbations δ after which negative j is no farther than any positive: ``⟨u_i − u_j, δ⟩ ≤ b_i``.

    From ``score_j(z + δ) ≤ score_i(z + δ)``: the right-hand side is ``b_i = (score_i(z) − score_j(z)) / 2``, negative
    for the positives that are nearer now.  With a box, ``room_lower ≤ δ ≤ room_upper`` joins.

    Attributes
    ----------
    sites : (n₊, d) array
        The positives' sites ``u_i``.
    site : (d,) array
        The negative's site ``u_j``.
    gaps : (n₊,) array
        ``b``, in units of squared distance.
    room_lower, room_upper : (d,) arrays
        ``lower − z ≤ 0`` and ``upper − z ≥ 0``; infinite where there is no side.
    norm : Norm
    bound : float
        The triplet bound ``max_i t_ij``, a lower bound on the least ``‖δ‖``.
    unit : float
        A power of two near that bound: the length in which programs count.
    rounding : (n₊,) array
        What a computed b_i may be off, two scores of z and two of a witness together.
    slack : (n₊,) array
        What the rounding of the sites may add to ``‖u_i − u_j‖_q``.
    stretch : float
        Carries a computed dual norm above the true one.
    """

    sites: NDArray[np.float64]
    site: NDArray[np.float64]
    gaps: NDArray[np.float64]
    room_lower: NDArray[np.float64]
    room_upper: NDArray[np.float64]
    norm: Norm
    bound: float
    unit: float
    rounding: NDArray[np.float64]
    slack: NDArray[np.float64]
    stretch: float

    def combine(self, lam: NDArray[np.float64]) -> NDArray[np.float64]:
        """``Σ_i λ_i (u_i − u_j)``."""
        combination: NDArray[np.float64] = lam @ self.sites - lam.sum() * self.site
        return combination

    def weak_duality(
        self, lam: NDArray[np.float64], mu: NDArray[np.float64] | None = None, nu: NDArray[np.float64] | None = None
    ) -> float:
        """Lower bound on ``‖δ‖_p`` over the set, from any multipliers.

        For ``λ, μ, ν ≥ 0`` on the half-spaces and the upper and lower sides of the box, every δ in the set satisfies

            ``⟨w, δ⟩ ≤ bᵀλ + room_upperᵀμ − room_lowerᵀν,   w = Σ_i λ_i (u_i − u_j) + μ − ν,``

        so ``‖δ‖_p ≥ −(bᵀλ + room_upperᵀμ − room_lowerᵀν) / ‖w‖_q``.  Rounding is subtracted above and added below:
        ``γ = 4 (n₊ + 2 d + 8) u`` times the sum of the magnitudes of all terms (the differences of sites are formed in
        one product, hence ``|u_i| + |u_j|``), and what the b_i and the sites themselves may be off.

        Parameters
        ----------
        lam : (n₊,) array
        mu, nu : (d,) arrays, optional
            Zero where omitted.  Negative and NaN multipliers, and those of sides that are not there, count as 0.

        Returns
        -------
        float
            0 if the multipliers prove nothing; inf if they prove the set empty.
        """
        lam, mu, nu = _usable(
            (lam, np.ones(len(self.gaps), dtype=bool)),
            (mu, np.isfinite(self.room_upper)),
            (nu, np.isfinite(self.room_lower)),
        )
        gamma = 4 * (len(lam) + 2 * self.dim + 8) * UNIT_ROUNDOFF
        terms = np.concatenate([self.gaps * lam, _product(self.room_upper, mu), -_product(self.room_lower, nu)])
        numerator = -terms.sum() - gamma * np.abs(terms).sum() - self.rounding @ lam
        if not numerator > 0:
            return 0.0
        w = self.combine(lam) + mu - nu
        magnitudes = lam @ np.abs(self.sites) + lam.sum() * np.abs(self.site) + mu + nu
        norm_w = self.stretch * self.norm.dual_of(w) + self.slack @ lam + gamma * self.norm.dual_of(magnitudes)
        return float(numerator / norm_w) if norm_w > 0 else math.inf

    def proves_empty(self, lam: NDArray[np.float64]) -> bool:
        """Whether multipliers prove that no δ in the box satisfies all half-spaces.

        ``min over the box of Σ_i λ_i (⟨u_i − u_j, δ⟩ − b_i) > 0``.  The minimum over a box is taken coordinate by
        coordinate, so the multipliers of its sides need not be known.  Each entry of ``w = Σ_i λ_i (u_i − u_j)`` may be
        off by e; as ``room_lower ≤ 0 ≤ room_upper``, its part of the minimum is at least ``min(0, (w − e) room_upper,
        (w + e) room_lower)``.
        """
        (lam,) = _usable((lam, np.ones(len(self.gaps), dtype=bool)))
        gamma = 4 * (len(lam) + 2 * self.dim + 8) * UNIT_ROUNDOFF
        w = self.combine(lam)
        e = gamma * (lam @ np.abs(self.sites) + lam.sum() * np.abs(self.site)) + self.slack @ lam
        parts = np.minimum(_product(w - e, self.room_upper), _product(w + e, self.room_lower))
        terms = np.concatenate([np.minimum(parts, 0.0), -self.gaps * lam])
        return bool(terms.sum() - gamma * np.abs(terms).sum() - self.rounding @ lam > 0)

    def out_of_reach(self, lam: NDArray[np.float64]) -> float:
        """Lower bound on ``‖δ‖_p`` from multipliers of the half-spaces that are meant as a proof of emptiness.

        inf if they are one; else what `weak_duality` makes of them with the multipliers of the box's sides that cancel
        most of w: next to a proof (or with one that rounding spoils on an open side) that is a large number.
        """
        if self.proves_empty(lam):
            return math.inf
        (usable,) = _usable((lam, np.ones(len(self.gaps), dtype=bool)))
        w = self.combine(usable)
        return self.weak_duality(usable, np.maximum(-w, 0.0), np.maximum(w, 0.0))

    @property
    def dim(self) -> int:
        """Dimension d of the input space."""
        return len(self.site)


def half_spaces(
    model: NearestNeighbors,
    z: NDArray[np.float64],
    positives: NDArray[np.int64],
    negative: int,
    norm: Norm,
    box: Box | None,
    row: NDArray[np.float64] | None = None,
) -> HalfSpaces:
    """The half-spaces of query `z` (d,) against training point `negative`; `row` (N,) are z's scores where known."""
    row = model.scores(z[None])[0] if row is None else row
    gaps = (row[positives] - row[negative]) / 2
    nearest_first = positives[np.argsort(gaps, kind="stable")]
    bound = float(triplet_bounds(model, z, row, nearest_first, np.array([negative]), norm)[0])
    extent = float(max(np.abs(z - model.shift_).max(), np.abs(z - model.training_points_[negative]).max()))
    rounding, z_length, reach = model.rounding(norm), float(np.linalg.norm(z - model.shift_)), 0.0
    if box is not None and not box.contains(model.training_points_[negative]):
        farthest = float(np.linalg.norm(np.maximum(box.upper - z, z - box.lower)))
        reach = z_length + farthest if math.isfinite(farthest) else 0.0
    return HalfSpaces(
        sites=model.sites_[positives],
        site=model.sites_[negative],
        gaps=gaps,
        room_lower=np.full(len(z), -np.inf) if box is None else box.lower - z,
        room_upper=np.full(len(z), np.inf) if box is None else box.upper - z,
        norm=norm,
        bound=bound,
        unit=power_of_two(max(bound, _SMALLEST_UNIT * extent), extent),
        rounding=rounding.gap(positives, negative, z_length, reach) / 2,
        slack=rounding.separation(positives, negative),
        stretch=rounding.stretch,
    )


def require_negative(model: NearestNeighbors, negative: object, label: int) -> int:
    """Read the index of a training point whose label differs.

    Raises
    ------
    InvalidInputError
        If it is out of range or carries the query's own label.
    """
    j = whole_number("negative", negative, minimum=0)
    if j >= len(model.labels_):
        raise InvalidInputError(f"negative: needs a row of the training set, 0 to {len(model.labels_) - 1}; found {j}")
    if model.labels_[j] == label:
        raise InvalidInputError(
            f"negative: row {j} has the query's own label {model.classes_[label].item()!r}; name a row of another label"
        )
    return j


def power_of_two(*candidates: float) -> float:
    """The power of two nearest to the first candidate that is positive and finite; dividing by it is exact."""
    return next((math.ldexp(1.0, min(round(math.log2(c)), 1023)) for c in candidates if 0 < c < math.inf), 1.0)


def _usable(*given: tuple[NDArray[np.float64] | None, NDArray[np.bool_]]) -> list[NDArray[np.float64]]:
    """Multipliers as they may be used: none negative, NaN or infinite, none where its row is not there.

    They are scaled so that the largest is near 1, which changes no bound, and the vanishing ones are dropped, so that
    no product of theirs underflows, where rounding would not be relative.
    """
    usable = [
        np.zeros(len(there)) if m is None else np.where(there & (m > 0) & (m < np.inf), m, 0.0) for m, there in given
    ]
    exponent = -math.frexp(max(float(m.max(initial=0.0)) for m in usable))[1]
    scaled = [np.ldexp(m, exponent) for m in usable]
    return [np.where(m < _VANISHING, 0.0, m) for m in scaled]


def _product(values: NDArray[np.float64], multipliers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Entrywise product in which 0 · ∞ is 0: a side that is not there pays nothing for a zero multiplier."""
    either_zero = (values == 0) | (multipliers == 0)
    return np.where(either_zero, 0.0, np.where(either_zero, 1.0, values) * np.where(either_zero, 1.0, multipliers))
