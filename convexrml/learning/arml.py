"""ARML: the mean triplet bound, ascended along gradients in closed form."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from threadpoolctl import threadpool_limits

from convexrml.kernels.candidates import triplet_differences
from convexrml.learning.adam import Adam
from convexrml.learning.base import MetricLearner
from convexrml.learning.nearby import KEPT, NearestLists
from convexrml.learning.progress import progress_bar
from convexrml.learning.training import Grouped, grouped_training_set, require_finite
from convexrml.validation import positive_number, whole_number

_EPOCHS_PER_ROTATION = 10
LEAST_SQUARE = 1e-6  # ‖M v‖² is never taken to be less: the published learner's guard against 0/0


class ARML(MetricLearner):
    """Adversarially robust metric learning (Wang et al., NeurIPS 2020), reimplemented from the mathematics.

    Every training point z is the anchor of one triplet per epoch: x⁺ is drawn from the nearest points of its label,
    x⁻ from the nearest of other labels, under the metric learnt so far.  With ``v = x⁺ − x⁻``, ``s = 2z − x⁺ − x⁻``
    the objective, to be maximised over ``M = Lᵀ L``, is the mean of the signed triplet bounds

        ``t = vᵀ M s / (2 ‖M v‖₂)``

    and each epoch takes one step of Adam on L, from ``L = I``, along its gradient (see `mean_triplet_bound`).
    ``‖M v‖²`` is never taken to be less than 1e-6, as in the published learner.  The objective does not change with the
    scale of M.  It is not concave; nothing is promised of what is found.

    Parameters
    ----------
    n_epochs : int, default 1000
        Steps; each sees one triplet for every point.
    learning_rate : float, default 1e-3
        Of Adam.
    n_candidates : int, default 10
        How many nearest points the others of a triplet are drawn from; all there are where a class has fewer.
    max_time : float, optional
        Seconds after which no epoch is begun; stopping so is reported by a ConvergenceWarning.
    verbose : bool, default False
        Show a progress bar on stderr.
    callback : callable, optional
        Called after each epoch with the number of epochs so far and the objective.
    random_state : int, RandomState or None
        Of the draws.

    Attributes
    ----------
    components_ : (d, d) array
        The components L.
    n_iter_ : int
        Epochs.
    objective_ : float
        Mean signed triplet bound, in the units of the features, at the last epoch's beginning.
    objectives_ : array of `n_iter_` floats
        The same for each epoch.

    Notes
    -----
    The defaults are the published ones.  Points without another of their label anchor no triplet, and a warning says
    so.  Points are centred first, which changes no triplet's bound.  The same seed gives the same metric whatever the
    number of threads: linear algebra runs on one.

    The method is that of L. Wang, X. Liu, J. Yi, Y. Jiang, C.-J. Hsieh, Provably Robust Metric Learning, NeurIPS 2020.

    Examples
    --------
    >>> import convexrml
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> convexrml.ARML(n_epochs=20, random_state=0).fit(X, y).get_mahalanobis_matrix().shape
    (4, 4)
    """

    def __init__(
        self,
        *,
        n_epochs: int = 1000,
        learning_rate: float = 1e-3,
        n_candidates: int = 10,
        max_time: float | None = None,
        verbose: bool = False,
        callback: Callable[[int, float], object] | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_epochs = n_epochs
        self.learning_rate = learning_rate
        self.n_candidates = n_candidates
        self.max_time = max_time
        self.verbose = verbose
        self.callback = callback
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Learn the metric.

        Parameters
        ----------
        X : (N, d) array
            Training points, finite.
        y : (N,) array
            Labels.

        Returns
        -------
        ARML
            The learner itself.

        Raises
        ------
        InvalidInputError
            If there is one class only, no class has two points, or a parameter makes no sense.
        LearningError
            If the points, the objective or its gradient overflow.
        """
        n_epochs = whole_number("n_epochs", self.n_epochs, minimum=1)
        k = whole_number("n_candidates", self.n_candidates, minimum=1)
        adam = Adam(positive_number("learning_rate", self.learning_rate))
        until = time.monotonic() + (math.inf if self.max_time is None else positive_number("max_time", self.max_time))
        data = grouped_training_set(self, X, y)
        draw = check_random_state(self.random_state)
        objectives: list[float] = []
        L = np.eye(data.X.shape[1])
        with threadpool_limits(limits=1, user_api="blas"), progress_bar(self.verbose, n_epochs) as show:
            triplets, scatter = TripletDraws(data, k), data.X.T @ data.X
            for epoch in range(n_epochs):
                if time.monotonic() >= until:
                    warnings.warn(
                        f"stopped by max_time after {len(objectives)} of {n_epochs} epochs", ConvergenceWarning, 2
                    )
                    break
                if epoch % _EPOCHS_PER_ROTATION == 0:
                    Q = _principal_axes(L @ scatter @ L.T)
                QL = Q.T @ L  # the same M; most of a distance is in the first images
                images = data.X @ QL.T
                value, gradient = mean_triplet_bound(data.X, images, QL, *triplets.draw(images, draw))
                gradient = Q @ gradient
                require_finite(self, value, gradient, len(objectives))
                objectives.append(value)
                L += adam.step(gradient)
                show(len(objectives), f"mean triplet bound {value:.5g}")
                if self.callback is not None:
                    self.callback(len(objectives), value)
        self.components_ = L
        self.n_iter_ = len(objectives)
        self.objectives_ = np.array(objectives)
        self.objective_ = objectives[-1] if objectives else math.nan
        return self


