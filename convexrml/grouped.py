"""A training set as the searches read it: grouped by label, by rows and by columns."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from convexrml.neighbors import NearestNeighbors
from convexrml.norms import Norm
from convexrml.rounding import Rounding

_L2 = Norm(2.0)


@dataclasses.dataclass(frozen=True, eq=False)
class GroupedSites:
    """A training set as the search kernels read it: grouped by label, by rows and by columns.

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
