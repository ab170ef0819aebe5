"""Exact 1-NN radii at scale: batches for the numba search (ℓ2) or the lazy linear programs (ℓ1, ℓ∞), in parallel."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray

from convexrml.bounds import certified_radius
from convexrml.errors import SearchInterrupted
from convexrml.findings import Finding, Limits
from convexrml.grouped import GroupedSites, grouped_sites
from convexrml.k_nearest import KNearestSearch
from convexrml.kernels import search as kernel
from convexrml.metric import MahalanobisMetric
from convexrml.neighbors import NearestNeighbors
from convexrml.norms import Box, Norm
from convexrml.parallel import results
from convexrml.queries import Queries, each_query, prepared
from convexrml.results import ExactRadii, RadiusStatus, joined, no_evidence, selected
from convexrml.settling import settled, settled_votes
from convexrml.visits import ROUNDING_WIDTH, boundary_rounding, status_of
from convexrml.votes import Vote
from convexrml.witness import witnessed_norms

_QUERIES_PER_TASK = 512
_SEARCHES_PER_TASK = 16  # of the branch and bound: what an interruption may lose
_TASKS_PER_WORKER = 8
_L2 = Norm(2.0)
_OUTCOMES = {kernel.MISLABELLED: RadiusStatus.MISCLASSIFIED, kernel.NO_NEGATIVE: RadiusStatus.UNREACHABLE}


def exact_radius_by_search(
    model: NearestNeighbors,
    Z: NDArray[np.float64],
    y: NDArray[np.int64],
    norm: Norm,
    box: Box | None,
    vote: Vote,
    limits: Limits,
    n_jobs: int | None,
    progress: Callable[[int], object] | None,
) -> ExactRadii:
    """Exact radii, the arguments checked already; `y` are encoded labels.  See `exact_radius`.

    Queries are split into tasks for joblib: see `convexrml.parallel`.
    """
    by_label = np.argsort(y, kind="stable")  # programs of one label share their preparation
    one = model.n_neighbors == 1
    most = _QUERIES_PER_TASK if one else _SEARCHES_PER_TASK
    size = max(1, min(most, math.ceil(len(Z) / (_TASKS_PER_WORKER * joblib.effective_n_jobs(n_jobs)))))
    batches = [by_label[start : start + size] for start in range(0, len(Z), size)]
    shared: GroupedSites | NearestNeighbors = model
    if norm.order == 2:
        shared = data = grouped_sites(model)
        queries = [prepared(model, data, Z[at], y[at], box) for at in batches]
        if one:
            tasks = [joblib.delayed(_search)(data, batch) for batch in queries]
        else:
            question = _Question(model.metric_, model.n_neighbors, vote, limits)
            tasks = [joblib.delayed(_branch_and_bound)(data, batch, question) for batch in queries]
    else:
        tasks = [joblib.delayed(_solve)(model, _Batch(at, Z[at], y[at], norm, box)) for at in batches]
    parts: list[ExactRadii] = []
    known: list[NDArray[Any]] = []
    back = np.argsort(by_label)
    try:
        for part, more in results(tasks, n_jobs, shared):
            parts.append(part)
            known.append(more)
            if progress is not None:
                progress(len(part))
    except KeyboardInterrupt as stop:
        done = sum(map(len, parts))
        parts.append(_unfinished(len(Z) - done, model, norm, box, vote))
        known.append(np.full(len(Z) - done, False if one else None))
        stopped = _settled(selected(joined(parts), back), np.concatenate(known)[back], model, Z, y)
        raise SearchInterrupted(stopped) from stop
    found = _with_closed_form(selected(joined(parts), back), model, Z, y)
    if norm.order == 2 and one:
        found = _with_open_boxes_decided(found, model, Z, y)
    return _settled(found, np.concatenate(known)[back], model, Z, y)


def _settled(
    found: ExactRadii,
    known: NDArray[Any],
    model: NearestNeighbors,
    Z: NDArray[np.float64],
    y: NDArray[np.int64],
) -> ExactRadii:
    """The record with every upper bound witnessed in exact arithmetic: linear programs see to that themselves.

    What else is known of each query: whether its witness is sure (k = 1), or the search's finding.
    """
    if found.n_neighbors > 1:
        return settled_votes(found, model, Z, y, known)
    return settled(found, ~known, model, Z, y) if found.norm.order == 2 else found


def _with_closed_form(
    found: ExactRadii, model: NearestNeighbors, Z: NDArray[np.float64], y: NDArray[np.int64]
) -> ExactRadii:
    """Where memory did not suffice for anything else, the certified radius is the lower bound."""
    bare = np.array([s is RadiusStatus.MEMORY_LIMIT for s in found.status]) & (found.lower == 0)
    if not bare.any():
        return found
    lower = found.lower.copy()
    lower[bare] = certified_radius(model, Z[bare], model.classes_[y[bare]], norm=found.norm).lower
    return dataclasses.replace(found, lower=np.minimum(lower, found.upper))


def _unfinished(n: int, model: NearestNeighbors, norm: Norm, box: Box | None, vote: Vote) -> ExactRadii:
    """The record of n queries that were not reached."""
    return ExactRadii(
        lower=np.zeros(n),
        upper=np.full(n, np.inf),
        perturbation=np.full((n, model.n_features_in_), np.nan),
        status=np.array([RadiusStatus.INTERRUPTED] * n, dtype=object),
        **no_evidence(n),
        solves=np.zeros(n, dtype=np.int64),
        tolerance=ROUNDING_WIDTH,
        solver="search",
        norm=norm,
        box=box,
        n_neighbors=model.n_neighbors,
        vote=vote,
    )


def _with_open_boxes_decided(
    found: ExactRadii, model: NearestNeighbors, Z: NDArray[np.float64], y: NDArray[np.int64]
) -> ExactRadii:
    """Settle queries that met no adversarial point in a box with open sides.

    There the active-set method ends with bounds beyond all bounds, which is not a proof; whether a point exists at all
    does not depend on the norm, and the linear programs prove it.
    """
    open_ended = np.array([not s.closed for s in found.status]) & np.isinf(found.upper)
    if found.box is None or not open_ended.any():
        return found
    at = np.flatnonzero(open_ended)
    decided = np.isinf(_solve(model, _Batch(at, Z[at], y[at], Norm(math.inf), found.box))[0].lower)
    lower, status = found.lower.copy(), found.status.copy()
    lower[at[decided]], status[at[decided]] = np.inf, RadiusStatus.UNREACHABLE
    return dataclasses.replace(found, lower=lower, status=status)


@dataclasses.dataclass(frozen=True, eq=False)
class _Batch:
    """A batch of queries in one object, so that a cluster's backend sends it along with its task."""

    numbers: NDArray[np.int64]
    Z: NDArray[np.float64]
    label: NDArray[np.int64]
    norm: Norm
    box: Box | None


