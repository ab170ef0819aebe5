"""The largest least radius of triplets over all metrics: upper bounds from any multipliers, and in closed form."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexrml.errors import InvalidInputError
from convexrml.hinge import inside_ball, weighted_sum
from convexrml.norms import Norm
from convexrml.rounding import UNIT_ROUNDOFF
from convexrml.spectral import gamma, largest_eigenvalue
from convexrml.triplets import Triplets

_TILTS = (0.0, *(10.0**k for k in range(-14, 1)))
_VANISHING = 2.0**-256


@dataclasses.dataclass(frozen=True, eq=False)
class MaxMinObjective:
    """``t(M) = min_i [v_iᵀ M s_i]₊ / (2 ‖M v_i‖_q)``, to be maximised over ``M ⪰ f I``, ``trace M = d``; 0/0 is 0.

    *Why f > 0.*  Over ``M ⪰ 0`` the constraints ``v_iᵀ M s_i ≥ 2 t ‖M v_i‖_q`` do not say that the radii are at least
    t: a metric that maps v_i to 0 satisfies them for every t, and gives that triplet the radius 0.  With ``M ⪰ f I``
    they do, the maximum is attained, and what is infeasible can be proved so in floating point.  Radii do not change
    when M is scaled, so f bounds the condition number of M, by d/f.

    Parameters
    ----------
    triplets : Triplets
    norm : Norm
        Of perturbations, order p; q is dual to it.
    floor : float
        f, in (0, 1).
    """

    triplets: Triplets
    norm: Norm
    floor: float

    def __post_init__(self) -> None:
        if not 0 < self.floor < 1:
            raise InvalidInputError(f"floor: needs a number between 0 and 1, both excluded; found {self.floor!r}")

    def value(self, M: NDArray[np.float64]) -> float:
        """``t(M)``: a lower bound on the maximum wherever M is feasible; computed in floating point."""
        return float(self.triplets.radii(M, self.norm).min())

    def feasible(self, M: NDArray[np.float64]) -> NDArray[np.float64]:
        """A matrix near M with ``M ⪰ f I`` and ``trace M = d``: eigenvalues raised, their excess over f rescaled."""
        d = self.triplets.n_features
        eigenvalues, Q = np.linalg.eigh((M + M.T) / 2)
        excess = np.maximum(eigenvalues - self.floor, 0)
        if not excess.sum() > 0:
            return np.eye(d)
        P = (Q * (excess * (d * (1 - self.floor) / excess.sum()))) @ Q.T
        return (P + P.T) / 2 + self.floor * np.eye(d)

    def closed_bound(self) -> float:
        """Upper bound on the maximum from single triplets: the least of their `radius_ceilings`."""
        return float(radius_ceilings(self.triplets, self.norm).min())

    def upper_bound(self, a: ArrayLike, q: ArrayLike, t: float) -> float:
        """Upper bound on the maximum from *any* multipliers of the program at radius t; rounding included.

        Let ``a ≥ 0``, and w_i any vectors (here ``2 t q_i``, shrunk to ``‖w_i‖_p ≤ 2 t a_i``).  If all radii of a
        feasible M were above ``T = max ‖w_i‖_p / (2 a_i)``, then, with ``C = Σ sym((a_i s_i − w_i) v_iᵀ)``,

            ``0 ≤ Σ a_i (v_iᵀ M s_i − 2 T ‖M v_i‖_q) ≤ ⟨C, M⟩ ≤ f trace C + (1 − f) d λmax(C),``

        so where the right-hand side is negative, T is an upper bound.  Multipliers of a solver may miss that by their
        tolerance.  Then they are tilted: ``w_i`` goes the share θ of the way to ``a_i (s_i + v_i)``, which turns
        ``a_i s_i − w_i`` towards ``−a_i v_i`` and makes T a little larger.

        Parameters
        ----------
        a : (m,) array
        q : (m, d) array
        t : float

        Returns
        -------
        float
            `closed_bound` if the multipliers prove nothing better.
        """
        T = self.triplets
        m, d = T.V.shape
        closed = self.closed_bound()
        weights = np.nan_to_num(np.asarray(a, dtype=np.float64).reshape(m), nan=0.0, posinf=0.0)
        largest = float(weights.max(initial=0.0))
        if closed == 0 or not largest > 0 or not 0 <= t < math.inf:
            return closed
        weights = weights / largest
        weights = np.where(weights > _VANISHING, weights, 0.0)
        W = inside_ball(2 * t * np.asarray(q, dtype=np.float64).reshape(m, d) / largest, 2 * t * weights, self.norm)
        used = weights > 0
        for tilt in _TILTS:
            tilted = (1 - tilt) * W + tilt * weights[:, None] * (T.S + T.V)
            C, slack = weighted_sum(T, weights, tilted)
            trace = float(np.trace(C))
            top = (1 - self.floor) * d * (largest_eigenvalue(C) + slack)
            low = self.floor * (trace + d * slack)
            if low + top + gamma(d + 8) * (d * self.floor * float(np.abs(C).max()) + abs(low) + abs(top)) < 0:
                reached = self.norm.of(tilted[used]) / (2 * weights[used])
                return min(closed, float(reached.max()) * (1 + 4 * (d + 4) * UNIT_ROUNDOFF))
        return closed


def radius_ceilings(T: Triplets, norm: Norm) -> NDArray[np.float64]:
    """What the radius of each triplet exceeds under no metric, shape ``(m,)``; rounding included.

    ``vᵀ M s ≤ vᵀ M (s + κ v) ≤ ‖M v‖_q ‖s + κ v‖_p`` for every ``κ ≥ 0``, so ``‖s + κ v‖_p / 2``, the least of κ = 0,
    of κ = 1 (the distance from x to x⁻) and of the κ that is best for p = 2.  0 where v = 0.
    """
    squares = np.einsum("ij,ij->i", T.V, T.V)
    down = np.maximum(-np.einsum("ij,ij->i", T.V, T.S), 0)
    nearest = np.divide(down, squares, out=np.zeros_like(squares), where=squares > 0)
    lengths = [norm.of(T.S + k[:, None] * T.V) for k in (np.zeros_like(nearest), np.ones_like(nearest), nearest)]
    off = gamma(T.n_features + 8) * (norm.of(T.S) + (1 + nearest) * norm.of(T.V))
    return np.where(squares > 0, (np.min(lengths, axis=0) + off) / 2, 0.0)
