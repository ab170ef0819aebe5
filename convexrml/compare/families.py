"""Seeded, graded families of programs, each with an optimum that is certified without any of the solvers compared.

An instance is data: a family's name, a size and a seed.  `Family.plan` finds, once, what a solve of it has to know and
what is proved of its optimum; `Family.build` makes the explicit program from that.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

from convexrml.errors import InvalidInputError
from convexrml.exact import exact_radius
from convexrml.formulations import KNearestPerturbation, MaxMinRadius, MinimalPerturbation, RobustHinge
from convexrml.neighbors import NearestNeighbors
from convexrml.norms import Norm
from convexrml.triplets import Triplets

Plan = dict[str, Any]


class Program(Protocol):
    """An explicit program of `convexrml.formulations`."""

    problem: cp.Problem

    def solve(self, solver: str, accuracy: str, **options: object) -> Any:
        """Solve with the named profile."""


@dataclasses.dataclass(frozen=True)
class Instance:
    """The name of one instance.

    Attributes
    ----------
    family : str
    size : int
        Number of training points, or of triplets.
    seed : int
    """

    family: str
    size: int
    seed: int

    def __str__(self) -> str:
        """Return family-size-seed."""
        return f"{self.family}-{self.size}-{self.seed}"


@dataclasses.dataclass(frozen=True)
class Family:
    """One kind of program.

    Attributes
    ----------
    name, about : str
    problem_class : str
        As profiles name it.
    sizes : tuple of int
        The sizes that are run where none are asked for.
    smallest : int
        The size to warm up with.
    plan : callable
        Instance → what solving it needs and, where they are known without solving it, ``"lower"`` and ``"upper"``: the
        interval in which its optimum is proved.
    build : callable
        (instance, plan) → program.
    search : callable or None
        (instance) → (lower, upper, seconds) by the library's own search, where it answers the question.
    direct : bool
        Whether the program can be handed to a QP solver as arrays.
    """

    name: str
    about: str
    problem_class: str
    sizes: tuple[int, ...]
    smallest: int
    plan: Callable[[Instance], Plan]
    build: Callable[[Instance, Mapping[str, Any]], Program | MaxMinRadius]
    search: Callable[[Instance], Callable[[], tuple[float, float]]] | None = None
    direct: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Question:
    """A training set and one query whose label it gets right."""

    model: NearestNeighbors
    z: NDArray[np.float64]
    label: int

    def digest(self) -> str:
        """Eight bytes of a hash of the data: two machines that agree on it compare the same instance."""
        held = hashlib.sha256()
        for array in (self.model.training_points_, self.model.labels_, self.z):
            held.update(np.ascontiguousarray(array).tobytes())
        return held.hexdigest()[:16]


_Draw = Callable[[int], tuple[NDArray[np.float64], NDArray[np.int64]]]


def clusters(rng: np.random.Generator, n_features: int) -> _Draw:
    """A sampler of points with labels 0 and 1: four Gaussian clusters (σ = ½) each, with centres drawn by ¾ N(0, I)."""
    centres = 0.75 * rng.standard_normal((8, n_features))

    def draw(count: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        cluster = np.concatenate([np.arange(8), rng.integers(0, 8, max(0, count - 8))])[:count]
        return centres[cluster] + 0.5 * rng.standard_normal((count, n_features)), cluster % 2

    return draw


def question(instance: Instance, n_neighbors: int, n_features: int) -> Question:
    """A training set of the instance's size, and the first further draw that the classifier labels rightly."""
    draw = clusters(np.random.default_rng([instance.seed, instance.size, n_features, n_neighbors]), n_features)
    X, y = draw(instance.size)
    model = NearestNeighbors(n_neighbors).fit(X, y)
    Z, t = draw(200)
    right = np.flatnonzero(~model.mislabels(Z, t))
    if not len(right):
        raise InvalidInputError(f"{instance}: none of 200 queries is labelled rightly; choose another seed or size")
    return Question(model, Z[right[0]], int(t[right[0]]))


def _norm(instance: Instance) -> float:
    if instance.family == "perturbation-qp":
        return 2
    return math.inf if instance.seed % 2 == 0 else 1


def _perturbation_question(instance: Instance) -> Question:
    return question(instance, 1, max(4, round(math.sqrt(instance.size))))


def _plan_perturbation(instance: Instance) -> Plan:
    """The binding negative's program: its optimum is the radius, which the search proves from both sides."""
    q = _perturbation_question(instance)
    found = exact_radius(q.model, q.z[None], [q.label], norm=_norm(instance), method="search")
    return {
        "negative": int(found.negative[0]),
        "lower": float(found.lower[0]),
        "upper": float(found.upper[0]),
        **_sizes(q),
    }


def _build_perturbation(instance: Instance, plan: Mapping[str, Any]) -> MinimalPerturbation:
    q = _perturbation_question(instance)
    return MinimalPerturbation(q.model, q.z, q.label, negative=plan["negative"], norm=_norm(instance))


def _search_perturbation(instance: Instance) -> Callable[[], tuple[float, float]]:
    return _searching(_perturbation_question(instance), _norm(instance))


def _k_nearest_question(instance: Instance) -> Question:
    return question(instance, 3 if instance.seed % 2 == 0 else 5, max(3, round(math.sqrt(instance.size) / 2)))


def _plan_k_nearest(instance: Instance) -> Plan:
    q = _k_nearest_question(instance)
    found = exact_radius(q.model, q.z[None], [q.label], method="search", time_limit=60)
    return {"lower": float(found.lower[0]), "upper": float(found.upper[0]), **_sizes(q)}