def _solve(model: NearestNeighbors, batch: _Batch) -> tuple[ExactRadii, NDArray[np.bool_]]:
    """One task of linear programs; all its witnesses are sure."""
    from convexrml.lazy_lp import exact_radius_by_lazy_lp  # HiGHS is loaded only where it is used

    found = exact_radius_by_lazy_lp(model, batch.Z, batch.label, batch.norm, batch.box, numbers=batch.numbers)
    return found, np.ones(len(found), dtype=bool)


@dataclasses.dataclass(frozen=True, eq=False)
class _Question:
    """What is asked of every query."""

    metric: MahalanobisMetric
    n_neighbors: int
    vote: Vote
    limits: Limits


def _branch_and_bound(
    data: GroupedSites, queries: Queries, question: _Question
) -> tuple[ExactRadii, NDArray[np.object_]]:
    """One task of the branch and bound: a record, and each query's finding."""
    search = KNearestSearch(data, question.metric, question.n_neighbors, question.vote, queries.box)
    found = [search.search(query, question.limits) for query in each_query(data, queries)]
    return record_of(found, search), np.array(found, dtype=object)


def record_of(found: Sequence[Finding], search: KNearestSearch) -> ExactRadii:
    """The record of a search's findings, their witnesses not settled yet."""
    return ExactRadii(
        lower=np.array([one.lower for one in found]),
        upper=np.array([one.upper for one in found]),
        perturbation=np.array([one.step for one in found]),
        status=np.array([one.status for one in found], dtype=object),
        **no_evidence(len(found)),
        solves=np.array([one.nodes for one in found], dtype=np.int64),
        tolerance=ROUNDING_WIDTH,
        solver="search",
        norm=_L2,
        box=search.box,
        n_neighbors=search.k,
        vote=search.vote,
    )


