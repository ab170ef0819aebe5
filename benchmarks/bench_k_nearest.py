"""Exact radii of k-NN by branch and bound, point by point: proven share, wall times, bounds against exact radii."""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from bench_data import Sample
from numpy.typing import NDArray
from sklearn.neighbors import NeighborhoodComponentsAnalysis

import convexrml
from convexrml.findings import Limits
from convexrml.grouped import grouped_sites
from convexrml.k_nearest import KNearestSearch
from convexrml.queries import each_query, prepared
from convexrml.results import joined
from convexrml.search import record_of
from convexrml.settling import settled_votes

EUCLIDEAN, LEARNED = "Euclidean", "learned"
METRICS = (EUCLIDEAN, LEARNED)
MAJORITY, PLURALITY = "majority", "plurality"
NEIGHBORS = (3, 5, 7, 11, 21)
_FOR_MANY = ("digits", "pendigits", "satimage")  # more than 11 neighbours
_FOR_PLURALITY = ("digits", "pendigits")
_PLURALITY_NEIGHBORS = (5, 7)  # up to 3 it is the majority
_SHUFFLE_SEED = 42
_ATTACKS = 3  # calls, of which the median is taken
_LEARNING_POINTS, _MOST_COMPONENTS = 500, 16


@dataclasses.dataclass(frozen=True)
class NearestPlan:
    """How much of it is measured."""

    points: int = 200
    neighbors: tuple[int, ...] = NEIGHBORS
    metrics: tuple[str, ...] = METRICS
    time_limit: float = 10.0


