"""A Mahalanobis metric ``d_M(p, x)² = (p − x)ᵀ M (p − x)``, ``M = Lᵀ L ⪰ 0``, and the sites it gives to points."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexrml.errors import InvalidInputError
from convexrml.kernels.vectors import products_of_rows
from convexrml.validation import float_array


@dataclasses.dataclass(frozen=True, eq=False)
class MahalanobisMetric:
    """A Mahalanobis metric, kept as it was given: as the matrix M or as the components L.

    Make one with `from_matrix`, `from_components` or `euclidean`.  Whatever the form, a power diagram over the
    points needs only ``u_i = M x_i`` (the site) and ``c_i = x_iᵀ M x_i`` (the offset): see `sites`.

    Attributes
    ----------
    n_features : int
        Dimension d of the input space.
    matrix : (d, d) array or None
        M, where the metric was given so.
    components : (r, d) array or None
        L, where the metric was given so.  Both are None for the Euclidean metric.
    """

    n_features: int
    matrix: NDArray[np.float64] | None = None
    components: NDArray[np.float64] | None = None

    @classmethod
    def euclidean(cls, n_features: int) -> MahalanobisMetric:
        """``M = I``.

        Parameters
        ----------
        n_features : int
            The dimension d.
        """
        return cls(n_features)

    @classmethod
    def from_components(cls, components: ArrayLike) -> MahalanobisMetric:
        """``M = Lᵀ L``.

        Parameters
        ----------
        components : (r, d) array
            L; any r ≥ 1, any rank, square or not.

        Raises
        ------
        InvalidInputError
            If L is not a finite matrix.
        """
        return cls(_matrix_shape("metric", components).shape[1], components=_matrix_shape("metric", components))

    @classmethod
    def from_matrix(cls, matrix: ArrayLike) -> MahalanobisMetric:
        """M itself, symmetric and positive semidefinite up to rounding in its own precision.

        Rounding here is ``64 d ε ‖M‖₂`` with ε that of the dtype given (float32 matrices are judged as float32).

        Parameters
        ----------
        matrix : (d, d) array
            The matrix M.

        Raises
        ------
        InvalidInputError
            If M is not square, not symmetric or has an eigenvalue below ``−64 d ε ‖M‖₂``.  What a solver left
            slightly indefinite is made admissible by `nearest_psd`.
        """
        dtype = np.float32 if getattr(matrix, "dtype", None) == np.float32 else np.float64
        M = _matrix_shape("metric", matrix)
        d = len(M)
        if M.shape != (d, d):
            raise InvalidInputError(
                f"metric: a matrix M must be square; found shape {M.shape}; components L (r, d) are passed to "
                "MahalanobisMetric.from_components"
            )
        asymmetry = float(np.abs(M - M.T).max())
        symmetric = (M + M.T) / 2
        eigenvalues = np.linalg.eigvalsh(symmetric)
        rounding = 64 * d * float(np.finfo(dtype).eps) * float(np.abs(eigenvalues).max())
        if asymmetry > rounding:
            raise InvalidInputError(
                f"metric: M is not symmetric (|M - Mᵀ| reaches {asymmetry:.3g}); a square L that is not meant as M is "
                "passed as convexrml.MahalanobisMetric.from_components(L)"
            )
        if eigenvalues[0] < -rounding:
            raise InvalidInputError(
                f"metric: M is not positive semidefinite (smallest eigenvalue {eigenvalues[0]:.3g}, largest "
                f"{eigenvalues[-1]:.3g}); project it first with convexrml.nearest_psd(M)"
            )
        return cls(d, matrix=symmetric)

    @property
    def is_euclidean(self) -> bool:
        """Whether the metric was given as the Euclidean one."""
        return self.matrix is None and self.components is None

    @property
    def as_given(self) -> tuple[NDArray[np.float64] | None, str]:
        """M, L or None, and which of them it is: ``"matrix"``, ``"components"``, ``"euclidean"``."""
        if self.matrix is not None:
            return self.matrix, "matrix"
        return self.components, "euclidean" if self.components is None else "components"

    @property
    def mahalanobis_matrix(self) -> NDArray[np.float64]:
        """M of shape ``(d, d)``."""
        if self.matrix is not None:
            return self.matrix
        return np.eye(self.n_features) if self.components is None else self.components.T @ self.components

    @property
    def magnitude(self) -> float:
        """``‖ |M| ‖₂`` or ``‖ |L| ‖₂²``: how much rounding in a product with M can be amplified."""
        if self.matrix is not None:
            return float(np.linalg.norm(np.abs(self.matrix), 2))
        return 1.0 if self.components is None else float(np.linalg.norm(np.abs(self.components), 2)) ** 2

    @property
    def summands(self) -> int:
        """Length of the longest chain of additions behind one entry of a site, for rounding bounds."""
        if self.matrix is not None:
            return self.n_features
        return 0 if self.components is None else sum(self.components.shape)

    def sites(self, X: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Sites and offsets of points.

        Parameters
        ----------
        X : (n, d) float64 array
            Points.

        Returns
        -------
        sites : (n, d) array
            ``u_i = M x_i``.
        offsets : (n,) array
            ``c_i = x_iᵀ M x_i``.
        """
        if self.components is not None:
            Y = np.ascontiguousarray(X @ self.components.T)
            return np.ascontiguousarray(Y @ self.components), products_of_rows(Y, Y)
        U = X if self.matrix is None else np.ascontiguousarray(X @ self.matrix)
        return U, products_of_rows(U, X)


