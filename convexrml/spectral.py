"""Eigenvalues with proof: what a computed eigendecomposition says of the matrix itself, whatever LAPACK did."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from convexrml.rounding import UNIT_ROUNDOFF

LOST = 2.0**-1000  # more than a sum of 2⁷⁰ products can lose to underflow


def gamma(n: int) -> float:
    """``2 n u / (1 − n u)``: a sum of n products is off by this times the sum of magnitudes.

    Twice the bound of Higham (Accuracy and Stability of Numerical Algorithms, 2nd ed., chapter 3), which pays for
    computing the magnitudes; it holds for every order of summation.
    """
    return 2 * n * UNIT_ROUNDOFF / (1 - n * UNIT_ROUNDOFF)


def largest_eigenvalue(C: NDArray[np.float64]) -> float:
    """Upper bound on ``λmax(C)`` of a symmetric matrix; proven, and tight to a few ``d u ‖C‖``.

    With the computed Λ and Q, ``C = Q Λ Qᵀ + R``, and ``xᵀ Q Λ Qᵀ x ≤ λ ‖Qᵀ x‖²`` where ``‖Qᵀ x‖²`` is within
    ``‖QᵀQ − I‖`` of ``‖x‖² = 1``.  Both residuals are formed and their own rounding is added.

    Parameters
    ----------
    C : (d, d) array
        Symmetric to the last bit.
    """
    d = len(C)
    eigenvalues, Q = np.linalg.eigh(C)
    squares = np.einsum("ij,ij->j", Q, Q)
    rebuilt = gamma(d + 4) * float(np.abs(eigenvalues) @ squares)  # ‖ |Q||Λ||Qᵀ| ‖_F at most
    residual = (1 + gamma(d * d)) * float(np.linalg.norm(C - (Q * eigenvalues) @ Q.T)) + rebuilt
    skewness = (1 + gamma(d * d)) * float(np.linalg.norm(Q.T @ Q - np.eye(d))) + gamma(d + 4) * float(squares.sum())
    top = float(eigenvalues[-1])
    bound = top + abs(top) * skewness + residual + LOST
    return bound + gamma(4) * abs(bound)
