"""Triplets of a training set: each point with its nearest points of its own class and of the others."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexrml.learning.training import encoded_classes
from convexrml.norms import Norm
from convexrml.triplets import Triplets
from convexrml.validation import feature_matrix, label_vector, whole_number

_BATCH_BYTES = 64 * 2**20  # squared distances of a batch of anchors stay below this
_GRAIN = 2.0**-32  # squared distances that differ by less, relative to the largest norm, are ties


@dataclasses.dataclass(frozen=True, eq=False)
class MinedTriplets:
    """Rows of the training set in triplets, sorted by anchor, then negative, then positive's rank.

    Attributes
    ----------
    anchors, positives, negatives : (m,) integer arrays
        Rows of the training set.
    triplets : Triplets
        The same in differences, equal weights.
    """

    anchors: NDArray[np.intp]
    positives: NDArray[np.intp]
    negatives: NDArray[np.intp]
    triplets: Triplets

    def __len__(self) -> int:
        """The number m of triplets."""
        return len(self.anchors)

    def anchor_radii(self, M: NDArray[np.float64], norm: Norm) -> NDArray[np.float64]:
        """``min over negatives of max over positives`` of the triplet bounds, for each anchor that has triplets.

        With all positives and negatives mined it is the anchor's certified radius, itself left out; fewer positives
        make it smaller, fewer negatives larger.

        Parameters
        ----------
        M : (d, d) array
            Mahalanobis matrix.
        norm : Norm
            In which perturbations are measured.

        Returns
        -------
        (number of anchors,) array
            In the units of the features.
        """
        bounds = self.triplets.radii(M, norm)
        new_anchor = np.r_[True, np.diff(self.anchors) != 0]
        new_pair = new_anchor | np.r_[True, np.diff(self.negatives) != 0]
        pairs = np.maximum.reduceat(bounds, np.flatnonzero(new_pair))
        return np.minimum.reduceat(pairs, np.flatnonzero(new_anchor[new_pair]))


def mine_triplets(
    X: ArrayLike,
    y: ArrayLike,
    *,
    anchors: NDArray[np.intp] | None = None,
    components: NDArray[np.float64] | None = None,
    n_targets: int = 3,
    n_impostors: int = 3,
) -> MinedTriplets:
    """Each training point with its nearest targets (same class) and impostors (other classes), all pairs of them.

    Distances that are equal up to rounding are ties, and go to the smaller row: the triplets do not depend on the
    order in which a matrix product adds up.  At most ``N · n_targets · n_impostors`` triplets.

    Parameters
    ----------
    X : (N, d) array
        Training points.
    y : (N,) array
        Their labels.
    anchors : (n,) array of row numbers, optional
        Points that get triplets, increasing; all by default.
    components : (r, d) array, optional
        L of the metric in which points are near; Euclidean by default.
    n_targets, n_impostors : int
        How many of each, for each anchor; a class with fewer points gives what it has.

    Returns
    -------
    MinedTriplets
        Their rows, and the triplets as programs take them.

    Raises
    ------
    InvalidInputError
        If there is a single class, or no class has two points.

    Warns
    -----
    UserWarning
        If a class has a single point, which has no target: it is an impostor for others only.
    """
    X_ = feature_matrix("X", X)
    labels, sizes = encoded_classes(label_vector("y", y, len(X_)), stacklevel=3)
    targets, impostors = (
        whole_number("n_targets", n_targets, minimum=1),
        whole_number("n_impostors", n_impostors, minimum=1),
    )
    Y = X_ - X_.mean(axis=0)
    if components is not None:
        Y = Y @ components.T
    asked = np.arange(len(X_)) if anchors is None else anchors
    found: list[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]] = []
    for label in np.flatnonzero(sizes >= 2):
        own, other, at = np.flatnonzero(labels == label), np.flatnonzero(labels != label), asked[labels[asked] == label]
        plus = _nearest(Y, at, own, min(targets, len(own) - 1))
        minus = _nearest(Y, at, other, min(impostors, len(other)))
        shape = (len(at), minus.shape[1], plus.shape[1])
        found.append((np.broadcast_to(at[:, None, None], shape).ravel(),
                      np.broadcast_to(plus[:, None, :], shape).ravel(),
                      np.broadcast_to(minus[:, :, None], shape).ravel()))  # fmt: skip
    a, p, n = (np.concatenate(rows) for rows in zip(*found, strict=True))
    order = np.argsort(a, kind="stable")
    rows = a[order], p[order], n[order]
    return MinedTriplets(*rows, Triplets.from_indices(X_, *rows))


def _nearest(
    Y: NDArray[np.float64], anchors: NDArray[np.intp], others: NDArray[np.intp], count: int
) -> NDArray[np.intp]:
    """For each anchor the `count` nearest of `others` but itself, nearest first; shape ``(anchors, count)``."""
    squares = np.einsum("ij,ij->i", Y, Y)
    grain = max(float(squares.max()), np.finfo(float).tiny) * _GRAIN
    nearest = np.empty((len(anchors), count), dtype=np.intp)
    step = max(1, _BATCH_BYTES // (8 * len(others)))
    for start in range(0, len(anchors), step):
        rows = anchors[start : start + step]
        D = np.rint((squares[others] - 2 * (Y[rows] @ Y[others].T)) / grain)  # whole numbers: ties are equal
        keys = D.astype(np.int64) * len(others) + np.arange(len(others))
        keys[rows[:, None] == others] = np.iinfo(np.int64).max
        kept = np.argpartition(keys, count - 1, axis=1)[:, :count]
        order = np.argsort(np.take_along_axis(keys, kept, axis=1), axis=1)
        nearest[start : start + step] = others[np.take_along_axis(kept, order, axis=1)]
    return nearest
