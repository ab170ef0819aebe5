"""Regularisers R(M) of metric learning: their values, and what each makes of multipliers of the triplets.

Every program here has the form ``min Σ_i c_i [g_i + 2 τ_i ‖M v_i‖_q − v_iᵀ M s_i]₊ + R(M)`` over ``M ⪰ 0``.  With
multipliers ``0 ≤ a_i ≤ c_i`` and ``‖q_i‖_p ≤ a_i``, ``[h]₊ ≥ (a/c) h`` and ``a ‖M v‖_q ≥ ⟨q, M v⟩`` give

    ``F(M) ≥ total − ⟨C, M⟩ + R(M),    total = Σ g_i a_i,    C = Σ sym((a_i s_i − 2 τ_i q_i) v_iᵀ),``

and the least value of the right-hand side over ``M ⪰ 0`` depends on R alone: `dual_bound`.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from convexrml.errors import InvalidInputError
from convexrml.metric import nearest_psd
from convexrml.spectral import LOST, gamma, largest_eigenvalue
from convexrml.validation import float_array, positive_number


class Regulariser(Protocol):
    """What a program needs to know of R."""

    def value(self, M: NDArray[np.float64]) -> float:
        """``R(M)`` of a feasible M.

        Parameters
        ----------
        M : (d, d) array
            Symmetric.

        Returns
        -------
        float
            In units of the hinges.
        """

    def gradient(self, M: NDArray[np.float64]) -> NDArray[np.float64]:
        """``∇R(M)``.

        Parameters
        ----------
        M : (d, d) array
            Symmetric.

        Returns
        -------
        (d, d) array
            Symmetric.
        """

    def feasible(self, M: NDArray[np.float64]) -> NDArray[np.float64]:
        """A matrix near M that is feasible: positive semidefinite, of the right trace where one is set.

        Parameters
        ----------
        M : (d, d) array
            What a solver left.

        Returns
        -------
        (d, d) array
            Symmetric.
        """

    def dual_bound(self, C: NDArray[np.float64], total: float, slack: float = 0.0) -> float:
        """Lower bound on ``min over M ⪰ 0 of total − ⟨C, M⟩ + R(M)``, and so on F; rounding subtracted.

        Parameters
        ----------
        C : (d, d) array
            Symmetric to the last bit.
        total : float
            ``Σ g_i a_i``, not above its true value.
        slack : float
            What C may be off in Frobenius norm.

        Returns
        -------
        float
            At least 0: multipliers that are all 0 prove that.
        """


@dataclasses.dataclass(frozen=True)
class FixedTrace:
    """``trace M = trace``, nothing else: ``total − trace · λmax(C)``.

    Parameters
    ----------
    trace : float
        Positive; the number of features keeps M at the scale of the Euclidean metric.
    """

    trace: float

    def __post_init__(self) -> None:
        positive_number("trace", self.trace)

    def value(self, M: NDArray[np.float64]) -> float:
        """0."""
        return 0.0

    def gradient(self, M: NDArray[np.float64]) -> NDArray[np.float64]:
        """0."""
        return np.zeros_like(M)

    def feasible(self, M: NDArray[np.float64]) -> NDArray[np.float64]:
        """The nearest PSD matrix, rescaled; the identity's multiple where that is 0."""
        P = nearest_psd(M)
        size = float(np.trace(P))
        return P * (self.trace / size) if size > 0 else np.eye(len(P)) * (self.trace / len(P))

    def dual_bound(self, C: NDArray[np.float64], total: float, slack: float = 0.0) -> float:
        """``total − trace · λmax(C)``."""
        price = self.trace * (largest_eigenvalue(C) + slack)
        return max(0.0, total - price - gamma(4) * (abs(total) + abs(price)))


