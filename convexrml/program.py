"""Exact 1-NN radii by the explicit programs: one convex program in cvxpy for each negative that can still matter."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from convexrml import profiles
from convexrml.errors import SolverFailedError
from convexrml.formulations.minimal_perturbation import MinimalPerturbation
from convexrml.formulations.reachability import Reachability
from convexrml.neighbors import NearestNeighbors
from convexrml.norms import Box, Norm
from convexrml.results import ExactRadii
from convexrml.visits import ROUNDING_WIDTH, Record, visit_all
from convexrml.witness import nudged


def exact_radius_by_program(
    model: NearestNeighbors,
    Z: NDArray[np.float64],
    y: NDArray[np.int64],
    norm: Norm,
    box: Box | None,
    solver: str,
    accuracy: str,
    progress: Callable[[int], object] | None,
) -> ExactRadii:
    """Exact radii of 1-NN, the arguments checked already; `y` are encoded labels.  See `exact_radius`."""
    profile = profiles.get_profile(solver)
    profiles.require_installed(profile)
    tolerance = profile.at(accuracy).tolerance + ROUNDING_WIDTH

    def against(label: int) -> _Programs:
        return _Programs(model, label, norm, box, solver, accuracy)

    return visit_all(model, Z, y, norm, box, against, tolerance, profile.name, progress)


class _Programs:
    """The programs of one label: they share the positives, hence one compilation serves all queries and negatives."""

    def __init__(
        self, model: NearestNeighbors, label: int, norm: Norm, box: Box | None, solver: str, accuracy: str
    ) -> None:
        self.model, self.name, self.norm, self.box = model, model.classes_[label], norm, box
        self.solver, self.accuracy = solver, accuracy
        self.program: MinimalPerturbation | None = None
        self.reachability: Reachability | None = None

    def __call__(self, record: Record, negative: int) -> float:
        """Solve the program against one negative, for a witness and the lower bound that its multipliers prove."""
        program = self._posed(record, negative)
        half_spaces = program.half_spaces
        if self.box is not None and half_spaces.proves_empty(
            _unit(int(np.argmin(half_spaces.gaps)), len(program.positives))
        ):
            return math.inf  # the nearest positive alone keeps it out of reach
        record.solves += 1
        try:
            solution = program.solve(self.solver, self.accuracy)
        except SolverFailedError as error:
            record.notes.append(f"negative {negative}: {error}")
            return self._inner_point(program, record)[1]
        inner, bound = self.model.training_points_[negative], solution.lower_bound
        if self.box is not None and (math.isnan(solution.value) or not self.box.contains(inner)):
            inside, distance = self._inner_point(program, record)
            inner, bound = self.box.clip(inner) if inside is None else inside, max(bound, distance)
            if bound == math.inf:
                return math.inf
        witness = nudged(self.model, record.z, self.name, solution.variables["perturbation"], inner, self.box)
        record.improve(witness, self.norm, negative, program.positives, solution.duals["closer"])
        return bound

    def _posed(self, record: Record, negative: int) -> MinimalPerturbation:
        if self.program is None:
            self.program = MinimalPerturbation(
                self.model, record.z, self.name, negative=negative, norm=self.norm, box=self.box
            )
        self.program.pose(record.z, negative, row=record.row)
        return self.program

    def _inner_point(self, program: MinimalPerturbation, record: Record) -> tuple[NDArray[np.float64] | None, float]:
        """A point deep inside the negative's cell, and a lower bound on its distance: ∞ if the box keeps it away."""
        if self.box is None:
            return None, 0.0
        if self.reachability is None:
            self.reachability = Reachability(program)
        record.solves += 1
        try:
            return self.reachability.solve(self.solver, self.accuracy)
        except SolverFailedError as error:
            record.notes.append(f"negative {program.negative}, reachability: {error}")
            return None, 0.0


def _unit(index: int, size: int) -> NDArray[np.float64]:
    multipliers = np.zeros(size)
    multipliers[index] = 1.0
    return multipliers
