"""The metric with the least robust hinge: an SDP with second-order cones (norm 2) or linear ones (norms 1, ∞)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import cvxpy as cp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexrml import solve as solving
from convexrml.errors import InvalidInputError
from convexrml.formulations.cones import DualNorms
from convexrml.formulations.half_spaces import power_of_two
from convexrml.formulations.sides import returned
from convexrml.formulations.solution import Residuals, Solution, relative_gap
from convexrml.formulations.writing import Writable
from convexrml.hinge import RobustHingeObjective, one_for_each
from convexrml.norms import Norm, as_norm
from convexrml.optimality import OptimalityCertificate, certify_optimum
from convexrml.regularisers import FixedTrace, FrobeniusPrior, Regulariser, TracePenalty
from convexrml.triplets import Triplets, require_triplets


class RobustHinge(Writable):
    """The metric that minimises the worst case of the large-margin hinge over perturbations, as an explicit program.

        ``min F(M) = Σ_i c_i [g + 2 τ ‖M v_i‖_q − v_iᵀ M s_i]₊ + R(M)   s.t.   M ⪰ 0.``

    The bracket is the maximum of ``g + d_M(x + δ, x⁺)² − d_M(x + δ, x⁻)²`` over all ``‖δ‖_p ≤ τ``.  Where a triplet's
    term is at most g, its triplet bound is at least τ.  ``τ = 0`` is the hinge of LMNN.  With hinges ξ and lengths r:

        ``min Σ c_i ξ_i + R(M)   s.t.   g + 2 τ r_i − v_iᵀ M s_i ≤ ξ_i,   ‖M v_i‖_q ≤ r_i,   ξ ≥ 0,   M ⪰ 0.``

    *Dual.*  Multipliers ``a_i`` of the hinges and ``2 τ (a_i, q_i)`` of the cones, in the dual cones when ``‖q_i‖_p ≤
    a_i``.  The Lagrangian's terms in ξ_i are ``(c_i − a_i) ξ_i``, bounded below when ``a_i ≤ c_i``; those in r vanish;
    what is left is ``g Σa − ⟨C, M⟩ + R(M)`` with ``C = Σ sym((a_i s_i − 2 τ q_i) v_iᵀ)``.  Its minimum over ``M ⪰ 0``:

        ==================  =====================================================================
        ``trace M = t``     ``g Σa − t λmax(C)``
        ``λ trace M``       ``g Σa`` if ``λmax(C) ≤ λ``; scaled, ``g Σa · min(1, λ / λmax(C))``
        ``λ/2 ‖M − M₀‖²``   ``g Σa + λ/2 ‖P − M₀‖² − ⟨C, P⟩``,   ``P = [M₀ + C/λ]₊``
        ==================  =====================================================================

    and `lower_bound` evaluates that for *any* multipliers.  The best ones close the gap (Slater: ``M = I``, r and ξ
    large).

    *Units.*  The program counts the data in σ, M in μ and hinges in ω, powers of two: σ near the largest entry of
    V and S; ``μ`` near ``trace/d``, or such that ``ω = μ σ²`` is near g (near the largest entry of M₀ where that is
    larger).

    Parameters
    ----------
    triplets : Triplets
        Their weights are the ``c_i``.
    tau : float or (m,) array
        τ ≥ 0, the radius to defend, in the units of the input; one for each triplet if an array.
    norm : {1, 2, inf}, default 2
        Of perturbations.
    margin : float or (m,) array, default 1.0
        g, in units of squared distance under M; one for each triplet if an array.
    regulariser : FixedTrace, TracePenalty or FrobeniusPrior, optional
        R; by default ``FixedTrace(d)``.

    Attributes
    ----------
    problem : cvxpy.Problem
        Its objective is ``F / scale``.
    scale : float
        ``ω max c``.
    matrix : cvxpy.Expression
        M, shape ``(d, d)``: use it to build a problem with constraints of your own.
    tau : cvxpy.Parameter
        τ: set its value and solve again, nothing is compiled anew.

    Raises
    ------
    InvalidInputError
        If τ is negative, or an argument does not fit the triplets.

    Notes
    -----
    K. Q. Weinberger, L. K. Saul, Distance metric learning for large margin nearest neighbor classification, JMLR 10
    (2009), for τ = 0; the worst case over a ball and its dual are ours.  ``λ trace M`` with λ or τ too large has the
    minimiser ``M = 0``, of value ``g Σc``: compare `Solution.value` with `trivial_value`.

    Examples
    --------
    >>> import numpy as np
    >>> from convexrml.formulations import RobustHinge
    >>> from convexrml.triplets import Triplets
    >>> triplets = Triplets.from_indices([[0.0], [1.0], [3.0]], [0], [1], [2])  # m(M) = 8 M, ‖M v‖ = 2 M
    >>> round(RobustHinge(triplets, tau=1.0, margin=6.0).solve().value, 6)  # 6 + 4 − 8
    2.0
    """  # noqa: D205

    def __init__(
        self,
        triplets: Triplets,
        *,
        tau: ArrayLike,
        norm: float | str | Norm = 2,
        margin: ArrayLike = 1.0,
        regulariser: Regulariser | None = None,
    ) -> None:
        m, d = require_triplets(triplets).V.shape
        self.triplets = triplets
        self.norm = as_norm(norm)
        self.regulariser = FixedTrace(d) if regulariser is None else regulariser
        self.margin = one_for_each("margin", margin, m)
        one_for_each("tau", tau, m, least=0.0)
        self.tau = cp.Parameter(np.shape(tau), nonneg=True, name="tau", value=np.asarray(tau, dtype=np.float64))
        self._sigma = power_of_two(float(max(np.abs(triplets.V).max(), np.abs(triplets.S).max())))
        self._mu = self._unit_of_matrix(float(self.margin.max()))
        self._omega = self._mu * self._sigma**2
        self._heaviest = float(triplets.weights.max())

        self._M = cp.Variable((d, d), PSD=True, name="M")
        hinges = cp.Variable(m, nonneg=True, name="hinges")
        lengths = cp.Variable(m, name="lengths")
        self.matrix = self._mu * self._M
        self._cones = DualNorms(triplets.V / self._sigma, self._M, lengths, self.norm)
        margins = cp.sum(cp.multiply(triplets.S / self._sigma, self._cones.products), axis=1)
        worst = self.margin / self._omega + cp.multiply(2 / self._sigma * self.tau, lengths) - margins
        self._hinge = worst <= hinges
        penalty, constraints = regularised(self.regulariser, self._M, self._mu)
        scale = self.scale = self._omega * self._heaviest
        self.problem = cp.Problem(
            cp.Minimize(triplets.weights / self._heaviest @ hinges + penalty / scale),
            [self._hinge, *self._cones.constraints, *constraints],
        )

    @property
    def objective(self) -> RobustHingeObjective:
        """F at the present value of τ, without a solver."""
        tau = np.asarray(self.tau.value, dtype=np.float64)
        return RobustHingeObjective(self.triplets, self.norm, tau, self.margin, self.regulariser)

    @property
    def trivial_value(self) -> float:
        """``Σ c [g]₊``, the hinges of ``M = 0``: an optimum near it under `TracePenalty` has learnt nothing."""
        return float(np.maximum(self.margin, 0) @ self.triplets.weights)

    def solve(self, solver: str = "clarabel", accuracy: str = "accurate", **options: object) -> Solution:
        """Solve with the named profile; value, lower bound and residuals are measured here, from the triplets.

        Parameters
        ----------
        solver : str, default "clarabel"
            The name of a profile that takes SDPs: see ``convexrml solvers``.
        accuracy : {"accurate", "fast"} or another accuracy of the profile
            What the solver is asked for.
        **options
            Native options of the solver, laid over the profile's.

        Returns
        -------
        Solution
            ``variables["matrix"]``: M, made feasible (PSD, its trace exact to rounding), at which `value` is F, an
            upper bound on the optimum.  ``duals``: ``"hinge"`` is a, shape ``(m,)``, ``"length"`` is q, ``(m, d)``.

        Raises
        ------
        SolverError
            If the solver is unknown, missing, without licence, refuses an option or fails.
        """
        report = solving.run(self.problem, solver, accuracy, options=options or None)
        m, d = self.triplets.V.shape
        F = self.objective
        raw = self._mu * returned(self._M.value, d * d).reshape(d, d)
        a = self._heaviest * returned(self._hinge.dual_value, m)
        steps = 2 / self._sigma * np.reshape(F.tau, (m, 1))
        z = self._heaviest * self._cones.multipliers()
        duals = {"hinge": a, "length": np.divide(z, steps, out=np.zeros_like(z), where=steps > 0)}
        M = self.regulariser.feasible(raw) if np.isfinite(raw).all() else raw
        value, bound = F.value(M), self.lower_bound(duals)
        moved = float(np.linalg.norm(M - raw)) / max(float(np.linalg.norm(M)), self._mu * math.sqrt(d))
        return Solution(
            value=value,
            lower_bound=bound,
            variables={"matrix": M},
            duals=duals,
            residuals=Residuals(moved, self._dual_residual(F, duals), relative_gap(value, bound)),
            report=report,
        )

    def lower_bound(self, duals: Mapping[str, NDArray[np.float64]]) -> float:
        """Lower bound on the optimum from *any* multipliers, by weak duality: `RobustHingeObjective.lower_bound`.

        Parameters
        ----------
        duals : mapping of arrays
            ``"hinge"`` (m,) and ``"length"`` (m, d), in the form of ``Solution.duals``.

        Returns
        -------
        float
            At least 0, in the units of F.
        """
        return self.objective.lower_bound(duals["hinge"], duals["length"])

    def certificate(self, duals: Mapping[str, NDArray[np.float64]]) -> OptimalityCertificate:
        """A lower bound on the optimum that anyone can check in exact arithmetic: `optimality.certify_optimum`.

        Parameters
        ----------
        duals : mapping of arrays
            As `lower_bound` takes them.

        Returns
        -------
        OptimalityCertificate
            Its `lower` is what the multipliers prove in rational arithmetic, rounded down.
        """
        return certify_optimum(self.objective, duals["hinge"], duals["length"])

    def _dual_residual(self, F: RobustHingeObjective, duals: Mapping[str, NDArray[np.float64]]) -> float:
        a, q = duals["hinge"], duals["length"]
        outside = np.concatenate([-a, a - self.triplets.weights, np.where(F.tau, self.norm.of(q) - a, 0.0)])
        return float(np.maximum(0.0, outside).max()) / self._heaviest  # NaN stays NaN

    def _unit_of_matrix(self, margin: float) -> float:
        R = self.regulariser
        d = self.triplets.n_features
        if isinstance(R, FixedTrace):
            return power_of_two(R.trace / d)
        prior = float(np.abs(R.prior(d)).max()) if isinstance(R, FrobeniusPrior) else 0.0
        return power_of_two(max(prior, margin / self._sigma**2))


def regularised(regulariser: Regulariser, M: cp.Expression, unit: float) -> tuple[Any, list[cp.Constraint]]:
    """R of ``unit · M`` as an expression, and the constraints that come with it."""
    if isinstance(regulariser, FixedTrace):
        return 0.0, [cp.trace(M) == regulariser.trace / unit]
    if isinstance(regulariser, TracePenalty):
        return regulariser.lam * unit * cp.trace(M), []
    if isinstance(regulariser, FrobeniusPrior):
        prior = regulariser.prior(M.shape[0])
        return regulariser.lam * unit**2 / 2 * cp.sum_squares(M - prior / unit), []
    raise InvalidInputError(
        "regulariser: needs a FixedTrace, TracePenalty or FrobeniusPrior of convexrml.regularisers; "
        f"found {type(regulariser).__name__}"
    )
