"""`from_estimator`: a fitted scikit-learn classifier, pipeline and all, as a nearest-neighbour classifier of its input.

A chain of affine steps is ``t(x) = A (x − c) + b``; the classifier at its end orders its points ``y_i`` by ``‖V (t(p) −
y_i)‖²``.  With ``L = V A`` and any ``x_i``,

    ``V (t(p) − y_i) = L (p − x_i) − e_i,    e_i = V (y_i − t(x_i))``,

so if ``e_i = 0`` the order is that of the Mahalanobis metric ``M = Lᵀ L`` around points ``x_i`` in the space of the
inputs, and everything in this package applies as it is, radii in the units of the pipeline's input.  Such ``x_i`` exist
where the ``y_i`` are images of training inputs, or where A has full row rank.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexrml.errors import InvalidInputError, NotAffineError, NotFittedError
from convexrml.estimators.affine import AffineMap, coarsest, rounding_of_chain
from convexrml.metric import MahalanobisMetric
from convexrml.neighbors import NearestNeighbors
from convexrml.validation import feature_matrix

_PROBES = 16
_DROWNED = 0.1  # of the spread of the images: rounding as large as this leaves no order to certify


def from_estimator(fitted: Any, X: ArrayLike | None = None) -> NearestNeighbors:
    """The nearest-neighbour classifier that a fitted scikit-learn classifier is, as a function of its raw inputs.

    Read are KNeighborsClassifier (metrics euclidean, minkowski with p = 2 and weights, seuclidean, mahalanobis; uniform
    votes; an odd number of neighbours), NearestCentroid (euclidean), and Pipelines, nested ones too, that end in one of
    them after affine steps: StandardScaler, MinMaxScaler, RobustScaler, MaxAbsScaler, PCA and IncrementalPCA (whitening
    or not), TruncatedSVD, LinearDiscriminantAnalysis, NeighborhoodComponentsAnalysis, GaussianRandomProjection,
    SparseRandomProjection, feature selectors, learners of a Mahalanobis metric (metric-learn's or convexrml's),
    `affine_transformer`, "passthrough".  Everything else is refused by name.

    **What is certified** is the classifier returned: floats for L and ``x_i``, compared in real arithmetic.  It is the
    estimator in real arithmetic but for the rounding of L and ``x_i`` (and of ``y_i``, which the estimator made); the
    estimator's own predictions are made with rounding of its own, and may differ next to a tie.  Equally near points
    are ordered by their index here; scikit-learn leaves that order open.

    Parameters
    ----------
    fitted : estimator
        A classifier of scikit-learn's, or a Pipeline that ends in one; it is read, not changed.
    X : (N, d) array, optional
        The inputs that the estimator was fitted with, in their order: they become the ``x_i``, exactly.  Without them
        the ``x_i`` are computed, by division for scalings and as the preimages nearest to the centre of the first step
        otherwise; any preimages give the same classifier, but not points that one would recognise.

    Returns
    -------
    NearestNeighbors
        Fitted, for `certified_radius`, `exact_radius` and everything else; queries and radii in the units of the
        pipeline's input.  Its labels are the estimator's.

    Raises
    ------
    NotAffineError
        If a step is not affine, or not known to be; if the classifier is another one; if the classifier's points are
        not images of inputs (a residual ``‖e_i‖`` beyond four times the rounding bound of
        `estimators.affine.rounding_of_chain`: what passes moves the boundary between two points by ``(‖e_i‖² −
        ‖e_j‖²) / 2‖M (x_i − x_j)‖``, second order in rounding); if that bound exceeds a tenth of the spread of the
        images, so that the estimator compares rounding; or if a step does not compute what its attributes say.
    NotFittedError
        If the estimator is not fitted.
    InvalidInputError
        If X is not what it was fitted with.

    Examples
    --------
    >>> import convexrml
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import MinMaxScaler
    >>> pipe = make_pipeline(MinMaxScaler(), KNeighborsClassifier(1)).fit([[0.0], [8.0]], ["left", "right"])
    >>> model = convexrml.from_estimator(pipe)
    >>> convexrml.exact_radius(model, [[1.0]], ["left"]).radius.round(6).tolist()
    [3.0]
    """
    from sklearn.exceptions import NotFittedError as SklearnNotFittedError
    from sklearn.utils.validation import check_is_fitted

    from convexrml.estimators.classifiers import ordering
    from convexrml.estimators.steps import affine_step

    *steps, (where, classifier) = _flattened(fitted, "fitted")
    for name, step in (*steps, (where, classifier)):
        try:
            if hasattr(step, "fit"):
                check_is_fitted(step)
        except SklearnNotFittedError as error:
            raise NotFittedError(f"{name}: {error}") from error
        except TypeError as error:
            raise InvalidInputError(f"{name}: is no fitted estimator ({error})") from error
    order = ordering(classifier, where)
    maps = [(name, step, affine) for name, step in steps if (affine := affine_step(step, name)) is not None]
    chain = [affine for _, _, affine in maps]
    _require_widths([name for name, _, _ in maps], chain, order.points.shape[1], where)
    whole = chain[0] if chain else AffineMap.identity(order.points.shape[1])
    for affine in chain[1:]:
        whole = whole.then(affine)
    V = _root(order.metric)
    L = whole.matrix if V is None else V @ whole.matrix
    if X is None:
        inputs = _preimages(order.points, whole, V, L)
        epsilon = order.epsilon
    else:
        inputs = feature_matrix("X", X, whole.matrix.shape[1])
        epsilon = max(order.epsilon, coarsest([X]))
        if not order.are_training_points or len(inputs) != len(order.points):
            kept = f"{len(order.points)} points" if order.are_training_points else "centroids, not training points"
            raise InvalidInputError(f"X: {where} keeps {kept}, found {len(inputs)} inputs; leave X out")
    _require_images(order.points, inputs, whole, V, rounding_of_chain(chain, np.abs(inputs).max(axis=0), epsilon), X)
    _require_as_declared(maps, inputs[:: -(-len(inputs) // _PROBES)], epsilon)
    metric = order.metric if not chain else MahalanobisMetric.from_components(L)
    return NearestNeighbors(order.n_neighbors, metric).fit(inputs, order.labels)


def _flattened(estimator: Any, where: str) -> Iterator[tuple[str, Any]]:
    """The steps of nested pipelines, one after the other, with their names."""
    from sklearn.pipeline import Pipeline

    if type(estimator) is not Pipeline:
        yield where, estimator
        return
    for name, step in estimator.steps:
        yield from _flattened(step, name if where == "fitted" else f"{where}.{name}")


def _require_widths(names: list[str], chain: list[AffineMap], n_features: int, where: str) -> None:
    taken = [*(affine.matrix.shape[1] for affine in chain), n_features][1:]
    for name, affine, end, after in zip(names, chain, taken, [*names, where][1:], strict=bool(names)):
        if affine.matrix.shape[0] != end:
            raise InvalidInputError(
                f"fitted: {name} makes {affine.matrix.shape[0]} features, but {after} was fitted with {end}; fit the "
                "pipeline as a whole"
            )


def _root(metric: MahalanobisMetric) -> NDArray[np.float64] | None:
    """V with ``W = Vᵀ V``; None for the identity."""
    if metric.matrix is None:
        return metric.components
    eigenvalues, Q = np.linalg.eigh(metric.matrix)
    root: NDArray[np.float64] = np.sqrt(np.maximum(eigenvalues, 0))[:, None] * Q.T
    return root


def _preimages(
    Y: NDArray[np.float64], whole: AffineMap, V: NDArray[np.float64] | None, L: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Inputs x_i with ``V t(x_i) = V y_i``, where there are such: the same bits for the same ``y_i``."""
    a = whole.diagonal
    if a is not None:
        same = (a == 1).all() and not whole.centre.any() and not whole.offset.any()
        return Y if same else whole.centre + (Y - whole.offset) / a
    keys = np.ascontiguousarray(Y + 0.0).view(np.dtype((np.void, Y.shape[1] * Y.itemsize))).ravel()  # -0.0 is 0.0
    _, first, back = np.unique(keys, return_index=True, return_inverse=True)
    aims = Y[first] - whole.offset if V is None else (Y[first] - whole.offset) @ V.T
    sizes = np.linalg.norm(L, axis=1)
    sizes[sizes == 0] = 1.0
    rows, aims = L / sizes[:, None], aims / sizes  # the same equations, better scaled
    inverse = np.linalg.pinv(rows, rcond=max(L.shape) * np.finfo(np.float64).eps)
    steps = aims @ inverse.T
    steps += (aims - steps @ rows.T) @ inverse.T  # one refinement: what rounding left of the residual
    return np.ascontiguousarray((whole.centre + steps)[back])


