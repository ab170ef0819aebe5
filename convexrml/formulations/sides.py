"""The finite sides of a box as constraints with a parameter for the room that is left."""

from __future__ import annotations

import dataclasses
from typing import Any

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

from convexrml.formulations.half_spaces import HalfSpaces
from convexrml.norms import Box


@dataclasses.dataclass(frozen=True, eq=False)
class Side:
    """``sign · η_f ≤ room_f`` for the features f on which one side of the box is finite."""

    sign: float
    features: NDArray[np.int64]
    room: cp.Parameter

    def measure(self, half_spaces: HalfSpaces) -> None:
        """Set the room that the query has, in units of the program's length."""
        room = half_spaces.room_upper if self.sign > 0 else -half_spaces.room_lower
        self.room.value = room[self.features] / half_spaces.unit

    def spread(self, constraint: Any, n_features: int) -> NDArray[np.float64]:
        """The constraint's multipliers as a ``(d,)`` array, zero on features without this side."""
        multipliers = np.zeros(n_features)
        multipliers[self.features] = returned(constraint.dual_value, len(self.features))
        return multipliers


def box_sides(box: Box | None, n_features: int) -> dict[str, Side]:
    """The sides ``"box_upper"`` and ``"box_lower"`` that have any finite entry."""
    sides = {}
    if box is not None:
        for name, sign, finite in (
            ("box_upper", 1.0, np.isfinite(box.upper)),
            ("box_lower", -1.0, np.isfinite(box.lower)),
        ):
            features = np.flatnonzero(finite)
            if len(features):
                sides[name] = Side(sign, features, cp.Parameter(len(features), name=name))
    return sides


def returned(value: Any, size: int) -> NDArray[np.float64]:
    """What a solver left in a variable or a dual, NaN where it left nothing."""
    return np.full(size, np.nan) if value is None else np.asarray(value, dtype=np.float64).reshape(size)
