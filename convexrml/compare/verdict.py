"""What a row is worth: tolerances by name, the certified optimum as an interval, and whether claim and truth agree."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Mapping
from typing import Any

from convexrml.errors import InvalidInputError


@dataclasses.dataclass(frozen=True)
class Tolerances:
    """What an answer has to keep to be valid at an accuracy, whoever gave it.

    Attributes
    ----------
    primal, cone, dual : float
        Largest violation of a linear row, of a second-order or semidefinite cone, and of dual feasibility, in the
        program's units, in which the solution is near 1.
    gap : float
        Relative gap between the value and the lower bound by weak duality.  The bound holds for any multipliers, so it
        pays for dual infeasibility: with ``min ½‖η‖², G η ≤ h`` and multipliers λ the gap is at least
        ``½‖η + Gᵀλ‖²``.  A gap of ε therefore allows a dual residual of ``√(2 ε)``, and that is asked of it: solvers
        that take the objective as a cone close the gap, not the residual.
    error : float
        Relative distance between the value and the certified optimum.
    """

    primal: float
    cone: float
    dual: float
    gap: float
    error: float


# The one place where the accuracies are defined.  The options by which a solver tries to reach them are its profile's.
TOLERANCES: Mapping[str, Tolerances] = {
    "fast": Tolerances(primal=1e-4, cone=1e-4, dual=math.sqrt(2e-4), gap=1e-4, error=1e-4),
    "accurate": Tolerances(primal=1e-6, cone=1e-6, dual=math.sqrt(2e-6), gap=1e-6, error=1e-6),
}


class Verdict(enum.Enum):
    """How claim and truth stand to each other; a member's value reads as a sentence."""

    SUCCESS = "claimed optimal, and valid at the accuracy"
    WRONG_OPTIMAL = "claimed optimal, but not valid at the accuracy"
    MODEST = "valid at the accuracy, though the solver does not claim so"
    HONEST = "not valid at the accuracy, and not claimed to be"
    WRONG_INFEASIBLE = "claimed infeasible or unbounded, but there is an optimum"
    NOTHING = "no answer"

    @property
    def correct(self) -> bool | None:
        """Whether claim and truth agree; None where nothing was claimed."""
        if self is Verdict.NOTHING:
            return None
        return self in (Verdict.SUCCESS, Verdict.HONEST)


def tolerances(accuracy: str) -> Tolerances:
    """The tolerances of a named accuracy.

    Raises
    ------
    InvalidInputError
        If there is none of this name.
    """
    if accuracy not in TOLERANCES:
        raise InvalidInputError(f"accuracy: unknown name {accuracy!r} (there are: {', '.join(TOLERANCES)})")
    return TOLERANCES[accuracy]


def distance(value: float | None, truth: tuple[float, float]) -> float:
    """Relative distance of a value from the interval that holds the optimum; NaN where there is no value."""
    lower, upper = truth
    if value is None or math.isnan(value):
        return math.nan
    if lower <= value <= upper:
        return 0.0
    if math.isinf(value) or math.isinf(lower):
        return math.inf
    away = lower - value if value < lower else value - upper
    scale = max(abs(lower), abs(value))
    return away / scale if scale > 0 else math.inf


def valid(measured: Mapping[str, Any], truth: tuple[float, float], accuracy: str) -> bool:
    """Whether all that was measured of an answer is within the tolerances; what has no measure does not count."""
    limits = dataclasses.asdict(tolerances(accuracy))
    found = {name: measured.get(name) for name in ("primal", "cone", "dual", "gap")}
    found["error"] = distance(measured.get("value"), truth)
    return all(abs(number) <= limits[name] for name, number in found.items() if number is not None)


def judge(measured: Mapping[str, Any], truth: tuple[float, float], accuracy: str) -> Verdict:
    """The verdict on what was measured of one solve."""
    claimed = measured.get("claimed")
    if claimed is None:
        return Verdict.NOTHING
    if claimed.startswith(("INFEASIBLE", "UNBOUNDED")):
        rightly = claimed == "INFEASIBLE" and math.isinf(truth[0])
        vague = claimed.endswith("INACCURATE")
        return Verdict.SUCCESS if rightly else Verdict.HONEST if vague else Verdict.WRONG_INFEASIBLE
    good = valid(measured, truth, accuracy)
    if claimed == "OPTIMAL":
        return Verdict.SUCCESS if good else Verdict.WRONG_OPTIMAL
    return Verdict.MODEST if good else Verdict.HONEST
