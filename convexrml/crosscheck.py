"""The judge: every road to a radius, side by side, on every point it is shown."""

from __future__ import annotations

import collections
import dataclasses
import enum
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexrml import attacks, bounds, exact
from convexrml.errors import InvalidInputError
from convexrml.neighbors import NearestNeighbors
from convexrml.norms import Box, Norm, as_box, as_norm, require_inside
from convexrml.results import AttackRadii, CertifiedRadii, ExactRadii, RadiusStatus

BoxLike = tuple[ArrayLike, ArrayLike] | Box | None


class Verdict(enum.Enum):
    """What the judge says of one comparison on one point."""

    HOLDS = "the lower road does not exceed the upper road"
    VIOLATED = "a lower bound exceeds a value that a witness proves to be an upper bound"
    INCONCLUSIVE = "the lower road lies inside the exact interval, by more than the solver's tolerance"
    SKIPPED = "one of the two roads gave no usable value"


class CertifiedRoad(Protocol):
    """A road to lower bounds, called like `certified_radius`."""

    def __call__(self, model: NearestNeighbors, Z: ArrayLike, y: ArrayLike, *, norm: Norm) -> CertifiedRadii: ...


class ExactRoad(Protocol):
    """A road to exact radii, called like `exact_radius`."""

    def __call__(
        self, model: NearestNeighbors, Z: ArrayLike, y: ArrayLike, *, norm: Norm, box: Box | None, solver: str,
        accuracy: str,
    ) -> ExactRadii: ...  # fmt: skip


class AttackRoad(Protocol):
    """A road to witnessed upper bounds, called like `attack_radius`."""

    def __call__(
        self, model: NearestNeighbors, Z: ArrayLike, y: ArrayLike, *, norm: Norm, box: Box | None
    ) -> AttackRadii: ...


@dataclasses.dataclass(frozen=True)
class Roads:
    """The roads that the judge compares; replace one to have the judge look at yours."""

    certified: CertifiedRoad = bounds.certified_radius
    exact: ExactRoad = exact.exact_radius
    attack: AttackRoad = attacks.attack_radius


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One comparison on one point.

    Attributes
    ----------
    verdict : Verdict
    query : int
        Index into the queries.
    norm : Norm
    box : int
        Index into the boxes that were tried.
    below, above : str
        The two roads: ``"certified"``, ``"exact clarabel"``, ``"attack"`` ...
    lower, upper : float
        What `below` claims to be a lower bound, and what `above` claims to be an upper bound.
    reason : str
        For skipped and inconclusive comparisons.
    """

    verdict: Verdict
    query: int
    norm: Norm
    box: int
    below: str
    above: str
    lower: float
    upper: float
    reason: str = ""

    @property
    def excess(self) -> float:
        """``lower / upper − 1``: positive when the order is broken; −inf where there is nothing to compare."""
        if math.isinf(self.upper) or math.isnan(self.lower) or math.isnan(self.upper):
            return -math.inf
        if self.upper == 0:
            return math.inf if self.lower > 0 else 0.0
        return self.lower / self.upper - 1

    def __str__(self) -> str:
        """One line for a person."""
        sign = ">" if self.verdict is Verdict.VIOLATED else "vs"
        text = f"query {self.query}, {self.norm}, box {self.box}: {self.below} {self.lower!r} {sign} {self.above} "
        return text + repr(self.upper) + (f" ({self.reason})" if self.reason else "")


@dataclasses.dataclass(frozen=True, eq=False)
class CrossCheckReport:
    """All comparisons of one run of the judge.

    Attributes
    ----------
    comparisons : tuple of Comparison
        One for each point, norm, box and pair of roads; none is dropped.
    n_queries : int
    norms : tuple of Norm
    boxes : tuple of Box or None
    solvers : tuple of str
    exact : mapping of (norm name, box index, solver) to ExactRadii
        The exact radii that were compared.
    notes : tuple of str
        What went wrong with single solves.
    """

    comparisons: tuple[Comparison, ...]
    n_queries: int
    norms: tuple[Norm, ...]
    boxes: tuple[Box | None, ...]
    solvers: tuple[str, ...]
    exact: dict[tuple[str, int, str], ExactRadii]
    notes: tuple[str, ...]

    def count(self, verdict: Verdict) -> int:
        """How many comparisons got this verdict."""
        return self._counts[verdict]

    @property
    def checked(self) -> int:
        """Comparisons that were decided: the order holds or is violated."""
        return self.count(Verdict.HOLDS) + self.violated

    @property
    def violated(self) -> int:
        """Comparisons in which a lower bound exceeds a witnessed upper bound."""
        return self.count(Verdict.VIOLATED)

    @property
    def inconclusive(self) -> int:
        """Comparisons in which the bound lies inside an exact interval that is wider than it may be."""
        return self.count(Verdict.INCONCLUSIVE)

    @property
    def skipped(self) -> int:
        """Comparisons for which one road gave no usable value."""
        return self.count(Verdict.SKIPPED)

    @property
    def violations(self) -> tuple[Comparison, ...]:
        """The violated comparisons, worst first."""
        found = (c for c in self.comparisons if c.verdict is Verdict.VIOLATED)
        return tuple(sorted(found, key=lambda comparison: -comparison.excess))

    @property
    def worst(self) -> Comparison | None:
        """The decided comparison with the largest excess: how near the order came to being broken, or by how much."""
        decided = (c for c in self.comparisons if c.verdict in (Verdict.HOLDS, Verdict.VIOLATED))
        return max(decided, key=lambda comparison: comparison.excess, default=None)

    @property
    def worst_excess(self) -> float:
        """``lower / upper − 1`` of `worst`; at most 0 when nothing is violated, −inf when nothing was decided."""
        return -math.inf if self.worst is None else self.worst.excess

    @property
    def disagreement(self) -> float:
        """Largest relative difference of two solvers' exact radii; NaN if no point was solved by two."""
        worst = math.nan
        keys = {key[:2] for key in self.exact}
        for norm, box in keys:
            radii = [self.exact[norm, box, solver].radius for solver in self.solvers]
            for one, other in itertools.combinations(radii, 2):
                both = np.isfinite(one) & np.isfinite(other) & (one > 0)
                if both.any():
                    worst = float(np.nanmax([worst, (np.abs(one - other)[both] / one[both]).max()]))
        return worst

    @property
    def _counts(self) -> collections.Counter[Verdict]:
        return collections.Counter(comparison.verdict for comparison in self.comparisons)

    def __str__(self) -> str:
        """The counts, and where the worst excess was seen."""
        line = (
            f"{len(self.comparisons)} comparisons on {self.n_queries} points: {self.checked} checked, "
            f"{self.violated} violated, {self.inconclusive} inconclusive, {self.skipped} skipped"
        )
        return line if self.worst is None else f"{line}; worst excess {self.worst_excess:.2g} at {self.worst}"


