"""The judge: every road to a radius, side by side, on every point it is shown."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from convexrml import attack_tools as tools
from convexrml import attacks, bounds, exact
from convexrml.attack_settings import ToolAttack
from convexrml.docket import Docket
from convexrml.errors import (
    CrossCheckInterrupted,
    InvalidInputError,
    SolverCapabilityError,
    SolverMissingError,
    UnsupportedError,
)
from convexrml.neighbors import NearestNeighbors, require_model
from convexrml.norms import Box, Norm, as_box, as_norm, require_inside
from convexrml.results import AttackRadii, CertifiedRadii, ExactRadii
from convexrml.verdicts import Comparison, CrossCheckReport
from convexrml.votes import Vote, as_vote

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
        self, model: NearestNeighbors, Z: ArrayLike, y: ArrayLike, *, norm: Norm, box: Box | None, vote: Vote,
        solver: str | None, accuracy: str | None, time_limit: float | None, node_limit: int | None,
        progress: Callable[[int], object] | None,
    ) -> ExactRadii: ...  # fmt: skip


class AttackRoad(Protocol):
    """A road to witnessed upper bounds, called like `attack_radius`."""

    def __call__(  # noqa: D102
        self, model: NearestNeighbors, Z: ArrayLike, y: ArrayLike, *, norm: Norm, box: Box | None, vote: Vote
    ) -> AttackRadii: ...


class ToolRoad(Protocol):
    """A road to witnessed upper bounds by another's tool, called like `tool_attack_radius`."""

    def __call__(  # noqa: D102
        self, model: NearestNeighbors, Z: ArrayLike, y: ArrayLike, *, tool: str, attack: str,
        options: Mapping[str, Any], seed: int, norm: Norm, box: Box | None, vote: Vote,
    ) -> AttackRadii: ...  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Roads:
    """The roads that the judge compares; replace one to have the judge look at yours.

    Parameters
    ----------
    certified : CertifiedRoad
        Lower bounds; `certified_radius` by default.
    exact : ExactRoad
        Intervals; `exact_radius` by default.
    attack : AttackRoad
        Witnessed upper bounds; `attack_radius` by default.
    tool : ToolRoad
        Witnessed upper bounds by another's tool; `tool_attack_radius` by default.
    """

    certified: CertifiedRoad = bounds.certified_radius
    exact: ExactRoad = exact.exact_radius
    attack: AttackRoad = attacks.attack_radius
    tool: ToolRoad = tools.tool_attack_radius


def default_solvers(n_neighbors: int, norm: Norm) -> tuple[str, ...]:
    """The exact roads that are compared where none is named.

    One neighbour: the search, Clarabel and DAQP.  More: the search, and a mixed-integer solver, SCIP for norm 2 and
    HiGHS for norms 1 and ∞.

    Parameters
    ----------
    n_neighbors : int
        How many, k.
    norm : Norm
        Of perturbations.

    Returns
    -------
    tuple of str
        ``"search"``, and names of profiles.
    """
    if n_neighbors == 1:
        return (SEARCH, "clarabel", "daqp")
    return (SEARCH, "scip" if norm.order == 2 else "highs")


