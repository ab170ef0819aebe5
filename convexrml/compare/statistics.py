"""What rows add up to: shares, shifted geometric means, performance profiles, growth."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from convexrml.compare.rows import Row, road_order
from convexrml.compare.verdict import Verdict

TIME_SHIFT = 1e-2  # seconds: differences below do not matter to anyone
ERROR_SHIFT = 1e-9
NO_ANSWER = 1.0  # the relative error that counts where there is no answer


@dataclasses.dataclass(frozen=True)
class Summary:
    """One solver on one family at one accuracy.

    Attributes
    ----------
    solver : str
    rows : int
    success : float
        Share of the rows that are claimed optimal and valid.
    valid : float
        Share of the rows that are valid, claimed or not.
    correct : float
        Share of the rows with a claim in which it agrees with the truth; NaN without any.
    wrong : int
        Rows claimed optimal (or infeasible) that are not.
    seconds : float
        Shifted geometric mean of the time; a row without success counts with the time limit.
    compile_seconds, solve_seconds : float
        The same over the rows with an answer, apart.
    error : float
        Shifted geometric mean of the relative distance from the certified optimum; no answer counts as 1.
    memory : float
        Largest growth of resident memory in bytes; NaN without an answer.
    unavailable : str
        Why the solver could not be asked at all ("missing solver", "no licence"), else "".
    remarks : dict
        How many rows had no answer, by reason, and how many were valid though not claimed so (``"modest"``).
    """

    solver: str
    rows: int
    success: float
    valid: float
    correct: float
    wrong: int
    seconds: float
    compile_seconds: float
    solve_seconds: float
    error: float
    memory: float
    unavailable: str
    remarks: dict[str, int]


def shifted_geometric_mean(values: Iterable[float], shift: float) -> float:
    """``exp(mean log(v + shift)) − shift``: what is far below the shift counts alike, large values do not dominate."""
    logs = [math.log(value + shift) for value in values]
    if not logs:
        return math.nan
    mean = math.exp(math.fsum(logs) / len(logs)) - shift
    return mean if mean > 1e-12 * shift else 0.0  # the subtraction's rounding


def summarise(rows: Sequence[Row], time_limit: float) -> list[Summary]:
    """One summary for each solver among the rows of one family and accuracy; the best first."""
    found = [
        _summary(solver, [row for row in rows if row.solver == solver], time_limit)
        for solver in sorted({row.solver for row in rows}, key=road_order)
    ]
    return sorted(found, key=lambda s: (bool(s.unavailable), -s.success, s.seconds))


def _summary(solver: str, rows: Sequence[Row], time_limit: float) -> Summary:
    answered = [row for row in rows if row.measured]
    claims = [correct for row in rows if (correct := row.verdict.correct) is not None]
    outcomes = [row.outcome for row in rows if not row.measured]
    remarks = outcomes + ["modest"] * sum(row.verdict is Verdict.MODEST for row in rows)
    closed = not answered and not any(row.available for row in rows)

    def mean(name: str) -> float:
        return shifted_geometric_mean((row.measured[name] for row in answered), TIME_SHIFT)

    return Summary(
        solver=solver,
        rows=len(rows),
        success=sum(row.success for row in rows) / len(rows),
        valid=sum(row.verdict in (Verdict.SUCCESS, Verdict.MODEST) for row in rows) / len(rows),
        correct=sum(claims) / len(claims) if claims else math.nan,
        wrong=sum(row.verdict in (Verdict.WRONG_OPTIMAL, Verdict.WRONG_INFEASIBLE) for row in rows),
        seconds=shifted_geometric_mean((row.seconds if row.success else time_limit for row in rows), TIME_SHIFT),
        compile_seconds=mean("compile_seconds"),
        solve_seconds=mean("solve_seconds"),
        error=shifted_geometric_mean(
            (NO_ANSWER if math.isnan(row.error) else min(row.error, NO_ANSWER) for row in rows), ERROR_SHIFT
        ),
        memory=max((row.measured["peak_memory"] - row.measured["base_memory"] for row in answered), default=math.nan),
        unavailable=outcomes[0] if closed else "",
        remarks={remark: remarks.count(remark) for remark in dict.fromkeys(remarks)},
    )


def performance_profile(rows: Sequence[Row]) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Dolan and Moré's profiles: for each solver the steps (τ, share of instances solved within τ times the best).

    Only success counts.  Instances that nobody solved count for nobody; solvers that could not be asked have no curve.

    Notes
    -----
    E. D. Dolan, J. J. Moré, Benchmarking optimization software with performance profiles, Math. Program. 91 (2002).
    """
    rows = [row for row in rows if row.available]
    instances = {row.instance for row in rows}
    best = {
        instance: min((r.seconds for r in rows if r.instance == instance and r.success), default=math.inf)
        for instance in instances
    }
    profiles = {}
    for solver in sorted({row.solver for row in rows}, key=road_order):
        solved = [row for row in rows if row.solver == solver and row.success]
        ratios = np.sort([max(1.0, row.seconds / best[row.instance]) for row in solved])
        profiles[solver] = (ratios, np.arange(1, len(ratios) + 1) / len(instances))
    return profiles


@dataclasses.dataclass(frozen=True)
class Growth:
    """Time against size: medians over the seeds, and the exponent of a power law through the largest sizes.

    Attributes
    ----------
    sizes, seconds : (m,) arrays
        Sizes at which every row was a success.
    exponent : float
        Slope of the least-squares line through the logarithms of the three largest; NaN with fewer.
    """

    sizes: NDArray[np.float64]
    seconds: NDArray[np.float64]
    exponent: float


def growth(rows: Sequence[Row]) -> dict[str, Growth]:
    """How each solver's time grows with the size, on one family at one accuracy."""
    found = {}
    for solver in sorted({row.solver for row in rows}, key=road_order):
        own = [row for row in rows if row.solver == solver]
        sizes = [size for size in sorted({row.size for row in own}) if all(r.success for r in own if r.size == size)]
        medians = np.array([np.median([row.seconds for row in own if row.size == size]) for size in sizes])
        exponent = float(np.polyfit(np.log(sizes[-3:]), np.log(medians[-3:]), 1)[0]) if len(sizes) >= 3 else math.nan
        if sizes:
            found[solver] = Growth(np.array(sizes, dtype=float), medians, exponent)
    return found
