"""One procedure for every learner: settings by a validation part, a fit on the training set, radii of test points."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from bench_baselines import Array, Labels
from bench_child import Outcome, in_child
from bench_data import BUILT_IN
from bench_learning import Method, Settings, choose_methods
from sklearn.model_selection import train_test_split

import convexrml
from convexrml.study.data import load_data

RATIOS = (0.5, 1.0, 1.5)  # radii, in units of the median exact radius under the Euclidean metric
MANY = 11  # neighbours, where there is more than one
_SHUFFLE_SEED = 42
_FIRST, _BEHIND = 100, 0.1


@dataclasses.dataclass(frozen=True)
class Plan:
    """How much of it is measured.

    Attributes
    ----------
    points : int
        Test points.
    validation_points : int
        Most points held out to choose settings; never more than 30 % of the training points.
    cap : int
        Seconds of processor time for one fit.
    """

    points: int = 1000
    validation_points: int = 500
    cap: int = 500


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """Training and test points of a data set, labels numbered from 0."""

    name: str
    X: Array
    y: Labels
    Z: Array
    t: Labels


def load_problem(name: str, folder: Path, plan: Plan) -> Problem:
    """Features scaled to [0, 1] on the training part; the first test points after a seeded shuffle, not clipped."""
    data = load_data() if name in BUILT_IN else load_data(folder / f"{name}.bz2", folder / f"{name}.t.bz2")
    classes, y = np.unique(data.y_train, return_inverse=True)
    order = np.random.default_rng(_SHUFFLE_SEED).permutation(len(data.X_test))[: plan.points]
    return Problem(name, data.X_train, y, data.X_test[order], np.searchsorted(classes, data.y_test[order]))


def held_out(problem: Problem, seed: int, most: int) -> Problem:
    """The training points alone, a stratified part of them in the place of the test points."""
    size = min(most, int(0.3 * len(problem.X)))
    X, Z, y, t = train_test_split(problem.X, problem.y, test_size=size, stratify=problem.y, random_state=seed)
    return Problem(problem.name, X, y, Z, t)


def model_of(problem: Problem, L: Array | None, k: int) -> convexrml.NearestNeighbors:
    """The classifier under L: radii do not change with its scale, so its largest entry is made 1."""
    metric = None if L is None else convexrml.MahalanobisMetric.from_components(L / np.abs(L).max())
    return convexrml.NearestNeighbors(k, metric).fit(problem.X, problem.y)


def errors_at(radii: Array, thresholds: Array) -> Array:
    """Share of the points with a radius of at most each threshold."""
    return (radii[:, None] <= thresholds).mean(axis=0)


def fit(name: str, X: Array, y: Labels, seed: int, settings: Settings) -> Array | None:
    """Components learnt by a method; an error if they are no metric."""
    (method,) = choose_methods([name])
    L = method.fit(X, y, seed, **settings)
    if L is None:
        return None
    if not np.isfinite(L).all() or not L.any():
        raise ArithmeticError("the components are zero, or not finite")
    return np.ascontiguousarray(L, dtype=np.float64)


def criteria(part: Problem, metrics: list[Array | None]) -> list[tuple[float, int]]:
    """Mean certified robust error at the three radii, by exact 1-NN radii, and on how many points.

    The radii are those of the Euclidean metric on the same points.  A metric that is 0.1 worse than the best on the
    first 100 points is left there: exact radii under bad metrics take long.
    """
    few = dataclasses.replace(part, Z=part.Z[:_FIRST], t=part.t[:_FIRST])
    thresholds = np.array(RATIOS) * np.median(exact_radii(part, None))
    first = [float(errors_at(exact_radii(few, L), thresholds).mean()) for L in metrics]
    return [
        (value, len(few.Z))
        if value > min(first) + _BEHIND
        else (float(errors_at(exact_radii(part, L), thresholds).mean()), len(part.Z))
        for value, L in zip(first, metrics, strict=True)
    ]


def exact_radii(problem: Problem, L: Array | None) -> Array:
    """Proven lower ends of the exact 1-NN radii."""
    return convexrml.exact_radius(model_of(problem, L, 1), problem.Z, problem.t).lower


def evaluate(problem: Problem, L: Array | None) -> dict[str, Any]:
    """Clean errors and radii of the test points, under one neighbour and under eleven.

    Points that are certified beyond the largest radius need no attack: inf stands in its place.
    """
    one, many = model_of(problem, L, 1), model_of(problem, L, MANY)
    exact = convexrml.exact_radius(one, problem.Z, problem.t)
    certified = convexrml.certified_radius(many, problem.Z, problem.t).lower
    attacked = certified <= RATIOS[-1] * np.median(exact_radii(problem, None))
    attack = np.full(len(problem.t), np.inf)
    attack[attacked] = convexrml.attack_radius(many, problem.Z[attacked], problem.t[attacked]).upper
    return {
        "clean_1": float((one.predict(problem.Z) != problem.t).mean()),
        "exact": exact.lower.tolist(),
        "open": int(sum(not status.closed for status in exact.status)),
        "clean_11": float((many.predict(problem.Z) != problem.t).mean()),
        "certified": certified.tolist(),
        "attack": attack.tolist(),
    }


def measure(problem: Problem, method: Method, seed: int, plan: Plan) -> dict[str, Any]:
    """Everything about one method on one data set with one seed."""
    grid = method.grid(problem.X.shape[1])
    record: dict[str, Any] = {"set": problem.name, "shape": problem.X.shape, "method": method.name, "seed": seed}
    chosen: Settings = grid[0]
    if len(grid) > 1:
        record["candidates"], best = _select(problem, method, grid, seed, plan)
        if best is None:
            return record | {"problem": "no setting could be fitted"}
        chosen = grid[best]
    full = in_child(fit, method.name, problem.X, problem.y, seed, chosen, cap=plan.cap)
    record |= {"chosen": chosen, "fit_seconds": full.seconds, "problem": full.problem}
    if full.problem:
        return record
    scored = in_child(evaluate, problem, full.value)
    return record | {"evaluation": scored.value, "evaluation_seconds": scored.seconds, "problem": scored.problem}


def _select(
    problem: Problem, method: Method, grid: list[Settings], seed: int, plan: Plan
) -> tuple[list[dict[str, Any]], int | None]:
    part = held_out(problem, seed, plan.validation_points)
    fits: list[Outcome] = [
        in_child(fit, method.name, part.X, part.y, seed, settings, cap=plan.cap) for settings in grid
    ]
    rows: list[dict[str, Any]] = [
        {"settings": settings, "seconds": one.seconds, "problem": one.problem}
        for settings, one in zip(grid, fits, strict=True)
    ]
    fitted = [place for place, one in enumerate(fits) if not one.problem]
    if not fitted:
        return rows, None
    scored = in_child(criteria, part, [fits[place].value for place in fitted])
    if scored.problem:
        raise RuntimeError(f"{problem.name}, {method.name}: validation failed: {scored.problem}")
    for place, (value, points) in zip(fitted, scored.value, strict=True):
        rows[place] |= {"criterion": value, "points": points}
    return rows, min(fitted, key=lambda place: rows[place]["criterion"])
