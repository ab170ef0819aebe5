"""What all learners of a metric share once they are fitted: scikit-learn's interface, metric-learn's words."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data


class MetricLearner(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """A learner of a Mahalanobis metric ``M = Lᵀ L``; `fit` of a subclass sets `components_` L, shape ``(r, d)``."""

    components_: NDArray[np.float64]

    def transform(self, X: ArrayLike) -> NDArray[np.float64]:
        """``X Lᵀ``, shape ``(n, r)``: Euclidean distances there are Mahalanobis distances of X."""
        check_is_fitted(self)
        return np.asarray(validate_data(self, X, reset=False, dtype=np.float64) @ self.components_.T)

    def get_mahalanobis_matrix(self) -> NDArray[np.float64]:
        """``M = Lᵀ L``, shape ``(d, d)``."""
        check_is_fitted(self)
        return self.components_.T @ self.components_

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags
