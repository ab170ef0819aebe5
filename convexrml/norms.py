"""The ℓ1, ℓ2 and ℓ∞ norms that measure perturbations, their duals, and boxes that perturbed points stay in."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sized
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexrml.errors import InvalidInputError
from convexrml.validation import float_array

_DUAL_ORDER = {1.0: math.inf, 2.0: 2.0, math.inf: 1.0}
_NAMES: dict[str, float] = {
    **{"1": 1.0, "l1": 1.0, "ℓ1": 1.0},
    **{"2": 2.0, "l2": 2.0, "ℓ2": 2.0},
    **{"inf": math.inf, "linf": math.inf, "ℓ∞": math.inf},
}


@dataclasses.dataclass(frozen=True)
class Norm:
    """The norm ``‖δ‖_p`` of a perturbation, with its dual ``‖·‖_q``, ``1/p + 1/q = 1``.

    Parameters
    ----------
    order : {1.0, 2.0, inf}
        The order p.
    """

    order: float

    @property
    def dual_order(self) -> float:
        """The order q of the dual norm, in which distances between sites are measured."""
        return _DUAL_ORDER[self.order]

    @property
    def name(self) -> str:
        """The order as text: ``"1"``, ``"2"`` or ``"inf"``."""
        return "inf" if math.isinf(self.order) else f"{self.order:.0f}"

    def of(self, vectors: NDArray[np.float64]) -> Any:
        """The norm of the vectors along the last axis of an array.

        Parameters
        ----------
        vectors : (..., d) array
            Any number of vectors.

        Returns
        -------
        (...) array or float
            Their norms, as floating point computes them.
        """
        return np.linalg.norm(vectors, ord=self.order, axis=-1)

    def dual_of(self, vectors: NDArray[np.float64]) -> Any:
        """The dual norm of the vectors along the last axis of an array.

        Parameters
        ----------
        vectors : (..., d) array
            Any number of vectors.

        Returns
        -------
        (...) array or float
            Their norms of order q.
        """
        return np.linalg.norm(vectors, ord=self.dual_order, axis=-1)

    def __str__(self) -> str:
        """The norm as people write it: ``ℓ2``."""
        return "ℓ∞" if math.isinf(self.order) else f"ℓ{self.order:.0f}"


def as_norm(norm: float | str | Norm) -> Norm:
    """Read a norm from ``1``, ``2``, ``inf``, their names (``"1"``, ``"l2"``, ``"ℓ∞"`` ...) or a `Norm`.

    Raises
    ------
    InvalidInputError
        If it is anything else.
    """
    order: float | None
    if isinstance(norm, Norm):
        order = norm.order
    elif isinstance(norm, str):
        order = _NAMES.get(norm.strip().lower())
    elif isinstance(norm, (int, float, np.integer, np.floating)) and not isinstance(norm, bool):
        order = float(norm)
    else:
        order = None
    if order not in _DUAL_ORDER:
        raise InvalidInputError(f"norm: perturbations are measured in norm 1, 2 or inf; found {norm!r}")
    return Norm(order)


@dataclasses.dataclass(frozen=True, eq=False)
class Box:
    """The set ``lower ≤ p ≤ upper`` (coordinate by coordinate) that a perturbed point has to stay in.

    Parameters
    ----------
    lower, upper : (d,) arrays
        In the units of the input features; ``-inf`` and ``inf`` leave a side open.
    """

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]

    def contains(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether each point lies in the box; exact comparisons, no tolerance.

        Parameters
        ----------
        points : (..., d) array
            Any number of points.

        Returns
        -------
        (...) bool array
            One for each point.
        """
        inside: NDArray[np.bool_] = np.all((self.lower <= points) & (points <= self.upper), axis=-1)
        return inside

    def clip(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """The nearest point of the box to each point, in every ℓ_p norm at once.

        Parameters
        ----------
        points : (..., d) array
            Any number of points.

        Returns
        -------
        (..., d) array
            The points, each coordinate brought between its sides.
        """
        return np.clip(points, self.lower, self.upper)


def as_box(box: tuple[ArrayLike, ArrayLike] | Box | None, n_features: int) -> Box | None:
    """Read a box from a pair ``(lower, upper)`` of numbers or ``(d,)`` arrays.

    Raises
    ------
    InvalidInputError
        If it is not a pair, a side has the wrong length or a NaN, or a lower side exceeds its upper side.
    """
    if box is None:
        return None
    lower: ArrayLike
    upper: ArrayLike
    try:
        lower, upper = (box.lower, box.upper) if isinstance(box, Box) else box
    except (TypeError, ValueError) as error:
        found = f"{type(box).__name__}" + (f" of {len(box)}" if isinstance(box, Sized) else "")
        raise InvalidInputError(f"box: give a pair (lower, upper) or None; found {found}") from error
    if isinstance(box, (str, Mapping)):
        raise InvalidInputError(f"box: give a pair (lower, upper) of numbers or arrays; found {box!r}")
    checked = []
    for name, side in (("box lower", lower), ("box upper", upper)):
        values = float_array(name, side, finite=False)
        if values.ndim > 1 or (values.ndim == 1 and len(values) != n_features):
            raise InvalidInputError(f"{name}: give one number or {n_features} of them; found shape {values.shape}")
        checked.append(np.ascontiguousarray(np.broadcast_to(values, n_features)))
    crossed = np.flatnonzero(checked[0] > checked[1])
    if len(crossed):
        raise InvalidInputError(
            f"box: lower exceeds upper in feature {crossed[0]} ({checked[0][crossed[0]]} > {checked[1][crossed[0]]}); "
            "give (lower, upper), in this order"
        )
    return Box(*checked)


def require_inside(box: Box | None, Z: NDArray[np.float64]) -> None:
    """Refuse queries that lie outside the box: a perturbation of 0 would not be allowed.

    Raises
    ------
    InvalidInputError
        Naming the first query and feature outside.
    """
    if box is None:
        return
    outside = ~((box.lower <= Z) & (box.upper >= Z))
    if outside.any():
        query, feature = np.argwhere(outside)[0]
        raise InvalidInputError(
            f"box: does not contain query {query}: feature {feature} is {Z[query, feature]}, outside "
            f"[{box.lower[feature]}, {box.upper[feature]}] ({outside.any(axis=1).sum()} of {len(Z)} queries lie "
            "outside); widen the box or clip the queries"
        )