def _require_images(
    Y: NDArray[np.float64],
    inputs: NDArray[np.float64],
    whole: AffineMap,
    V: NDArray[np.float64] | None,
    off: NDArray[np.float64],
    X: ArrayLike | None,
) -> None:
    """Refuse residuals ``‖e_i‖`` beyond rounding, and rounding that drowns the images."""
    e, spread = Y - whole(inputs), Y - np.median(Y, axis=0)
    if V is not None:
        e, spread, off = e @ V.T, spread @ V.T, np.abs(V) @ off
    tolerance, worst = 4 * float(np.linalg.norm(off)), float(np.linalg.norm(e, axis=1).max())
    width = float(np.linalg.norm(spread, axis=1).max())
    if 0 < width < tolerance / _DROWNED:
        raise NotAffineError(
            f"fitted: rounding may move transformed points by {tolerance:.2g}, and they spread over {width:.2g}: the "
            "classifier compares rounding. Either a step blows up directions in which the training data do not vary "
            "(whitening without a limit on n_components?), or the inputs are far from 0: centre them first"
        )
    if worst > tolerance and X is not None:
        raise InvalidInputError(
            f"X: is not what the estimator was fitted with: transformed, a point is {worst:.2g} from the one that the "
            f"estimator keeps in its place (rounding explains {tolerance:.2g})"
        )
    if worst > tolerance:
        raise NotAffineError(
            f"fitted: a point of the classifier is {worst:.2g} away from the image of every input (rounding explains "
            f"{tolerance:.2g}), so no input stands for it: were the steps or the classifier fitted anew, or does the "
            "classifier shrink centroids?"
        )


def _require_as_declared(maps: list[tuple[str, Any, AffineMap]], P: NDArray[np.float64], epsilon: float) -> None:
    """Refuse a step that, asked about some inputs, says something else than its map: this refutes, proving nothing."""
    for name, step, affine in maps:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "X does not have valid feature names")
            image = step.transform(P)
        image = feature_matrix(name, image)
        off = 4 * rounding_of_chain([affine], np.abs(P).max(axis=0), epsilon)
        if image.shape[1] != len(off) or not (np.abs(image - affine(P)) <= off).all():
            raise NotAffineError(
                f"{name}: {type(step).__name__} does not compute what its attributes say; was one of them changed, or "
                "does this version of its library mean another thing by them?"
            )
        P = image
