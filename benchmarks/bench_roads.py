"""The roads to a radius that are timed on a data set."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from bench_data import Sample
from bench_paper import paper_radii
from bench_timing import Timing, time_slow, time_together
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsClassifier

import convexrml
from convexrml.results import ExactRadii

BRUTE = "brute-force 1-NN prediction (scikit-learn)"
SEARCH = "exact radius"
BOX = "exact radius, box [0, 1]"
METRIC = "exact radius, Mahalanobis metric"
_UNIT_BOX = (0.0, 1.0)


@dataclasses.dataclass(frozen=True)
class Plan:
    """How much of everything is measured."""

    points: int = 1000
    program_points: int = 20
    lp_points: int = 50
    paper_points: int = 10
    repeats: int = 5
    threads: int = 1
    sizes: tuple[int, ...] = (1000, 3000, 10_000, 30_000, 100_000, 200_000)
    dimensions: tuple[int, ...] = (16, 64)
    growth_points: int = 200
    least_seconds: float = 0.05


QUICK = Plan(
    points=40, program_points=2, lp_points=3, paper_points=2, repeats=2, sizes=(200, 400, 800), growth_points=20,
    least_seconds=0.0,
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class SetResult:
    """Timings on one data set; `slow` ones come with the search on the very same points."""

    name: str
    shape: str
    timings: dict[str, Timing]
    slow: dict[str, Timing]
    same_points: dict[str, Timing]
    facts: dict[str, float]
    notes: tuple[str, ...] = ()


def fitted(sample: Sample, n_neighbors: int = 1, metric: object = None) -> convexrml.NearestNeighbors:
    return convexrml.NearestNeighbors(n_neighbors, metric).fit(sample.X, sample.y)


def brute_force(sample: Sample, threads: int) -> Callable[[], object]:
    classifier = KNeighborsClassifier(1, algorithm="brute", n_jobs=threads).fit(sample.X, sample.y)
    return lambda: classifier.predict(sample.Z)


def search(sample: Sample, threads: int, **options: object) -> Callable[[], ExactRadii]:
    model = fitted(sample, metric=options.pop("metric", None))
    return lambda: convexrml.exact_radius(model, sample.Z, sample.t, method="search", n_jobs=threads, **options)


def correctly_labelled(sample: Sample) -> Sample:
    """Only the test points whose radius is not 0: the others cost a solver nothing."""
    right = fitted(sample).predict(sample.Z) == sample.t
    return dataclasses.replace(sample, Z=sample.Z[right], t=sample.t[right])


def ridge_whitening(sample: Sample) -> NDArray[np.float64]:
    """A dense metric of full rank: the inverse of the covariance matrix plus a tenth of its mean eigenvalue."""
    covariance = np.cov(sample.X, rowvar=False)
    d = len(covariance)
    return np.linalg.inv(covariance + 0.1 * np.trace(covariance) / d * np.eye(d))


def fast_roads(sample: Sample, threads: int) -> dict[str, Callable[[], object]]:
    one, eleven = fitted(sample), fitted(sample, 11)
    Z, t = sample.Z, sample.t
    return {
        BRUTE: brute_force(sample, threads),
        SEARCH: search(sample, threads),
        BOX: search(sample, threads, box=_UNIT_BOX),
        METRIC: search(sample, threads, metric=ridge_whitening(sample)),
        "certified radius, k = 1": lambda: convexrml.certified_radius(one, Z, t),
        "certified radius, k = 11": lambda: convexrml.certified_radius(eleven, Z, t),
        "attack radius": lambda: convexrml.attack_radius(one, Z, t),
    }


def measure_set(
    sample: Sample, plan: Plan, paper: Path | None = None, step: Callable[[str], object] = lambda what: None
) -> SetResult:
    """Time every road on one data set."""
    some = sample.head(plan.points)
    step(f"{sample.name}: fast roads")
    timings = time_together(fast_roads(some, plan.threads), len(some.Z), plan.repeats, least_seconds=plan.least_seconds)
    found = search(some, plan.threads)()
    facts = {
        "mean programs per point": float(found.solves.mean()),
        "most programs for a point": float(found.solves.max()),
        "intervals left open": float(np.isnan(found.radius).sum()),
        "mean radius": float(np.mean(found.radius[np.isfinite(found.radius)])),
    }
    result = SetResult(sample.name, sample.shape, timings, {}, {}, facts)
    right = correctly_labelled(sample)
    few = right.head(plan.lp_points)
    for norm in (1, math.inf):
        step(f"{sample.name}: norm {norm}")
        convexrml.exact_radius(*_tiny(), norm=norm)  # loads HiGHS
        call = search(few, plan.threads, norm=norm)
        _add(result, f"exact radius, norm {norm}", call, few, plan)
    _measure_programs(result, right.head(plan.program_points), plan, step)
    if paper is None:
        return result
    step(f"{sample.name}: the paper's code")
    return _with_paper(result, right.head(plan.paper_points), plan, paper)


def _add(result: SetResult, name: str, call: Callable[[], object], few: Sample, plan: Plan) -> None:
    """Time a slow road, and the search (norm 2) on its points right after it."""
    result.slow[name] = time_slow(name, call, len(few.Z), plan.repeats)
    same = {SEARCH: search(few, plan.threads)}
    result.same_points[name] = time_together(same, len(few.Z), plan.repeats, least_seconds=plan.least_seconds)[SEARCH]


def _measure_programs(result: SetResult, few: Sample, plan: Plan, step: Callable[[str], object]) -> None:
    model = fitted(few)
    exact = search(few, plan.threads)()
    for solver in ("clarabel", "daqp"):
        step(f"{few.name}: cvxpy, {solver}")
        # the first program of a process also loads cvxpy and the solver
        convexrml.exact_radius(*_tiny(), method="program", solver=solver)
        found: list[ExactRadii] = []

        def by_program(solver: str = solver, found: list[ExactRadii] = found) -> None:
            found.append(convexrml.exact_radius(model, few.Z, few.t, method="program", solver=solver))

        _add(result, f"cvxpy, {solver}", by_program, few, plan)
        result.facts[f"cvxpy, {solver}: worst relative difference"] = _difference(found[0].radius, exact.radius)
    bound = np.flatnonzero(exact.negative >= 0)
    if len(bound) == 0:
        return
    programs = [binding_program(model, few, exact, int(a)) for a in bound]
    truth = exact.radius[bound]
    for solver, solve in (("clarabel", clarabel_call), ("daqp", daqp_call)):
        step(f"{few.name}: {solver} alone")
        calls = [solve(A, b) for A, b in programs]
        name = f"{solver} alone, binding negative"
        asked = dataclasses.replace(few, Z=few.Z[bound], t=few.t[bound])
        _add(result, name, lambda calls=calls: [call() for call in calls], asked, plan)
        norms = np.array([np.linalg.norm(call()) for call in calls])
        result.facts[f"{name}: worst relative difference"] = _difference(norms, truth)


def _tiny() -> tuple[convexrml.NearestNeighbors, list[list[float]], list[int]]:
    model = convexrml.NearestNeighbors().fit([[0.0, 0.0], [4.0, 0.0]], [0, 1])
    return model, [[1.0, 0.0]], [0]


def _difference(found: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Worst relative difference, leaving out radii that are ties up to rounding (below 1e-9 of the largest)."""
    positive = truth > 1e-9 * truth.max(initial=0.0)
    return float(np.max(np.abs(found - truth)[positive] / truth[positive], initial=0.0))


