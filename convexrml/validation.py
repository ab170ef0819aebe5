"""Checks of what callers pass in: every failure names the argument, what was found and what was expected."""

from __future__ import annotations

import math
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
            raise InvalidInputError(f"{name}: needs real numbers; found {_no_number(array, values)}")
        array = np.asarray(array, dtype=np.float64, order="C")
    except InvalidInputError:
        raise
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"{name}: is not an array of numbers ({error})") from error
    bad = ~np.isfinite(array) if finite else np.isnan(array)
    if bad.any():
        what = "NaN or infinite" if finite else "NaN"
        first = f"{int(bad.sum())} value(s) that are {what}, the first at {_place(bad)}" if array.ndim else f"{array}"
        raise InvalidInputError(f"{name}: needs {'finite ' if finite else ''}numbers; found {first}")
    return array


def _no_number(array: NDArray[Any], given: object) -> str:
    """What stands where numbers should, for a message: the first entry that is none, and its place."""
    if array.dtype.kind not in "OSU":
        return f"dtype {array.dtype}"
    if array.ndim == 0:
        return f"{str(array[()]):.40}" if array.dtype.kind == "O" else f"the text {str(array[()]):.40}"
    bad = np.array([not isinstance(value, numbers.Real) for value in array.ravel()]).reshape(array.shape)
    entry, column = array[tuple(np.argwhere(bad)[0])], getattr(given, "columns", None)
    named = "" if column is None or array.ndim != 2 else f" (column {column[np.argwhere(bad)[0][1]]!r})"
    return f"{str(entry)!r:.40} ({type(entry).__name__}) at {_place(bad)}{named}; encode or drop what is no number"


def _place(bad: NDArray[np.bool_]) -> object:
    """Index of the first True: a number for a vector, a tuple for a matrix."""
    where = tuple(int(i) for i in np.argwhere(bad)[0])
    return where[0] if len(where) == 1 else where


def feature_matrix(name: str, values: ArrayLike, n_features: int | None = None) -> NDArray[np.float64]:
    """Read a non-empty ``(n, d)`` matrix of features; ``d`` is checked where `n_features` is known."""
    array = float_array(name, values)
    if array.ndim != 2:
        hint = "; a single point is reshaped with [None, :], a single feature with [:, None]" if array.ndim == 1 else ""
        raise InvalidInputError(f"{name}: needs shape (n, d); found shape {array.shape}{hint}")
    if array.shape[0] == 0 or array.shape[1] == 0:
        raise InvalidInputError(f"{name}: needs one point and one feature at least; found shape {array.shape}")
    if n_features is not None and array.shape[1] != n_features:
        raise InvalidInputError(
            f"{name}: has {array.shape[1]} features; the classifier was fitted with {n_features}: give the same "
            "features, in the same order"
        )
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
        raise InvalidInputError(
            f"{name}: needs one label for each of the {n_points} points, a vector; found shape {labels.shape}"
        )
    if labels.dtype.kind == "O":
        kinds = {type(label) for label in labels}
        if not (kinds <= {str} or all(issubclass(kind, (numbers.Real, np.bool_)) for kind in kinds)):
            found = sorted(kind.__name__ for kind in kinds)
            raise InvalidInputError(f"{name}: labels must be all numbers or all strings; found {found}")
        labels = np.array(labels.tolist())
    if labels.dtype.kind not in "fiubUS":
        raise InvalidInputError(f"{name}: labels must be numbers or strings; found dtype {labels.dtype}")
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        at = int(np.argmin(np.isfinite(labels)))
        raise InvalidInputError(f"{name}: needs finite labels; found {labels[at]} at {at}; drop points without a label")
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
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 < float(value) < math.inf:
        raise InvalidInputError(f"{name}: needs a positive, finite number; found {value!r}")
    return float(value)


def number_from(name: str, value: object, low: float, high: float = math.inf) -> float:
    """Read a number that is at least `low` and less than `high`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not low <= float(value) < high:
        below = "" if math.isinf(high) else f" and less than {high:g}"
        raise InvalidInputError(f"{name}: needs a number that is at least {low:g}{below}; found {value!r}")
    return float(value)


def require_workers(n_jobs: object) -> None:
    """Refuse what is no `n_jobs` of scikit-learn: None, workers, or -1 for all processors (-2: all but one)."""
    whole = isinstance(n_jobs, numbers.Integral) and not isinstance(n_jobs, bool)
    if n_jobs is not None and (not whole or n_jobs == 0):
        raise InvalidInputError(f"n_jobs: needs a number of workers, -1 for all processors, or None; found {n_jobs!r}")


def encoded_labels(name: str, labels: NDArray[Any], classes: NDArray[Any]) -> NDArray[np.int64]:
    """Index into the sorted classes of each label; one that is no class is refused."""
    if (labels.dtype.kind in "US") != (classes.dtype.kind in "US"):
        raise InvalidInputError(
            f"{name}: labels such as {labels[:1].tolist()[0]!r} cannot be compared with the training labels, such as "
            f"{classes[:1].tolist()[0]!r}; give labels of the same kind, all numbers or all strings"
        )
    place = np.minimum(np.searchsorted(classes, labels), len(classes) - 1)
    unknown = classes[place] != labels
    if unknown.any():
        known = ", ".join(map(repr, classes[:10].tolist())) + ", ..." * (len(classes) > 10)
        raise InvalidInputError(
            f"{name}: label {labels[unknown].tolist()[0]!r} at {int(np.argmax(unknown))} does not occur in the "
            f"training set, which has {known}"
        )
    return place.astype(np.int64)
