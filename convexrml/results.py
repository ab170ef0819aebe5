"""What a road to a radius returns: frozen records, one entry per query."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convexrml.norms import Box, Norm


class RadiusStatus(enum.Enum):
    """What is known of one query's radius."""

    EXACT = "the lower bound and the witnessed upper bound meet within the tolerance"
    MISCLASSIFIED = "the query is mislabelled as it stands, so its radius is 0"
    UNREACHABLE = "no admissible perturbation changes the prediction, so the radius is infinite"
    INTERVAL = "the radius lies between the lower and the upper bound; the solver left a gap"


@dataclasses.dataclass(frozen=True, eq=False)
class CertifiedRadii:
    """Certified radii: lower bounds on the minimal adversarial perturbation, in closed form.

    Attributes
    ----------
    lower : (n,) array
        The bounds, in the units of the input features; 0 where nothing is certified, inf with one class.
    positive, negative : (n,) integer arrays
        Indices of the deciding triplet: ``lower`` is the distance to the half-space in which the training point
        `negative` is no farther than the training point `positive`.  -1 where there is none.
    norm : Norm
    n_neighbors : int
    """

    lower: NDArray[np.float64]
    positive: NDArray[np.int64]
    negative: NDArray[np.int64]
    norm: Norm
    n_neighbors: int

    def __len__(self) -> int:
        """Return the number of queries."""
        return len(self.lower)


@dataclasses.dataclass(frozen=True, eq=False)
class AttackRadii:
    """Attack radii: upper bounds on the minimal adversarial perturbation, each with a witness.

    Attributes
    ----------
    upper : (n,) array
        Norm of the perturbation found, rounded up; inf where none was found.
    perturbation : (n, d) array
        δ such that the classifier mislabels ``z + δ`` (NaN where none was found).
    norm : Norm
    """

    upper: NDArray[np.float64]
    perturbation: NDArray[np.float64]
    norm: Norm

    def __len__(self) -> int:
        """Return the number of queries."""
        return len(self.upper)


@dataclasses.dataclass(frozen=True, eq=False)
class ExactRadii:
    """Exact radii: for each query an interval, proved from both sides.

    Attributes
    ----------
    lower : (n,) array
        Lower bound from multipliers by weak duality, evaluated here, rounding subtracted.
    upper : (n,) array
        Norm of `perturbation`, rounded up; inf where there is no witness.
    radius : (n,) array
        The midpoint of the interval where it is closed (status EXACT, MISCLASSIFIED, UNREACHABLE); NaN elsewhere.
    perturbation : (n, d) array
        δ such that the classifier mislabels ``z + δ``, ties counting against the label; NaN where none was found.
    status : (n,) object array of RadiusStatus
    negative : (n,) integer array
        The training point that the witness runs into (-1: none).
    positives, multipliers : tuples of n arrays
        Training points of the query's label, and their multipliers (summing to 1, box sides apart): the evidence for
        the lower bound against `negative`.
    solves : (n,) integer array
        Programs solved for the query.
    tolerance : float
        Relative width up to which an interval counts as EXACT: the solver profile's.
    solver : str
    norm : Norm
    box : Box or None
    notes : tuple of str
        What went wrong with a solve, one sentence each.
    """

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    perturbation: NDArray[np.float64]
    status: NDArray[Any]
    negative: NDArray[np.int64]
    positives: tuple[NDArray[np.int64], ...]
    multipliers: tuple[NDArray[np.float64], ...]
    solves: NDArray[np.int64]
    tolerance: float
    solver: str
    norm: Norm
    box: Box | None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of queries."""
        return len(self.lower)

    @property
    def radius(self) -> NDArray[np.float64]:
        """The radius where it is known, NaN where only an interval is."""
        known = np.array([status is not RadiusStatus.INTERVAL for status in self.status], dtype=bool)
        unreachable = np.isinf(self.lower)
        middle = np.where(unreachable, np.inf, self.lower + (np.where(unreachable, 0, self.upper) - self.lower) / 2)
        return np.where(known, middle, np.nan)