def binding_program(
    model: convexrml.NearestNeighbors, sample: Sample, exact: ExactRadii, query: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``A δ ≤ b`` of the QP ``min ½‖δ‖²`` against the negative that decides a query: a row for every positive."""
    j = exact.negative[query]
    positives = np.flatnonzero(model.labels_ == sample.t[query])
    scores = model.scores(sample.Z[query : query + 1])[0]
    A = np.ascontiguousarray(model.sites_[positives] - model.sites_[j])
    return A, (scores[positives] - scores[j]) / 2


def daqp_call(A: NDArray[np.float64], b: NDArray[np.float64]) -> Callable[[], NDArray[np.float64]]:
    import daqp

    H, f, lower = np.eye(A.shape[1]), np.zeros(A.shape[1]), np.full(len(b), -1e30)
    sense = np.zeros(len(b), dtype=np.int32)
    return lambda: np.asarray(daqp.solve(H, f, A, b.copy(), lower.copy(), sense.copy(), primal_tol=1e-10)[0])


def clarabel_call(A: NDArray[np.float64], b: NDArray[np.float64]) -> Callable[[], NDArray[np.float64]]:
    import clarabel

    P, q, columns = sp.eye(A.shape[1], format="csc"), np.zeros(A.shape[1]), sp.csc_matrix(A)
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-10
    cones = [clarabel.NonnegativeConeT(len(b))]
    return lambda: np.asarray(clarabel.DefaultSolver(P, q, columns, b, cones, settings).solve().x)


def _with_paper(result: SetResult, few: Sample, plan: Plan, paper: Path) -> SetResult:
    name = "the paper's published code (float32)"
    found: list[NDArray[np.float64]] = []
    try:
        call = paper_radii(few, paper, plan.threads)
        _add(result, name, lambda: found.append(call()), few, plan)
    except ImportError as error:
        return dataclasses.replace(result, notes=(f"The paper's code was not timed: {error}.",))
    result.facts[f"{name}: worst relative difference"] = _difference(found[0], search(few, plan.threads)().radius)
    return result
