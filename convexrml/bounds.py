"""Closed-form certified radii: lower bounds that need no solver."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexrml.kernels import scores as scores_kernel
from convexrml.kernels import triplets as kernel
from convexrml.neighbors import NearestNeighbors, require_model
from convexrml.norms import Norm, as_norm
from convexrml.results import CertifiedRadii
from convexrml.threads import PARALLEL_KERNELS


def certified_radius(
    model: NearestNeighbors,
    Z: ArrayLike,
    y: ArrayLike,
    *,
    norm: float | str | Norm = 2,
    progress: Callable[[int], object] | None = None,
) -> CertifiedRadii:
    """Certified radius of the k-nearest-neighbour classifier at each query, in closed form.

    Moving z until the negative j is no farther than the positive i costs exactly the distance to a half-space,

        ``t_ij = max(0, score_j(z) − score_i(z)) / (2 ‖u_i − u_j‖_q)``;

    to lose a majority, s = (k + 1)/2 negatives must each be no farther than all but s − 1 of the positives, so no
    perturbation smaller than

        ``the s-th smallest over negatives j of the s-th largest over positives i of t_ij``

    can change the prediction (for k = 1: ``min_j max_i t_ij``).

    **Guarantee**: a lower bound on the exact radius, with and without a box.  Rounding is accounted for, in the scores
    of z as well as in those by which the classifier would judge a witness: see `convexrml.rounding.Rounding`.  With
    more than two classes and k ≥ 5 a plurality vote may stay with the label although it has no majority: the bound
    then is 0, and still a lower bound.

    Parameters
    ----------
    model : NearestNeighbors
        Fitted.
    Z : (n, d) array
        Queries.
    y : (n,) array
        Their true labels.  A misclassified query has certified radius 0.
    norm : {1, 2, inf}, default 2
        Norm ``p`` in which perturbations are measured; q is its dual.
    progress : callable, optional
        Called with the number of queries finished since the last call.

    Returns
    -------
    CertifiedRadii
        `lower` (n,), in the units of the input features, and the two training points that decide each bound.

    Raises
    ------
    InvalidInputError
        If Z or y do not fit the training set, or the norm is another one.
    NotFittedError
        If the model is not fitted.

    Notes
    -----
    L. Wang, X. Liu, J. Yi, Y. Jiang, C.-J. Hsieh, Provably Robust Metric Learning, NeurIPS 2020, Theorem 1.
    Memory: the training set and the scores of a batch of queries; nothing of size N × N.

    Examples
    --------
    >>> import convexrml
    >>> model = convexrml.NearestNeighbors().fit([[0.0], [4.0]], ["left", "right"])
    >>> convexrml.certified_radius(model, [[1.0]], ["left"]).lower.round(6).tolist()
    [1.0]
    """
    p = as_norm(norm)
    P = require_model(model).require_queries(Z)
    label = model.encode(y, len(P))
    s = (model.n_neighbors + 1) // 2
    rounding = model.rounding(p)
    z_lengths = np.linalg.norm(P - model.shift_, axis=1)
    all_images, spread = model.images(P)
    widening = math.sqrt(model.n_features_in_) if p.dual_order == 1 else 1.0  # ‖v‖_q ≤ widening ‖v‖_2
    parts = []
    for batch in model.batches(len(P)):
        scores, images = model.scores(P[batch]), all_images[batch]
        squared = scores
        if not model.metric_.is_euclidean:
            squared = scores_kernel.scores(model.sites_, model.site_squares, images)
        offset = np.einsum("ij,ij->i", images, images) + spread[batch]
        with PARALLEL_KERNELS:
            part = kernel.certified_radii(
                model.sites_, rounding.lengths, scores, squared, offset, model.labels_, label[batch], s, p.dual_order,
                widening, rounding.rules, z_lengths[batch],
            )  # fmt: skip
        parts.append(part)
        if progress is not None:
            progress(batch.stop - batch.start)
    lower, positive, negative = (np.concatenate(part) for part in zip(*parts, strict=True))
    return CertifiedRadii(lower, positive, negative, p, model.n_neighbors)


def triplet_bounds(
    model: NearestNeighbors,
    z: NDArray[np.float64],
    row: NDArray[np.float64],
    positives: NDArray[np.int64],
    negatives: NDArray[np.int64],
    norm: Norm,
) -> NDArray[np.float64]:
    """``max_i t_ij`` over `positives` for each of `negatives`, of one query `z` (d,) with scores `row`.

    A lower bound on the exact radius against that negative, whichever positives are given; `positives` come nearest
    first.
    """
    rounding = model.rounding(norm)
    result: NDArray[np.float64] = kernel.largest_over_positives(
        model.sites_, rounding.lengths, row, positives, negatives, norm.dual_order, rounding.rules,
        float(np.linalg.norm(z - model.shift_)),
    )  # fmt: skip
    return result


def deciding_positive(
    model: NearestNeighbors, row: NDArray[np.float64], positives: NDArray[np.int64], negative: int, norm: Norm
) -> int:
    """The positive whose triplet bound against `negative` is the largest, of one query with scores `row`."""
    gaps = np.maximum(row[negative] - row[positives], 0.0)
    separations = norm.dual_of(model.sites_[positives] - model.sites_[negative])
    with np.errstate(divide="ignore", invalid="ignore"):
        bounds = np.where(gaps > 0, gaps / (2 * separations), 0.0)
    return int(positives[np.argmax(bounds)])
