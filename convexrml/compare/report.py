"""What a comparison says: a document of tables and figures."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from convexrml.compare import pictures
from convexrml.compare.families import FAMILIES
from convexrml.compare.measure import DIRECT, SEARCH
from convexrml.compare.rows import Row, read_rows
from convexrml.compare.statistics import (
    ERROR_SHIFT,
    TIME_SHIFT,
    Summary,
    growth,
    shifted_geometric_mean,
    summarise,
)
from convexrml.compare.verdict import TOLERANCES, Verdict
from convexrml.documents.blocks import Block, Picture, Section, Table
from convexrml.errors import DataFileError
from convexrml.ledger import Ledger

_LEGEND = " ".join(
    f"""
    **success**: claimed optimal, and valid at the accuracy. **correct**: of the solves that claimed something, the
    share in which claim and truth agree. **wrong**: claimed optimal (or infeasible), but is not. **time**: shifted
    geometric mean (shift {TIME_SHIFT:g} s) of compiling and solving, the least of up to five repetitions; a solve
    without success counts with the time limit. **error**: shifted geometric mean (shift {ERROR_SHIFT:g}) of the
    relative distance from the certified optimum; no answer counts as 1. **memory**: largest growth of resident memory.
    **modest**: valid at the accuracy, but the solver does not claim an optimum. `{SEARCH}` is the library's own search,
    which answers for all negatives at once; `{DIRECT}NAME` is the solver called with arrays, without cvxpy.
    """.split()
)


def document(ledger: Ledger) -> list[Section]:
    """The report on all finished rows of a ledger.

    Raises
    ------
    DataFileError
        If no row is finished.
    """
    rows, facts = read_rows(ledger), ledger.facts
    if not rows:
        raise DataFileError(f"{ledger.path}: no solve is finished; run the comparison first")
    limit = float(facts.get("limits", {}).get("seconds", math.nan))
    counts = ledger.counts()
    unfinished = counts.get("open", 0) + counts.get("running", 0)
    sections = [Section(1, "Comparison of solvers", _introduction(rows, facts, unfinished))]
    for family in dict.fromkeys(row.family for row in rows):
        sections += _family(family, [row for row in rows if row.family == family], limit)
    return [*sections, Section(2, "Machine and versions", tuple(_machine(rows, facts)))]


def _introduction(rows: Sequence[Row], facts: Mapping[str, Any], unfinished: int) -> tuple[Block, ...]:
    instances, solvers = len({row.instance for row in rows}), len({row.solver for row in rows})
    blocks: list[Block] = [
        f"{len(rows)} solves: {instances} instances, {solvers} roads"
        + (f"; {unfinished} more are not finished." if unfinished else ".")
        + " Each ran in a process of its own; status, residuals, gap and value were measured from the original data, "
        "and the value was held against an optimum that is proved without the solvers compared.",
        _LEGEND,
        Table(
            ("accuracy", "rows", "cones", "dual", "gap", "error"),
            tuple((name, *(f"{v:.2g}" for v in dataclasses.astuple(limits))) for name, limits in TOLERANCES.items()),
            "Valid at an accuracy: largest violation of linear rows, cones and dual feasibility (in the program's "
            "units), relative gap, relative distance from the certified optimum",
        ),
    ]
    wrong = [row for row in rows if row.verdict in (Verdict.WRONG_OPTIMAL, Verdict.WRONG_INFEASIBLE)]
    if wrong:
        blocks.append(Table(*_wrong_table(wrong), title="Claims that are wrong", folded=len(wrong) > 12))
    else:
        blocks.append("No claim of an optimum was wrong.")
    if "command" in facts and facts["command"]:
        blocks.append(f"Made by `{facts['command']}`.")
    return tuple(blocks)


def _wrong_table(rows: Sequence[Row]) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    header = ("instance", "accuracy", "solver", "claimed", "error", "primal", "cones", "dual", "gap")
    return header, tuple(
        (
            _name(row),
            row.accuracy,
            row.solver,
            row.measured["claimed"].lower(),
            *(_number(v) for v in (row.error, *(row.measured.get(n) for n in ("primal", "cone", "dual", "gap")))),
        )
        for row in rows
    )


def _family(family: str, rows: Sequence[Row], limit: float) -> list[Section]:
    about = FAMILIES[family].about if family in FAMILIES else ""
    kind = FAMILIES[family].problem_class if family in FAMILIES else ""
    sizes = ", ".join(str(size) for size in sorted({row.size for row in rows}))
    sections = [
        Section(2, f"{family} ({kind})", (f"{about} Sizes {sizes}; {len({r.seed for r in rows})} seeds each.",))
    ]
    for accuracy in sorted({row.accuracy for row in rows}, key=list(TOLERANCES).index, reverse=True):
        chosen = [row for row in rows if row.accuracy == accuracy]
        summaries = summarise(chosen, limit)
        blocks: list[Block] = [Table(_HEADER, tuple(_summary_line(s) for s in summaries))]
        for name, draw, words in (
            ("profile", pictures.profile_figure, "performance profiles (up and left is better)"),
            ("growth", pictures.growth_figure, "time against size"),
        ):
            title = f"{family}, {accuracy}: {words}"
            blocks.append(Picture(f"{family}-{accuracy}-{name}", draw(chosen, title), title))
        blocks.append(_growth_table(chosen))
        if costs := overhead(chosen):
            blocks.append(costs)
        sections.append(Section(3, f"{family}, {accuracy}", tuple(blocks)))
    return [*sections, Section(3, f"{family}, instance by instance", tuple(_drill_down(rows)))]


_HEADER = ("solver", "success", "correct", "wrong", "time", "compile", "solve", "error", "memory", "remarks")


def _summary_line(s: Summary) -> tuple[str, ...]:
    if s.unavailable:
        return (s.solver, *("",) * (len(_HEADER) - 2), f"[{s.unavailable}]")
    return (
        s.solver,
        f"{s.success:.0%}",
        "" if math.isnan(s.correct) else f"{s.correct:.0%}",
        str(s.wrong) if s.wrong else "",
        seconds(s.seconds),
        seconds(s.compile_seconds),
        seconds(s.solve_seconds),
        _number(s.error),
        "" if math.isnan(s.memory) else f"{s.memory / 2**20:.0f} MB",
        ", ".join(f"{count} {remark}" for remark, count in s.remarks.items()),
    )


def _growth_table(rows: Sequence[Row]) -> Table:
    sizes = sorted({row.size for row in rows})
    curves = growth(rows)
    lines = []
    for solver, curve in curves.items():
        at = dict(zip(curve.sizes.tolist(), curve.seconds.tolist(), strict=True))
        exponent = "" if math.isnan(curve.exponent) else f"{curve.exponent:.2f}"
        lines.append((solver, *(seconds(at[size]) if size in at else "" for size in sizes), exponent))
    title = "Median time at each size at which all seeds succeeded, and the exponent through the three largest"
    return Table(("solver", *(f"n = {size}" for size in sizes), "exponent"), tuple(lines), title, folded=True)


def overhead(rows: Sequence[Row]) -> Table | None:
    """The same solver with and without cvxpy, on the instances that both roads solved."""
    lines = []
    for solver in sorted({row.solver for row in rows if not row.solver.startswith(DIRECT)} - {SEARCH}):
        ours = {row.instance: row for row in rows if row.solver == solver and row.success}
        direct = {row.instance: row for row in rows if row.solver == DIRECT + solver and row.success}
        both = sorted(set(ours) & set(direct))
        if not both:
            continue
        compiling, solving, calling = (
            shifted_geometric_mean(values, TIME_SHIFT / 10)
            for values in (
                [ours[i].measured["compile_seconds"] for i in both],
                [ours[i].measured["solve_seconds"] for i in both],
                [direct[i].seconds for i in both],
            )
        )
        ratio = f"{(compiling + solving) / calling:.1f}" if calling > 0 else ""
        lines.append((solver, str(len(both)), seconds(compiling), seconds(solving), seconds(calling), ratio))
    if not lines:
        return None
    title = "What modelling costs: the same solver through cvxpy and called with arrays"
    return Table(("solver", "instances", "cvxpy compiles", "cvxpy solves", "arrays", "ratio"), tuple(lines), title)


def _drill_down(rows: Sequence[Row]) -> list[Block]:
    header = tuple("accuracy solver verdict value error primal cones dual gap compile solve iterations memory".split())
    tables: list[Block] = []
    for instance in sorted({row.instance for row in rows}):
        own = [row for row in rows if row.instance == instance]
        lower, upper = own[0].truth
        facts = ", ".join(f"{name} {own[0].plan[name]}" for name in _FACTS if name in own[0].plan)
        title = f"{_name(own[0])}: optimum in [{lower:.12g}, {upper:.12g}]; {facts}"
        tables.append(Table(header, tuple(_drill_line(row) for row in own), title, folded=True))
    return tables


_FACTS = ("n_points", "n_triplets", "n_features", "n_neighbors", "data")


def _drill_line(row: Row) -> tuple[str, ...]:
    m = row.measured
    verdict = row.verdict.name.lower().replace("_", " ") if m else f"[{row.outcome}]"
    if not m:
        return (row.accuracy, row.solver, verdict, *("",) * 10)
    return (
        row.accuracy,
        row.solver,
        verdict,
        f"{m['value']:.9g}",
        *(_number(v) for v in (row.error, m.get("primal"), m.get("cone"), m.get("dual"), m.get("gap"))),
        seconds(m["compile_seconds"]),
        seconds(m["solve_seconds"]),
        "" if m.get("iterations") is None else str(m["iterations"]),
        f"{(m['peak_memory'] - m['base_memory']) / 2**20:.0f} MB",
    )


def _machine(rows: Sequence[Row], facts: Mapping[str, Any]) -> list[Block]:
    known = {**facts.get("machine", {}), **facts.get("versions", {}), **facts.get("limits", {})}
    blocks: list[Block] = [Table(("what", "value"), tuple((name, str(value)) for name, value in known.items()))]
    lines = {}
    for row in rows:
        if row.measured and row.solver != SEARCH:
            options = ", ".join(f"{k} = {v}" for k, v in row.measured.get("options", {}).items())
            version = str(row.measured.get("version") or "")
            lines[row.solver, row.accuracy] = (row.solver, version, row.accuracy, options)
    blocks.append(Table(("solver", "version", "accuracy", "options"), tuple(lines[key] for key in sorted(lines))))
    silent = {(row.solver, row.outcome): row.message for row in rows if not row.available}
    said = tuple((solver, f"[{outcome}]", message) for (solver, outcome), message in sorted(silent.items()))
    return [*blocks, Table(("solver", "why it has no answers", "what it said"), said)] if said else blocks


def _name(row: Row) -> str:
    return f"{row.family}-{row.size}-{row.seed}"


def seconds(value: float) -> str:
    """A time with three digits and its unit; empty for NaN."""
    if math.isnan(value):
        return ""
    return f"{value * 1e3:.3g} ms" if value < 1 else f"{value:.3g} s"


def _number(value: float | None) -> str:
    return "" if value is None else "none" if math.isnan(value) else "0" if value == 0 else f"{value:.1e}"
