"""The nearest training points of the same label and of other labels, followed while the metric moves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from convexrml.errors import LearningError
from convexrml.kernels import candidates as kernel

_ROWS_AT_ONCE = 256
KEPT = 64  # columns read one by one; the others are folded into one


class NearestLists:
    """For every training point, its k nearest of the same label and of other labels under a metric that moves.

    The lists are exact at every call of `update`, ties in favour of the smaller row: members are ordered by distances
    in float64.  What makes it cheap: one product in single precision serves as a filter, with a margin above its
    rounding; last time's members give a short list's distance to beat at once; and of more than 64 dimensions only
    the first 64 are multiplied, the length of the rest standing for it (a map that lengthens no distance).

    Parameters
    ----------
    class_start : (n_classes + 1,) integer array
        Class c holds the rows ``class_start[c] : class_start[c + 1]``.
    k : int
        Members of each list; all there are where a class has fewer.

    Attributes
    ----------
    same, other : (N, k) integer arrays
        Rows, nearest first; of row a the first ``same_size[a]`` and ``other_size[a]`` hold.
    same_size, other_size : (N,) integer arrays
    """

    def __init__(self, class_start: NDArray[np.int64], k: int) -> None:
        N = int(class_start[-1])
        self._start = class_start
        self._labels = np.repeat(np.arange(len(class_start) - 1), np.diff(class_start))
        self.same, self.other = (np.empty((N, k), dtype=np.int64) for _ in range(2))
        self.same_size, self.other_size = (np.zeros(N, dtype=np.int64) for _ in range(2))
        self._distances = np.empty((2, N, k))

    def update(self, A: NDArray[np.float64]) -> None:
        """Make the lists those of the points in the rows of A, ``(N, r)``, under the Euclidean metric.

        Cheapest when the first columns of A hold most of the distances.

        Raises
        ------
        LearningError
            If squared distances overflow.
        """
        longest = float(np.einsum("ij,ij->i", A, A).max())
        if not np.isfinite(4 * longest):
            raise LearningError(
                f"distances of training points overflow (features up to {np.abs(A).max():.3g} under the metric): a "
                "feature or the learning rate is far too large; scale the features"
            )
        lists = ((True, self.same, self.same_size), (False, self.other, self.other_size))
        for (_, members, sizes), distances in zip(lists, self._distances, strict=True):
            kernel.restart(A, members, sizes, distances)
        scale = 1 / longest if longest > 0 else 1.0
        images = (A * np.sqrt(scale)).astype(np.float32)
        B = _folded(A, images, np.sqrt(scale))
        squares = np.einsum("ij,ij->i", B, B)
        # u = 2⁻²⁴, r columns, all ‖b‖ ≤ 1.  Inner product 2 r u, sum of squares 4 (r + 2) u; rounding of coordinates,
        # 4 u of each point at most, twice ‖b_i − b_j‖: 32 u; the squares, the limit and their sums: 16 u.
        margin = 8 * (A.shape[1] + 8) * 2.0**-24
        products = np.empty((_ROWS_AT_ONCE, len(B)), dtype=np.float32)
        for first in range(0, len(B), _ROWS_AT_ONCE):
            rows = B[first : first + _ROWS_AT_ONCE]
            np.dot(rows, B.T, out=products[: len(rows)])
            for (same, members, sizes), distances in zip(lists, self._distances, strict=True):
                kernel.improve(
                    A, images, first, products[: len(rows)], squares, scale, margin, self._start, self._labels,
                    same, members, sizes, distances,
                )  # fmt: skip


def _folded(A: NDArray[np.float64], images: NDArray[np.float32], scale: float) -> NDArray[np.float32]:
    """The first columns, and the length of what is left, in single precision: a map that lengthens no distance."""
    if A.shape[1] <= KEPT:
        return images
    rest = A[:, KEPT:]
    return np.column_stack([images[:, :KEPT], (scale * np.sqrt(np.einsum("ij,ij->i", rest, rest))).astype(np.float32)])
