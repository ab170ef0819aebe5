"""What a road to a radius returns: frozen records, one entry per query."""

from __future__ import annotations

import collections
import dataclasses
import enum
from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexrml.certificate import Certificate
from convexrml.norms import Box, Norm
from convexrml.validation import float_array
from convexrml.votes import Vote


class RadiusStatus(enum.Enum):
    """What is known of one query's radius."""

    EXACT = "the lower bound and the witnessed upper bound meet within the tolerance"
    MISCLASSIFIED = "the query's label loses the vote as it stands, so its radius is 0"
    UNREACHABLE = "no admissible perturbation changes the prediction, so the radius is infinite"
    CLAIMED = "a mixed-integer solver claims the optimum; the upper bound has its witness, the lower bound is its word"
    INTERVAL = "the radius lies between the lower and the upper bound; rounding or a solver left a gap"
    TIME_LIMIT = "the time limit was met; the radius lies between the lower and the upper bound"
    NODE_LIMIT = "the node limit was met; the radius lies between the lower and the upper bound"
    MEMORY_LIMIT = "the memory limit was met; the radius lies between the lower and the upper bound"
    INTERRUPTED = "the search was interrupted; the radius lies between the lower and the upper bound"

    @property
    def closed(self) -> bool:
        """Whether the radius is known, not only an interval that holds it."""
        return self in (RadiusStatus.EXACT, RadiusStatus.MISCLASSIFIED, RadiusStatus.UNREACHABLE, RadiusStatus.CLAIMED)


class _Certifies:
    """What has lower bounds."""

    lower: NDArray[np.float64]

    def certified_error(self, radius: ArrayLike) -> Any:
        """The share of queries not certified beyond a radius: an upper bound on the robust error there.

        Parameters
        ----------
        radius : float or (m,) array
            In the units of the input features.

        Returns
        -------
        float or (m,) array
            Between 0 and 1; a misclassified query has radius 0, and so counts at any radius.
        """
        return error_at(self.lower, radius)


