"""Stochastic ascent of the bounded objective of signed radii: mini-batches of queries, site dropout, Adam on L."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from convexrml.errors import InvalidInputError
from convexrml.learning.adam import Adam
from convexrml.learning.signed_radii import Points, Sites, Weights, exact_weights, signed_radii
from convexrml.learning.training import Grouped

_QUERIES_AT_ONCE = 512
_AVERAGING = 8  # how fast the mean of the steps forgets the first ones


@dataclasses.dataclass(frozen=True, eq=False)
class Ascent:
    """How to climb ``mean σ((r − t) / (t / 2))``.

    Attributes
    ----------
    weights : Weights
        What is taken for r: `exact_weights` or `nearest_triplet_weights`.
    target : float
        t.
    learning_rate : float
    batch_size : int
    """

    weights: Weights
    target: float
    learning_rate: float
    batch_size: int

    def steps(
        self, data: Grouped, dropout: float, random: np.random.RandomState
    ) -> Iterator[tuple[NDArray[np.float64], float, NDArray[np.float64]]]:
        """The mean of L over the steps from ``L = I``, the batch's objective before each, its gradient; without end.

        Single steps are noisy; their mean is not.  With η = 8, ``mean_n = mean_{n−1} + (η + 1) / (n + η) (L_n −
        mean_{n−1})`` weighs step n by about n^η (polynomial-decay averaging, Shamir and Zhang, ICML 2013).
        """
        L, adam = np.eye(data.X.shape[1]), Adam(self.learning_rate)
        mean = L
        for n, batch in enumerate(_batches(queries_of(data), self.batch_size, random), start=1):
            kept = _kept_rows(data.class_start, dropout, random)
            r = signed_radii(*_left_out(data, batch, kept), L, self.weights)
            share = expit((r.value - self.target) / (0.5 * self.target))
            gradient = r.gradient(share * (1 - share) / (0.5 * self.target * len(batch)))
            L = L + adam.step(gradient)
            mean = mean + (_AVERAGING + 1) / (n + _AVERAGING) * (L - mean)
            yield mean, float(share.mean()), gradient

    def score(self, radii: NDArray[np.float64]) -> float:
        """The objective of given radii."""
        return float(expit((radii - self.target) / (0.5 * self.target)).mean())


def queries_of(data: Grouped) -> NDArray[np.int64]:
    """Rows that have another of their label."""
    counts = np.diff(data.class_start)
    return np.flatnonzero(np.repeat(counts > 1, counts))


def leave_one_out_radii(data: Grouped, L: NDArray[np.float64]) -> NDArray[np.float64]:
    """Signed exact radii of the points that have another of their label, each among all others."""
    rows, everything = queries_of(data), np.arange(len(data.X))
    parts = [rows[first : first + _QUERIES_AT_ONCE] for first in range(0, len(rows), _QUERIES_AT_ONCE)]
    found = [signed_radii(*_left_out(data, part, everything), L, exact_weights).value for part in parts]
    return np.concatenate(found)


def radii_among(
    data: Grouped, Z: NDArray[np.float64], labels: NDArray[np.int64], L: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Signed exact radii of other points, with labels of the training set."""
    sites, found = Sites(data.X, data.class_start), []
    for first in range(0, len(Z), _QUERIES_AT_ONCE):
        part = slice(first, first + _QUERIES_AT_ONCE)
        points = Points(Z[part], labels[part], np.full(len(Z[part]), -1))
        found.append(signed_radii(sites, points, L, exact_weights).value)
    return np.concatenate(found)


def euclidean_median(data: Grouped) -> float:
    """The median leave-one-out Euclidean radius, misclassified points counting 0; of the others where that is 0.

    Raises
    ------
    InvalidInputError
        If no point is classified correctly by the others.
    """
    radii = np.maximum(leave_one_out_radii(data, np.eye(data.X.shape[1])), 0.0)
    if not (radii > 0).any():
        raise InvalidInputError(
            "X, y: by the Euclidean metric no training point is nearest to one of its own label, which leaves no "
            "radius to start from; are there enough points, and are features and labels in the same order?"
        )
    median = float(np.median(radii))
    return median if median > 0 else float(np.median(radii[radii > 0]))


def _left_out(data: Grouped, batch: NDArray[np.int64], kept: NDArray[np.int64]) -> tuple[Sites, Points]:
    """The kept rows as sites, the rows of the batch as queries that are not their own sites."""
    start = np.searchsorted(kept, data.class_start)
    at = np.minimum(np.searchsorted(kept, batch), len(kept) - 1)
    own = np.where(kept[at] == batch, at, -1)
    return Sites(data.X[kept], start), Points(data.X[batch], data.y[batch], own)


def _batches(rows: NDArray[np.int64], size: int, random: np.random.RandomState) -> Iterator[NDArray[np.int64]]:
    """Parts of shuffled rows, shuffled anew each time they are used up; the rest of a round joins its last part."""
    count = max(1, len(rows) // size)
    while True:
        yield from np.array_split(random.permutation(rows), count)


def _kept_rows(class_start: NDArray[np.int64], dropout: float, random: np.random.RandomState) -> NDArray[np.int64]:
    """A random share of every class, two rows at least where it has them: one is left when the other is the query."""
    kept = []
    for start, stop in zip(class_start[:-1], class_start[1:], strict=True):
        count = min(stop - start, max(2, math.ceil((1 - dropout) * (stop - start))))
        kept.append(start + random.permutation(stop - start)[:count])
    return np.sort(np.concatenate(kept))