def _build_k_nearest(instance: Instance, plan: Mapping[str, Any]) -> KNearestPerturbation:
    q = _k_nearest_question(instance)
    return KNearestPerturbation(q.model, q.z, q.label)


def _search_k_nearest(instance: Instance) -> Callable[[], tuple[float, float]]:
    return _searching(_k_nearest_question(instance), 2)


def _searching(q: Question, norm: float) -> Callable[[], tuple[float, float]]:
    def search() -> tuple[float, float]:
        found = exact_radius(q.model, q.z[None], [q.label], norm=norm, method="search")
        return float(found.lower[0]), float(found.upper[0])

    return search


def _sizes(q: Question) -> Plan:
    return {
        "n_points": len(q.model.labels_),
        "n_features": q.model.n_features_in_,
        "n_neighbors": q.model.n_neighbors,
        "data": q.digest(),
    }


def triplets(instance: Instance) -> Triplets:
    """As many triplets as the instance's size: random anchors, a random partner of each label."""
    d = max(4, round(1.2 * instance.size**0.4))
    rng = np.random.default_rng([instance.seed, instance.size, d])
    X, y = clusters(rng, d)(max(16, instance.size // 4))
    anchors = rng.integers(0, len(X), instance.size)
    positives, negatives = np.empty_like(anchors), np.empty_like(anchors)
    for place, anchor in enumerate(anchors):
        same = y == y[anchor]
        negatives[place] = rng.choice(np.flatnonzero(~same))
        same[anchor] = False
        positives[place] = rng.choice(np.flatnonzero(same))
    return Triplets.from_indices(X, anchors, positives, negatives)


def _plan_triplets(instance: Instance) -> Plan:
    found = triplets(instance)
    held = hashlib.sha256(found.V.tobytes() + found.S.tobytes())
    return {"n_triplets": len(found), "n_features": found.n_features, "data": held.hexdigest()[:16]}


def _ball(instance: Instance) -> Norm:
    return Norm(2.0 if instance.seed % 2 == 0 else math.inf)


def _build_robust_hinge(instance: Instance, plan: Mapping[str, Any]) -> RobustHinge:
    found, norm = triplets(instance), _ball(instance)
    radii = found.radii(np.eye(found.n_features), norm)
    return RobustHinge(found, tau=float(np.median(radii[radii > 0])) / 2, norm=norm)


def _build_max_min(instance: Instance, plan: Mapping[str, Any]) -> MaxMinRadius:
    """Only triplets that the Euclidean metric gets right, and not narrowly: the optimum is not 0."""
    found, norm = triplets(instance), _ball(instance)
    radii = found.radii(np.eye(found.n_features), norm)
    kept = radii >= np.median(radii[radii > 0])
    return MaxMinRadius(Triplets(found.V[kept], found.S[kept], np.full(kept.sum(), 1 / kept.sum())), norm)


FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        Family(
            name="perturbation-qp",
            about="The least ℓ2 perturbation of a query to its binding negative: dense, one row per positive.",
            problem_class="QP",
            sizes=(30, 100, 300, 1000),
            smallest=30,
            plan=_plan_perturbation,
            build=_build_perturbation,
            search=_search_perturbation,
            direct=True,
        ),
        Family(
            name="perturbation-lp",
            about="The same in ℓ∞ (even seeds) and ℓ1 (odd seeds).",
            problem_class="LP",
            sizes=(30, 100, 300, 1000),
            smallest=30,
            plan=_plan_perturbation,
            build=_build_perturbation,
            search=_search_perturbation,
        ),
        Family(
            name="knn-miqp",
            about="The least ℓ2 perturbation by which 3 (even seeds) or 5 (odd seeds) neighbours change their vote.",
            problem_class="MIQP",
            sizes=(20, 40, 80),
            smallest=20,
            plan=_plan_k_nearest,
            build=_build_k_nearest,
            search=_search_k_nearest,
        ),
        Family(
            name="robust-hinge",
            about="The metric with the least robust hinge of n triplets: ℓ2 (even seeds, SDP with second-order cones) "
            "or ℓ∞ (odd seeds, SDP with linear ones), trace fixed, τ half the median radius.",
            problem_class="SDP",
            sizes=(20, 60, 200),
            smallest=20,
            plan=_plan_triplets,
            build=_build_robust_hinge,
        ),
        Family(
            name="max-min",
            about="The metric with the largest least radius of about n/4 to n/2 triplets in ℓ2 (even seeds) or ℓ∞ (odd "
            "seeds): bisection over SDPs until the proved bounds are within half the accuracy's gap.",
            problem_class="SDP",
            sizes=(20, 60),
            smallest=20,
            plan=_plan_triplets,
            build=_build_max_min,
        ),
    )
}


def held(program: object) -> dict[str, NDArray[Any]]:
    """The data behind a program: training points X, y and a query z with its label, or triplets V, S, weights."""
    if isinstance(program, MinimalPerturbation | KNearestPerturbation):
        model = program.model
        labels = model.classes_
        return {
            "X": model.training_points_,
            "y": labels[model.labels_],
            "z": program.z,
            "label": labels[program.label],
        }
    assert isinstance(program, RobustHinge)
    return {"V": program.triplets.V, "S": program.triplets.S, "weights": program.triplets.weights}


def get_family(name: str) -> Family:
    """The family of this name.

    Raises
    ------
    InvalidInputError
        If there is none.
    """
    if name not in FAMILIES:
        raise InvalidInputError(f"family: unknown name {name!r} (there are: {', '.join(FAMILIES)})")
    return FAMILIES[name]
