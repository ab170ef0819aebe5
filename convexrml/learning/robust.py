"""The robust hinge as an estimator: mine triplets, solve the convex program, mine again under the new metric."""

from __future__ import annotations

import functools
import math
import time
import warnings
from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from convexrml.errors import CollapsedMetricError, InvalidInputError
from convexrml.hinge import RobustHingeObjective
from convexrml.learning.base import MetricLearner, components_of
from convexrml.learning.first_order import Progress
from convexrml.learning.mining import MinedTriplets, mine_triplets
from convexrml.learning.optimum import FIRST_ORDER, optimum
from convexrml.learning.progress import progress_bar
from convexrml.learning.training import checked_training_set
from convexrml.norms import Norm, as_norm
from convexrml.regularisers import FixedTrace, FrobeniusPrior, Regulariser, TracePenalty
from convexrml.validation import number_from, positive_number, whole_number

REGULARISERS = ("frobenius", "trace_penalty", "fixed_trace")
_LEAST_SHARE = 2.0**-10


class RobustMetricLearner(MetricLearner):
    """A Mahalanobis metric under which nearest neighbours withstand perturbations: the robust hinge, made convex.

    Each training point x with a near point x⁺ of its own class and a near x⁻ of another is a triplet, with
    ``v = x⁺ − x⁻``, ``s = 2x − x⁺ − x⁻``.  A round minimises, over ``M ⪰ 0`` and to a proven gap,

        ``mean of [g + 2τ ‖M v‖_q − vᵀ M s]₊  +  R(M),``

    the worst hinge over all perturbations of norm τ: a term of at most g means that the triplet alone would certify
    the radius τ.  The first round takes triplets that are near in the Euclidean metric, each later one those that are
    near under the metric so far, and goes part of the way: ``M ← damping · M + (1 − damping) · M_new``, from ``M = I``.

    Scale the features first where their units differ: the default prior is ``M = I``.
    Features that are constant on the training set get weight 0: a change in them changes no answer.

    Parameters
    ----------
    norm : {1, 2, inf}, default 2
        Norm of the perturbations to withstand.
    tau : float, default 0.75
        τ as a multiple of the current median radius: of ``min over impostors of max over targets`` of the triplet
        bounds, over the training points where that is positive.  0 is LMNN's hinge.
    margin : float, default 1.0
        g as a multiple of the median Euclidean ``|vᵀ s|`` of the first round's triplets.
    regulariser : {"frobenius", "trace_penalty", "fixed_trace"}, default "frobenius"
        R: ``λ/2 ‖M − I‖²``; ``λ trace M``; or none, with ``trace M`` fixed at the number of features.
    strength : float, default 0.3
        λ as a multiple of ``g / d``; "fixed_trace" has no use for it.
    n_targets, n_impostors : int, default 3 and 2
        How many near points of the own class and of other classes each point has triplets with (all pairs).
    n_rounds : int, default 5
        How often triplets are mined and the program is solved.
    damping : float, default 0.5
        Share of the old metric that a round keeps, below 1.  (Without damping the rounds tend to oscillate; one round
        without damping returns the program's optimum.)
    max_triplets : int, default 100_000
        Where all points would have more, as many points as keep below it are drawn at random as anchors.
    solver : str, default "first_order"
        ``"first_order"`` (``convexrml/learning/first_order.py``), or the name of a solver profile for the explicit SDP
        (`formulations.RobustHinge`; small training sets only).
    tol : float, default 1e-3
        Relative gap between value and lower bound up to which each program is solved.
    max_iter : int, default 20_000
        Iterations for each round of the first-order solver.
    max_time : float, optional
        Seconds for all rounds together; looked at by the first-order solver, and between rounds.
    verbose : bool, default False
        Show progress on stderr.
    callback : callable, optional
        Called with the round (from 0) and a `first_order.Progress` each time a gap is measured.
    random_state : int, RandomState or None
        Draws anchors where there are too many; nothing else is random.

    Attributes
    ----------
    components_ : (r, d) array
        L with ``M = Lᵀ L``, r the rank of M; rows by falling eigenvalue.
    n_iter_ : int
        Iterations of the solver in all rounds.
    n_rounds_ : int
        Rounds that were finished.
    objective_, lower_bound_, gap_ : float
        The last round's value, the bound on its optimum, and their relative gap.
    converged_ : bool
        Whether every round closed its gap.
    tau_ : float
        τ of the last round, in the units of the features.
    median_radius_ : float
        Median of the positive anchor radii under the returned metric, on the last round's triplets.
    n_triplets_ : int
        Triplets of the last round.
    share_ : float
        1; less if ``M = 0`` was optimal: `tau` was multiplied by it, and so was the `strength` of "trace_penalty"
        (that of "frobenius" was divided).
    n_features_in_ : int
        The dimension d.

    Raises
    ------
    InvalidInputError
        By `fit`: if a parameter makes no sense, there is one class, or no class has two points.
    CollapsedMetricError
        If ``M = 0`` stays optimal, within `tol`, however the parameters are shrunk.
    SolverError
        If a named solver is unknown, missing, takes no SDPs or fails.

    Warns
    -----
    ConvergenceWarning
        If a gap stays above `tol` at a limit.
    UserWarning
        If ``M = 0`` is optimal for the given `strength` and `tau` and they are shrunk; if a class has one point.

    Examples
    --------
    >>> import convexrml
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> learner = convexrml.RobustMetricLearner(n_rounds=2).fit(X, y)
    >>> learner.get_mahalanobis_matrix().shape, learner.gap_ <= 1e-3
    ((4, 4), True)
    """

    def __init__(
        self,
        *,
        norm: float | str | Norm = 2,
        tau: float = 0.75,
        margin: float = 1.0,
        regulariser: str = "frobenius",
        strength: float = 0.3,
        n_targets: int = 3,
        n_impostors: int = 2,
        n_rounds: int = 5,
        damping: float = 0.5,
        max_triplets: int = 100_000,
        solver: str = FIRST_ORDER,
        tol: float = 1e-3,
        max_iter: int = 20_000,
        max_time: float | None = None,
        verbose: bool = False,
        callback: Callable[[int, Progress], object] | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.norm = norm
        self.tau = tau
        self.margin = margin
        self.regulariser = regulariser
        self.strength = strength
        self.n_targets = n_targets
        self.n_impostors = n_impostors
        self.n_rounds = n_rounds
        self.damping = damping
        self.max_triplets = max_triplets
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
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
        RobustMetricLearner
            The learner itself.
        """
        X_, y_ = checked_training_set(self, X, y)
        self._check_parameters()
        varying = np.ptp(X_, axis=0) > 0
        if not varying.any():
            raise InvalidInputError("X: every feature is constant; there is nothing to learn a metric from")
        with progress_bar(self.verbose, self.n_rounds) as show:

            def watch(number: int, now: Progress) -> None:
                show(number, f"round {number + 1}: iteration {now.n_iter}, value {now.value:.5g}, gap {now.gap:.1e}")
                if self.callback is not None:
                    self.callback(number, now)

            L = components_of(self._rounds(np.ascontiguousarray(X_[:, varying]), y_, watch))
            show(self.n_rounds_, f"{self.n_iter_} iterations, gap {self.gap_:.1e}")
        self.components_ = np.zeros((len(L), len(varying)))
        self.components_[:, varying] = L
        return self

    def _rounds(
        self, X: NDArray[np.float64], y: NDArray[Any], watch: Callable[[int, Progress], object]
    ) -> NDArray[np.float64]:
        ends = time.perf_counter() + (math.inf if self.max_time is None else self.max_time)
        norm, anchors, M = as_norm(self.norm), self._anchors(len(X)), np.eye(X.shape[1])
        self.n_iter_, self.n_rounds_, self.converged_, self.share_ = 0, 0, True, 1.0
        for number in range(self.n_rounds):
            mined = mine_triplets(
                X,
                y,
                anchors=anchors,
                components=components_of(M) if number else None,
                n_targets=self.n_targets,
                n_impostors=self.n_impostors,
            )
            if number == 0:
                unit = _typical_margin(mined)
            self.tau_ = self.tau * _median_positive(mined.anchor_radii(M, norm))
            M_new = self._solve(mined, norm, unit, M, ends, functools.partial(watch, number))
            M = self.damping * M + (1 - self.damping) * M_new
            self.n_rounds_, self.n_triplets_ = number + 1, len(mined)
            if time.perf_counter() >= ends:
                break
        self.median_radius_ = _median_positive(mined.anchor_radii(M, norm))
        if not self.converged_ or self.n_rounds_ < self.n_rounds:
            warnings.warn(
                f"stopped at a limit after {self.n_rounds_} of {self.n_rounds} rounds; the last program's gap is "
                f"{self.gap_:.2g}, asked for was tol={self.tol:g}: allow a larger max_iter, max_time or tol",
                ConvergenceWarning,
                stacklevel=3,
            )
        return M

    def _solve(
        self,
        mined: MinedTriplets,
        norm: Norm,
        unit: float,
        start: NDArray[np.float64],
        ends: float,
        watch: Callable[[Progress], object],
    ) -> NDArray[np.float64]:
        """One round's program; where ``M = 0`` is its optimum, τ and λ are shrunk with a warning."""
        while True:
            F = RobustHingeObjective(
                mined.triplets, norm, self.share_ * self.tau_, self.margin * unit, self._regulariser(unit, len(start))
            )
            found = optimum(
                F,
                self.solver,
                tol=self.tol,
                max_iter=self.max_iter,
                max_time=max(ends - time.perf_counter(), 1e-3),
                start=start,
                callback=watch,
            )
            self.objective_, self.lower_bound_, self.gap_ = found.value, found.lower_bound, found.gap
            self.n_iter_ += found.n_iter
            zero = F.value(np.zeros_like(start))
            if self.regulariser == "fixed_trace" or zero - self.lower_bound_ > self.tol * zero:
                self.tau_ *= self.share_
                self.converged_ = bool(self.converged_ and self.gap_ <= self.tol)
                return found.matrix
            before, self.share_ = self._at_share(), self.share_ / 2
            if self.share_ < _LEAST_SHARE:
                raise CollapsedMetricError(
                    f"tau, strength: M = 0 is optimal within tol at every step down to {before}: on the whole the "
                    "nearest points of other classes are not farther than those of the own class; "
                    'regulariser="fixed_trace" has no such optimum'
                )
            warnings.warn(
                f"tau, strength: M = 0 is optimal within tol at {before}; going on with {self._at_share()}",
                UserWarning,
                stacklevel=4,
            )

    def _at_share(self) -> str:
        return f"tau={self.tau * self.share_:.4g} and strength={self._strength:.4g}"

    @property
    def _strength(self) -> float:
        return self.strength / self.share_ if self.regulariser == "frobenius" else self.strength * self.share_

    def _regulariser(self, unit: float, d: int) -> Regulariser:
        if self.regulariser == "fixed_trace":
            return FixedTrace(float(d))
        lam = self._strength * self.margin * unit / d
        return FrobeniusPrior(lam) if self.regulariser == "frobenius" else TracePenalty(lam)

    def _anchors(self, n: int) -> NDArray[np.intp] | None:
        most = max(1, self.max_triplets // (self.n_targets * self.n_impostors))
        if n <= most:
            return None
        return np.sort(check_random_state(self.random_state).choice(n, most, replace=False))

    def _check_parameters(self) -> None:
        if self.regulariser not in REGULARISERS:
            raise InvalidInputError(f"regulariser: choose from {', '.join(REGULARISERS)}; found {self.regulariser!r}")
        for name in ("n_targets", "n_impostors", "n_rounds", "max_triplets", "max_iter"):
            whole_number(name, getattr(self, name), minimum=1)
        for name, high in (("tau", math.inf), ("damping", 1), ("tol", math.inf)):
            number_from(name, getattr(self, name), 0, high)
        for name in ("margin", "strength", *(() if self.max_time is None else ("max_time",))):
            positive_number(name, getattr(self, name))


def _typical_margin(mined: MinedTriplets) -> float:
    """The median Euclidean ``|vᵀ s|``; the mean where half of them are 0."""
    sizes = np.abs(mined.triplets.margins(np.eye(mined.triplets.n_features)))
    if not np.isfinite(sizes).all():
        raise InvalidInputError("X: squared distances are too large for floats; scale the features")
    unit = float(np.median(sizes)) or float(np.mean(sizes))
    if unit == 0:
        raise InvalidInputError(
            "X: every point is as near to its own class as to others (Euclidean); there are no margins to learn from"
        )
    return unit


def _median_positive(radii: NDArray[np.float64]) -> float:
    """The median of the radii that are positive, 0 if none is."""
    return float(np.median(radii[radii > 0])) if (radii > 0).any() else 0.0