@dataclasses.dataclass(frozen=True, eq=False)
class NearestResult:
    """What was found of each point in one case, and how long each search took.

    Attributes
    ----------
    name, shape, metric, vote : str
    k : int
    certified, lower, upper, attack : (n,) arrays
        Radii.
    status : tuple of str
        Names of `RadiusStatus`.
    nodes : (n,) integer array
    exact_ms : (n,) array
    attack_ms : float
        Per point.
    """

    name: str
    shape: str
    metric: str
    vote: str
    k: int
    certified: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    attack: NDArray[np.float64]
    status: tuple[str, ...]
    nodes: NDArray[np.int64]
    exact_ms: NDArray[np.float64]
    attack_ms: float

    @property
    def proven(self) -> NDArray[np.bool_]:
        """Whether each point's interval is closed."""
        return np.array([convexrml.RadiusStatus[name].closed for name in self.status])

    @property
    def compared(self) -> NDArray[np.bool_]:
        """Points whose radius is proven, positive and finite: ratios and the mean radius are over these."""
        return self.proven & (self.lower > 0) & np.isfinite(self.upper)

    @property
    def mean_radius(self) -> float:
        return _mean(self.upper[self.compared])

    @property
    def bound_ratio(self) -> float:
        """Mean of certified / exact."""
        return _mean(self.certified[self.compared] / self.upper[self.compared])

    @property
    def attack_ratio(self) -> float:
        """Mean of attack / exact."""
        return _mean(self.attack[self.compared] / self.upper[self.compared])

    @property
    def attack_time_ratio(self) -> float:
        """All time for attacks over all time for exact radii."""
        return float(self.attack_ms / self.exact_ms.mean())

    def as_dict(self) -> dict[str, Any]:
        """Everything raw, for JSON."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in fields.items()}


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else math.nan


def cases(name: str, plan: NearestPlan) -> list[tuple[str, str, int]]:
    """Metric, vote and number of neighbours of every case on a data set."""
    few = [k for k in plan.neighbors if k <= 11 or name in _FOR_MANY]
    votes = [(MAJORITY, k) for k in few]
    if name in _FOR_PLURALITY:
        votes += [(PLURALITY, k) for k in few if k in _PLURALITY_NEIGHBORS]
    return [(metric, vote, k) for metric in plan.metrics for vote, k in votes]


def shuffled(sample: Sample, points: int | None) -> Sample:
    """The first test points in a fixed random order: files often come sorted."""
    order = np.random.default_rng(_SHUFFLE_SEED).permutation(len(sample.Z))[:points]
    return dataclasses.replace(sample, Z=sample.Z[order], t=sample.t[order])


def learned_components(sample: Sample) -> NDArray[np.float64]:
    """Components L of one learned metric: neighbourhood components analysis of a seeded part of the training set."""
    order = np.random.default_rng(_SHUFFLE_SEED).permutation(len(sample.X))[:_LEARNING_POINTS]
    n_components = min(sample.X.shape[1], _MOST_COMPONENTS)
    learner = NeighborhoodComponentsAnalysis(n_components, random_state=_SHUFFLE_SEED)
    return learner.fit(sample.X[order], sample.y[order]).components_


def measure_nearest(
    sample: Sample, plan: NearestPlan, step: Callable[[str], object] = lambda what: None
) -> list[NearestResult]:
    """Every case on one data set."""
    some, metrics, results = shuffled(sample, plan.points), {EUCLIDEAN: None}, []
    if LEARNED in plan.metrics:
        metrics[LEARNED] = convexrml.MahalanobisMetric.from_components(learned_components(sample))
    for metric, vote, k in cases(sample.name, plan):
        step(f"{sample.name}: k = {k}, {vote}, {metric} metric")
        model = convexrml.NearestNeighbors(k, metrics[metric]).fit(some.X, some.y)
        results.append(measure_case(some, model, metric, vote, plan.time_limit))
    return results


def measure_case(
    some: Sample, model: convexrml.NearestNeighbors, metric: str, vote: str, time_limit: float
) -> NearestResult:
    """Radii of all points of a sample, each search timed by itself."""
    load_compiled_code(vote)
    attack_seconds = []
    for _ in range(_ATTACKS):
        start = time.perf_counter()
        attack = convexrml.attack_radius(model, some.Z, some.t, vote=vote)
        attack_seconds.append(time.perf_counter() - start)
    found, exact_ms = searched(some, model, vote, Limits(seconds=time_limit))
    return NearestResult(
        some.name,
        some.shape,
        metric,
        vote,
        model.n_neighbors,
        certified=convexrml.certified_radius(model, some.Z, some.t).lower,
        lower=found.lower,
        upper=found.upper,
        attack=attack.upper,
        status=tuple(one.name for one in found.status),
        nodes=found.solves,
        exact_ms=exact_ms,
        attack_ms=1e3 * statistics.median(attack_seconds) / len(some.Z),
    )


def load_compiled_code(vote: str) -> None:
    """Search where all kernels have something to do, so that none is compiled while the clock runs."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 5))
    model = convexrml.NearestNeighbors(11).fit(X, X[:, 0] + 0.5 * rng.standard_normal(300) > 0)
    t = model.predict(X[:8])
    found = convexrml.exact_radius(model, X[:8], t, vote=vote, node_limit=300)
    if found.solves.max() < 300:
        raise AssertionError("the searches that load compiled code are too short to need all of it")
    convexrml.attack_radius(model, X[:8], t, vote=vote)


def searched(
    some: Sample, model: convexrml.NearestNeighbors, vote: str, limits: Limits
) -> tuple[convexrml.ExactRadii, NDArray[np.float64]]:
    """What `exact_radius` finds for each point, one search after the other, and their wall times in milliseconds.

    Each search is settled in exact arithmetic before the next begins; preparing the batch (training points by label,
    scores) is shared among the points.
    """
    start = time.perf_counter()
    data = grouped_sites(model)
    search = KNearestSearch(data, model.metric_, model.n_neighbors, convexrml.Vote(vote), None)
    labels = model.encode(some.t, len(some.t))
    queries = list(each_query(data, prepared(model, data, some.Z, labels, None)))
    clock = [time.perf_counter()]
    found = []
    for a, query in enumerate(queries):
        finding, at = search.search(query, limits), slice(a, a + 1)
        found.append(settled_votes(record_of([finding], search), model, some.Z[at], labels[at], [finding]))
        clock.append(time.perf_counter())
    return joined(found), 1e3 * (np.diff(clock) + (clock[0] - start) / len(queries))