def crosscheck(
    model: NearestNeighbors,
    Z: ArrayLike,
    y: ArrayLike,
    *,
    norms: Sequence[float | str | Norm] = (1, 2, math.inf),
    boxes: Sequence[BoxLike] = (None,),
    solvers: Sequence[str] = ("clarabel", "daqp"),
    accuracy: str = "accurate",
    roads: Roads | None = None,
    progress: Callable[[int], object] | None = None,
) -> CrossCheckReport:
    """Compare all roads to each query's radius: certified ≤ exact ≤ attack, for all norms, boxes and solvers.

    What is compared, on every point: the certified radius with each solver's exact interval; the certified radius with
    the attack radius; each exact lower bound with the attack radius and with every other solver's exact upper bound.

    A comparison is **violated** when a lower bound exceeds an upper bound, whatever a solver says: every upper bound has
    a witness that the classifier itself mislabels, and every lower bound has given up all rounding on either side, so
    no tolerance is allowed.  (The allowance covers witnesses p with ``‖p − m‖₂ ≤ ‖z − m‖₂ + 2 R``: see
    `NearestNeighbors.score_rounding`.)  It is **inconclusive** when the certified radius lies inside the exact interval,
    above its lower end by more than the solver profile's tolerance: a better solve would decide.  It is **skipped**
    when a road gave no usable value: an interval wider than the tolerance, no witness, or no exact road for the number
    of neighbours.  All are counted.

    Parameters
    ----------
    model : NearestNeighbors
        Fitted.  With more than one neighbour there is no exact road yet: those comparisons are skipped and counted.
    Z : (n, d) array
        Queries.
    y : (n,) array
        Their true labels.
    norms : sequence of {1, 2, inf}
    boxes : sequence of None or pairs (lower, upper)
        Each has to contain every query.
    solvers : sequence of str
        Profile names.
    accuracy : str, default "accurate"
    roads : Roads, optional
        Roads to put in the dock instead of the library's own.
    progress : callable, optional
        Called with the number of (query, norm, box, solver) solves finished since the last call.

    Returns
    -------
    CrossCheckReport

    Raises
    ------
    InvalidInputError, SolverError
        As the roads themselves.
    """
    roads = Roads() if roads is None else roads
    points = model.require_queries(Z)
    model.encode(y, len(points))
    labels = np.asarray(y)
    all_norms = tuple(as_norm(norm) for norm in norms)
    all_boxes = tuple(as_box(box, model.n_features_in_) for box in boxes)
    for box in all_boxes:
        require_inside(box, points)
    for name, given in (("norms", all_norms), ("boxes", all_boxes), ("solvers", solvers)):
        if len(given) == 0:
            raise InvalidInputError(f"{name}: nothing to compare; give at least one")

    comparisons: list[Comparison] = []
    solved: dict[tuple[str, int, str], ExactRadii] = {}
    notes: list[str] = []
    for norm in all_norms:
        certified = roads.certified(model, points, labels, norm=norm).lower
        for at, box in enumerate(all_boxes):
            docket = _Docket(norm, at, comparisons)
            attack = roads.attack(model, points, labels, norm=norm, box=box).upper
            docket.bound_against_witness("certified", certified, "attack", attack)
            exacts: dict[str, ExactRadii] = {}
            if model.n_neighbors != 1:
                for solver in solvers:
                    docket.skip("certified", certified, f"exact {solver}", "no exact road for more than one neighbour")
                continue
            for solver in solvers:
                exacts[solver] = roads.exact(
                    model, points, labels, norm=norm, box=box, solver=solver, accuracy=accuracy
                )
                solved[norm.name, at, solver] = exacts[solver]
                notes += [f"{solver}, {norm}, box {at}: {note}" for note in exacts[solver].notes]
                if progress is not None:
                    progress(len(points))
            for solver, interval in exacts.items():
                docket.bound_against_interval(certified, f"exact {solver}", interval)
                docket.bound_against_witness(f"exact {solver}", interval.lower, "attack", attack)
            for one, other in itertools.permutations(exacts, 2):
                docket.bound_against_witness(f"exact {one}", exacts[one].lower, f"exact {other}", exacts[other].upper)
    return CrossCheckReport(tuple(comparisons), len(points), all_norms, all_boxes, tuple(solvers), solved, tuple(notes))


