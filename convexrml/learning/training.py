"""A learner's training set, checked and grouped by label, and the checks along the way."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from convexrml.errors import InvalidInputError, LearningError
from convexrml.validation import label_vector


@dataclasses.dataclass(frozen=True, eq=False)
class Grouped:
    """Training points grouped by label.

    Attributes
    ----------
    X : (N, d) array
        Points less their mean: no radius changes with a shift, and rounding is least around 0.
    y : (N,) integer array
        Encoded labels, ascending.
    class_start : (n_classes + 1,) integer array
        Class c holds the rows ``class_start[c] : class_start[c + 1]``.
    """

    X: NDArray[np.float64]
    y: NDArray[np.int64]
    class_start: NDArray[np.int64]


def checked_training_set(estimator: Any, X: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Points and labels as scikit-learn checks them for an estimator.

    Raises
    ------
    InvalidInputError
        With scikit-learn's own words.
    TypeError
        For sparse matrices and objects that are no numbers, as scikit-learn has it.
    """
    try:
        points, labels = validate_data(estimator, X, y, dtype=np.float64, ensure_min_samples=2)
        checked = label_vector("y", labels, len(points))
        check_classification_targets(checked)
    except InvalidInputError:
        raise
    except ValueError as error:
        raise InvalidInputError(f"X, y: {error}") from error
    return points, checked


def encoded_classes(labels: NDArray[Any], *, stacklevel: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Index of each label among the classes ``(N,)``, and how many points each class has ``(n_classes,)``.

    Raises
    ------
    InvalidInputError
        If there is one class only, or no class has two points.

    Warns
    -----
    UserWarning
        If a class has a single point, which has no other point of its label.
    """
    classes, encoded, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(classes) < 2:
        raise InvalidInputError(
            f"y: a metric is learnt from two classes at least; found one class ({classes[0].item()!r})"
        )
    alone = classes[counts == 1]
    if len(alone) == len(classes):
        raise InvalidInputError(
            f"y: no two of the {len(labels)} points have the same label, and a triplet needs two; are these classes?"
        )
    if len(alone):
        shown = ", ".join(map(repr, alone[:5].tolist())) + ", ..." * (len(alone) > 5)
        warnings.warn(
            f"y: {len(alone)} of {len(classes)} classes have a single point ({shown}): it has no other point of its "
            "label, so that it counts as a point of another label only",
            stacklevel=stacklevel,
        )
    return encoded, counts


def grouped_training_set(estimator: Any, X: ArrayLike, y: ArrayLike) -> Grouped:
    """Check a training set as scikit-learn does, and group it by label.

    Raises
    ------
    InvalidInputError
        If X and y are not what scikit-learn's checks let pass, or as `encoded_classes` does.

    Warns
    -----
    UserWarning
        As `encoded_classes` does.
    """
    points, labels = checked_training_set(estimator, X, y)
    encoded, counts = encoded_classes(labels, stacklevel=4)
    order = np.argsort(encoded, kind="stable")
    return Grouped((points - points.mean(axis=0))[order], encoded[order], np.concatenate([[0], np.cumsum(counts)]))


def require_finite(estimator: Any, value: float, gradient: NDArray[np.float64], step: int) -> None:
    """Stop at an objective or a gradient that is not finite.

    Raises
    ------
    LearningError
    """
    if not (np.isfinite(value) and np.isfinite(gradient).all()):
        raise LearningError(
            f"{type(estimator).__name__}: objective or gradient is not finite at step {step + 1} "
            f"(objective {value:g}); scale the features (say by MinMaxScaler) or lower learning_rate"
        )
