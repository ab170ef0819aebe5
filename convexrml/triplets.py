"""Triplets of training points: the margins and radii that a metric gives them."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexrml.errors import InvalidInputError
from convexrml.norms import Norm
from convexrml.validation import feature_matrix, float_array


@dataclasses.dataclass(frozen=True, eq=False)
class Triplets:
    """Triplets ``(x, x⁺, x⁻)`` in the two differences that every program over a metric M needs.

    With ``v = x⁺ − x⁻`` and ``s = 2x − x⁺ − x⁻``, margin and triplet bound of a triplet are

        ``m(M) = d_M(x, x⁻)² − d_M(x, x⁺)² = vᵀ M s,      t(M) = [m(M)]₊ / (2 ‖M v‖_q).``

    Make them with `from_indices`.

    Attributes
    ----------
    V, S : (m, d) arrays
        ``v_i`` and ``s_i`` in the rows.
    weights : (m,) array
        ``c_i > 0``: what each triplet counts for in a sum over all; they add up to 1 unless given otherwise.
    """

    V: NDArray[np.float64]
    S: NDArray[np.float64]
    weights: NDArray[np.float64]

    @classmethod
    def from_indices(
        cls,
        X: ArrayLike,
        anchors: ArrayLike,
        positives: ArrayLike,
        negatives: ArrayLike,
        weights: ArrayLike | None = None,
    ) -> Triplets:
        """Triplets of rows of X.

        Parameters
        ----------
        X : (N, d) array
            Points; units are those of the radii.
        anchors, positives, negatives : (m,) integer arrays
            Rows of X.  A positive shares its anchor's label, a negative does not: that is the caller's word.
        weights : (m,) array, optional
            Positive; ``1/m`` each by default.

        Raises
        ------
        InvalidInputError
            If there are no triplets, an index is out of range, or a weight is not positive.

        Examples
        --------
        >>> from convexrml.triplets import Triplets
        >>> triplets = Triplets.from_indices([[0.0], [1.0], [3.0]], anchors=[0], positives=[1], negatives=[2])
        >>> triplets.V.tolist(), triplets.S.tolist()
        ([[-2.0]], [[-4.0]])
        """
        X_ = feature_matrix("X", X)
        x, plus, minus = (X_[_rows(*named, len(X_))] for named in
                          (("anchors", anchors), ("positives", positives), ("negatives", negatives)))  # fmt: skip
        m = len(x)
        if not 0 < m == len(plus) == len(minus):
            raise InvalidInputError(
                f"triplets: needs as many anchors as positives and negatives, at least one; found {m}, {len(plus)} "
                f"and {len(minus)}"
            )
        c = np.full(m, 1 / m) if weights is None else float_array("weights", weights)
        if c.shape != (m,) or not (c > 0).all():
            found = f"shape {c.shape}" if c.shape != (m,) else f"{c.min():g} among them"
            raise InvalidInputError(f"weights: needs one positive number for each of the {m} triplets; found {found}")
        return cls(plus - minus, 2 * x - plus - minus, c)

    def __len__(self) -> int:
        """The number m of triplets."""
        return len(self.V)

    @property
    def n_features(self) -> int:
        """Dimension d of the input space."""
        return self.V.shape[1]

    def margins(self, M: NDArray[np.float64]) -> NDArray[np.float64]:
        """``vᵀ M s`` of each triplet: how much farther the negative is than the positive.

        Parameters
        ----------
        M : (d, d) array
            The metric.

        Returns
        -------
        (m,) array
            In units of squared distance under M.
        """
        return np.einsum("ij,ij->i", self.V @ M, self.S)

    def lengths(self, M: NDArray[np.float64], norm: Norm) -> NDArray[np.float64]:
        """``‖M v‖_q`` of each triplet; q is dual to the norm of perturbations.

        Parameters
        ----------
        M : (d, d) array
            The metric.
        norm : Norm
            Of perturbations.

        Returns
        -------
        (m,) array
            In units of a margin over a radius.
        """
        return np.asarray(norm.dual_of(self.V @ M))

    def radii(self, M: NDArray[np.float64], norm: Norm) -> NDArray[np.float64]:
        """Triplet bounds ``[vᵀ M s]₊ / (2 ‖M v‖_q)``; ``0/0`` is 0.

        Parameters
        ----------
        M : (d, d) array
            The metric.
        norm : Norm
            Of perturbations.

        Returns
        -------
        (m,) array
            In the units of the points: how far the anchor may be moved before the triplet is wrong, computed in
            floating point.
        """
        margins, lengths = np.maximum(self.margins(M), 0), 2 * self.lengths(M, norm)
        return np.divide(margins, lengths, out=np.zeros(len(self)), where=lengths > 0)


def require_triplets(triplets: object) -> Triplets:
    """Refuse what is no `Triplets`.

    Raises
    ------
    InvalidInputError
        Saying how they are made.
    """
    if not isinstance(triplets, Triplets):
        raise InvalidInputError(
            f"triplets: needs convexrml.triplets.Triplets; found {type(triplets).__name__}; make them with "
            "Triplets.from_indices, or mine them with convexrml.learning.mining.mine_triplets"
        )
    return triplets


def _rows(name: str, indices: ArrayLike, n: int) -> NDArray[np.intp]:
    rows = np.atleast_1d(np.asarray(indices))
    if rows.ndim != 1 or rows.dtype.kind not in "iu" or ((rows < 0) | (rows >= n)).any():
        found = f"{rows.dtype} of shape {rows.shape}"
        if rows.dtype.kind in "iu" and rows.size:
            found = f"rows from {rows.min()} to {rows.max()}" + f", shape {rows.shape}" * (rows.ndim != 1)
        raise InvalidInputError(f"{name}: needs a list of row numbers from 0 to {n - 1}; found {found}")
    return rows.astype(np.intp)
