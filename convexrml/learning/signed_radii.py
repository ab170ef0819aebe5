"""Signed exact radii of queries among sites that move with the metric, and their gradients.

The radius of a query z with label y is here the exact 1-NN radius in ℓ2 when z is on the right side, and minus the
least distance to the right side when it is not.  With ``u_i = M x_i`` and ``score_i(z) = x_iᵀ M x_i − 2 ⟨u_i, z⟩`` both
are

    ``r = −Σ_i w_i score_i(z) / (2 ‖Σ_i w_i u_i‖)``

for signed weights w over few training points: at the nearest cell of a rival j, with multipliers λ of the own side's
points, ``w = λ − e_j``; on the wrong side, at the nearest cell of an own point i, ``w = e_i − λ`` with multipliers of
the others.  In both cases the weights of the own side add up to 1 and those of the others to −1.

*Gradient.*  r is a minimum over cells of a maximum over multipliers.  By the envelope theorem its derivative in M is
that of the quotient at the binding cell and multipliers, held fixed (wherever both are unique; r is piecewise smooth).
With ``p = Σ w_i x_i``, ``N = −Σ w_i score_i(z)`` and ``D = ‖M p‖``:

    ``∂N = −Σ w_i x_iᵀ ∂M x_i + 2 pᵀ ∂M z,      ∂D = (M p)ᵀ ∂M p / D,      ∂r = ∂N / (2 D) − N ∂D / (2 D²)``

and for a sum ``Σ_q g_q r_q`` with ``h = g / (2 D)``, ``k = g N / (2 D³)``, rows of X, Z, P the x_i, z_q, p_q:

    ``G = −Xᵀ diag(Wᵀ h) X + Pᵀ (2 diag(h) Z − diag(k) P M),      ∂/∂L = L (G + Gᵀ).``
"""

from __future__ import annotations

import dataclasses
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from convexrml.kernels.signed_radii import binding_rows


@dataclasses.dataclass(frozen=True, eq=False)
class Sites:
    """Training points as sites, grouped by label.

    Attributes
    ----------
    X : (N, d) array
    class_start : (n_classes + 1,) integer array
        Class c holds the rows ``class_start[c] : class_start[c + 1]``; none is empty.
    """

    X: NDArray[np.float64]
    class_start: NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False)
class Points:
    """Queries.

    Attributes
    ----------
    Z : (n, d) array
    label : (n,) integer array
        Class of each.
    own : (n,) integer array
        The site that a query is itself, which is left out for it; −1 where it is none.
    """

    Z: NDArray[np.float64]
    label: NDArray[np.int64]
    own: NDArray[np.int64]


class Weights(Protocol):
    """Signed weights of the sites for each query: a sparse ``(n, N)`` array."""

    def __call__(self, sites: Sites, points: Points, M: NDArray[np.float64]) -> csr_array:
        """The weights under the metric M."""


def exact_weights(sites: Sites, points: Points, M: NDArray[np.float64]) -> csr_array:
    """Weights at the binding cell and multipliers of the signed exact radius."""
    n, d = points.Z.shape
    U, scores = _scores(sites, points, M)
    images = points.Z @ M
    squares = np.einsum("ij,ij->i", U, U)
    squared = squares - 2 * (images @ U.T)
    # what cancels must not make a distance too short: sites are pruned by it
    squared += (np.einsum("ij,ij->i", images, images) + 1e-13 * squares.max())[:, None]
    rows, weights = np.zeros((n, d + 2), dtype=np.int64), np.zeros((n, d + 2))
    sizes = np.zeros(n, dtype=np.int64)
    binding_rows(U, sites.class_start, scores, squared, images, points.label, points.own, rows, weights, sizes)
    held = np.arange(d + 2) < sizes[:, None]
    return csr_array((weights[held], rows[held], np.concatenate([[0], np.cumsum(sizes)])), shape=scores.shape)


def nearest_triplet_weights(sites: Sites, points: Points, M: NDArray[np.float64]) -> csr_array:
    """1 at the nearest site of the query's class, −1 at the nearest other: their triplet bound, with its sign."""
    _, scores = _scores(sites, points, M)
    n, N = scores.shape
    known = np.flatnonzero(points.own >= 0)
    scores[known, points.own[known]] = np.inf
    same = np.repeat(np.arange(len(sites.class_start) - 1), np.diff(sites.class_start)) == points.label[:, None]
    near = np.where(same, scores, np.inf).argmin(axis=1)
    far = np.where(same, np.inf, scores).argmin(axis=1)
    return csr_array(
        (np.tile([1.0, -1.0], n), np.column_stack([near, far]).ravel(), np.arange(0, 2 * n + 1, 2)), (n, N)
    )


@dataclasses.dataclass(frozen=True, eq=False)
class SignedRadii:
    """Signed radii of queries at given weights; `gradient` differentiates them.

    Attributes
    ----------
    value : (n,) array
        r; 0/0, of sites on top of each other, is 0.
    """

    value: NDArray[np.float64]
    _sites: Sites
    _points: Points
    _L: NDArray[np.float64]
    _W: csr_array
    _P: NDArray[np.float64]
    _images: NDArray[np.float64]
    _length: NDArray[np.float64]

    def gradient(self, g: NDArray[np.float64]) -> NDArray[np.float64]:
        """The derivative of ``Σ g_q r_q`` in L; queries with ``D = 0`` count nothing."""
        smooth = self._length > 0
        D = np.where(smooth, self._length, 1.0)
        h = np.where(smooth, g / (2 * D), 0.0)
        k = 2 * h * self.value / D
        a = h @ self._W
        used = np.flatnonzero(a)
        X = self._sites.X[used]
        G = self._P.T @ (2 * h[:, None] * self._points.Z - k[:, None] * self._images) - X.T @ (a[used, None] * X)
        return self._L @ (G + G.T)


def signed_radii(sites: Sites, points: Points, L: NDArray[np.float64], weights: Weights) -> SignedRadii:
    """Signed radii under ``M = Lᵀ L`` at the weights that the rule `weights` gives."""
    M = L.T @ L
    W = weights(sites, points, M)
    P = W @ sites.X
    images = P @ M
    offsets = np.einsum("ij,ij->i", sites.X @ M, sites.X)
    numerator = 2 * np.einsum("ij,ij->i", images, points.Z) - W @ offsets
    length = np.linalg.norm(images, axis=1)
    value = np.divide(numerator, 2 * length, out=np.zeros(len(length)), where=length > 0)
    return SignedRadii(value, sites, points, L, W, P, images, length)


def _scores(sites: Sites, points: Points, M: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sites ``X M``, and scores ``(n, N)`` of the queries."""
    U = sites.X @ M
    scores = points.Z @ U.T
    scores *= -2
    scores += np.einsum("ij,ij->i", U, sites.X)
    return U, scores
