"""What a search for one k-NN radius is told, and what it finds: the ends of an interval, and where they meet."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from convexrml.results import RadiusStatus


@dataclasses.dataclass(frozen=True)
class Limits:
    """Where a search ends without an answer: seconds, nodes and bytes per query; infinite where there is no limit."""

    seconds: float = math.inf
    nodes: float = math.inf
    memory: float = math.inf


@dataclasses.dataclass(frozen=True, eq=False)
class Meeting:
    """A node of the tree at whose nearest point the vote is lost, up to rounding: its lower and upper bound are one.

    Attributes
    ----------
    bound : float
        The node's lower bound, all rounding subtracted.
    foot : (d,) array
        The step to its nearest point.
    members, others : (m,) integer arrays
        Training points: at the foot, each of the members is as far as the other.
    multipliers : (m,) array
    sides : dict
        Multipliers of the box, as `convexrml.certificate.ProofTree.multipliers` takes them.
    """

    bound: float
    foot: NDArray[np.float64]
    members: NDArray[np.int64]
    others: NDArray[np.int64]
    multipliers: NDArray[np.float64]
    sides: dict[int, float]


@dataclasses.dataclass(frozen=True, eq=False)
class Finding:
    """What is known of one query's radius.

    Attributes
    ----------
    lower, upper : float
        The lower end is 0 where memory did not even suffice for the closed form.
    step : (d,) array
        To the witness of `upper`; NaN where there is none.
    status : RadiusStatus
    nodes : int
        Nodes evaluated.
    limit : RadiusStatus or None
        The limit that ended the search, if one did, even where the status is closed.
    meetings : tuple of Meeting
        The first of such nodes, if rounding keeps the ends apart.
    beyond : float
        A lower bound on all that lies outside these nodes.
    """

    lower: float
    upper: float
    step: NDArray[np.float64]
    status: RadiusStatus
    nodes: int = 0
    limit: RadiusStatus | None = None
    meetings: tuple[Meeting, ...] = ()
    beyond: float = 0.0


@dataclasses.dataclass(frozen=True, eq=False)
class Witness:
    """A point at which the vote is lost: its norm, the step to it, and how far rounding may move the boundary there.

    `sure` says that the scores differ by more than rounding can hide, so that the vote is lost in exact arithmetic.
    """

    upper: float
    step: NDArray[np.float64]
    blur: float
    sure: bool = False
