"""Checks of what callers pass in: every failure names the argument, what was found and what was expected."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexrml.errors import InvalidInputError


def float_array(name: str, values: ArrayLike, *, finite: bool = True) -> NDArray[np.float64]:
    """Read real numbers as a contiguous float64 array; NaN is always refused, infinities when `finite`."""
    if hasattr(values, "toarray"):  # scipy sparse: the sites are dense anyway
        values = values.toarray()
    try:
        array = np.asarray(values)
        if array.dtype.kind == "O" and all(isinstance(value, numbers.Real) for value in array.ravel()):
            array = array.astype(np.float64)
        if array.dtype.kind not in "fiub":
            raise InvalidInputError(f"{name}: needs real numbers; found dtype {array.dtype}")
        array = np.asarray(array, dtype=np.float64, order="C")
    except InvalidInputError:
        raise
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"{name}: is not an array of numbers ({error})") from error
    bad = ~np.isfinite(array) if finite else np.isnan(array)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise InvalidInputError(
            f"{name}: has {int(bad.sum())} NaN or infinite value(s), the first at {where}; remove or impute them"
        )
    return array


def feature_matrix(name: str, values: ArrayLike, n_features: int | None = None) -> NDArray[np.float64]:
    """Read a non-empty ``(n, d)`` matrix of features; ``d`` is checked where `n_features` is known."""
    array = float_array(name, values)
    if array.ndim != 2:
        hint = "; reshape a single point with [None, :]" if array.ndim == 1 else ""
        raise InvalidInputError(f"{name}: needs shape (n, d); found shape {array.shape}{hint}")
    if array.shape[0] == 0 or array.shape[1] == 0:
        raise InvalidInputError(f"{name}: is empty (shape {array.shape})")
    if n_features is not None and array.shape[1] != n_features:
        raise InvalidInputError(f"{name}: has {array.shape[1]} features; the classifier was fitted with {n_features}")
    return array


def label_vector(name: str, values: ArrayLike, n_points: int) -> NDArray[Any]:
    """Read one label (number or string) for each of `n_points` points."""
    try:
        labels = np.asarray(values)
        if labels.dtype.kind in "US" and not isinstance(values, np.ndarray):
            labels = np.asarray(values, dtype=object)  # numpy would make texts of numbers in silence
    except ValueError as error:
        raise InvalidInputError(f"{name}: is not a list of labels ({error})") from error
    if labels.ndim != 1 or len(labels) != n_points:
        raise InvalidInputError(f"{name}: needs one label for each of the {n_points} points; found {labels.shape}")
    if labels.dtype.kind == "O":
        kinds = {type(label) for label in labels}
        if not (kinds <= {str} or all(issubclass(kind, (numbers.Real, np.bool_)) for kind in kinds)):
            found = sorted(kind.__name__ for kind in kinds)
            raise InvalidInputError(f"{name}: labels must be all numbers or all strings; found {found}")
        labels = np.array(labels.tolist())
    if labels.dtype.kind not in "fiubUS":
        raise InvalidInputError(f"{name}: labels must be numbers or strings; found dtype {labels.dtype}")
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise InvalidInputError(f"{name}: has a NaN or infinite label at {int(np.argmin(np.isfinite(labels)))}")
    return labels


def whole_number(name: str, value: object, *, minimum: int) -> int:
    """Read a whole number that is at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise InvalidInputError(f"{name}: needs a whole number; found {value!r}")
    if value < minimum:
        raise InvalidInputError(f"{name}: must be at least {minimum}; found {value}")
    return int(value)


def positive_number(name: str, value: object) -> float:
    """Read a positive, finite number."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 < float(value) < float("inf"):
        raise InvalidInputError(f"{name}: needs a positive number; found {value!r}")
    return float(value)
