"""The learners that are compared, each with the settings among which a validation part chooses."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

from bench_baselines import MOST_POINTS, Array, Labels, itml, lfda, lmnn, nca

import convexrml

Settings = dict[str, Any]

_ROBUST_GAP, _ROBUST_TRIPLETS = 1e-2, 20_000
_EXACT_STEPS = {  # for each learning rate and dropout
    (0.01, 0.5): (40, 160),
    (0.01, 0.9): (160, 400),
    (0.01, 0.95): (400, 800),
    (0.003, 0.5): (200, 400),
}
_ARML_EPOCHS = {0.001: (30, 100, 300), 0.01: (10, 30, 100, 300)}  # of each learning rate
_ARML_MANY = 100  # features


@dataclasses.dataclass(frozen=True)
class Method:
    """One row of the tables.

    Attributes
    ----------
    name : str
    fit : callable
        ``fit(X, y, seed, **settings)`` returns components L ``(r, d)``, or None for the Euclidean metric.
    grid : callable
        The settings to choose among, for d features.
    note : str
        What it learns from, what was capped.
    seeded : bool
        Whether results can depend on the seed.
    """

    name: str
    fit: Callable[..., Array | None]
    grid: Callable[[int], list[Settings]]
    note: str
    seeded: bool = True


def every(**choices: Sequence[Any]) -> list[Settings]:
    """All combinations."""
    return [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]


def euclidean(X: Array, y: Labels, seed: int) -> None:
    """No metric is learnt."""


def arml(X: Array, y: Labels, seed: int, **settings: Any) -> Array:
    """The published learner, as it is in the library."""
    return convexrml.ARML(random_state=seed, **settings).fit(X, y).components_


def robust(X: Array, y: Labels, seed: int, **settings: Any) -> Array:
    """The robust hinge, to a proven gap of one per cent."""
    learner = convexrml.RobustMetricLearner(
        tol=_ROBUST_GAP, max_triplets=_ROBUST_TRIPLETS, random_state=seed, **settings
    )
    return learner.fit(X, y).components_


def exact(X: Array, y: Labels, seed: int, **settings: Any) -> Array:
    """The learner on exact radii; a number of steps and a dropout leave it nothing to choose by itself."""
    return convexrml.ExactRadiusLearner(random_state=seed, **settings).fit(X, y).components_


def nearest_triplet(X: Array, y: Labels, seed: int, **settings: Any) -> Array:
    """The control: the same recipe on signed bounds of nearest triplets."""
    return exact(X, y, seed, radius="nearest_triplet", **settings)


def _lfda_grid(d: int) -> list[Settings]:
    # d orthonormal components are the Euclidean metric
    return every(n_components=[d, d // 2, d // 4], embedding_type=["weighted"]) + every(
        n_components=[3 * d // 4, d // 2, d // 4], embedding_type=["orthonormalized"]
    )


def _arml_grid(d: int) -> list[Settings]:
    grid = [{"learning_rate": rate, "n_epochs": n} for rate, ns in _ARML_EPOCHS.items() for n in ns]
    return grid if d > _ARML_MANY else [*grid, {"learning_rate": 0.001, "n_epochs": 1000}]


def _exact_grid(d: int) -> list[Settings]:
    return [
        {"learning_rate": rate, "dropout": dropout, "n_steps": n}
        for (rate, dropout), ns in _EXACT_STEPS.items()
        for n in ns
    ]


METHODS = (
    Method("Euclidean", euclidean, lambda d: [{}], "nothing is learnt.", seeded=False),
    Method(
        "NCA",
        nca,
        lambda d: every(n_components=[d, d // 2], max_iter=[1, 3, 10, 30]),
        f"scikit-learn; a stratified part of {MOST_POINTS} training points.",
    ),
    Method(
        "LMNN",
        lmnn,
        lambda d: every(n_neighbors=[1, 3], margin=[0.5, 2.0], max_iter=[10, 100]),
        f"metric-learn; a stratified part of {MOST_POINTS} training points; at most 100 steps; started at a multiple "
        "of the identity, so that the margin is 0.5 or 2 times the median squared distance to the nearest other class.",
    ),
    Method(
        "ITML",
        itml,
        lambda d: every(gamma=[0.001, 0.1, 1.0, 10.0], n_constraints=[500, 2000]),
        "metric-learn; 500 or 2000 random pairs of each kind from all training points; at most 20 passes.",
    ),
    Method(
        "LFDA",
        lfda,
        _lfda_grid,
        "metric-learn; all training points. (d orthonormal components are Euclidean.)",
    ),
    Method(
        "ARML",
        arml,
        _arml_grid,
        "all training points are anchors in every epoch; rate and number of epochs chosen. The "
        f"published setting is among them up to {_ARML_MANY} features; an epoch on usps takes a third of a second.",
    ),
    Method(
        "ARML published",
        arml,
        lambda d: [{}],
        "1000 epochs at rate 0.001; nothing is chosen.",
    ),
    Method(
        "RobustMetricLearner",
        robust,
        lambda d: every(tau=[0.5, 0.75, 1.0, 1.5], strength=[0.1, 0.3]),
        f"five rounds, each to a gap of {_ROBUST_GAP:g} on at most {_ROBUST_TRIPLETS} triplets.",
    ),
    Method(
        "ExactRadiusLearner",
        exact,
        _exact_grid,
        "all training points; rate, dropout and number of steps from the grid, not chosen by the learner itself.",
    ),
    Method(
        "control: nearest triplets",
        nearest_triplet,
        _exact_grid,
        '`ExactRadiusLearner(radius="nearest_triplet")`: the same recipe without exact radii in its steps.',
    ),
)


def choose_methods(names: Sequence[str] | None) -> list[Method]:
    """The methods of these names, all of them for None.

    Raises
    ------
    KeyError
        If a name is unknown.
    """
    known = {method.name.lower(): method for method in METHODS}
    return list(METHODS) if names is None else [known[name.lower()] for name in names]
