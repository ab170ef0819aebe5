"""The least perturbation that brings one negative nearer than every positive: a QP (norm 2) or an LP (norms 1, ∞)."""

from __future__ import annotations

from collections.abc import Mapping

import cvxpy as cp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexrml import solve as solving
from convexrml.errors import UnsupportedError
from convexrml.formulations.half_spaces import half_spaces, power_of_two, require_negative
from convexrml.formulations.sides import box_sides, returned
from convexrml.formulations.solution import Residuals, Solution, relative_gap
from convexrml.formulations.writing import Writable
from convexrml.neighbors import NearestNeighbors, require_model
from convexrml.norms import Box, Norm, as_box, as_norm, require_inside
from convexrml.solve import SolverReport


class MinimalPerturbation(Writable):
    """Minimal perturbation of one query against one negative, as an explicit convex program.

    Negative j is no farther from ``z + δ`` than positive i when ``score_j(z + δ) ≤ score_i(z + δ)``, and scores are
    affine: ``score_i(z + δ) = score_i(z) − 2 ⟨u_i, δ⟩``.  So j is no farther than *any* positive on a polyhedron, and

        ``r_j = min ‖δ‖_p   s.t.   ⟨u_i − u_j, δ⟩ ≤ b_i  ∀ i,      b_i = (score_i(z) − score_j(z)) / 2,``

    with ``lower − z ≤ δ ≤ upper − z`` where a box is given.  The exact radius of 1-NN is ``min_j r_j``.

    *Units.*  Radii do not change when M is scaled, and scale with the input.  The program counts sites in σ (a power
    of two near the largest entry of the sites, a constant) and lengths in ℓ (a power of two near the triplet bound, a
    parameter): with ``η = δ/ℓ`` it reads

        ``min ½‖η‖₂²  (or ‖η‖_p)   s.t.   ⟨u_i/σ, η⟩ − ⟨u_j/σ, η⟩ ≤ b_i/(σ ℓ),``

    so that ‖η‖ is near 1 at the solution and a solver's absolute tolerances are relative ones.  Powers of two, so no
    digit is lost.  The program is DPP in ``u_j/σ``, ``b/(σ ℓ)``, ℓ and the box: a new negative or a new query of the
    same label re-solves without compiling again (`pose`).

    *Dual.*  For any ``λ ≥ 0`` on the positives and ``μ, ν ≥ 0`` on the sides of the box,

        ``r_j ≥ (−bᵀλ − (upper − z)ᵀμ − (z − lower)ᵀν) / ‖Σ_i λ_i (u_i − u_j) + μ − ν‖_q,``

    with equality at the best multipliers (`lower_bound`).  ``λ = e_i`` is the triplet bound.

    Parameters
    ----------
    model : NearestNeighbors
        Fitted; its number of neighbours plays no part here.
    z : (d,) array
        The query.
    y : label
        Its true label; the positives are the training points that carry it.
    negative : int
        Index j of a training point with another label.
    norm : {1, 2, inf}, default 2
        Norm in which the perturbation is measured.
    box : pair of (lower, upper), Box or None
        In the units of the input; has to contain z.

    Attributes
    ----------
    problem : cvxpy.Problem
        Its objective counts in ℓ (`length`).
    perturbation : cvxpy.Expression
        δ in the units of the input, shape ``(d,)``: use it to add constraints of your own.
    length : cvxpy.Parameter
        ℓ.
    constraints : dict of cvxpy constraints
        ``"closer"`` and, for the finite sides of a box, ``"box_upper"`` and ``"box_lower"``.
    positives : (n₊,) integer array
        The training points behind the rows of ``"closer"``.

    Raises
    ------
    InvalidInputError
        If an argument does not fit the training set, no training point carries y, or the box leaves z out.

    Notes
    -----
    L. Wang, X. Liu, J. Yi, Y. Jiang, C.-J. Hsieh, Provably Robust Metric Learning, NeurIPS 2020, section 3; the
    scaled form and the treatment of the box are ours.

    Examples
    --------
    >>> import convexrml
    >>> model = convexrml.NearestNeighbors().fit([[0.0], [4.0]], ["left", "right"])
    >>> program = convexrml.formulations.MinimalPerturbation(model, [1.0], "left", negative=1)
    >>> round(program.solve("clarabel").value, 6)
    1.0
    """

    def __init__(
        self,
        model: NearestNeighbors,
        z: ArrayLike,
        y: object,
        *,
        negative: int,
        norm: float | str | Norm = 2,
        box: tuple[ArrayLike, ArrayLike] | Box | None = None,
    ) -> None:
        self.model = model
        self.norm = as_norm(norm)
        self.label = int(require_model(model).encode(np.asarray([y]), 1)[0])
        self.box = as_box(box, model.n_features_in_)
        self.negative = require_negative(model, negative, self.label)
        self.positives = np.flatnonzero(model.labels_ == self.label)
        d, n = model.n_features_in_, len(self.positives)

        self._sigma = power_of_two(float(np.abs(model.sites_).max()))
        self.length = cp.Parameter(nonneg=True, name="length")
        self._site = cp.Parameter(d, name="site_of_the_negative")
        self._gaps = cp.Parameter(n, name="gaps")
        eta = self._eta = cp.Variable(d, name="eta")
        U = model.sites_[self.positives] / self._sigma
        self.constraints = {"closer": U @ eta - self._site @ eta <= self._gaps}
        self._sides = box_sides(self.box, d)
        for name, side in self._sides.items():
            self.constraints[name] = side.sign * eta[side.features] <= side.room
        size = cp.sum_squares(eta) / 2 if self.norm.order == 2 else cp.norm(eta, self.norm.order)
        self.perturbation = self.length * eta
        self.pose(z)
        self.problem = cp.Problem(cp.Minimize(size), list(self.constraints.values()))

    def pose(
        self, z: ArrayLike | None = None, negative: int | None = None, *, row: NDArray[np.float64] | None = None
    ) -> None:
        """Ask about another query (of the same label) or another negative, without compiling the program again.

        Parameters
        ----------
        z : (d,) array, optional
            The new query; the present one stays when None.
        negative : int, optional
            The new negative; the present one stays when None.
        row : (N,) array, optional
            ``model.scores`` of the query, where they are at hand.
        """
        if z is not None:
            point = self.model.require_queries(np.asarray(z)[None])
            require_inside(self.box, point)
            self.z = point[0]
        if negative is not None:
            self.negative = require_negative(self.model, negative, self.label)
        self.half_spaces = half_spaces(self.model, self.z, self.positives, self.negative, self.norm, self.box, row)
        h = self.half_spaces
        self.length.value = h.unit
        self._site.value = h.site / self._sigma
        self._gaps.value = h.gaps / (self._sigma * h.unit)
        for side in self._sides.values():
            side.measure(h)

    def solve(self, solver: str = "clarabel", accuracy: str = "accurate", **options: object) -> Solution:
        """Solve with the named profile; value, lower bound and residuals are measured here.

        Parameters
        ----------
        solver : str, default "clarabel"
            A profile's name: see ``convexrml solvers``.
        accuracy : {"accurate", "fast"} or another accuracy of the profile
            What the solver is asked for; what came of it, the solution's residuals say.
        **options
            Native options of the solver, laid over the profile's.

        Returns
        -------
        Solution
            Also when the solver stopped early: the gap then says what the answer is worth.

        Raises
        ------
        SolverError
            If the solver is unknown, missing, without licence, refuses an option or fails.
        """
        report = solving.run(self.problem, solver, accuracy, options=options or None)
        d = self.model.n_features_in_
        scaled = {"closer": returned(self.constraints["closer"].dual_value, len(self.positives))}
        for name, side in self._sides.items():
            scaled[name] = side.spread(self.constraints[name], d)
        return self.measured(returned(self._eta.value, d), scaled, report)

    def arrays(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The rows ``G η ≤ h`` of ``"closer"``, for solvers that are called without cvxpy; the objective is ``½‖η‖₂²``.

        Returns
        -------
        G : (n₊, d) array
            One row for each positive.
        h : (n₊,) array
            In the program's units, as G: multiply η by ``length.value`` to have δ.

        Raises
        ------
        UnsupportedError
            For norms 1 and ∞, and with a box.
        """
        if self.norm.order != 2 or self._sides:
            raise UnsupportedError("arrays: only the program in norm 2 without a box is handed out as arrays")
        h = self.half_spaces
        return (h.sites - h.site) / self._sigma, h.gaps / (self._sigma * h.unit)

    def measured(
        self, eta: NDArray[np.float64], scaled: Mapping[str, NDArray[np.float64]], report: SolverReport
    ) -> Solution:
        """What an answer is worth, wherever it comes from.

        Parameters
        ----------
        eta : (d,) array
            δ, in the program's units.
        scaled : mapping of arrays
            Multipliers in the program's units: ``"closer"`` (n₊,); with a box ``"box_upper"``, ``"box_lower"`` (d,).
        report : SolverReport
            Who it comes from.

        Returns
        -------
        Solution
            Value, lower bound and residuals, measured here.
        """
        h = self.half_spaces
        scaled = {name: np.zeros(h.dim) for name in ("box_upper", "box_lower")} | dict(scaled)
        duals = scaled | {"closer": scaled["closer"] / self._sigma}
        delta = h.unit * eta
        value, bound = float(self.norm.of(delta)), self.lower_bound(duals)
        return Solution(
            value=value,
            lower_bound=bound,
            variables={"perturbation": delta},
            duals=duals,
            residuals=Residuals(
                self._primal_residual(eta), self._dual_residual(eta, scaled), relative_gap(value, bound)
            ),
            report=report,
        )

    def lower_bound(self, duals: Mapping[str, NDArray[np.float64]]) -> float:
        """Lower bound on ``r_j`` from *any* multipliers, by weak duality: see `HalfSpaces.weak_duality`.

        Parameters
        ----------
        duals : mapping of arrays
            ``"closer"`` (n₊,) and, where a box was given, ``"box_upper"`` and ``"box_lower"`` (d,); in the form of
            ``Solution.duals``.

        Returns
        -------
        float
            At least 0; inf if the multipliers prove that no admissible perturbation reaches the negative.
        """
        return self.half_spaces.weak_duality(duals["closer"], duals.get("box_upper"), duals.get("box_lower"))

    def _primal_residual(self, eta: NDArray[np.float64]) -> float:
        h = self.half_spaces
        rows = ((h.sites - h.site) @ eta - h.gaps / h.unit) / self._sigma
        sides = np.concatenate([eta - h.room_upper / h.unit, h.room_lower / h.unit - eta])
        return float(np.maximum(0.0, np.concatenate([rows, sides])).max())  # NaN stays NaN

    def _dual_residual(self, eta: NDArray[np.float64], scaled: Mapping[str, NDArray[np.float64]]) -> float:
        w = self.half_spaces.combine(scaled["closer"]) / self._sigma + scaled["box_upper"] - scaled["box_lower"]
        stationarity = np.abs(eta + w).max() if self.norm.order == 2 else max(0.0, self.norm.dual_of(w) - 1)
        return float(max(stationarity, *(-multipliers.min(initial=0.0) for multipliers in scaled.values())))
