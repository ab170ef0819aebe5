"""Learn a metric on a data set's training points, and measure on its test points what it changed."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import convexrml
from convexrml.errors import InvalidInputError
from convexrml.learning.base import MetricLearner
from convexrml.metric import MahalanobisMetric
from convexrml.neighbors import NearestNeighbors
from convexrml.results import ExactRadii
from convexrml.study.clock import Clock, Progress
from convexrml.study.data import DataSet

METHODS = {"robust": "RobustMetricLearner", "exact-radius": "ExactRadiusLearner", "arml": "ARML"}


@dataclasses.dataclass(frozen=True, eq=False)
class LearnedMetric:
    """A learned metric, and the exact 1-NN radii of the test points before and after.

    Attributes
    ----------
    method : str
        A key of `METHODS`.
    learner : MetricLearner
        Fitted on the training points.
    data : DataSet
    seconds : float
        Wall-clock time of the fit.
    before, after : ExactRadii
        In ℓ2, under the Euclidean and under the learned metric.
    """

    method: str
    learner: MetricLearner
    data: DataSet
    seconds: float
    before: ExactRadii
    after: ExactRadii

    @property
    def radii(self) -> NDArray[np.float64]:
        """0.5, 1 and 1.5 times the median Euclidean radius: where robust errors are stated."""
        return np.array([0.5, 1.0, 1.5]) * float(np.median(self.before.lower))

    def save(self, path: Path) -> None:
        """Write the components, in the form that ``certify --metric`` reads, and where they came from."""
        about = {"method": self.method, "convexrml": convexrml.__version__, "seconds": self.seconds}
        about |= {"parameters": {name: repr(value) for name, value in self.learner.get_params().items()}}
        about |= {"data": self.data.origin, "sha256": self.data.sha256()}
        with path.open("wb") as file:  # np.savez would add a suffix of its own
            np.savez(file, components=self.learner.components_, about=np.array(json.dumps(about)))


def make_learner(method: str, parameters: Mapping[str, object]) -> MetricLearner:
    """The learner of this name, with parameters laid over its defaults.

    Raises
    ------
    InvalidInputError
        If there is no such method, or it has no such parameter.
    """
    if method not in METHODS:
        raise InvalidInputError(f"method: choose from {', '.join(METHODS)}; found {method!r}")
    kind = getattr(convexrml, METHODS[method])
    known = list(inspect.signature(kind).parameters)
    for name in parameters:
        if name not in known:
            raise InvalidInputError(f"parameter: {METHODS[method]} has no {name!r}; it has {', '.join(known)}")
    return kind(**parameters)


def read_parameter(text: str) -> tuple[str, object]:
    """Read ``NAME=VALUE``; a value that is no Python literal is a text.

    Raises
    ------
    InvalidInputError
        If there is no equals sign, or no name before it.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise InvalidInputError(f"parameter: needs NAME=VALUE; found {text!r}")
    try:
        return name.strip(), ast.literal_eval(value.strip())
    except (SyntaxError, ValueError):
        return name.strip(), value.strip()


def learn(
    data: DataSet,
    method: str = "robust",
    parameters: Mapping[str, object] | None = None,
    *,
    n_jobs: int | None = None,
    progress: Progress | None = None,
) -> LearnedMetric:
    """Fit a learner on the training points; exact radii of the test points under the Euclidean and the learned metric.

    Parameters
    ----------
    data : DataSet
        As `certify` will read it: the same file, split and scaling.
    method : {"robust", "exact-radius", "arml"}
    parameters : mapping, optional
        Of the learner: see `convexrml.RobustMetricLearner`, `convexrml.ExactRadiusLearner`, `convexrml.ARML`.
    n_jobs : int, optional
        Workers of the exact search.
    progress : callable, optional
        Called with the stage, what is finished and how much there is.

    Raises
    ------
    InvalidInputError
        If method or parameters are unknown, or the data are too few.
    """
    learner = make_learner(method, parameters or {})
    clock = Clock(progress)
    with clock.stage("learning", 1):
        learner.fit(data.X_train, data.y_train)
    metrics = (None, MahalanobisMetric.from_components(learner.components_))
    radii = []
    with clock.stage("exact radii", len(metrics)) as tick:
        for metric in metrics:
            model = NearestNeighbors(metric=metric).fit(data.X_train, data.y_train)
            radii.append(convexrml.exact_radius(model, data.X_test, data.y_test, n_jobs=n_jobs))
            tick(1)
    return LearnedMetric(method, learner, data, clock.seconds["learning"], *radii)
