"""Queries as the searches read them: batches with all that the kernels want to know, and one by one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from convexrml.grouped import GroupedSites
from convexrml.kernels.scores import scores_into
from convexrml.neighbors import NearestNeighbors
from convexrml.norms import Box


@dataclasses.dataclass(frozen=True, eq=False)
class Queries:
    """A batch of queries with all that the kernel wants to know of them."""

    Z: NDArray[np.float64]
    label: NDArray[np.int64]
    centred: NDArray[np.float64]
    images: NDArray[np.float64]
    spread_rounding: NDArray[np.float64]
    box: Box | None


def prepared(
    model: NearestNeighbors, data: GroupedSites, Z: NDArray[np.float64], label: NDArray[np.int64], box: Box | None
) -> Queries:
    """A batch of queries with their labels encoded."""
    centred = Z - model.shift_
    images, spread_rounding = model.images(Z)
    return Queries(Z, label, centred, images, spread_rounding, box)


@dataclasses.dataclass(frozen=True, eq=False)
class Query:
    """One query as the search reads it.

    Attributes
    ----------
    z, centred, image : (d,) arrays
        The query, ``z − m`` and ``M (z − m)``.
    row, squared : (N,) arrays
        Scores, and ``‖u_i − Mz‖²`` less `offset`.
    offset : float
    label : int
    box_lower, box_upper : (d,) arrays
        Infinite where there is no side.
    """

    z: NDArray[np.float64]
    centred: NDArray[np.float64]
    image: NDArray[np.float64]
    row: NDArray[np.float64]
    squared: NDArray[np.float64]
    offset: float
    label: int
    box_lower: NDArray[np.float64]
    box_upper: NDArray[np.float64]


def each_query(data: GroupedSites, queries: Queries) -> Iterator[Query]:
    """Read the queries of a batch one by one, with their scores."""
    (n, d), N = queries.Z.shape, len(data.sites)
    rows, squared = np.empty((n, N)), np.empty((n, N))
    scores_into(data.columns, data.offsets, queries.centred, rows)
    if not data.euclidean:
        scores_into(data.columns, data.squares, queries.images, squared)
    box_lower = np.full(d, -np.inf) if queries.box is None else queries.box.lower
    box_upper = np.full(d, np.inf) if queries.box is None else queries.box.upper
    for a in range(n):
        yield Query(
            z=queries.Z[a], centred=queries.centred[a], image=queries.images[a], row=rows[a],
            squared=rows[a] if data.euclidean else squared[a],
            offset=float(queries.images[a] @ queries.images[a] + queries.spread_rounding[a]),
            label=int(queries.label[a]), box_lower=box_lower, box_upper=box_upper,
        )  # fmt: skip
