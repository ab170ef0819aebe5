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
from convexrml.formulations import KNearestPerturbation, MinimalPerturbation
from convexrml.neighbors import NearestNeighbors

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
        Number of training points.
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
        Instance → what solving it needs, and ``"lower"``, ``"upper"``: the interval in which its optimum is proved.
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
    build: Callable[[Instance, Mapping[str, Any]], Program]
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


def question(instance: Instance, n_neighbors: int, n_features: int) -> Question:
    """Two classes, four Gaussian clusters each with centres of length 1.5·√d / 2; the query is a further draw.

    Parameters
    ----------
    instance : Instance
        Its size is the number of training points; the seed and the size alone determine the data.
    n_neighbors, n_features : int
    """
    n, d = instance.size, n_features
    rng = np.random.default_rng([instance.seed, n, d, n_neighbors])
    centres = 0.75 * rng.standard_normal((8, d))

    def draw(count: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        cluster = np.concatenate([np.arange(8), rng.integers(0, 8, max(0, count - 8))])[:count]
        return centres[cluster] + 0.5 * rng.standard_normal((count, d)), cluster % 2

    X, y = draw(n)
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


FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        Family(
            name="perturbation-qp",
            about="The least ℓ2 perturbation of a query to its binding negative: dense, one row per positive.",
            problem_class="QP",
            sizes=(30, 100, 300, 1000, 3000),
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
            sizes=(30, 100, 300, 1000, 3000),
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
    )
}


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
