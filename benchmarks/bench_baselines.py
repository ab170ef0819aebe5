"""Metric learners of scikit-learn and metric-learn as functions: training points and settings in, components L out."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import pairwise_distances
from sklearn.model_selection import train_test_split
from sklearn.utils import validation

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

MOST_POINTS = 1500  # that NCA and LMNN learn from: both look at all pairs in every iteration
_IMPOSTOR_POINTS = 500  # whose distance to the nearest other class sets the unit of LMNN's margin


def some_points(X: Array, y: Labels, seed: int, most: int = MOST_POINTS) -> tuple[Array, Labels]:
    """A stratified part of the training points, or all of them if there are no more than `most`."""
    if len(X) <= most:
        return X, y
    X, _, y, _ = train_test_split(X, y, train_size=most, stratify=y, random_state=seed)
    return X, y


def nca(X: Array, y: Labels, seed: int, *, n_components: int, max_iter: int) -> Array:
    """Neighbourhood components analysis: started at the identity, or at principal components if there are fewer."""
    from sklearn.neighbors import NeighborhoodComponentsAnalysis

    X, y = some_points(X, y, seed)
    init = "identity" if n_components == X.shape[1] else "pca"
    learner = NeighborhoodComponentsAnalysis(n_components, init=init, max_iter=max_iter, random_state=seed)
    return learner.fit(X, y).components_


def lmnn(X: Array, y: Labels, seed: int, *, n_neighbors: int, margin: float, max_iter: int) -> Array:
    """Large margin nearest neighbours.

    Its margin is 1 in the units of ``‖L(x − x')‖²``: the start ``L = s I`` is such that 1 is `margin` times the median
    squared distance to the nearest point of another class.  The first step size is halved by the learner itself until
    the objective falls (metric-learn's own first one, 1e-7, hardly moves).
    """
    from metric_learn import LMNN

    repair_metric_learn()
    X, y = some_points(X, y, seed)
    few = np.random.default_rng(seed).permutation(len(X))[:_IMPOSTOR_POINTS]
    squared = pairwise_distances(X[few], X, metric="sqeuclidean")
    squared[y[few][:, None] == y] = np.inf
    scale = 1 / np.sqrt(margin * np.median(squared.min(axis=1)))
    learner = LMNN(
        init=scale * np.eye(X.shape[1]), n_neighbors=n_neighbors, min_iter=max_iter, max_iter=max_iter, learn_rate=1e-3,
        random_state=seed,
    )  # fmt: skip
    return learner.fit(X, y).components_


def itml(X: Array, y: Labels, seed: int, *, gamma: float, n_constraints: int, max_iter: int = 20) -> Array:
    """Information-theoretic metric learning from `n_constraints` random similar and as many dissimilar pairs."""
    from metric_learn import ITML_Supervised

    repair_metric_learn()
    learner = ITML_Supervised(gamma=gamma, n_constraints=n_constraints, max_iter=max_iter, random_state=seed)
    return learner.fit(X, y).components_


def lfda(X: Array, y: Labels, seed: int, *, n_components: int, embedding_type: str) -> Array:
    """Local Fisher discriminant analysis; nothing in it is random."""
    from metric_learn import LFDA

    repair_metric_learn()
    return LFDA(n_components=n_components, embedding_type=embedding_type).fit(X, y).components_


def repair_metric_learn() -> None:
    """Let metric-learn 0.7.0 run with scikit-learn ≥ 1.8, which renamed `force_all_finite` to `ensure_all_finite`."""
    import metric_learn._util as util

    for name in ("check_X_y", "check_array"):
        check = getattr(validation, name)
        if "force_all_finite" not in inspect.signature(check).parameters and getattr(util, name) is check:
            setattr(util, name, _with_old_name(check))


def _with_old_name(check: Callable[..., Any]) -> Callable[..., Any]:
    def renamed(*arguments: Any, force_all_finite: bool | str = True, **options: Any) -> Any:
        return check(*arguments, ensure_all_finite=force_all_finite, **options)

    return renamed
