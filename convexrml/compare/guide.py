"""How to choose a solver: a page made from the results of a comparison and from what the profiles know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from convexrml.compare.families import FAMILIES
from convexrml.compare.measure import DIRECT, SEARCH
from convexrml.compare.pictures import growth_figure, profile_figure
from convexrml.compare.report import overhead, seconds
from convexrml.compare.rows import Row
from convexrml.compare.statistics import Summary, summarise
from convexrml.compare.verdict import TOLERANCES
from convexrml.documents.blocks import Block, Picture, Section, Table
from convexrml.solver_profile import SolverProfile

_ACCURACY = "accurate"
_MADE = (
    "Made by `{command}` from {rows} solves of {instances} seeded instances; the numbers below are from one run on one "
    "machine, and of small instances: run the comparison on the sizes that you have. {facts}"
)
_MEANT = (
    "A solver *succeeds* on an instance if it claims an optimum and the answer, measured from the original data, has a "
    "relative gap and a distance from the certified optimum of at most {gap:g} (the accuracy `{accuracy}`). Times are "
    "compiling and solving together, as shifted geometric means; an instance without success counts with the time "
    "limit. An answer can be *valid* without a claim: the solver aimed higher, and says that it fell short."
)


def guide(
    rows: Sequence[Row], time_limit: float, profiles: Mapping[str, SolverProfile], command: str, facts: str
) -> list[Section]:
    """The page, as sections.

    Parameters
    ----------
    rows : sequence of Row
    time_limit : float
        Seconds, of the comparison.
    profiles : mapping of str to SolverProfile
    command : str
        What regenerates the page.
    facts : str
        Machine and versions in a sentence.
    """
    gap = TOLERANCES[_ACCURACY].gap
    sections = [
        Section(
            1,
            "How to choose a solver",
            (
                _MADE.format(
                    command=command, rows=len(rows), instances=len({row.instance for row in rows}), facts=facts
                ),
                _MEANT.format(gap=gap, accuracy=_ACCURACY),
            ),
        )
    ]
    for family in FAMILIES:
        chosen = [row for row in rows if row.family == family and row.accuracy == _ACCURACY]
        if chosen:
            sections.append(_family(family, chosen, time_limit))
    return [*sections, Section(2, "What went wrong with each", tuple(_issues(profiles)))]


def _family(family: str, rows: Sequence[Row], time_limit: float) -> Section:
    kind = FAMILIES[family]
    summaries = [s for s in summarise(rows, time_limit) if not s.unavailable]
    title = f"{family}, {_ACCURACY}: performance profiles (up and left is better)"
    blocks: list[Block] = [kind.about, _advice(summaries)]
    header = ("solver", "success", "valid", "wrong", "time")
    blocks.append(Table(header, tuple(_line(s) for s in summaries)))
    silent = [f"{s.solver} [{s.unavailable}]" for s in summarise(rows, time_limit) if s.unavailable]
    blocks += [f"Not measured: {', '.join(silent)}."] if silent else []
    blocks.append(Picture(f"comparison/{family}-profile", profile_figure(rows, title), title))
    against = f"{family}, {_ACCURACY}: time against size"
    blocks.append(Picture(f"comparison/{family}-growth", growth_figure(rows, against), against))
    costs = overhead(rows)
    return Section(2, f"{kind.problem_class}: {family}", (*blocks, *([costs] if costs else [])))


def _line(s: Summary) -> tuple[str, ...]:
    return s.solver, f"{s.success:.0%}", f"{s.valid:.0%}", str(s.wrong) if s.wrong else "", seconds(s.seconds)


def _advice(summaries: Sequence[Summary]) -> str:
    """The fastest that never failed, of each kind of road, and those that failed."""
    whole = sorted((s for s in summaries if s.success == 1), key=lambda s: s.seconds)
    modelled = [s for s in whole if s.solver != SEARCH and not s.solver.startswith(DIRECT)]
    direct = [s for s in whole if s.solver.startswith(DIRECT)]
    parts = []
    if any(s.solver == SEARCH for s in whole):
        parts.append("For radii take the library's own search, which needs no solver and proves its answer.")
    if modelled:
        parts.append(f"Through cvxpy, the fastest without a failure: {_named(modelled[:3])}.")
    if direct:
        parts.append(f"Called with arrays: {_named(direct[:3])}.")
    if modest := [f"{s.solver} ({s.success:.0%} claimed)" for s in summaries if s.success < s.valid == 1]:
        parts.append(f"Always valid, though not always claimed to be: {', '.join(modest)}.")
    if failing := [f"{s.solver} ({s.valid:.0%} valid)" for s in summaries if s.valid < 1]:
        parts.append(f"Short of the accuracy, or out of time, on some instances: {', '.join(failing)}.")
    return " ".join(parts)


def _named(summaries: Sequence[Summary]) -> str:
    return ", ".join(f"{s.solver} ({seconds(s.seconds)})" for s in summaries)


def _issues(profiles: Mapping[str, SolverProfile]) -> list[Block]:
    blocks: list[Block] = ["Known issues, as the profiles in `solvers/` have them."]
    for profile in profiles.values():
        lines = tuple((issue.what, issue.workaround, issue.seen_with) for issue in profile.known_issues)
        if lines:
            blocks.append(Table(("what happens", "what to do", "seen with"), lines, profile.title))
    return blocks