class _Witnesses:
    """What has upper bounds."""

    upper: NDArray[np.float64]

    def empirical_error(self, radius: ArrayLike) -> Any:
        """The share of queries with a witness within a radius: a lower bound on the robust error there.

        Parameters
        ----------
        radius : float or (m,) array
            In the units of the input features.

        Returns
        -------
        float or (m,) array
            Between 0 and 1; a misclassified query counts at any radius.
        """
        return error_at(self.upper, radius)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class CertifiedRadii(_Certifies):
    """Certified radii: lower bounds on the minimal adversarial perturbation, in closed form.

    Attributes
    ----------
    lower : (n,) array
        The bounds, in the units of the input features; 0 where nothing is certified, inf with one class.
    positive, negative : (n,) integer arrays
        Indices of the deciding triplet: ``lower`` is the distance to the half-space in which the training point
        `negative` is no farther than the training point `positive`.  -1 where there is none.
    norm : Norm
        In which perturbations are measured.
    n_neighbors : int
        k, odd.
    """

    lower: NDArray[np.float64]
    positive: NDArray[np.int64]
    negative: NDArray[np.int64]
    norm: Norm
    n_neighbors: int

    def __len__(self) -> int:
        """Return the number of queries."""
        return len(self.lower)

    def __repr__(self) -> str:
        """What was asked, and the median."""
        return f"CertifiedRadii({_asked(self)}: median {_median(self.lower)})"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class AttackRadii(_Witnesses):
    """Attack radii: upper bounds on the minimal adversarial perturbation, each with a witness.

    Attributes
    ----------
    upper : (n,) array
        Norm of the perturbation found, rounded up; inf where none was found.
    perturbation : (n, d) array
        δ such that the classifier mislabels ``z + δ`` (NaN where none was found).
    norm : Norm
        In which perturbations are measured.
    vote : Vote
        The vote that is lost at the witness.
    """

    upper: NDArray[np.float64]
    perturbation: NDArray[np.float64]
    norm: Norm
    vote: Vote = Vote.PLURALITY

    def __len__(self) -> int:
        """Return the number of queries."""
        return len(self.upper)

    def __repr__(self) -> str:
        """What was asked, how many witnesses there are, and the median."""
        found = int(np.isfinite(self.upper).sum())
        return f"AttackRadii({_asked(self)}: {found} witnesses, median {_median(self.upper)})"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ExactRadii(_Certifies, _Witnesses):
    """Exact radii: for each query an interval, proved from both sides.

    Attributes
    ----------
    lower : (n,) array
        Lower bound from multipliers by weak duality, evaluated here, rounding subtracted.  (Status CLAIMED: the bound
        that a mixed-integer solver claims, less its tolerance.)
    upper : (n,) array
        Norm of `perturbation`, rounded up; inf where there is no witness.  ``lower ≤ radius ≤ upper`` holds for real
        numbers, with the floats given for data, metric and query taken as exact.
    radius : (n,) array
        The midpoint of the interval where the status is `RadiusStatus.closed`; NaN elsewhere.
    perturbation : (n, d) array
        δ such that ``z + δ``, as floating point computes it, is mislabelled by the classifier's own scores and in exact
        arithmetic, ties counting against the label; NaN where none was found.
    status : (n,) object array of RadiusStatus
        What is known of each query, and if it is not everything, why.
    negative : (n,) integer array
        k = 1: the training point that the witness runs into (-1: none).  More neighbours: -1.
    positives, multipliers : tuples of n arrays
        k = 1: training points of the query's label, and their multipliers (summing to 1, box sides apart): the evidence
        for the lower bound against `negative`.  More neighbours: empty.
    solves : (n,) integer array
        Programs solved for the query; of a branch and bound, the nodes evaluated.
    tolerance : float
        Relative width up to which an interval counts as EXACT: the solver profile's plus 1e-9, or the search's 1e-9.
        (Where rounding in the classifier's own scores moves the boundary by more, an interval counts as EXACT within
        that rounding.)
    solver : str
        The profile's name, or ``"search"``.
    norm : Norm
        In which perturbations are measured.
    box : Box or None
        In which perturbed points stay; None if there is none.
    notes : tuple of str
        What went wrong with a solve, one sentence each.
    n_neighbors : int
        k, odd.
    vote : Vote
        The vote that has to be lost.
    certificates : tuple of Certificate
        One for each query, where they were asked for.
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
    n_neighbors: int = 1
    vote: Vote = Vote.PLURALITY
    certificates: tuple[Certificate, ...] = ()

    def __len__(self) -> int:
        """Return the number of queries."""
        return len(self.lower)

    def __repr__(self) -> str:
        """What was asked, how many queries have which status, and the median where all radii are known."""
        counts = collections.Counter(status.name for status in self.status)
        statuses = ", ".join(f"{count} {name}" for name, count in counts.most_common())
        known = f", median {_median(self.radius)}" if not np.isnan(self.radius).any() else ""
        return f"ExactRadii({_asked(self)}: {statuses}{known})"

    @property
    def radius(self) -> NDArray[np.float64]:
        """The radius where it is known, NaN where only an interval is."""
        known = np.array([status.closed for status in self.status], dtype=bool)
        middle = self.lower.copy()  # inf where nothing can be reached
        closed = np.isfinite(self.upper)
        middle[closed] += (self.upper[closed] - self.lower[closed]) / 2
        return np.where(known, middle, np.nan)


def error_at(radii: NDArray[np.float64], radius: ArrayLike) -> Any:
    """Robust error: the share of the radii that are at most each radius, a number or an array of them."""
    at = float_array("radius", radius, finite=False)
    share = (radii <= at[..., None]).mean(axis=-1)
    return float(share) if share.ndim == 0 else share


def _asked(radii: CertifiedRadii | AttackRadii | ExactRadii) -> str:
    votes = "" if isinstance(radii, CertifiedRadii) or radii.vote is Vote.PLURALITY else f", {radii.vote.value}"
    k = "" if isinstance(radii, AttackRadii) else f", k = {radii.n_neighbors}"
    return f"n = {len(radii)}{k}, {radii.norm}{votes}"


def _median(radii: NDArray[np.float64]) -> str:
    return f"{np.median(radii):.4g}" if len(radii) else "of none"


class Evidence(TypedDict):
    """Those fields of `ExactRadii` that say what binds."""

    negative: NDArray[np.int64]
    positives: tuple[NDArray[np.int64], ...]
    multipliers: tuple[NDArray[np.float64], ...]


def no_evidence(n: int) -> Evidence:
    """The evidence of n queries of which no single negative is the binding one."""
    return {
        "negative": np.full(n, -1, dtype=np.int64),
        "positives": (np.zeros(0, dtype=np.int64),) * n,
        "multipliers": (np.zeros(0),) * n,
    }


def selected(radii: ExactRadii, at: NDArray[np.int64]) -> ExactRadii:
    """The entries of a record with the given numbers, in that order."""
    return dataclasses.replace(
        radii,
        lower=radii.lower[at],
        upper=radii.upper[at],
        perturbation=radii.perturbation[at],
        status=radii.status[at],
        negative=radii.negative[at],
        positives=tuple(radii.positives[a] for a in at),
        multipliers=tuple(radii.multipliers[a] for a in at),
        solves=radii.solves[at],
        certificates=tuple(radii.certificates[a] for a in at) if radii.certificates else (),
    )


def joined(parts: Sequence[ExactRadii]) -> ExactRadii:
    """The entries of several records of the same kind, one after the other."""
    return dataclasses.replace(
        parts[0],
        lower=np.concatenate([part.lower for part in parts]),
        upper=np.concatenate([part.upper for part in parts]),
        perturbation=np.concatenate([part.perturbation for part in parts]),
        status=np.concatenate([part.status for part in parts]),
        negative=np.concatenate([part.negative for part in parts]),
        positives=tuple(entry for part in parts for entry in part.positives),
        multipliers=tuple(entry for part in parts for entry in part.multipliers),
        solves=np.concatenate([part.solves for part in parts]),
        notes=tuple(note for part in parts for note in part.notes),
        certificates=tuple(entry for part in parts for entry in part.certificates),
    )
