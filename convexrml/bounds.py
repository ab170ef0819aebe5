"""Closed-form certified radii: lower bounds that need no solver."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexrml.kernels import triplets as kernel
from convexrml.neighbors import UNIT_ROUNDOFF, NearestNeighbors
from convexrml.norms import Norm, as_norm
from convexrml.results import CertifiedRadii


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

    **Guarantee**: a lower bound on the exact radius, with and without a box.  Rounding is accounted for: the numerator
    gives up four times the bound ε on the rounding of a score (two scores of z here, two of any witness in the
    classifier's own arithmetic), the denominator is widened by the rounding of the sites.  With more than two classes
    and k ≥ 5 a plurality vote may stay with the label although it has no majority: the bound then is 0, and still a
    lower bound.

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
    P = model.require_queries(Z)
    label = model.encode(y, len(P))
    s = (model.n_neighbors + 1) // 2
    rounding = 4 * model.score_rounding(P)
    stretch, slack = separation_rounding(model, p)
    parts = []
    for batch in model.batches(len(P)):
        parts.append(
            kernel.certified_radii(
                model.sites_, model.scores(P[batch]), model.labels_, label[batch], s, p.dual_order,
                rounding[batch], stretch, slack,
            )
        )  # fmt: skip
        if progress is not None:
            progress(batch.stop - batch.start)
    lower, positive, negative = (np.concatenate(part) for part in zip(*parts, strict=True))
    return CertifiedRadii(lower, positive, negative, p, model.n_neighbors)


def separation_rounding(model: NearestNeighbors, norm: Norm) -> tuple[float, float]:
    """Factor and addend that carry a computed ``‖u_i − u_j‖_q`` above the true one.

    The addend is the rounding of the sites, bounded in ℓ2 and carried to the dual norm (``‖v‖_1 ≤ √d ‖v‖_2``); the
    factor ``1 + 4 (d + 4) u`` pays for the sum, its square root and the division.
    """
    d = model.n_features_in_
    widen = np.sqrt(d) if norm.dual_order == 1 else 1.0
    return 1 + 4 * (d + 4) * UNIT_ROUNDOFF, float(widen * model.site_rounding)


def triplet_bounds(
    model: NearestNeighbors,
    row: NDArray[np.float64],
    positives: NDArray[np.int64],
    negatives: NDArray[np.int64],
    rounding: float,
    norm: Norm,
) -> NDArray[np.float64]:
    """``max_i t_ij`` over `positives` for each of `negatives`, of one query with scores `row`.

    A lower bound on the exact radius against that negative, whichever positives are given; `positives` come nearest
    first.
    """
    stretch, slack = separation_rounding(model, norm)
    result: NDArray[np.float64] = kernel.largest_over_positives(
        model.sites_, row, positives, negatives, norm.dual_order, rounding, stretch, slack
    )
    return result
