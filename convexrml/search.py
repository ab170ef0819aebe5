"""Exact 1-NN radii at scale: batches for the numba search (ℓ2) or the lazy linear programs (ℓ1, ℓ∞), in parallel."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray

from convexrml.kernels import search as kernel
from convexrml.neighbors import NearestNeighbors
from convexrml.norms import Box, Norm
from convexrml.results import ExactRadii, RadiusStatus, joined, selected
from convexrml.rounding import Rounding
from convexrml.settling import settled
from convexrml.visits import ROUNDING_WIDTH, boundary_rounding, status_of
from convexrml.witness import witnessed_norms

_QUERIES_PER_TASK = 512
_TASKS_PER_WORKER = 8
_ATTEMPTS = 3
_L2 = Norm(2.0)
_OUTCOMES = {kernel.MISLABELLED: RadiusStatus.MISCLASSIFIED, kernel.NO_NEGATIVE: RadiusStatus.UNREACHABLE}


@dataclasses.dataclass(frozen=True, eq=False)
class GroupedSites:
    """A training set as the search kernel reads it: grouped by label, by rows and by columns.

    Attributes
    ----------
    order : (N,) integer array
        Index in the training set of each row here.
    sites : (N, d) array
    columns : (d, N) array
        The same, transposed.
    offsets, squares : (N,) arrays
        Offsets, and ``‖u_i‖²``.
    rounding : Rounding
        In ℓ2, its lengths in this order.
    points : (N, d) array
        Training points.
    class_start : (n_classes + 1,) integer array
    shift : (d,) array
    euclidean : bool
    """

    order: NDArray[np.int64]
    sites: NDArray[np.float64]
    columns: NDArray[np.float64]
    offsets: NDArray[np.float64]
    squares: NDArray[np.float64]
    rounding: Rounding
    points: NDArray[np.float64]
    class_start: NDArray[np.int64]
    shift: NDArray[np.float64]
    euclidean: bool

    def __sizeof__(self) -> int:
        """Bytes held, so that a cluster's backend sees that this is worth sending to a worker only once."""
        arrays = (getattr(self, field.name) for field in dataclasses.fields(self))
        return sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))


def grouped_sites(model: NearestNeighbors) -> GroupedSites:
    """Group a fitted model's training set by label."""
    order = np.argsort(model.labels_, kind="stable")
    sites = np.ascontiguousarray(model.sites_[order])
    rounding = model.rounding(_L2)
    return GroupedSites(
        order=order,
        sites=sites,
        columns=np.ascontiguousarray(sites.T),
        offsets=model.offsets_[order],
        squares=model.site_squares[order],
        rounding=dataclasses.replace(rounding, lengths=rounding.lengths[order]),
        points=np.ascontiguousarray(model.training_points_[order]),
        class_start=np.concatenate([[0], np.cumsum(np.bincount(model.labels_, minlength=len(model.classes_)))]),
        shift=model.shift_,
        euclidean=model.metric_.is_euclidean,
    )


def exact_radius_by_search(
    model: NearestNeighbors,
    Z: NDArray[np.float64],
    y: NDArray[np.int64],
    norm: Norm,
    box: Box | None,
    n_jobs: int | None,
    progress: Callable[[int], object] | None,
) -> ExactRadii:
    """Exact radii of 1-NN, the arguments checked already; `y` are encoded labels.  See `exact_radius`.

    Queries are split into tasks for joblib.  Kernels and HiGHS release Python's lock, so threads are preferred;
    whatever ``joblib.parallel_config`` asks for comes first.
    """
    by_label = np.argsort(y, kind="stable")  # programs of one label share their preparation
    size = max(1, min(_QUERIES_PER_TASK, math.ceil(len(Z) / (_TASKS_PER_WORKER * joblib.effective_n_jobs(n_jobs)))))
    batches = [by_label[start : start + size] for start in range(0, len(Z), size)]
    if norm.order == 2:
        data = grouped_sites(model)
        tasks = [joblib.delayed(_search)(data, _prepared(model, data, Z[at], y[at], box)) for at in batches]
    else:
        tasks = [joblib.delayed(_solve)(model, _Batch(at, Z[at], y[at], norm, box)) for at in batches]
    parts, sure = [], []
    for part, certain in _results(tasks, n_jobs):
        parts.append(part)
        sure.append(certain)
        if progress is not None:
            progress(len(part))
    back = np.argsort(by_label)
    found, doubtful = selected(joined(parts), back), ~np.concatenate(sure)[back]
    if norm.order != 2:
        return found
    return settled(_with_open_boxes_decided(found, model, Z, y), doubtful, model, Z, y)


def _results(tasks: list[Any], n_jobs: int | None) -> Iterator[tuple[ExactRadii, NDArray[np.bool_]]]:
    """Results in the order of the tasks; tasks lost with a worker of a cluster are handed out again, with a warning."""
    left = list(tasks)
    for attempt in range(_ATTEMPTS):
        run = joblib.Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator")
        try:
            for part in run(list(left)):
                left.pop(0)
                yield part
            return
        except (concurrent.futures.CancelledError, concurrent.futures.BrokenExecutor) as error:
            if attempt == _ATTEMPTS - 1:
                raise
            warnings.warn(f"{len(left)} tasks were lost ({error!r}); handing them out again", stacklevel=2)


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
class _Queries:
    """A batch of queries with all that the kernel wants to know of them."""

    Z: NDArray[np.float64]
    label: NDArray[np.int64]
    centred: NDArray[np.float64]
    images: NDArray[np.float64]
    spread_rounding: NDArray[np.float64]
    box: Box | None


def _prepared(
    model: NearestNeighbors, data: GroupedSites, Z: NDArray[np.float64], label: NDArray[np.int64], box: Box | None
) -> _Queries:
    centred = Z - model.shift_
    images, spread_rounding = model.images(Z)
    return _Queries(Z, label, centred, images, spread_rounding, box)


def _search(data: GroupedSites, queries: _Queries) -> tuple[ExactRadii, NDArray[np.bool_]]:
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