@dataclasses.dataclass(frozen=True)
class TracePenalty:
    """``λ trace M``: ``total · min(1, λ / λmax(C))``, for multipliers that are too large are scaled down.

    Too large a λ makes ``M = 0`` optimal.

    Parameters
    ----------
    lam : float
        λ, positive.
    """

    lam: float

    def __post_init__(self) -> None:
        positive_number("lam", self.lam)

    def value(self, M: NDArray[np.float64]) -> float:
        """``λ trace M``."""
        return self.lam * float(np.trace(M))

    def gradient(self, M: NDArray[np.float64]) -> NDArray[np.float64]:
        """``λ I``."""
        return self.lam * np.eye(len(M))

    def feasible(self, M: NDArray[np.float64]) -> NDArray[np.float64]:
        """The nearest PSD matrix."""
        return nearest_psd(M)

    def dual_bound(self, C: NDArray[np.float64], total: float, slack: float = 0.0) -> float:
        """``total · min(1, λ / λmax(C))``."""
        top = largest_eigenvalue(C) + slack
        share = 1.0 if top <= self.lam else self.lam / top * (1 - gamma(4))
        return max(0.0, total * share)


@dataclasses.dataclass(frozen=True, eq=False)
class FrobeniusPrior:
    """``λ/2 ‖M − M₀‖_F²``.

    For any ``Z ⪰ 0``, the multiplier of ``M ⪰ 0``, minimising over all symmetric M gives, with ``G = C + Z``,

        ``total − ⟨G, M₀⟩ − ‖G‖_F² / (2 λ),``

    greatest at ``Z = λ [M₀ + C/λ]₋``, where it is ``total + λ/2 ‖P − M₀‖² − ⟨C, P⟩``, ``P = [M₀ + C/λ]₊``.

    Parameters
    ----------
    lam : float
        λ, positive.
    M0 : (d, d) array, optional
        M₀, symmetric; the identity by default.
    """

    lam: float
    M0: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        positive_number("lam", self.lam)
        if self.M0 is not None:
            prior = float_array("M0", self.M0)
            if prior.ndim != 2 or prior.shape[0] != prior.shape[1] or (prior != prior.T).any():
                square = prior.ndim == 2 and prior.shape[0] == prior.shape[1]
                found = "one that is not symmetric" if square else f"shape {prior.shape}"
                raise InvalidInputError(f"M0: needs a symmetric matrix (d, d), equal to its transpose; found {found}")
            object.__setattr__(self, "M0", prior)

    def prior(self, n_features: int) -> NDArray[np.float64]:
        """M₀ for data of some number of features.

        Parameters
        ----------
        n_features : int
            The dimension d.

        Returns
        -------
        (d, d) array
            The identity where none was given.

        Raises
        ------
        InvalidInputError
            If M₀ has another shape.
        """
        prior = np.eye(n_features) if self.M0 is None else self.M0
        if len(prior) != n_features:
            raise InvalidInputError(
                f"M0: needs shape {(n_features, n_features)}, that of the triplets; found shape {prior.shape}"
            )
        return prior

    def value(self, M: NDArray[np.float64]) -> float:
        """``λ/2 ‖M − M₀‖_F²``."""
        return self.lam / 2 * float(np.sum((M - self.prior(len(M))) ** 2))

    def gradient(self, M: NDArray[np.float64]) -> NDArray[np.float64]:
        """``λ (M − M₀)``."""
        return self.lam * (M - self.prior(len(M)))

    def feasible(self, M: NDArray[np.float64]) -> NDArray[np.float64]:
        """The nearest PSD matrix."""
        return nearest_psd(M)

    def dual_bound(self, C: NDArray[np.float64], total: float, slack: float = 0.0) -> float:
        """``total − ⟨C + Z, M₀⟩ − ‖C + Z‖_F² / (2 λ)`` at the best Z."""
        d = len(C)
        prior = self.prior(d)
        eigenvalues, Q = np.linalg.eigh(prior + C / self.lam)
        z = self.lam * np.maximum(-eigenvalues, 0)
        G = C + (Q * z) @ Q.T  # exactly PSD as a real product, whatever Q: only its rounding counts
        off = slack + gamma(d + 8) * (float(z @ np.einsum("ij,ij->j", Q, Q)) + float(np.linalg.norm(C))) + LOST
        size, reach = ((1 + gamma(d * d + 4)) * float(np.linalg.norm(K)) for K in (G, prior))
        size += off
        inner = float(np.sum(G * prior)) + off * reach + gamma(d * d) * size * reach
        price = inner + size * size / (2 * self.lam)
        return max(0.0, total - price - gamma(8) * (abs(total) + abs(inner) + size * size / self.lam) - LOST)