def crosscheck(
    model: NearestNeighbors,
    Z: ArrayLike,
    y: ArrayLike,
    *,
    norms: Sequence[float | str | Norm] = (1, 2, math.inf),
    boxes: Sequence[BoxLike] = (None,),
    vote: str | Vote = Vote.PLURALITY,
    solvers: Sequence[str] | None = None,
    accuracy: str = "accurate",
    time_limit: float | None = None,
    node_limit: int | None = None,
    attack_tools: Sequence[str | ToolAttack] = (),
    roads: Roads | None = None,
    progress: Callable[[int], object] | None = None,
) -> CrossCheckReport:
    """Compare all roads to each query's radius: certified ≤ exact ≤ attack, for all norms, boxes and solvers.

    What is compared, on every point: the certified radius with each exact interval; the certified radius with the
    attack radius; each exact lower bound with the attack radius and with every exact upper bound; and each upper bound
    with its witness, at which the classifier itself has to lose the vote, inside the box, no longer than claimed.  The
    attacks of other people's tools, where asked for, are held to the same as the library's own.  Each exact interval
    is also made into a certificate, which `convexrml.checker` has to accept in exact arithmetic.

    A comparison is **violated** when a lower bound exceeds an upper bound, whatever a solver says: every upper bound
    has a witness that the classifier itself mislabels, and every lower bound has given up all rounding on either side,
    so no tolerance is allowed (see `convexrml.rounding.Rounding`).  A lower bound that is a mixed-integer solver's word
    (status CLAIMED) is held to the same, and a violation says so.  It is **inconclusive** when the certified radius
    lies inside the exact interval, above its lower end by more than the tolerance: a better solve would decide.  It is
    **skipped** when a road gave no usable value: an interval wider than the tolerance (a limit was met), no witness, or
    a road that does not take this norm.  All are counted.

    Parameters
    ----------
    model : NearestNeighbors
        Fitted.
    Z : (n, d) array
        Queries.
    y : (n,) array
        Their true labels.
    norms : sequence of {1, 2, inf}, default (1, 2, inf)
        Norms in which perturbations are measured.
    boxes : sequence of None or pairs (lower, upper), default (None,)
        Each has to contain every query.
    vote : {"plurality", "majority"}, default "plurality"
        The vote that has to be lost; one neighbour knows no difference.
    solvers : sequence of str, optional
        The exact roads: ``"search"``, and the names of profiles by which the explicit programs are solved.  Default:
        see `default_solvers`; a mixed-integer solver among these that is not installed is skipped.
    accuracy : str, default "accurate"
        Accuracy of the profiles.
    time_limit : float, optional
        Seconds for each query, norm, box and exact road; what is met leaves an interval.
    node_limit : int, optional
        The same for the nodes of the search.
    attack_tools : sequence of str or ToolAttack, optional
        Attacks of other people's tools to look at as well (extra ``attacks``): ``"foolbox"``, ``"art"``,
        ``"foolbox:BoundaryAttack"``, or with settings `convexrml.ToolAttack`.
    roads : Roads, optional
        Roads to put in the dock instead of the library's own.
    progress : callable, optional
        Called with the number of queries finished since the last call, for each norm, box and exact road.

    Returns
    -------
    CrossCheckReport
        All comparisons; `violated` counts those in which a road is convicted.

    Raises
    ------
    InvalidInputError, SolverError, ToolMissingError
        As the roads themselves; a road that does not take a norm is skipped instead.
    NotFittedError
        If the model is not fitted.
    CrossCheckInterrupted
        On Ctrl-C, with what was compared before it.

    Examples
    --------
    >>> import convexrml
    >>> model = convexrml.NearestNeighbors().fit([[0.0], [4.0]], ["left", "right"])
    >>> report = convexrml.crosscheck(model, [[1.0], [3.5]], ["left", "right"], norms=[2], solvers=["search", "daqp"])
    >>> report.violated, report.checked > 0
    (0, True)
    """
    roads = Roads() if roads is None else roads
    points = require_model(model).require_queries(Z)
    model.encode(y, len(points))
    labels = np.asarray(y)
    for name, given in (("norms", norms), ("boxes", boxes), ("solvers", solvers)):
        if isinstance(given, (str, Box)) or not (given is None or isinstance(given, Iterable)):
            raise InvalidInputError(f"{name}: needs a list of them; found {given!r}; write [{given!r}]")
    all_norms = tuple(as_norm(norm) for norm in norms)
    all_boxes = tuple(as_box(box, model.n_features_in_) for box in boxes)
    for box in all_boxes:
        require_inside(box, points)
    for name, given in (("norms", all_norms), ("boxes", all_boxes), ("solvers", solvers)):
        if given is not None and len(given) == 0:
            raise InvalidInputError(f"{name}: nothing to compare; give at least one")
    lost = as_vote(vote)
    limits = _Limits(accuracy, time_limit, node_limit)
    by_tools = as_tool_attacks(attack_tools)

    comparisons: list[Comparison] = []
    solved: dict[tuple[str, int, str], ExactRadii] = {}
    notes: list[str] = []
    asked: dict[str, None] = {}

    def report() -> CrossCheckReport:
        return CrossCheckReport(
            tuple(comparisons), len(points), all_norms, all_boxes, tuple(asked), solved, tuple(notes),
            model.n_neighbors, lost, by_tools,
        )  # fmt: skip

    try:
        for norm in all_norms:
            names = default_solvers(model.n_neighbors, norm) if solvers is None else tuple(solvers)
            asked |= dict.fromkeys(names)
            certified = roads.certified(model, points, labels, norm=norm).lower
            for at, box in enumerate(all_boxes):
                docket = Docket(norm, at, comparisons)
                found = {"attack": roads.attack(model, points, labels, norm=norm, box=box, vote=lost)}
                for by in by_tools:
                    try:
                        found[f"attack {by.name}"] = roads.tool(
                            model, points, labels, **by.terms, norm=norm, box=box, vote=lost
                        )
                    except UnsupportedError as error:
                        docket.skip("certified", certified, f"attack {by.name}", str(error))
                for above, attack in found.items():
                    docket.witnesses(model, points, labels, box, lost, above, attack)
                    docket.bound_against_witness("certified", certified, above, attack.upper)
                exacts: dict[str, ExactRadii] = {}
                for name in names:
                    try:
                        exacts[name] = solved[norm.name, at, name] = roads.exact(
                            model, points, labels, norm=norm, box=box, vote=lost, progress=progress,
                            **limits.of(name),
                        )  # fmt: skip
                    except (UnsupportedError, SolverCapabilityError, SolverMissingError) as error:
                        if isinstance(error, SolverMissingError) and (solvers is not None or model.n_neighbors == 1):
                            raise
                        docket.skip("certified", certified, f"exact {name}", f"{name}: {error}")
                        continue
                    notes += [f"{name}, {norm}, box {at}: {note}" for note in exacts[name].notes]
                for name, interval in exacts.items():
                    docket.witnesses(model, points, labels, box, lost, f"exact {name}", interval)
                    docket.bound_against_interval(certified, f"exact {name}", interval)
                    docket.exact_against_witness(name, interval, f"exact {name}", interval.upper)
                    for above, attack in found.items():
                        docket.exact_against_witness(name, interval, above, attack.upper)
                    docket.certificates(model, points, labels, name, interval)
                for one, other in itertools.permutations(exacts, 2):
                    docket.exact_against_witness(one, exacts[one], f"exact {other}", exacts[other].upper)
    except KeyboardInterrupt as stop:
        raise CrossCheckInterrupted(report()) from stop
    return report()


def as_tool_attacks(named: Sequence[str | ToolAttack]) -> tuple[ToolAttack, ...]:
    """Attacks of tools, each under a name of its own, and each there to be made.

    Raises
    ------
    InvalidInputError
        If two have one name, or there is no such tool or attack.
    ToolMissingError
        If a tool is not installed.
    """
    found = tuple(ToolAttack.named(one) if isinstance(one, str) else one for one in named)
    names = [one.name for one in found]
    for one in found:
        if names.count(one.name) > 1:
            raise InvalidInputError(f"attack_tools: {one.name} is there twice, and verdicts go by the name")
        one.require_installed()
    return found


@dataclasses.dataclass(frozen=True)
class _Limits:
    """What the exact roads may spend."""

    accuracy: str
    time_limit: float | None
    node_limit: int | None

    def of(self, name: str) -> dict[str, Any]:
        """The keywords by which the road of this name is called."""
        by_search = name == SEARCH
        return {
            "solver": None if by_search else name,
            "accuracy": None if by_search else self.accuracy,
            "time_limit": self.time_limit,
            "node_limit": self.node_limit if by_search else None,
        }