def _principal_axes(scatter: NDArray[np.float64]) -> NDArray[np.float64]:
    """Orthonormal columns along which points with this scatter matrix vary most first; I where that saves nothing."""
    if len(scatter) <= KEPT or not np.isfinite(scatter).all():
        return np.eye(len(scatter))
    return np.linalg.eigh(scatter)[1][:, ::-1]


class TripletDraws:
    """Draws one triplet for each point that has another of its label."""

    def __init__(self, data: Grouped, k: int) -> None:
        self._lists = NearestLists(data.class_start, k)
        self._anchors = np.flatnonzero(np.repeat(np.diff(data.class_start) > 1, np.diff(data.class_start)))

    def draw(
        self, images: NDArray[np.float64], rng: np.random.RandomState
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Rows of anchors, positives and negatives; `images` are the points under L."""
        near, at = self._lists, self._anchors
        near.update(images)
        plus, minus = (np.floor(rng.uniform(size=(2, len(at))) * [near.same_size[at], near.other_size[at]])).astype(int)
        return at, near.same[at, plus], near.other[at, minus]


def mean_triplet_bound(
    X: NDArray[np.float64],
    images: NDArray[np.float64],
    L: NDArray[np.float64],
    anchors: NDArray[np.int64],
    positives: NDArray[np.int64],
    negatives: NDArray[np.int64],
) -> tuple[float, NDArray[np.float64]]:
    """Mean signed triplet bound ``vᵀ M s / (2 ℓ)``, ``ℓ² = max(‖M v‖², 1e-6)``, and its gradient in L.

    ``∂(vᵀ M s) = ⟨∂M, v sᵀ⟩`` and ``∂ℓ = ⟨∂M, (M v) vᵀ⟩ / ℓ``, so that with
    ``W = mean of v (s / (2 ℓ) − (t / ℓ²) M v)ᵀ`` (the second term only where ℓ is not the guard)

        ``∂ mean t = ⟨∂M, W⟩ = ⟨∂L, L (W + Wᵀ)⟩.``

    Parameters
    ----------
    X, images : (N, d) and (N, r) arrays
        Points, and ``X Lᵀ``.
    L : (r, d) array
    anchors, positives, negatives : (m,) arrays
        Rows of the triplets.
    """
    V, S = triplet_differences(X, anchors, positives, negatives)
    LV, LS = triplet_differences(images, anchors, positives, negatives)
    MV = LV @ L
    square = np.einsum("ij,ij->i", MV, MV)
    length = np.sqrt(np.maximum(square, LEAST_SQUARE))
    t = np.einsum("ij,ij->i", LV, LS) / (2 * length)
    pull = np.where(square > LEAST_SQUARE, t / length**2, 0.0)
    S *= (1 / (2 * length))[:, None]
    MV *= pull[:, None]
    S -= MV
    W = V.T @ S / len(t)
    return float(t.mean()), L @ (W + W.T)
