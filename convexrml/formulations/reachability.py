"""Whether a negative can be brought nearer than every positive at all: an LP that always has a solution."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

from convexrml import solve as solving
from convexrml.formulations.half_spaces import power_of_two
from convexrml.formulations.minimal_perturbation import MinimalPerturbation
from convexrml.formulations.sides import box_sides, returned


class Reachability:
    """The largest margin by which a negative can be nearer than every positive, inside the box.

    `MinimalPerturbation` has no solution when the box keeps the negative's cell out of reach, and solvers prove that,
    if at all, each in its own way.  This program always has a solution (``t`` is bounded above by 1, the query itself
    is admissible for small enough t), and decides the question by its sign:

        ``max t   s.t.   ⟨u_i/σ, η⟩ − ⟨u_j/σ, η⟩ + t ≤ b_i/(σ ℓ)  ∀ i,   (lower − z)/ℓ ≤ η ≤ (upper − z)/ℓ,   t ≤ 1``

    (σ, ℓ and b as in `MinimalPerturbation`).  ``t > 0``: η is strictly inside the cell.  ``t < 0``: the multipliers of
    the rows prove, by `HalfSpaces.out_of_reach`, that the cell cannot be reached.

    Parameters
    ----------
    program : MinimalPerturbation
        The program whose query and negative are asked about; `solve` reads them when it is called.

    Attributes
    ----------
    problem : cvxpy.Problem
        Its value is t.
    """

    def __init__(self, program: MinimalPerturbation) -> None:
        self.program = program
        model = program.model
        d, n = model.n_features_in_, len(program.positives)
        self._sigma = power_of_two(float(np.abs(model.sites_).max()))
        self._site = cp.Parameter(d, name="site_of_the_negative")
        self._gaps = cp.Parameter(n, name="gaps")
        self._eta = cp.Variable(d, name="eta")
        margin = cp.Variable(name="margin")
        self._sides = box_sides(program.box, d)
        self._closer = model.sites_[program.positives] / self._sigma @ self._eta - self._site @ self._eta + margin <= (
            self._gaps
        )
        box = [side.sign * self._eta[side.features] <= side.room for side in self._sides.values()]
        self.problem = cp.Problem(cp.Maximize(margin), [self._closer, margin <= 1, *box])

    def solve(self, solver: str = "clarabel", accuracy: str = "accurate") -> tuple[NDArray[np.float64] | None, float]:
        """Solve with the named profile.

        Parameters
        ----------
        solver : str, default "clarabel"
            A profile's name: see ``convexrml solvers``.
        accuracy : {"accurate", "fast"} or another accuracy of the profile
            What the solver is asked for.

        Returns
        -------
        inner : (d,) array or None
            A point of the box deep inside the negative's cell, as far as the solver is right; None if it returned
            nothing.
        bound : float
            What the returned multipliers prove of the distance to the cell, evaluated here: inf if it is out of reach.

        Raises
        ------
        SolverError
            As `MinimalPerturbation.solve`.
        """
        h = self.program.half_spaces
        self._site.value = h.site / self._sigma
        self._gaps.value = h.gaps / (self._sigma * h.unit)
        for side in self._sides.values():
            side.measure(h)
        solving.run(self.problem, solver, accuracy)
        inner = None if self._eta.value is None else self.program.z + h.unit * self._eta.value
        return inner, h.out_of_reach(returned(self._closer.dual_value, len(self.program.positives)))
