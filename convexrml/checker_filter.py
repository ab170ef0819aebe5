"""What floating point settles for the checker of certificates, with a proven error bound; the rest is left to integers.

`convexrml.checker` is complete without this file: ``--no-filter`` does not load it.  Whoever trusts no float need not
read it.  It claims two things, and may be silent about either: that a pair of training points (or several pairs,
weighted by multipliers) close a case of the proof, and that a training point is not among the k nearest of a point.

A sum of products is computed within ``γ = n u / (1 − n u)`` times the sum of the terms' magnitudes, n being the
roundings behind a term, ``u = 2⁻⁵³`` (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., ch. 3).  With
points centred at m, ``a_i = ‖x_i − m‖₂``, ``ζ = ‖p − m‖₂``, ``α ≥ ‖|M|‖₂`` or ``‖|L|‖₂²``, the score
``⟨u_i, x_i − m⟩ − 2 ⟨u_i, p − m⟩`` of the site ``u_i = M (x_i − m)`` is ``D_i(p)`` up to a term that all points share.
It has at most 2 d + r + 8 roundings behind a term (r rows in L), so it is off by at most ``γ α (a_i² + 2 a_i ζ)``, and
u_i by ``γ α a_i`` in ℓ2 and ℓ∞, √d times that in ℓ1; sums weighted by m multipliers have m more.  The code takes
n = 2 d + r + m + 16 and doubles the bounds, which pays for computing a_i, ζ, α and the bounds themselves.  No entry
exceeds 2¹⁰⁰ and no λ exceeds 1, so underflow stays below 2⁻⁵⁰⁰, which is added.  inf and NaN settle nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

TWO_U = 2.01 * 2.0**-53  # times n: 2 γ
UNDERFLOW, LARGEST = 2.0**-500, 2.0**100
_AT_ONCE = 2**17  # entries of w
_DUAL = {"1": np.inf, "2": None, "inf": 1}  # of a norm, as numpy names norms of vectors
Floats: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.int64]


class Filter:
    """Sites, offsets and error bounds of a training set.

    Parameters
    ----------
    X : (N, d) array
    L : (r, d) array
        The metric: M, or L, or no rows.
    kind : {"euclidean", "matrix", "components"}
    """

    @np.errstate(all="ignore")
    def __init__(self, X: Floats, L: Floats, kind: str) -> None:
        self.centre, sizes = X.mean(axis=0), np.abs(L)
        centred = X - self.centre
        self.sites = centred if kind == "euclidean" else centred @ L if kind == "matrix" else (centred @ L.T) @ L
        self.offsets, self.lengths = np.einsum("ij,ij->i", self.sites, centred), np.linalg.norm(centred, axis=1)
        norms = [float(sizes.sum(axis=axis).max(initial=0)) for axis in (0, 1)]  # of |L|, ℓ1 and ℓ∞; equal for M
        self.alpha = {"euclidean": 1.0, "matrix": norms[0], "components": norms[0] * norms[1]}[kind]
        self.roundings = 2 * X.shape[1] + len(L) * (kind == "components") + 16
        self.small = bool(max(np.abs(X).max(), sizes.max(initial=0)) <= LARGEST)

    def scores(self, p: Floats) -> tuple[Floats, Floats]:
        """Scores at p, and ``α (a_i² + 2 a_i ζ)``, which times γ bounds their errors; NaN for what is too large."""
        if not (self.small and np.abs(p).max() <= LARGEST):
            return np.full(len(self.offsets), np.nan), np.full(len(self.offsets), np.nan)
        q = p - self.centre
        return self.offsets - 2 * (self.sites @ q), self.alpha * self.lengths * (self.lengths + 2 * np.linalg.norm(q))

    def at(self, z: Floats, norm: str, r: float) -> QueryFilter:
        """The filter for one query's claim."""
        return QueryFilter(self, z, norm, r)

    @np.errstate(all="ignore")
    def near(self, p: Floats, k: int) -> Indices:
        """All training points but some of which k others are nearer to p for sure."""
        scores, blur = self.scores(p)
        off = TWO_U * (self.roundings + 1) * blur + UNDERFLOW
        return np.flatnonzero(~(scores - off > np.partition(scores + off, k - 1)[k - 1]))


class QueryFilter:
    """What is sure of one query's claim: ``radius ≥ r`` in a norm."""

    @np.errstate(all="ignore")
    def __init__(self, data: Filter, z: Floats, norm: str, r: float) -> None:
        self.data, self.norm, self.r = data, norm, r
        self.scores, self.blur = data.scores(z)

    @np.errstate(all="ignore")
    def pairs(self, J: Indices, I: Indices) -> NDArray[np.bool_]:  # noqa: E741
        """Of each pair, whether it is sure to close a case."""
        step, sure = max(1, _AT_ONCE // self.data.sites.shape[1]), np.zeros(len(J), dtype=bool)
        for at in range(0, len(J), step):
            some = slice(at, at + step)
            sure[some] = self._reach(*self._terms(J[some], I[some]), self.data.roundings + 1)
        return sure

    @np.errstate(all="ignore")
    def together(self, J: Sequence[int], I: Sequence[int], lam: Sequence[float]) -> bool:  # noqa: E741
        """Whether pairs weighted by multipliers are sure to close a case together."""
        if len(J) == 0 or not max(lam) <= 1:
            return False
        terms = self._terms(np.array(J), np.array(I))
        gap, blur, w, off = ((np.array(lam) @ term)[None] for term in terms)
        return bool(self._reach(gap, blur, w, off, self.data.roundings + len(J))[0])

    def _terms(self, J: Indices, I: Indices) -> tuple[Floats, Floats, Floats, Floats]:  # noqa: E741
        """Gaps and halves of w, each followed by what times γ bounds its error."""
        data, root = self.data, math.sqrt(self.data.sites.shape[1])
        gap, blur = self.scores[J] - self.scores[I], self.blur[J] + self.blur[I]
        return gap, blur, data.sites[I] - data.sites[J], data.alpha * root * (data.lengths[J] + data.lengths[I])

    def _reach(self, gap: Any, blur: Any, w: Any, off: Any, roundings: int) -> NDArray[np.bool_]:
        """Whether the gap, less what is uncertain, is positive and at least ``r ‖2 w‖_q``, plus what is uncertain."""
        gamma, length = TWO_U * roundings, np.linalg.norm(w, _DUAL[self.norm], axis=1)
        gap = gap - gamma * blur - UNDERFLOW
        return np.asarray((gap > 0) & (gap >= 2 * self.r * ((1 + gamma) * length + gamma * off + UNDERFLOW)))
