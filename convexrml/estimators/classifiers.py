"""Fitted scikit-learn classifiers as points, labels and the metric that orders the points."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from convexrml.errors import NotAffineError
from convexrml.estimators.affine import coarsest
from convexrml.metric import MahalanobisMetric
from convexrml.validation import feature_matrix, float_array

_EUCLIDEAN = ("euclidean", "l2", "sqeuclidean")
_WHY_NOT = {
    "RadiusNeighborsClassifier": "it votes among all points within a radius, however many",
    "KNeighborsRegressor": "it predicts numbers, not labels",
    "GridSearchCV": "hand over its best_estimator_",
    "RandomizedSearchCV": "hand over its best_estimator_",
    "HalvingGridSearchCV": "hand over its best_estimator_",
    "HalvingRandomSearchCV": "hand over its best_estimator_",
    "CalibratedClassifierCV": "it changes what its classifier says",
}


@dataclasses.dataclass(frozen=True, eq=False)
class Ordering:
    """What a classifier compares: ``(p − y_i)ᵀ W (p − y_i)`` over its points ``y_i``.

    Attributes
    ----------
    points : (N, r) array
        ``y_i``, in the space in which the classifier works.
    labels : (N,) array
    n_neighbors : int
    metric : MahalanobisMetric
        W.
    epsilon : float
        Machine epsilon of the points as they were stored.
    are_training_points : bool
        Whether the ``y_i`` are images of the training inputs, one by one; centroids are not.
    """

    points: NDArray[np.float64]
    labels: NDArray[Any]
    n_neighbors: int
    metric: MahalanobisMetric
    epsilon: float
    are_training_points: bool


def ordering(classifier: Any, where: str) -> Ordering:
    """Read a fitted classifier.

    Raises
    ------
    NotAffineError
        If it is another one, or does not order its points by a Mahalanobis distance, with one vote for each.
    """
    if type(classifier) is KNeighborsClassifier:
        return _k_neighbors(classifier, where)
    if type(classifier) is NearestCentroid:
        return _nearest_centroid(classifier, where)
    name = type(classifier).__name__
    if isinstance(classifier, (KNeighborsClassifier, NearestCentroid)):
        raise NotAffineError(f"{where}: {name} is a subclass of a classifier that is known, and may do otherwise")
    why = _WHY_NOT.get(name, "only KNeighborsClassifier, NearestCentroid and Pipelines that end in one are read")
    raise NotAffineError(f"{where}: {name} is no nearest-neighbour classifier under a Mahalanobis metric: {why}")


def _k_neighbors(classifier: Any, where: str) -> Ordering:
    if classifier.outputs_2d_:
        raise NotAffineError(f"{where}: has several outputs; fit one classifier for each column of labels")
    if classifier.weights not in (None, "uniform"):
        raise NotAffineError(
            f"{where}: weights={classifier.weights!r}: votes depend on distances; weights='uniform' is read"
        )
    if classifier.n_neighbors % 2 == 0:
        raise NotAffineError(
            f"{where}: n_neighbors={classifier.n_neighbors} is even, so that two classes can tie; an odd number is read"
        )
    points = feature_matrix(f"{where} (training points)", classifier._fit_X)
    return Ordering(
        points,
        classifier.classes_[classifier._y],
        classifier.n_neighbors,
        _metric(classifier, points.shape[1], where),
        coarsest([classifier._fit_X]),
        are_training_points=True,
    )


def _metric(classifier: Any, n_features: int, where: str) -> MahalanobisMetric:
    name, given = classifier.effective_metric_, classifier.effective_metric_params_ or {}
    if name in _EUCLIDEAN:
        return MahalanobisMetric.euclidean(n_features)
    if name == "minkowski" and given["p"] == 2:
        return _weighted(np.sqrt(_weights(f"{where} (w)", given["w"], n_features)))
    if name == "seuclidean" and "V" in given:
        with np.errstate(divide="ignore"):
            return _weighted(1 / np.sqrt(_weights(f"{where} (V)", given["V"], n_features)))
    if name == "mahalanobis" and ("VI" in given or "V" in given):
        VI = given.get("VI")
        W = float_array(f"{where} (metric_params)", np.linalg.inv(given["V"]) if VI is None else VI)
        return MahalanobisMetric.from_matrix((W + W.T) / 2)  # all that a quadratic form sees
    shown = name if isinstance(name, str) else getattr(name, "__name__", type(name).__name__)
    detail = f" with p={given['p']}" if "p" in given else " without its parameters" if "V" in str(given) else ""
    raise NotAffineError(
        f"{where}: metric {shown!r}{detail} is not read as a Mahalanobis metric; these are: euclidean, minkowski with "
        "p=2 (and weights w), seuclidean with V, mahalanobis with V or VI in metric_params"
    )


def _weighted(roots: NDArray[np.float64]) -> MahalanobisMetric:
    return MahalanobisMetric.from_components(np.diag(roots))


def _weights(name: str, values: Any, n_features: int) -> NDArray[np.float64]:
    weights = float_array(name, values)
    if weights.shape != (n_features,) or (weights < 0).any():
        raise NotAffineError(f"{name}: needs {n_features} numbers that are not negative; found shape {weights.shape}")
    return weights


def _nearest_centroid(classifier: Any, where: str) -> Ordering:
    if classifier.metric not in ("euclidean",):
        raise NotAffineError(f"{where}: metric={classifier.metric!r}; NearestCentroid is read with metric='euclidean'")
    priors = getattr(classifier, "class_prior_", None)  # scikit-learn 1.6 and later
    if priors is not None and not np.isclose(priors, 1 / len(classifier.classes_)).all():
        raise NotAffineError(f"{where}: NearestCentroid adds unequal priors to distances; priors='uniform' is read")
    return Ordering(
        feature_matrix(f"{where} (centroids)", classifier.centroids_),
        classifier.classes_,
        1,
        MahalanobisMetric.euclidean(classifier.centroids_.shape[1]),
        coarsest([classifier.centroids_]),
        are_training_points=False,
    )
