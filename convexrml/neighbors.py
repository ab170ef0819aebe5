"""A training set under a metric, as a power diagram: sites, offsets, labels; prediction and its tie rules."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexrml.checker import TrainingSet
from convexrml.errors import InvalidInputError, NotFittedError
from convexrml.kernels import scores as kernel
from convexrml.metric import MahalanobisMetric, as_metric, sites_of_distinct_rows
from convexrml.norms import Norm
from convexrml.rounding import Rounding, rounding_of
from convexrml.threads import PARALLEL_KERNELS
from convexrml.validation import encoded_labels, feature_matrix, label_vector, whole_number
from convexrml.votes import Vote, as_vote

SCORE_BATCH_BYTES = 64 * 2**20  # scores of a batch of queries against all sites stay below this
_LARGEST_SCORE = 1e300
_PRODUCTS_WORTH_THREADS = 10**7  # below, waking numba's threads can take longer than the work


class NearestNeighbors:
    """The k-nearest-neighbour classifier under a Mahalanobis metric, seen as a power diagram.

    With ``u_i = M (x_i − m)`` and ``c_i = (x_i − m)ᵀ M (x_i − m)``, the squared distance from p to x_i is, up to a
    term that all training points share,

        ``score_i(p) = c_i − 2 ⟨u_i, p − m⟩``.

    Radii, bounds and programs need only these sites, offsets and the labels.  The shift m (the median of each
    feature, a value that the data take) changes nothing in exact arithmetic; it keeps the scores small, and leaves
    whole numbers whole, so that distance ties in such data are seen exactly.

    **Tie rules.**  `predict` orders equally near training points by their index in the training set, and breaks a
    tied vote toward the smaller label, as scikit-learn does.  Robustness is judged the other way round: wherever a
    radius is defined, ties count against the true label, as `convexrml.Vote` says (`mislabels`).  Ties are those of the
    scores as computed: a query within rounding of a boundary has radius 0.

    To tune one by scikit-learn, tune a KNeighborsClassifier and bring it by `convexrml.from_estimator`.

    Parameters
    ----------
    n_neighbors : int, default 1
        k, an odd number.
    metric : None, (d, d) array, (r, d) array or MahalanobisMetric, default None
        None is Euclidean; a square array is the Mahalanobis matrix M; any other matrix is read as the components L,
        ``M = Lᵀ L``.  (A square L: `MahalanobisMetric.from_components`.)

    Attributes
    ----------
    sites_ : (N, d) array
        ``u_i``.
    offsets_ : (N,) array
        ``c_i``.
    labels_ : (N,) integer array
        Index into `classes_` for each training point.
    classes_ : (n_classes,) array
        The labels as they were given, sorted.
    shift_ : (d,) array
        The shift m, in the units of the input features.
    metric_ : MahalanobisMetric
        The metric as it was read.
    n_features_in_ : int
        The dimension d.
    site_squares : (N,) array
        ``‖u_i‖₂²`` of each site.
    training_points_ : (N, d) array
        X as given to `fit` (not copied where it already was a float64 array).

    Examples
    --------
    >>> import convexrml
    >>> model = convexrml.NearestNeighbors().fit([[0.0], [4.0]], ["left", "right"])
    >>> str(model.predict([[1.0]])[0])
    'left'
    """

    sites_: NDArray[np.float64]
    offsets_: NDArray[np.float64]
    labels_: NDArray[np.int64]
    classes_: NDArray[Any]
    shift_: NDArray[np.float64]
    metric_: MahalanobisMetric
    n_features_in_: int
    training_points_: NDArray[np.float64]
    site_squares: NDArray[np.float64]
    _exact: TrainingSet | None = None

    def __init__(self, n_neighbors: int = 1, metric: ArrayLike | MahalanobisMetric | None = None) -> None:
        self.n_neighbors = n_neighbors
        self.metric = metric

    def __repr__(self) -> str:
        """Parameters, and the size of the training set once fitted."""
        metric = "None" if self.metric is None else f"<{type(self.metric).__name__}>"
        fitted = f", fitted on {self.sites_.shape}" if hasattr(self, "sites_") else ""
        return f"NearestNeighbors(n_neighbors={self.n_neighbors}, metric={metric}{fitted})"

    def __getstate__(self) -> dict[str, Any]:
        """All but the exact twin, which is large and made anew where it is asked for."""
        return {name: value for name, value in vars(self).items() if name != "_exact"}

    def __sizeof__(self) -> int:
        """Bytes held, so that a cluster's backend sees that a model is worth sending to a worker only once."""
        return sum(value.nbytes for value in vars(self).values() if isinstance(value, np.ndarray))

    def fit(self, X: ArrayLike, y: ArrayLike) -> NearestNeighbors:
        """Take the training set.

        Parameters
        ----------
        X : (N, d) array
            Training points, finite; float32 is computed in float64.
        y : (N,) array
            Their labels, numbers or strings.  A single class is allowed: its radii are infinite.

        Returns
        -------
        NearestNeighbors
            The classifier itself.

        Raises
        ------
        InvalidInputError
            If X, y, the metric or the number of neighbours (even, or more than N) cannot be used.
        """
        k = whole_number("n_neighbors", self.n_neighbors, minimum=1)
        if k % 2 == 0:
            raise InvalidInputError(
                f"n_neighbors: must be odd, so that two classes cannot tie; found {k}; take {k - 1} or {k + 1}"
            )
        X_ = feature_matrix("X", X)
        y_ = label_vector("y", y, len(X_))
        if k > len(X_):
            raise InvalidInputError(f"n_neighbors: must be at most {len(X_)}, the number of training points; found {k}")
        self.training_points_ = X_
        self.metric_ = as_metric(self.metric, X_.shape[1])
        self.n_features_in_ = X_.shape[1]
        self.classes_, labels = np.unique(y_, return_inverse=True)
        self.labels_ = np.ascontiguousarray(labels, dtype=np.int64)
        self.shift_ = np.partition(X_, (len(X_) - 1) // 2, axis=0)[(len(X_) - 1) // 2]
        self.sites_, self.offsets_ = sites_of_distinct_rows(self.metric_, X_ - self.shift_)
        self._magnitude = self.metric_.magnitude
        if not self.in_range(X_).all():
            raise InvalidInputError("X: squared distances are too large for floats; rescale X or the metric")
        self._lengths = np.linalg.norm(X_ - self.shift_, axis=1)
        self.site_squares = np.einsum("ij,ij->i", self.sites_, self.sites_)
        self._exact = None
        return self

    def predict(self, Z: ArrayLike) -> NDArray[Any]:
        """Predict the label of each query, ties broken as the class says.

        Parameters
        ----------
        Z : (n, d) array
            Queries, in the units of the training points.

        Returns
        -------
        (n,) array
            Labels, as they were given to `fit`.

        Raises
        ------
        InvalidInputError
            If Z does not fit the training set.
        NotFittedError
            Before `fit`; of every method that takes queries.
        """
        votes = self._votes(self.kneighbors(Z))
        return self.classes_[votes.argmax(axis=1)]

    def kneighbors(self, Z: ArrayLike) -> NDArray[np.int64]:
        """Indices of the k nearest training points of each query, nearest first.

        Parameters
        ----------
        Z : (n, d) array
            Queries.

        Returns
        -------
        (n, k) int array
            Rows of the training set; equally near ones come in their order there.

        Raises
        ------
        InvalidInputError
            If Z does not fit the training set.
        """
        P = self.require_queries(Z)
        none_last = np.full(len(P), -1)
        parts = [
            kernel.nearest(self._scores(P[batch]), self.labels_, none_last[batch], self.n_neighbors)
            for batch in self.batches(len(P))
        ]
        return np.concatenate(parts)

    def mislabels(self, Z: ArrayLike, y: ArrayLike, *, vote: str | Vote = Vote.PLURALITY) -> NDArray[np.bool_]:
        """Whether each query's label loses the vote when every tie is broken against it.

        This is the test that every witness has to pass; `convexrml.Vote` says what losing means.  For k = 1: some other
        label's point is at least as near as every point of the label.

        Parameters
        ----------
        Z : (n, d) array
            Queries.
        y : (n,) array
            Their labels.
        vote : {"plurality", "majority"}, default "plurality"
            The vote that is to be lost.

        Returns
        -------
        (n,) bool array
            By the scores as floating point computes them.

        Raises
        ------
        InvalidInputError
            If Z, y or the vote do not fit.
        """
        P = self.require_queries(Z)
        label, lost = self.encode(y, len(P)), as_vote(vote)
        parts = [self.mislabelled_by_scores(self._scores(P[at]), label[at], lost) for at in self.batches(len(P))]
        return np.concatenate(parts)

    def mislabelled_by_scores(
        self, scores: NDArray[np.float64], label: NDArray[np.int64], vote: Vote = Vote.PLURALITY
    ) -> NDArray[np.bool_]:
        """The test of `mislabels` for points known by their scores ``(n, N)``; `label` are encoded labels ``(n,)``."""
        own, other = kernel.least_votes(scores, self.labels_, label, len(self.classes_), self.n_neighbors)
        lost: NDArray[np.bool_] = own <= self.n_neighbors // 2 if vote is Vote.MAJORITY else own <= other
        return lost

    @property
    def exact(self) -> TrainingSet:
        """The training set and the metric in exact arithmetic, as the checker of certificates takes them."""
        self._require_fitted()
        if self._exact is None:
            self._exact = TrainingSet(self.training_points_, self.classes_[self.labels_], *self.metric_.as_given)
        return self._exact

    def scores(self, Z: ArrayLike) -> NDArray[np.float64]:
        """``score_i(z)`` for each query and training point: squared distances less what all points share.

        Parameters
        ----------
        Z : (n, d) array
            Queries.

        Returns
        -------
        (n, N) array
            In units of squared distance under M.
        """
        return self._scores(self.require_queries(Z))

    def rounding(self, norm: Norm) -> Rounding:
        """Bounds on the rounding in this classifier's scores and distances between sites, for one norm."""
        self._require_fitted()
        d, summands = self.n_features_in_, self.metric_.summands
        return rounding_of(self._lengths, d, summands, self._magnitude, norm.order)

    def images(self, Z: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """``M (z − m)`` of each query, and how far a computed ``‖u_i − M (z − m)‖₂²`` may be off for any site.

        The squared distance is summed from products: ``score_i + ‖z − m‖²`` under the Euclidean metric, else ``‖u_i‖² −
        2 ⟨u_i, M (z − m)⟩ + ‖M (z − m)‖²``; each is within ``4 γ`` of the square of the largest length.
        """
        centred, unit = Z - self.shift_, self.rounding(Norm(2.0)).unit
        if self.metric_.is_euclidean:
            return centred, 4 * unit * (self._lengths.max() + np.linalg.norm(centred, axis=1)) ** 2
        images = np.ascontiguousarray(self.metric_.sites(centred)[0])
        lengths = math.sqrt(self.site_squares.max()) + np.linalg.norm(images, axis=1)
        return images, 4 * unit / self._magnitude * lengths**2 if self._magnitude > 0 else np.zeros(len(Z))

    def in_range(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether each point (last axis) is finite and so near that its squared distances are floats."""
        with np.errstate(over="ignore", invalid="ignore"):
            reach = np.abs(points - self.shift_).max(axis=-1) * math.sqrt(self.n_features_in_)
            within: NDArray[np.bool_] = max(1.0, self._magnitude) * reach**2 < _LARGEST_SCORE
        return within

    def encode(self, y: ArrayLike, n_points: int) -> NDArray[np.int64]:
        """Index into `classes_` of each label.

        Raises
        ------
        InvalidInputError
            If a label does not occur in the training set.
        """
        self._require_fitted()
        return encoded_labels("y", label_vector("y", y, n_points), self.classes_)

    def require_queries(self, Z: ArrayLike) -> NDArray[np.float64]:
        """Read queries as an ``(n, d)`` float64 array that fits the training set."""
        self._require_fitted()
        points = feature_matrix("Z", Z, self.n_features_in_)
        if not self.in_range(points).all():
            raise InvalidInputError(
                "Z: is too far from the training points: squared distances are too large for floats; are queries and "
                "training points scaled alike?"
            )
        return points

    def batches(self, n_queries: int) -> list[slice]:
        """Slices of queries whose scores against all sites fit in memory together."""
        size = max(1, SCORE_BATCH_BYTES // (8 * len(self.sites_)))
        return [slice(start, min(start + size, n_queries)) for start in range(0, n_queries, size)]

    def _scores(self, Z: NDArray[np.float64]) -> NDArray[np.float64]:
        result: NDArray[np.float64]
        if len(Z) * self.sites_.size < _PRODUCTS_WORTH_THREADS:
            result = kernel.scores_on_one_thread(self.sites_, self.offsets_, Z - self.shift_)
        else:
            with PARALLEL_KERNELS:
                result = kernel.scores(self.sites_, self.offsets_, Z - self.shift_)
        return result

    def _votes(self, neighbours: NDArray[np.int64]) -> NDArray[np.int64]:
        votes = np.zeros((len(neighbours), len(self.classes_)), dtype=np.int64)
        for column in neighbours.T:
            votes[np.arange(len(votes)), self.labels_[column]] += 1
        return votes

    def _require_fitted(self) -> None:
        if not hasattr(self, "sites_"):
            raise NotFittedError("NearestNeighbors: not fitted yet; call fit(X, y) first")


def require_model(model: object) -> NearestNeighbors:
    """The model; an InvalidInputError says of anything else how it could be read."""
    if not isinstance(model, NearestNeighbors):
        raise InvalidInputError(
            f"model: needs a fitted convexrml.NearestNeighbors; found {type(model).__name__}; "
            "convexrml.from_estimator reads fitted classifiers and pipelines of scikit-learn"
        )
    return model