@dataclasses.dataclass(frozen=True)
class _Docket:
    """Writes down the verdicts for one norm and one box."""

    norm: Norm
    box: int
    comparisons: list[Comparison]

    def enter(
        self, verdict: Verdict, query: int, below: str, lower: float, above: str, upper: float, reason: str = ""
    ) -> None:
        self.comparisons.append(
            Comparison(verdict, query, self.norm, self.box, below, above, float(lower), float(upper), reason)
        )

    def bound_against_witness(
        self, below: str, lower: NDArray[np.float64], above: str, upper: NDArray[np.float64]
    ) -> None:
        for query, (low, high) in enumerate(zip(lower, upper, strict=True)):
            if math.isnan(low) or math.isnan(high):
                self.enter(Verdict.SKIPPED, query, below, low, above, high, "not a number")
            elif low > high:
                self.enter(Verdict.VIOLATED, query, below, low, above, high)
            elif math.isinf(high) and not math.isinf(low):
                self.enter(Verdict.SKIPPED, query, below, low, above, high, "no witness")
            else:
                self.enter(Verdict.HOLDS, query, below, low, above, high)

    def bound_against_interval(self, certified: NDArray[np.float64], above: str, interval: ExactRadii) -> None:
        for query, low in enumerate(certified):
            below, high = float(interval.lower[query]), float(interval.upper[query])
            if low > high or math.isnan(low):
                self.enter(Verdict.VIOLATED, query, "certified", low, above, high)
            elif low > below * (1 + interval.tolerance):
                reason = f"the exact interval starts at {below!r}"
                self.enter(Verdict.INCONCLUSIVE, query, "certified", low, above, high, reason)
            elif interval.status[query] is RadiusStatus.INTERVAL:
                self.enter(Verdict.SKIPPED, query, "certified", low, above, high, "no usable gap")
            else:
                self.enter(Verdict.HOLDS, query, "certified", low, above, high)

    def skip(self, below: str, lower: NDArray[np.float64], above: str, reason: str) -> None:
        for query, low in enumerate(lower):
            self.enter(Verdict.SKIPPED, query, below, low, above, math.nan, reason)
