"""Affine maps ``t(x) = A (x − c) + b``: composed, with a bound on what rounding does to them, and declared by users."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexrml.errors import InvalidInputError
from convexrml.validation import float_array

if TYPE_CHECKING:
    from sklearn.preprocessing import FunctionTransformer

_FEW = 16  # operations of a step beside its sums


@dataclasses.dataclass(frozen=True, eq=False)
class AffineMap:
    """``t(x) = A (x − c) + b``.

    Attributes
    ----------
    matrix : (r, d) array
        A.
    centre : (d,) array
        c; a point amid the inputs, where the estimator knows one, else 0.
    offset : (r,) array
        b.
    epsilon : float
        Machine epsilon of the least precise of the parameters: the precision in which the estimator computes.
    """

    matrix: NDArray[np.float64]
    centre: NDArray[np.float64]
    offset: NDArray[np.float64]
    epsilon: float

    @classmethod
    def identity(cls, n_features: int) -> AffineMap:
        """``t(x) = x``."""
        zero = np.zeros(n_features)
        return cls(np.eye(n_features), zero, zero, float(np.finfo(np.float64).eps))

    @classmethod
    def of(cls, A: Any, *, centre: Any = None, offset: Any = None) -> AffineMap:
        """From parameters as an estimator keeps them, dense or sparse; what is None is 0, a vector A is a diagonal."""
        parameters = [values for values in (A, centre, offset) if values is not None]
        matrix = float_array("A", A)
        if matrix.ndim == 1:
            matrix = np.diag(matrix)
        r, d = matrix.shape
        c = np.zeros(d) if centre is None else float_array("c", centre)
        b = np.zeros(r) if offset is None else float_array("b", offset)
        if c.shape != (d,) or b.shape != (r,):
            raise InvalidInputError(f"A: is {r} x {d}, which does not go with c {c.shape} and b {b.shape}")
        return cls(matrix, c, b, coarsest(parameters))

    def __call__(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """``A (x − c) + b`` for each row of X ``(n, d)``: shape ``(n, r)``."""
        image: NDArray[np.float64] = (X - self.centre) @ self.matrix.T + self.offset
        return image

    def then(self, other: AffineMap) -> AffineMap:
        """The map ``x → other(self(x)) = A₂ A₁ (x − c₁) + A₂ (b₁ − c₂) + b₂``."""
        return AffineMap(
            other.matrix @ self.matrix,
            self.centre,
            other.matrix @ (self.offset - other.centre) + other.offset,
            max(self.epsilon, other.epsilon),
        )

    @property
    def diagonal(self) -> NDArray[np.float64] | None:
        """The diagonal of A, if A has nothing else and no zero on it."""
        if self.matrix.shape[0] != self.matrix.shape[1]:
            return None
        a = np.diagonal(self.matrix)
        return a if a.all() and np.count_nonzero(self.matrix) == len(a) else None


def coarsest(parameters: Sequence[Any]) -> float:
    """The largest machine epsilon among arrays; that of float64 for what is not of a floating type."""
    dtypes = [np.asarray(getattr(values, "data", values) if hasattr(values, "toarray") else values).dtype
              for values in parameters]  # fmt: skip
    return max(float(np.finfo(dtype if dtype.kind == "f" else np.float64).eps) for dtype in (*dtypes, np.dtype(float)))


def rounding_of_chain(steps: Sequence[AffineMap], largest: NDArray[np.float64], epsilon: float) -> NDArray[np.float64]:
    """How far the entries of a computed ``t_m(... t_1(x))`` may be off, for all x with ``|x| ≤ largest``.

    Each step adds at most ``d_k + 16`` numbers with products, whatever the order, so the whole is off by at most
    ``γ m``, with ``m = |A_m|(... |A_1|(|x| + |c_1|) + |b_1| ... + |c_m|) + |b_m|``, ``γ = n u / (1 − n u)``, ``n = Σ
    (d_k + 16)`` (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., chapter 3).

    Parameters
    ----------
    steps : sequence of AffineMap
    largest : (d,) array
    epsilon : float
        Machine epsilon ``2 u`` of the inputs; that of a step counts where it is larger.

    Returns
    -------
    (r,) array
    """
    magnitude = np.abs(largest)
    n = _FEW
    for step in steps:
        magnitude = np.abs(step.matrix) @ (magnitude + np.abs(step.centre)) + np.abs(step.offset)
        n += step.matrix.shape[1] + _FEW
    u = max([epsilon, *(step.epsilon for step in steps)]) / 2
    off: NDArray[np.float64] = n * u / (1 - n * u) * magnitude
    return off


def affine_image(X: ArrayLike, A: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """``A x + b`` for each row x of X: what an `affine_transformer` computes, and how it is recognised."""
    return np.asarray(np.asarray(X) @ A.T + b)


def affine_transformer(A: ArrayLike, b: ArrayLike | None = None) -> FunctionTransformer:
    """A scikit-learn transformer that computes ``A x + b``, and that `from_estimator` can read.

    A FunctionTransformer runs any code, and no number of values proves that code to be affine.  This one carries its
    matrix instead, and a function of convexrml applies it: it is affine by construction.

    Parameters
    ----------
    A : (r, d) array
        Its rows are the features that come out; a vector of d numbers scales each feature.
    b : (r,) array, optional
        Zero if not given.

    Returns
    -------
    FunctionTransformer
        To be put into a Pipeline; it can be cloned and pickled.

    Raises
    ------
    InvalidInputError
        If A or b are not finite numbers of fitting shapes.

    Examples
    --------
    >>> import convexrml
    >>> convexrml.affine_transformer([[0.5, 0.5]]).transform([[1.0, 3.0]]).tolist()
    [[2.0]]
    """
    from sklearn.preprocessing import FunctionTransformer

    matrix = float_array("A", A)
    if matrix.ndim not in (1, 2) or 0 in matrix.shape:
        raise InvalidInputError(f"A: needs shape (r, d), or (d,) for a diagonal; found {matrix.shape}")
    declared = AffineMap.of(matrix, offset=b)
    return FunctionTransformer(
        affine_image, validate=True, check_inverse=False, kw_args={"A": declared.matrix, "b": declared.offset}
    )