def _search(data: GroupedSites, queries: Queries) -> tuple[ExactRadii, NDArray[np.bool_]]:
    """One task: the kernel on a batch of queries, what it found as a record, and which of the witnesses are sure."""
    n, d = queries.Z.shape
    box_lower = np.full(d, -np.inf) if queries.box is None else queries.box.lower
    box_upper = np.full(d, np.inf) if queries.box is None else queries.box.upper
    outside = np.zeros(len(data.points), dtype=bool) if queries.box is None else ~queries.box.contains(data.points)
    lower, value = np.empty(n), np.empty(n)
    steps, witnesses = np.full((n, d), np.nan), np.full((n, d), np.nan)
    negative, support_size, programs = (np.empty(n, dtype=np.int64) for _ in range(3))
    sure = np.empty(n, dtype=np.bool_)
    support, multipliers = np.empty((n, d + 1), dtype=np.int64), np.empty((n, d + 1))
    outcome = kernel.exact_radii(
        data.sites, data.columns, data.offsets, data.squares, data.rounding.lengths, data.points, data.class_start,
        data.shift, data.euclidean, queries.Z, queries.centred, queries.images, queries.label, box_lower, box_upper,
        queries.box is not None, outside, data.rounding.rules, queries.spread_rounding,
        lower, value, steps, witnesses, sure, negative, support, multipliers, support_size, programs,
    )  # fmt: skip
    witnesses[outcome == kernel.MISLABELLED] = 0.0
    upper = np.nan_to_num(witnessed_norms(queries.Z, witnesses, _L2), nan=np.inf, posinf=np.inf)
    if queries.box is not None:
        beyond = lower > _L2.of(np.maximum(queries.box.upper - queries.Z, queries.Z - queries.box.lower)) * (1 + 1e-9)
        lower[beyond & (outcome == kernel.UNREACHED)] = np.inf
    supports = [s[:size] for s, size in zip(support, support_size, strict=True)]
    status = np.empty(n, dtype=object)
    for a, out in enumerate(outcome):
        blur = 0.0
        if math.isfinite(upper[a]) and upper[a] - lower[a] > ROUNDING_WIDTH * upper[a]:  # rare: near 0 it may be all
            z_length = float(np.linalg.norm(queries.centred[a]))
            blur = boundary_rounding(data.sites, data.rounding, z_length, int(negative[a]), supports[a], _L2)
        status[a] = _OUTCOMES.get(int(out)) or status_of(lower[a], upper[a], ROUNDING_WIDTH, blur)
    weights = [m[: len(s)] / (m[: len(s)].sum() or 1.0) for m, s in zip(multipliers, supports, strict=True)]
    found = ExactRadii(
        lower=lower,
        upper=upper,
        perturbation=witnesses,
        status=status,
        negative=np.where(negative >= 0, data.order[negative], -1),
        positives=tuple(data.order[s] for s in supports),
        multipliers=tuple(weights),
        solves=programs,
        tolerance=ROUNDING_WIDTH,
        solver="search",
        norm=_L2,
        box=queries.box,
    )
    return found, sure
