"""The metric with a large mean radius: a sequence of SDPs, each with the denominators of the last metric."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexrml.errors import InvalidInputError
from convexrml.formulations.robust_hinge import RobustHinge
from convexrml.mean_radius import MeanRadiusObjective
from convexrml.metric import MahalanobisMetric
from convexrml.norms import Norm, as_norm
from convexrml.solve import SolverReport
from convexrml.triplets import Triplets, require_triplets
from convexrml.validation import positive_number, whole_number

_LONGEST = 1 - 2.0**-6  # never all the way: M stays positive definite, and every v_i keeps a slope
_SHORTEST = 2.0**-20
_SUFFICIENT = 0.1  # of the gain that the model promises for a step of this length


@dataclasses.dataclass(frozen=True, eq=False)
class MeanRadiusStep:
    """One metric of the sequence, and the SDP that was solved there.

    Attributes
    ----------
    value : float
        J of the metric.
    gain, gain_bound : float
        What the SDP's metric gains in the model, and what no metric exceeds in it: proven by weak duality.
    length : float
        How far towards the SDP's metric the sequence went; 0 where nothing on the way was better.
    report : SolverReport
    """

    value: float
    gain: float
    gain_bound: float
    length: float
    report: SolverReport


@dataclasses.dataclass(frozen=True, eq=False)
class MeanRadiusSolution:
    """Where the sequence ended.

    Attributes
    ----------
    value : float
        J of the last metric.  Not a global optimum: J is not concave.
    ceiling : float
        No metric has a larger J.
    stationarity : float
        The last ``gain_bound``, of the metric where the last SDP was solved.  0 there means that no direction ascends.
    variables : dict
        ``"matrix"``: M, shape ``(d, d)``, of trace d.
    history : tuple of MeanRadiusStep
        Values ascend strictly.
    """

    value: float
    ceiling: float
    stationarity: float
    variables: dict[str, NDArray[np.float64]]
    history: tuple[MeanRadiusStep, ...]

    @property
    def seconds(self) -> float:
        """Wall-clock time of compiling and solving."""
        return sum(step.report.seconds for step in self.history)


class MeanRadius:
    """A metric with a large mean of signed triplet bounds, by a sequence of explicit SDPs that ascends.

        ``max J(M) = Σ_i c_i min(t_i(M), cap_i),   t_i(M) = v_iᵀ M s_i / (2 ‖M v_i‖_q),   M ⪰ 0,   trace M = d.``

    J is the objective of ARML.  It is a sum of ratios, not concave.  With the denominators and radii of the present
    metric M fixed, each ratio has a concave model that agrees with it at M in value and slope, and the shortfall of the
    models from their caps is a robust hinge with a τ, margin and weight of its own for each triplet
    (`MeanRadiusObjective.model` derives it).  So a step is a `RobustHinge`, with its dual and its proven lower bound:

        ``J_M(N) = J(M) + F_M(M) − F_M(N),   gain = max over N of F_M(M) − F_M(N) ≤ F_M(M) − lower_bound.``

    The next metric lies between M and the SDP's N, at the first of the lengths 1, ½, ¼ … at which J has grown by a
    tenth of what the model promises.  One exists where J is differentiable, for by concavity J's slope towards N is at
    least the gain.

    *What is guaranteed.*  J ascends, and is bounded.  Where the gain is 0 the metric is stationary; the proven bound on
    it is reported.  Nothing is said of other stationary metrics: try other starts.

    Parameters
    ----------
    triplets : Triplets
        Their weights are the ``c_i``.
    norm : {1, 2, inf}, default 2
        Of perturbations.
    cap : float, default inf
        What a radius counts at most.

    Attributes
    ----------
    objective : MeanRadiusObjective
        J, its gradient and the model, without a solver.

    Raises
    ------
    InvalidInputError
        If an argument does not fit.

    Notes
    -----
    L. Wang, X. Liu, J. Yi, Y. Jiang, C.-J. Hsieh, Provably Robust Metric Learning, NeurIPS 2020, maximise the mean by
    Adam on L; the sequence of SDPs is ours.
    """  # noqa: D205

    def __init__(self, triplets: Triplets, norm: float | str | Norm = 2, *, cap: float = np.inf) -> None:
        self.triplets = require_triplets(triplets)
        self.objective = MeanRadiusObjective(triplets, as_norm(norm), cap)

    def program(self, M: NDArray[np.float64]) -> RobustHinge:
        """The explicit program of the step at M, with `RobustHinge.problem` and its dual.

        Parameters
        ----------
        M : (d, d) array
            The present metric, of trace d.

        Returns
        -------
        RobustHinge
            Of the shortfall of the models, with a τ, a margin and a weight for each triplet.
        """
        model = self.objective.model(M)
        return RobustHinge(
            model.triplets, tau=model.tau, norm=model.norm, margin=model.margin, regulariser=model.regulariser
        )

    def solve(
        self,
        solver: str = "clarabel",
        accuracy: str = "accurate",
        *,
        start: ArrayLike | None = None,
        max_steps: int = 20,
        tolerance: float = 1e-4,
        **options: object,
    ) -> MeanRadiusSolution:
        """Ascend from a start.

        Parameters
        ----------
        solver : str, default "clarabel"
            The name of a profile that takes SDPs: see ``convexrml solvers``.
        accuracy : {"accurate", "fast"} or another accuracy of the profile
            What the solver is asked for.
        start : (d, d) array, optional
            A metric, rescaled to trace d; the identity by default.
        max_steps : int, default 20
            SDPs to solve at most.
        tolerance : float, default 1e-4
            Stop when the proven bound on the gain is at most this share of the ceiling; also when no length ascends.
        **options
            Native options of the solver, laid over the profile's.

        Returns
        -------
        MeanRadiusSolution
            The last metric, its value, and what is proved of them.

        Raises
        ------
        InvalidInputError
            If the start is not a metric.
        SolverError
            If the solver is unknown, missing, without licence, refuses an option or fails.
        """
        steps = whole_number("max_steps", max_steps, minimum=1)
        positive_number("tolerance", tolerance)
        M = self._start(start)
        J, value = self.objective, self.objective.value(M)
        history: list[MeanRadiusStep] = []
        while len(history) < steps:
            program = self.program(M)
            found = program.solve(solver, accuracy, **options)
            here = program.objective.value(M)
            gain, bound, N = here - found.value, here - found.lower_bound, found.variables["matrix"]
            done = bound <= tolerance * abs(J.ceiling) or not gain > 0
            length = 0.0 if done else self._length(M, N, value, gain)
            history.append(MeanRadiusStep(value, gain, bound, length, found.report))
            if length == 0:
                break
            M = M + length * (N - M)
            value = J.value(M)
        return MeanRadiusSolution(value, J.ceiling, history[-1].gain_bound, {"matrix": M}, tuple(history))

    def _length(self, M: NDArray[np.float64], N: NDArray[np.float64], value: float, gain: float) -> float:
        length = _LONGEST
        while length > _SHORTEST:
            if self.objective.value(M + length * (N - M)) >= value + _SUFFICIENT * length * gain:
                return length
            length /= 2
        return 0.0

    def _start(self, start: ArrayLike | None) -> NDArray[np.float64]:
        d = self.triplets.n_features
        if start is None:
            return np.eye(d)
        M = MahalanobisMetric.from_matrix(start).mahalanobis_matrix
        if M.shape != (d, d) or not np.trace(M) > 0:
            found = "the zero matrix" if M.shape == (d, d) else f"shape {M.shape}"
            raise InvalidInputError(f"start: needs a nonzero metric of {d} features, shape {(d, d)}; found {found}")
        return np.asarray(M * (d / np.trace(M)))
