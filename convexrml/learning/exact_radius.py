"""A learner that ascends what is reported: exact radii of the training points, leave-one-out."""

from __future__ import annotations

import itertools
import math
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from threadpoolctl import threadpool_limits

from convexrml.errors import InvalidInputError
from convexrml.learning.ascent import Ascent, euclidean_median, leave_one_out_radii, radii_among
from convexrml.learning.base import MetricLearner
from convexrml.learning.progress import progress_bar
from convexrml.learning.signed_radii import Weights, exact_weights, nearest_triplet_weights
from convexrml.learning.training import Grouped, grouped_training_set, require_finite
from convexrml.validation import float_array, number_from, positive_number, whole_number

_RULES: dict[str, Weights] = {"exact": exact_weights, "nearest_triplet": nearest_triplet_weights}
_SHARE_OF_CHOICE = 0.7  # of max_time


class ExactRadiusLearner(MetricLearner):
    """Ascends a bounded function of the signed exact radii of the training points, leave-one-out.

    The radius r of a training point is the exact 1-NN radius in ℓ2 among the other training points, and minus the
    distance to the right side when the point is misclassified.  The objective, to be maximised over ``M = Lᵀ L``, is

        ``mean of σ((r − t) / (t / 2)),      σ(a) = 1 / (1 + e⁻ᵃ)``

    with t near the Euclidean median: a smooth count of the points whose radius reaches t.  Each step takes a batch of
    training points, keeps a random part of the others as sites (*site dropout*, every class stays populated), and goes
    one step of Adam on L, from ``L = I``, along the exact gradient (see ``convexrml/learning/signed_radii.py``).  What
    is learnt is the mean of L over the steps, later ones weighing more.

    Where `n_steps` or `dropout` leave a choice, a stratified part of the training points is held out first: the choice
    with the best objective there, by exact radii among the others, is taken, and the metric is learnt again on all
    training points.  Nothing else than the training points is looked at.

    Parameters
    ----------
    n_steps : int or sequence of int, default (40, 80, 160, 320)
        Numbers of steps to choose from.
    dropout : float or sequence of float, default (0.5, 0.9, 0.95)
        Shares of the sites left out of a step, in [0, 1), to choose from.
    radius : {"exact", "nearest_triplet"}, default "exact"
        What is ascended.  ``"nearest_triplet"`` is the control for an ablation: the signed triplet bound of nearest
        point of the label and nearest other, under the same recipe; the choice is made by exact radii here too.
    target : float, default 1.0
        t in units of the median Euclidean radius of the training points.
    learning_rate : float, default 1e-2
        Of Adam.
    batch_size : int, default 256
        Training points of a step.
    validation_fraction : float, default 0.2
        Share of every class that is held out for the choice.
    max_time : float, optional
        Seconds after which no step is begun; seven tenths of them may go into the choice.  Stopping so is reported by
        a ConvergenceWarning.
    verbose : bool, default False
        Show a progress bar on stderr.
    callback : callable, optional
        Called after each step with the number of steps so far in all runs and the batch's objective.
    random_state : int, RandomState or None
        Of the part held out, the batches and the dropout.

    Attributes
    ----------
    components_ : (d, d) array
        The components L.
    n_iter_ : int
        Steps taken.
    dropout_ : float
        Dropout, as chosen.
    objective_ : float
        The objective on all training points, leave-one-out, without dropout.
    target_ : float
        t, in the units of the features.
    validation_scores_ : (n_dropouts, n_numbers_of_steps) array or None
        The objective on the part held out for every choice (NaN where `max_time` did not suffice).
    validation_score_euclidean_ : float or None
        The same for the Euclidean metric; where no choice is better a ConvergenceWarning says so.

    Notes
    -----
    The same seed gives the same metric whatever the number of threads: linear algebra runs on one.  What is learnt
    comes without a guarantee; certify it by `exact_radius`.

    Examples
    --------
    >>> import convexrml
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> learner = convexrml.ExactRadiusLearner(n_steps=5, dropout=0.5, random_state=0).fit(X, y)
    >>> learner.n_iter_, learner.get_mahalanobis_matrix().shape
    (5, (4, 4))
    """

    def __init__(
        self,
        *,
        n_steps: int | Sequence[int] = (40, 80, 160, 320),
        dropout: float | Sequence[float] = (0.5, 0.9, 0.95),
        radius: str = "exact",
        target: float = 1.0,
        learning_rate: float = 1e-2,
        batch_size: int = 256,
        validation_fraction: float = 0.2,
        max_time: float | None = None,
        verbose: bool = False,
        callback: Callable[[int, float], object] | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_steps = n_steps
        self.dropout = dropout
        self.radius = radius
        self.target = target
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.validation_fraction = validation_fraction
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
        ExactRadiusLearner
            The learner itself.

        Raises
        ------
        InvalidInputError
            If there is one class only, a class has too few points, or a parameter is out of range.
        LearningError
            If the objective or its gradient is not finite.
        """
        begun = time.monotonic()
        steps = [whole_number("n_steps", n, minimum=1) for n in np.unique(np.asarray(self.n_steps)).tolist()]
        dropouts = np.unique(float_array("dropout", self.dropout)).tolist()
        if not steps:
            raise InvalidInputError("n_steps: needs one or more whole numbers; found none")
        if self.radius not in _RULES:
            raise InvalidInputError(f"radius: choose from {', '.join(_RULES)}; found {self.radius!r}")
        if not dropouts or not all(0 <= share < 1 for share in dropouts):
            raise InvalidInputError(f"dropout: needs one or more shares in [0, 1); found {self.dropout!r}")
        target, rate = positive_number("target", self.target), positive_number("learning_rate", self.learning_rate)
        size = whole_number("batch_size", self.batch_size, minimum=1)
        seconds = math.inf if self.max_time is None else positive_number("max_time", self.max_time)
        data = grouped_training_set(self, X, y)
        random = check_random_state(self.random_state)
        most = max(steps) * (1 + len(dropouts) * (len(steps) * len(dropouts) > 1))
        with threadpool_limits(limits=1, user_api="blas"), progress_bar(self.verbose, most) as show:
            self.target_ = target * euclidean_median(data)
            ascent = Ascent(_RULES[self.radius], self.target_, rate, size)
            taken = itertools.count(1)

            def watch(dropout: float, value: float) -> None:
                number = next(taken)
                show(number, f"dropout {dropout:g}, objective {value:.4g}")
                if self.callback is not None:
                    self.callback(number, value)

            n, self.dropout_ = steps[0], dropouts[0]
            self.validation_scores_: NDArray[np.float64] | None = None
            self.validation_score_euclidean_: float | None = None
            if len(steps) * len(dropouts) > 1:
                scores = self._scores(data, ascent, steps, dropouts, random, begun + _SHARE_OF_CHOICE * seconds, watch)
                if not np.isnan(scores).all():
                    at = np.unravel_index(np.nanargmax(scores), scores.shape)
                    self.dropout_, n = dropouts[at[0]], steps[at[1]]
            run = self._run(data, ascent, self.dropout_, [n], random, begun + seconds, watch)
            self.components_, self.n_iter_ = run[-1]
            self.objective_ = ascent.score(leave_one_out_radii(data, self.components_))
        if self.n_iter_ < n:
            warnings.warn(f"stopped by max_time after {self.n_iter_} of {n} steps", ConvergenceWarning, stacklevel=2)
        return self

    def _run(
        self,
        data: Grouped,
        ascent: Ascent,
        dropout: float,
        stops: list[int],
        random: np.random.RandomState,
        until: float,
        watch: Callable[[float, float], None],
    ) -> list[tuple[NDArray[np.float64], int]]:
        """L and the number of steps at each of the ascending `stops`; where time runs out, the last one early."""
        L = np.eye(data.X.shape[1])
        reached: list[tuple[NDArray[np.float64], int]] = []
        for n, (following, value, gradient) in enumerate(ascent.steps(data, dropout, random), start=1):
            if time.monotonic() >= until:
                return [*reached, (L, n - 1)]
            require_finite(self, value, gradient, n - 1)
            L = following
            watch(dropout, value)
            if n in stops:
                reached.append((L, n))
            if n == stops[-1]:
                break
        return reached

    def _scores(
        self,
        data: Grouped,
        ascent: Ascent,
        steps: list[int],
        dropouts: list[float],
        random: np.random.RandomState,
        until: float,
        watch: Callable[[float, float], None],
    ) -> NDArray[np.float64]:
        """The objective on a part held out, for every dropout and number of steps; NaN where time ran out."""
        held = _held_out(data, self.validation_fraction, random)
        rest, Z, labels = _without(data, held), data.X[held], data.y[held]
        scores = np.full((len(dropouts), len(steps)), np.nan)
        for of_dropout, dropout in zip(scores, dropouts, strict=True):
            for L, n in self._run(rest, ascent, dropout, steps, random, until, watch):
                if n in steps:
                    of_dropout[steps.index(n)] = ascent.score(radii_among(rest, Z, labels, L))
        self.validation_scores_ = scores
        self.validation_score_euclidean_ = ascent.score(radii_among(rest, Z, labels, np.eye(data.X.shape[1])))
        if np.isnan(scores).any():
            warnings.warn(
                f"max_time sufficed for {np.count_nonzero(~np.isnan(scores))} of {scores.size} choices of n_steps and "
                "dropout",
                ConvergenceWarning,
                stacklevel=3,
            )
        elif scores.max() <= self.validation_score_euclidean_:
            warnings.warn(
                f"no choice of n_steps and dropout beats the Euclidean metric on the {len(held)} points held out "
                f"({scores.max():.4g} at best, {self.validation_score_euclidean_:.4g}); the best of them is used",
                ConvergenceWarning,
                stacklevel=3,
            )
        return scores


def _held_out(data: Grouped, fraction: float, random: np.random.RandomState) -> NDArray[np.int64]:
    """Rows to hold out: a share of every class, two at least staying."""
    if not 0 < number_from("validation_fraction", fraction, 0, 1):
        raise InvalidInputError("validation_fraction: needs a share between 0 and 1; found 0, which holds out nothing")
    rows = []
    for start, stop in zip(data.class_start[:-1], data.class_start[1:], strict=True):
        count = max(0, min(round(fraction * (stop - start)), stop - start - 2))
        rows.append(start + random.permutation(stop - start)[:count])
    held = np.sort(np.concatenate(rows))
    if not len(held):
        raise InvalidInputError(
            f"validation_fraction: {fraction:g} of classes of {np.diff(data.class_start).tolist()} points leaves none "
            "to hold out; give more points, or a single n_steps and dropout, which leaves nothing to choose"
        )
    return held


def _without(data: Grouped, held: NDArray[np.int64]) -> Grouped:
    """The other rows."""
    kept = np.setdiff1d(np.arange(len(data.X)), held)
    return Grouped(data.X[kept], data.y[kept], np.searchsorted(kept, data.class_start))
