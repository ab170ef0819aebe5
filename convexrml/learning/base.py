"""What all learners of a metric share once they are fitted: scikit-learn's interface, metric-learn's words."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from convexrml.errors import InvalidInputError


class MetricLearner(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """A learner of a Mahalanobis metric ``M = Lᵀ L``.

    Attributes
    ----------
    components_ : (r, d) array
        L; `fit` of a learner sets it.
    """

    components_: NDArray[np.float64]

    def transform(self, X: ArrayLike) -> NDArray[np.float64]:
        """``X Lᵀ``: Euclidean distances there are Mahalanobis distances of X.

        Parameters
        ----------
        X : (n, d) array
            Points, in the units of the training points.

        Returns
        -------
        (n, r) array
            Their images under L.
        """
        check_is_fitted(self)
        try:
            points = validate_data(self, X, reset=False, dtype=np.float64)
        except ValueError as error:
            raise InvalidInputError(f"X: {error}") from error
        return np.asarray(points @ self.components_.T)

    def get_mahalanobis_matrix(self) -> NDArray[np.float64]:
        """``M = Lᵀ L``.

        Returns
        -------
        (d, d) array
            M, for `convexrml.NearestNeighbors`; positive semidefinite up to rounding.
        """
        check_is_fitted(self)
        return self.components_.T @ self.components_

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


def components_of(M: NDArray[np.float64]) -> NDArray[np.float64]:
    """L of shape ``(r, d)`` with ``M = Lᵀ L`` up to rounding; r is the numerical rank of M, at least 1.

    The rows are the eigenvectors by falling eigenvalue, each scaled by its root, the largest entry positive.
    Eigenvalues below ``d ε`` times the largest count as 0.
    """
    eigenvalues, Q = np.linalg.eigh((M + M.T) / 2)
    kept = np.flatnonzero(eigenvalues > len(M) * np.finfo(float).eps * eigenvalues[-1])[::-1]
    if len(kept) == 0:
        return np.zeros((1, len(M)))
    L = np.sqrt(eigenvalues[kept])[:, None] * Q[:, kept].T
    signs = np.sign(L[np.arange(len(L)), np.abs(L).argmax(axis=1)])
    return np.ascontiguousarray(L * signs[:, None])
