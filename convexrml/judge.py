"""The judge: every road to a radius, side by side, on every point it is shown."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexrml import attacks, bounds, exact
from convexrml.errors import InvalidInputError
from convexrml.neighbors import NearestNeighbors
from convexrml.norms import Box, Norm, as_box, as_norm, require_inside
from convexrml.results import AttackRadii, CertifiedRadii, ExactRadii
from convexrml.verdicts import Comparison, CrossCheckReport, Verdict

SEARCH = "search"  # among the names of solvers: the exact road that needs none
BoxLike = tuple[ArrayLike, ArrayLike] | Box | None


class CertifiedRoad(Protocol):
    """A road to lower bounds, called like `certified_radius`."""

    def __call__(  # noqa: D102
        self, model: NearestNeighbors, Z: ArrayLike, y: ArrayLike, *, norm: Norm
    ) -> CertifiedRadii: ...


class ExactRoad(Protocol):
    """A road to exact radii, called like `exact_radius`."""

    def __call__(  # noqa: D102
        self, model: NearestNeighbors, Z: ArrayLike, y: ArrayLike, *, norm: Norm, box: Box | None, solver: str | None,
        accuracy: str | None, progress: Callable[[int], object] | None,
    ) -> ExactRadii: ...  # fmt: skip


class AttackRoad(Protocol):
    """A road to witnessed upper bounds, called like `attack_radius`."""

    def __call__(  # noqa: D102
        self, model: NearestNeighbors, Z: ArrayLike, y: ArrayLike, *, norm: Norm, box: Box | None
    ) -> AttackRadii: ...


@dataclasses.dataclass(frozen=True)
class Roads:
    """The roads that the judge compares; replace one to have the judge look at yours."""

    certified: CertifiedRoad = bounds.certified_radius
    exact: ExactRoad = exact.exact_radius
    attack: AttackRoad = attacks.attack_radius


def crosscheck(
    model: NearestNeighbors,
    Z: ArrayLike,
    y: ArrayLike,
    *,
    norms: Sequence[float | str | Norm] = (1, 2, math.inf),
    boxes: Sequence[BoxLike] = (None,),
    solvers: Sequence[str] = (SEARCH, "clarabel", "daqp"),
    accuracy: str = "accurate",
    roads: Roads | None = None,
    progress: Callable[[int], object] | None = None,
) -> CrossCheckReport:
    """Compare all roads to each query's radius: certified ≤ exact ≤ attack, for all norms, boxes and solvers.

    What is compared, on every point: the certified radius with each exact interval; the certified radius with the
    attack radius; each exact lower bound with the attack radius and with every exact upper bound; and each upper bound
    with its witness, which has to be mislabelled by the classifier, inside the box, and no longer than claimed.

    A comparison is **violated** when a lower bound exceeds an upper bound, whatever a solver says: every upper bound
    has a witness that the classifier itself mislabels, and every lower bound has given up all rounding on either side,
    so no tolerance is allowed (see `convexrml.rounding.Rounding`).  It is **inconclusive** when the certified radius
    lies inside the exact interval, above its lower end by more than the tolerance: a better solve would decide.  It is
    **skipped** when a road gave no usable value: an interval wider than the tolerance, no witness, or no exact road
    for the number of neighbours.  All are counted.

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
    solvers : sequence of str, default ("search", "clarabel", "daqp")
        The exact roads: ``"search"``, and the names of profiles by which the explicit programs are solved.
    accuracy : str, default "accurate"
        Accuracy of the profiles.
    roads : Roads, optional
        Roads to put in the dock instead of the library's own.
    progress : callable, optional
        Called with the number of queries finished since the last call, for each norm, box and exact road.

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
            attack = roads.attack(model, points, labels, norm=norm, box=box)
            docket.witnesses(model, points, labels, box, "attack", attack)
            docket.bound_against_witness("certified", certified, "attack", attack.upper)
            if model.n_neighbors != 1:
                for name in solvers:
                    docket.skip("certified", certified, f"exact {name}", "no exact road for more than one neighbour")
                continue
            exacts: dict[str, ExactRadii] = {}
            for name in solvers:
                solver, level = (None, None) if name == SEARCH else (name, accuracy)
                exacts[name] = solved[norm.name, at, name] = roads.exact(
                    model, points, labels, norm=norm, box=box, solver=solver, accuracy=level, progress=progress
                )
                notes += [f"{name}, {norm}, box {at}: {note}" for note in exacts[name].notes]
            for name, interval in exacts.items():
                docket.witnesses(model, points, labels, box, f"exact {name}", interval)
                docket.bound_against_interval(certified, f"exact {name}", interval)
                docket.bound_against_witness(f"exact {name}", interval.lower, f"exact {name}", interval.upper)
                docket.bound_against_witness(f"exact {name}", interval.lower, "attack", attack.upper)
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

    def witnesses(
        self,
        model: NearestNeighbors,
        Z: NDArray[np.float64],
        y: NDArray[Any],
        box: Box | None,
        road: str,
        radii: AttackRadii | ExactRadii,
    ) -> None:
        """Ask the classifier about every witness, and measure it."""
        found = np.isfinite(radii.upper)
        moved = np.where(found[:, None], Z + np.where(found[:, None], radii.perturbation, 0.0), Z)
        sound = np.asarray(np.isfinite(moved).all(axis=1))
        moved[~sound] = Z[~sound]
        length = self.norm.of(radii.perturbation)
        mislabelled = model.mislabels(moved, y)
        inside = np.ones(len(Z), dtype=bool) if box is None else box.contains(moved)
        for query in range(len(Z)):
            name, low, high = f"witness of {road}", float(length[query]), float(radii.upper[query])
            if not found[query]:
                self.enter(Verdict.SKIPPED, query, name, low, road, high, "no witness")
            elif not (sound[query] and mislabelled[query]):
                reason = "the classifier does not mislabel the witness"
                self.enter(Verdict.VIOLATED, query, name, low, road, high, reason)
            elif not inside[query]:
                self.enter(Verdict.VIOLATED, query, name, low, road, high, "the witness is outside the box")
            else:
                verdict = Verdict.HOLDS if low <= high else Verdict.VIOLATED
                self.enter(verdict, query, name, low, road, high)

    def bound_against_interval(self, certified: NDArray[np.float64], above: str, interval: ExactRadii) -> None:
        for query, low in enumerate(certified):
            below, high = float(interval.lower[query]), float(interval.upper[query])
            if math.isnan(low) or math.isnan(below) or math.isnan(high):
                self.enter(Verdict.SKIPPED, query, "certified", low, above, high, "not a number")
            elif low > high:
                self.enter(Verdict.VIOLATED, query, "certified", low, above, high)
            elif low > below * (1 + interval.tolerance):
                reason = f"the exact interval starts at {below!r}"
                self.enter(Verdict.INCONCLUSIVE, query, "certified", low, above, high, reason)
            elif not interval.status[query].closed:
                self.enter(Verdict.SKIPPED, query, "certified", low, above, high, "no usable gap")
            else:
                self.enter(Verdict.HOLDS, query, "certified", low, above, high)

    def skip(self, below: str, lower: NDArray[np.float64], above: str, reason: str) -> None:
        for query, low in enumerate(lower):
            self.enter(Verdict.SKIPPED, query, below, low, above, math.nan, reason)