def as_metric(metric: ArrayLike | MahalanobisMetric | None, n_features: int) -> MahalanobisMetric:
    """Read a metric: None (Euclidean), a square array as M, any other ``(r, d)`` array as L, or a metric itself.

    Raises
    ------
    InvalidInputError
        If it does not fit `n_features`, or is not a metric.
    """
    if metric is None:
        return MahalanobisMetric.euclidean(n_features)
    if not isinstance(metric, MahalanobisMetric):
        if isinstance(metric, str) or hasattr(metric, "get_mahalanobis_matrix"):
            raise InvalidInputError(
                f"metric: needs a matrix M (d, d), components L (r, d), a MahalanobisMetric, or None for the Euclidean "
                f"metric; found {metric!r}; a learner's is learner.get_mahalanobis_matrix()"
            )
        shape = float_array("metric", metric).shape
        square = len(shape) == 2 and shape[0] == shape[1]
        metric = (MahalanobisMetric.from_matrix if square else MahalanobisMetric.from_components)(metric)
    if metric.n_features != n_features:
        raise InvalidInputError(
            f"metric: acts on {metric.n_features} features; the data have {n_features}; take the one that belongs to "
            "these data"
        )
    return metric


def sites_of_distinct_rows(
    metric: MahalanobisMetric, X: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sites and offsets, the same bits for the same row: a BLAS product may round equal rows differently."""
    rows = np.ascontiguousarray(X + 0.0)  # -0.0 becomes 0.0
    if metric.is_euclidean:
        return metric.sites(rows)
    keys = rows.view(np.dtype((np.void, rows.shape[1] * rows.itemsize))).ravel()
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    if len(first) == len(rows):
        return metric.sites(rows)
    U, c = metric.sites(np.ascontiguousarray(rows[first]))
    return np.ascontiguousarray(U[inverse]), c[inverse]


def nearest_psd(matrix: ArrayLike) -> NDArray[np.float64]:
    """The positive semidefinite matrix nearest to `matrix` in Frobenius norm: symmetric part, eigenvalues clipped at 0.

    For matrices that an SDP solver or a float32 file left slightly indefinite.

    Parameters
    ----------
    matrix : (d, d) array
        Of finite numbers; its antisymmetric part is dropped.

    Returns
    -------
    (d, d) array
        Symmetric; its eigenvalues may be negative by no more than rounding, as `MahalanobisMetric.from_matrix` allows.

    Raises
    ------
    InvalidInputError
        If the matrix is not square, or not finite.

    Examples
    --------
    >>> import convexrml
    >>> convexrml.nearest_psd([[2.0, 0.0], [0.0, -1.0]]).tolist()
    [[2.0, 0.0], [0.0, 0.0]]
    """
    M = _matrix_shape("matrix", matrix)
    if M.shape[0] != M.shape[1]:
        raise InvalidInputError(f"matrix: must be square, shape (d, d); found shape {M.shape}")
    eigenvalues, V = np.linalg.eigh((M + M.T) / 2)
    P = (V * np.maximum(eigenvalues, 0)) @ V.T
    return (P + P.T) / 2


def _matrix_shape(name: str, values: ArrayLike) -> NDArray[np.float64]:
    array = float_array(name, values)
    if array.ndim != 2 or 0 in array.shape:
        raise InvalidInputError(f"{name}: needs a matrix M (d, d) or components L (r, d); found shape {array.shape}")
    return array
