"""How far floating point may be off: the deductions that make every lower bound a bound for real numbers."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from convexrml.kernels import rounding as kernel

UNIT_ROUNDOFF = kernel.UNIT_ROUNDOFF
_SMALLEST = 2.0**-1074


@dataclasses.dataclass(frozen=True, eq=False)
class Rounding:
    """Bounds on rounding in scores, and in distances between sites, of one training set under one norm.

    With ``a_i = ‖x_i − m‖₂``, ``α = ‖ |M| ‖₂`` and ``γ = n u / (1 − n u)``, ``u = 2⁻⁵³``, ``n = 2 d + (length of the
    sums in M x) + 16`` (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., chapter 3), a computed score
    of a point p is off by at most ``γ (|x_i|ᵀ|M||x_i| + 2 |x_i|ᵀ|M||p − m|) ≤ γ α (a_i² + 2 a_i ‖p − m‖₂)``: forming
    the sites, the offsets and the score are each within their sums.

    *Which points p.*  A lower bound must hold against every witness, and a witness is a point that the classifier
    mislabels in its own arithmetic.  One that contradicts a bound t lies within t of z, and t is at most the norm of
    ``x_j − z``, where negative j itself is reached.  So ``‖p − m‖₂ ≤ ‖z − m‖₂ + c (‖z − m‖₂ + a_j)`` with c = 1 for p
    = 2 and c = √d for p = 1, ∞.  In a box that leaves x_j out, p may be as far as the box reaches.

    Two scores at z and two at p make the deduction from ``score_j − score_i``:

        ``2 γ α (a_i² + a_j² + 2 (a_i + a_j) far),    far = the bound on ‖p − m‖₂.``

    *Distances.*  The computed ``‖u_i − u_j‖_q`` is off by the rounding of the sites, ``γ α (a_i + a_j)`` in ℓ2 (times
    √d for q = 1), and by that of its own sum, its root and the division: the factor ``1 + 4 (d + 4) u``.

    *Underflow.*  Each product may lose the smallest float: n of them, weighted by what they are multiplied with, are
    added to scores, and the root of d of them to distances.

    Attributes
    ----------
    rules : (6,) array
        The constants, in the order of ``convexrml.kernels.rounding``.
    lengths : (N,) array
        ``a_i``.
    """

    rules: NDArray[np.float64]
    lengths: NDArray[np.float64]

    def gap(self, i: NDArray[np.int64], j: int, z_length: float, reach: float = 0.0) -> NDArray[np.float64]:
        """The deduction from ``score_j − score_i``.

        Parameters
        ----------
        i : (m,) int array
            Positives.
        j : int
            A negative.
        z_length : float
            ``‖z − m‖₂``.
        reach : float, default 0.0
            Of the box: the largest ``‖p − m‖₂`` in it, where that is more than what the radius allows.

        Returns
        -------
        (m,) array
            In units of squared distance under M.
        """
        a_i, a_j = self.lengths[i], self.lengths[j]
        far = max(z_length + self.rules[kernel.REACH_WIDENING] * (z_length + a_j), reach)
        squares = a_i**2 + a_j**2 + 2 * (a_i + a_j) * far
        lost: NDArray[np.float64] = self.rules[kernel.LOST_SCORE] * (1 + a_i + a_j + far)
        return 2 * self.rules[kernel.UNIT] * squares + lost

    def separation(self, i: NDArray[np.int64], j: int) -> NDArray[np.float64]:
        """What the rounding of the sites may add to ``‖u_i − u_j‖_q``.

        Parameters
        ----------
        i : (m,) int array
            Positives.
        j : int
            A negative.

        Returns
        -------
        (m,) array
            In units of a site.
        """
        widening = self.rules[kernel.SITE_WIDENING] * self.rules[kernel.UNIT]
        return widening * (self.lengths[i] + self.lengths[j]) + self.rules[kernel.LOST_LENGTH]

    @property
    def unit(self) -> float:
        """``γ α``."""
        return float(self.rules[kernel.UNIT])

    @property
    def stretch(self) -> float:
        """The factor ``1 + 4 (d + 4) u``."""
        return float(self.rules[kernel.STRETCH])


def rounding_of(
    lengths: NDArray[np.float64], n_features: int, summands: int, magnitude: float, order: float
) -> Rounding:
    """The bounds for a training set with the given ``a_i``, metric (`summands`, `magnitude` = α) and norm order p."""
    n = 2 * n_features + summands + 16
    gamma = n * UNIT_ROUNDOFF / (1 - n * UNIT_ROUNDOFF)
    root = float(np.sqrt(n_features))
    rules = np.empty(6)
    rules[kernel.UNIT] = gamma * magnitude
    rules[kernel.REACH_WIDENING] = 1.0 if order == 2 else root
    rules[kernel.STRETCH] = 1 + 4 * (n_features + 4) * UNIT_ROUNDOFF
    rules[kernel.SITE_WIDENING] = root if np.isinf(order) else 1.0  # q = 1
    rules[kernel.LOST_SCORE] = 4 * n * _SMALLEST
    rules[kernel.LOST_LENGTH] = float(np.sqrt(n_features * _SMALLEST))
    return Rounding(rules, lengths)
