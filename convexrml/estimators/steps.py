"""Fitted scikit-learn transformers as affine maps, each from its own attributes; the others are refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.decomposition import PCA, IncrementalPCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.feature_selection import SelectorMixin
from sklearn.neighbors import NeighborhoodComponentsAnalysis
from sklearn.preprocessing import FunctionTransformer, MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.random_projection import GaussianRandomProjection, SparseRandomProjection

from convexrml.errors import NotAffineError
from convexrml.estimators.affine import AffineMap, affine_image

_WHY_NOT = {
    "Binarizer": "it thresholds features",
    "ColumnTransformer": "it treats columns apart; apply one map to all of them",
    "FeatureUnion": "it runs transformers side by side; put their matrices into one convexrml.affine_transformer",
    "Isomap": "it embeds by geodesic distances",
    "KBinsDiscretizer": "it sorts values into bins",
    "KernelPCA": "its features are kernels",
    "NMF": "it solves a non-negative least-squares problem for each point",
    "Normalizer": "it divides each point by the point's own norm",
    "Nystroem": "its features are kernels",
    "PolynomialFeatures": "it multiplies features with each other",
    "PowerTransformer": "it takes powers of features",
    "QuantileTransformer": "it replaces values by their quantiles",
    "RBFSampler": "its features are cosines",
    "SimpleImputer": "it fills in missing values; leave it out where none are missing",
    "SplineTransformer": "its features are splines",
}
_UNKNOWN = "convexrml does not know it to be affine; if it is, put convexrml.affine_transformer(A, b) in its place"


def affine_step(step: Any, where: str) -> AffineMap | None:
    """The affine map of a fitted transformer; None for the identity, whose width nobody told.

    A transformer is read by its own class, from documented attributes: a subclass may transform otherwise.  By their
    interface are read: feature selectors (`SelectorMixin`), and learners of a metric, which have `components_` and
    `get_mahalanobis_matrix` (metric-learn's, convexrml's).

    Parameters
    ----------
    step : fitted transformer, None or "passthrough"
    where : str
        Its name, for messages.

    Raises
    ------
    NotAffineError
        If it is not affine, or not known to be.
    """
    if step is None or (isinstance(step, str) and step == "passthrough"):
        return None
    if type(step) is FunctionTransformer:
        return _declared(step, where)
    reader = _READERS.get(type(step))
    if reader is not None:
        return reader(step, where)
    if isinstance(step, SelectorMixin):
        return AffineMap.of(np.eye(len(step.get_support()))[step.get_support()])
    if callable(getattr(step, "get_mahalanobis_matrix", None)) and hasattr(step, "components_"):
        return AffineMap.of(step.components_)
    name = type(step).__name__
    if isinstance(step, tuple(_READERS)):
        raise NotAffineError(f"{where}: {name} is a subclass of a transformer that is known, and may do otherwise")
    raise NotAffineError(f"{where}: {name} is not read as an affine map: {_WHY_NOT.get(name, _UNKNOWN)}")


def _declared(step: Any, where: str) -> AffineMap | None:
    if step.func is None:
        return None
    if step.func is affine_image:
        return AffineMap.of(step.kw_args["A"], offset=step.kw_args["b"])
    raise NotAffineError(
        f"{where}: a FunctionTransformer may run any code, which is not known to be affine; if it is, put "
        "convexrml.affine_transformer(A, b) in its place"
    )


def _standard(step: Any, where: str) -> AffineMap:
    scale = step.scale_ if step.with_std else np.ones(step.n_features_in_)
    return AffineMap.of(1 / scale, centre=step.mean_ if step.with_mean else None)


def _minmax(step: Any, where: str) -> AffineMap:
    _require_unclipped(step, where)
    return AffineMap.of(step.scale_, offset=step.min_)


def _robust(step: Any, where: str) -> AffineMap:
    scale = step.scale_ if step.with_scaling else np.ones(step.n_features_in_)
    return AffineMap.of(1 / scale, centre=step.center_ if step.with_centering else None)


def _maxabs(step: Any, where: str) -> AffineMap:
    _require_unclipped(step, where)
    return AffineMap.of(1 / step.scale_)


def _pca(step: Any, where: str) -> AffineMap:
    A = step.components_
    if step.whiten:
        scale = np.sqrt(step.explained_variance_)
        n_samples = getattr(step, "n_samples_", None) or step.n_samples_seen_
        varying = scale > max(n_samples, step.n_features_in_) * np.finfo(scale.dtype).eps * scale.max()
        if not varying.all():
            raise NotAffineError(
                f"{where}: {type(step).__name__} whitens {np.count_nonzero(~varying)} components in which the training "
                f"data do not vary: it divides them by rounding; set n_components to at most {varying.sum()}"
            )
        A = A / scale[:, None]
    return AffineMap.of(A, centre=step.mean_)


def _lda(step: Any, where: str) -> AffineMap:
    if step.solver == "lsqr":
        raise NotAffineError(f"{where}: LinearDiscriminantAnalysis with solver='lsqr' has no transform")
    A = step.scalings_[:, : len(step.get_feature_names_out())].T
    return AffineMap.of(A, centre=step.xbar_ if step.solver == "svd" else None)


def _components(step: Any, where: str) -> AffineMap:
    return AffineMap.of(step.components_)


def _require_unclipped(step: Any, where: str) -> None:
    if getattr(step, "clip", False):
        raise NotAffineError(f"{where}: {type(step).__name__} with clip=True clips features, which is not affine")


_READERS: dict[type, Callable[[Any, str], AffineMap]] = {
    GaussianRandomProjection: _components,
    IncrementalPCA: _pca,
    LinearDiscriminantAnalysis: _lda,
    MaxAbsScaler: _maxabs,
    MinMaxScaler: _minmax,
    NeighborhoodComponentsAnalysis: _components,
    PCA: _pca,
    RobustScaler: _robust,
    SparseRandomProjection: _components,
    StandardScaler: _standard,
    TruncatedSVD: _components,
}
