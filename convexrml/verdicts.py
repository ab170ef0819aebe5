"""What the judge writes down: one verdict for every comparison, and all of them together."""

from __future__ import annotations

import collections
import dataclasses
import enum
import itertools
import math

import numpy as np

from convexrml.attack_settings import ToolAttack
from convexrml.norms import Box, Norm
from convexrml.results import ExactRadii
from convexrml.votes import Vote


class Verdict(enum.Enum):
    """What the judge says of one comparison on one point."""

    HOLDS = "the lower road does not exceed the upper road"
    VIOLATED = "a lower bound exceeds a value that a witness proves to be an upper bound"
    INCONCLUSIVE = "the lower road lies inside the exact interval, by more than the solver's tolerance"
    SKIPPED = "one of the two roads gave no usable value"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One comparison on one point.

    Attributes
    ----------
    verdict : Verdict
        What the judge says.
    query : int
        Index into the queries.
    norm : Norm
        Of the perturbations.
    box : int
        Index into the boxes that were tried.
    below, above : str
        The two roads: ``"certified"``, ``"exact clarabel"``, ``"attack"``, ``"attack foolbox:BoundaryAttack"`` ...
    lower, upper : float
        What `below` claims to be a lower bound, and what `above` claims to be an upper bound.
    reason : str
        For skipped and inconclusive comparisons, for witnesses that are none, and for violations by a lower bound that
        nothing but a solver's word stands behind.
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
        How many queries were asked about.
    norms : tuple of Norm
        Those that were tried.
    boxes : tuple of Box or None
        Those that were tried; None is no box.
    solvers : tuple of str
        The exact roads: ``"search"``, and names of profiles.
    exact : mapping of (norm name, box index, solver) to ExactRadii
        The exact radii that were compared.  Roads that do not take a norm are missing.
    notes : tuple of str
        What went wrong with single solves.
    n_neighbors : int
        k, odd.
    vote : Vote
        The vote that had to be lost.
    attack_tools : tuple of ToolAttack
        The attacks of other people's tools that were looked at.
    """

    comparisons: tuple[Comparison, ...]
    n_queries: int
    norms: tuple[Norm, ...]
    boxes: tuple[Box | None, ...]
    solvers: tuple[str, ...]
    exact: dict[tuple[str, int, str], ExactRadii]
    notes: tuple[str, ...]
    n_neighbors: int = 1
    vote: Vote = Vote.PLURALITY
    attack_tools: tuple[ToolAttack, ...] = ()

    def solvers_at(self, norm: Norm, box: int) -> tuple[str, ...]:
        """The exact roads that took this norm and box; all of them where none did.

        Parameters
        ----------
        norm : Norm
            One of `norms`.
        box : int
            Index into `boxes`.

        Returns
        -------
        tuple of str
            Names out of `solvers`.
        """
        took = tuple(solver for solver in self.solvers if (norm.name, box, solver) in self.exact)
        return took or self.solvers

    def count(self, verdict: Verdict) -> int:
        """How many comparisons got this verdict.

        Parameters
        ----------
        verdict : Verdict
            One of the four.

        Returns
        -------
        int
            Their number.
        """
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
        """The comparison with the largest excess: how near the order came to being broken, or by how much.

        Among those that hold, only comparisons of two roads count, and only where the upper end is positive.
        """
        telling = (
            c
            for c in self.comparisons
            if c.verdict is Verdict.VIOLATED
            or (c.verdict is Verdict.HOLDS and c.upper > 0 and not c.below.endswith(c.above))
        )
        return max(telling, key=lambda comparison: comparison.excess, default=None)

    @property
    def worst_excess(self) -> float:
        """``lower / upper − 1`` of `worst`; at most 0 when nothing is violated, −inf when nothing was compared."""
        return -math.inf if self.worst is None else self.worst.excess

    @property
    def disagreement(self) -> float:
        """Largest relative difference of two solvers' exact radii; NaN if no point was solved by two."""
        worst = math.nan
        keys = {key[:2] for key in self.exact}
        for norm, box in keys:
            radii = [found.radius for key, found in self.exact.items() if key[:2] == (norm, box)]
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
