"""The robust hinge of triplets: value, subgradient, and lower bounds on its minimum from any multipliers."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexrml.errors import InvalidInputError
from convexrml.norms import Norm
from convexrml.regularisers import Regulariser
from convexrml.rounding import UNIT_ROUNDOFF
from convexrml.spectral import LOST, gamma
from convexrml.triplets import Triplets
from convexrml.validation import float_array

_VANISHING = 2.0**-256  # multipliers below it count as 0, so that no product of what is left underflows in earnest


@dataclasses.dataclass(frozen=True, eq=False)
class RobustHingeObjective:
    """``F(M) = Σ_i c_i h_i(M)₊ + R(M),   h_i(M) = g_i + 2 τ_i ‖M v_i‖_q − v_iᵀ M s_i,`` over ``M ⪰ 0``.

    ``h_i(M)₊`` is the largest value of the large-margin hinge ``[g + d_M(x + δ, x⁺)² − d_M(x + δ, x⁻)²]₊`` over all
    ``‖δ‖_p ≤ τ``, for the difference of squared distances is affine: ``−v_iᵀ M s_i − 2 ⟨M v_i, δ⟩``.  Convex in M.

    Parameters
    ----------
    triplets : Triplets
        Their weights are the ``c_i``.
    norm : Norm
        Of the perturbation, order p; q is dual to it.
    tau : float or (m,) array
        τ ≥ 0, the radius to defend, in the units of the input.
    margin : float or (m,) array
        g, in units of squared distance under M.
    regulariser : Regulariser
        R; may add a constraint on M.
    """

    triplets: Triplets
    norm: Norm
    tau: float | NDArray[np.float64]
    margin: float | NDArray[np.float64]
    regulariser: Regulariser

    def __post_init__(self) -> None:
        object.__setattr__(self, "tau", one_for_each("tau", self.tau, len(self.triplets), least=0.0))
        object.__setattr__(self, "margin", one_for_each("margin", self.margin, len(self.triplets)))

    def hinges(self, M: NDArray[np.float64]) -> NDArray[np.float64]:
        """``h_i(M)`` of each triplet.

        Parameters
        ----------
        M : (d, d) array
            Symmetric.

        Returns
        -------
        (m,) array
            In units of squared distance under M.
        """
        T = self.triplets
        return np.asarray(self.margin + 2 * self.tau * T.lengths(M, self.norm) - T.margins(M))

    def value(self, M: NDArray[np.float64]) -> float:
        """``F(M)`` of a symmetric M: an upper bound on the minimum wherever M is feasible.

        Computed in floating point, so within about ``(m + 2 d) u`` of the sum of the terms' magnitudes.

        Parameters
        ----------
        M : (d, d) array
            Symmetric.

        Returns
        -------
        float
            In units of squared distance under M.
        """
        return float(self.triplets.weights @ np.maximum(self.hinges(M), 0)) + self.regulariser.value(M)

    def gradient(self, M: NDArray[np.float64]) -> NDArray[np.float64]:
        """A subgradient of F at M; the gradient where F is differentiable.

        Parameters
        ----------
        M : (d, d) array
            Symmetric.

        Returns
        -------
        (d, d) array
            Symmetric.
        """
        return self.regulariser.gradient(M) - self.combine(*self.multipliers(M))[0]

    def multipliers(self, M: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The multipliers that M suggests: ``a_i = c_i`` where the hinge is positive, and ``q_i = a_i ∂‖M v_i‖_q``.

        Parameters
        ----------
        M : (d, d) array
            Symmetric.

        Returns
        -------
        a : (m,) array
            ``c_i`` or 0.
        Q : (m, d) array
            ``‖q_i‖_p ≤ a_i`` and ``⟨q_i, M v_i⟩ = a_i ‖M v_i‖_q``.
        """
        a = np.where(self.hinges(M) > 0, self.triplets.weights, 0.0)
        return a, a[:, None] * dual_vectors(self.triplets.V @ M, self.norm)

    def lower_bound(self, a: ArrayLike, q: ArrayLike) -> float:
        """Lower bound on the minimum of F from *any* multipliers, by weak duality; rounding is subtracted.

        ``F(M) ≥ Σ g_i a_i − ⟨C(a, q), M⟩ + R(M)`` for all ``0 ≤ a_i ≤ c_i``, ``‖q_i‖_p ≤ a_i`` and every M, and
        `Regulariser.dual_bound` minimises the right-hand side over ``M ⪰ 0``.

        Parameters
        ----------
        a : (m,) array
            Brought into ``[0, c]``; NaN counts as 0.
        q : (m, d) array
            Each row brought into its ball; a row that is not finite counts as 0.

        Returns
        -------
        float
            At least 0.
        """
        a, Q = self.admissible(a, q)
        C, slack = self.combine(a, Q)
        off = gamma(len(a) + 2) * float(np.dot(np.abs(self.margin), a)) + LOST
        return self.regulariser.dual_bound(C, float(np.dot(self.margin, a)) - off, slack)

    def admissible(self, a: ArrayLike, q: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The multipliers as they may be used: ``0 ≤ a ≤ c``, ``‖q_i‖_p ≤ a_i`` for real numbers.

        Parameters
        ----------
        a : (m,) array
            NaN counts as 0.
        q : (m, d) array
            A row that is not finite counts as 0.

        Returns
        -------
        a : (m,) array
            Brought into ``[0, c]``.
        Q : (m, d) array
            Each row brought into its ball.
        """
        m, d = self.triplets.V.shape
        clipped = np.minimum(np.nan_to_num(np.asarray(a, dtype=np.float64).reshape(m), nan=0.0), self.triplets.weights)
        clipped = np.where(clipped > _VANISHING, clipped, 0.0)
        return clipped, inside_ball(np.asarray(q, dtype=np.float64).reshape(m, d), clipped, self.norm)

    def combine(self, a: NDArray[np.float64], Q: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
        """``C = Σ sym((a_i s_i − 2 τ_i q_i) v_iᵀ)``, the matrix of the dual.

        Parameters
        ----------
        a : (m,) array
            Admissible multipliers of the hinges.
        Q : (m, d) array
            Those of the lengths.

        Returns
        -------
        C : (d, d) array
            Symmetric to the last bit.
        slack : float
            What it may be off in Frobenius norm.
        """
        return weighted_sum(self.triplets, a, 2 * np.reshape(self.tau, (-1, 1)) * Q)


def weighted_sum(T: Triplets, a: NDArray[np.float64], W: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """``Σ sym((a_i s_i − w_i) v_iᵀ)``, symmetric to the last bit, and what it may be off in Frobenius norm.

    The sum of the magnitudes behind it has at most the Frobenius norm ``Σ (a_i ‖s_i‖ + ‖w_i‖) ‖v_i‖``.
    """
    product = (a[:, None] * T.S - W).T @ T.V
    S, w, v = (np.linalg.norm(rows, axis=1) for rows in (T.S, W, T.V))
    slack = gamma(len(a) + T.n_features + 8) * float((a * S + w) @ v) + LOST
    return (product + product.T) / 2, slack


def dual_vectors(W: NDArray[np.float64], norm: Norm) -> NDArray[np.float64]:
    """Rows u with ``‖u‖_p ≤ 1`` and ``⟨u, w⟩ = ‖w‖_q``: where a perturbation of norm 1 does most; 0 where w is 0."""
    if norm.order == np.inf:
        return np.sign(W)
    if norm.order == 2:
        lengths = np.linalg.norm(W, axis=1, keepdims=True)
        return np.divide(W, lengths, out=np.zeros_like(W), where=lengths > 0)
    U = np.zeros_like(W)
    rows, largest = np.arange(len(W)), np.abs(W).argmax(axis=1)
    U[rows, largest] = np.sign(W[rows, largest])
    return U


def inside_ball(Q: NDArray[np.float64], radii: NDArray[np.float64], norm: Norm) -> NDArray[np.float64]:
    """The rows of Q, shrunk to ``‖q_i‖_p ≤ radii_i`` for real numbers; rows that are not finite become 0."""
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = norm.of(Q) * (1 + 4 * (Q.shape[1] + 4) * UNIT_ROUNDOFF)
        usable = np.isfinite(lengths) & (radii > 0)
        share = np.where(lengths > radii, radii / np.where(lengths > 0, lengths, 1.0), 1.0)
        return np.where(usable[:, None], Q * np.where(usable, share, 0.0)[:, None], 0.0)


def one_for_each(name: str, values: ArrayLike, m: int, least: float = -np.inf) -> NDArray[np.float64]:
    """Read one finite number for all m triplets, or one for each; as an ``(m,)`` array."""
    array = float_array(name, values)
    if array.shape not in ((), (m,)) or (array < least).any():
        bound = "" if np.isinf(least) else f" that is at least {least:g}"
        found = f"shape {array.shape}" if array.shape not in ((), (m,)) else f"{array.min():g}"
        raise InvalidInputError(f"{name}: needs one number{bound}, or one for each of the {m} triplets; found {found}")
    return np.ascontiguousarray(np.broadcast_to(array, m))
