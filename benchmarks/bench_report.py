"""Tables of what was measured: on the screen, in Markdown, in JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from bench_anytime import Trace
from bench_growth import MEASURED, Growth, exponents, median
from bench_k_nearest import NearestResult
from bench_roads import BRUTE, SEARCH, SetResult
from bench_timing import Timing
from rich.console import Console
from rich.table import Table

_OPEN_HEAD = ["set", "metric", "vote", "k", "point", "ms", "nodes", "interval", "relative width", "status"]
_LARGE = 10_000  # exponents are also fitted from here on, where fixed costs have become small


@dataclasses.dataclass
class Report:
    """All that one run measured."""

    command: str
    machine: dict[str, str]
    threads: int
    load: list[float | None]
    sets: list[SetResult] = dataclasses.field(default_factory=list)
    growth: list[Growth] = dataclasses.field(default_factory=list)
    workers: dict[int, Timing] = dataclasses.field(default_factory=dict)
    workers_on: str = ""
    start: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    nearest: list[NearestResult] = dataclasses.field(default_factory=list)
    traces: list[Trace] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Everything raw, for JSON."""
        return {
            "command": self.command,
            "machine": self.machine,
            "threads": self.threads,
            "load_average": self.load,
            "sets": [_set_dict(result) for result in self.sets],
            "growth": [
                {"n": g.n, "d": g.d, "data_bytes": g.data_bytes, "peak_bytes": g.peak_bytes, **_timings(g.timings)}
                for g in self.growth
            ],
            "exponents": exponents(self.growth) if self.growth else {},
            "workers": {"on": self.workers_on, **{str(n): timing.as_dict() for n, timing in self.workers.items()}},
            "start_seconds": self.start,
            "k_nearest": [result.as_dict() for result in self.nearest],
            "anytime": [trace.as_dict() for trace in self.traces],
            "notes": self.notes,
        }

    def tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """Title, head and rows of each table."""
        tables = []
        if self.sets:
            tables += [_fast_table(self.sets), _slow_table(self.sets), _facts_table(self.sets)]
        if self.growth:
            tables += [_growth_table(self.growth), _exponent_table(self.growth)]
        if self.workers:
            tables.append(_workers_table(self.workers, self.workers_on))
        if self.start:
            tables.append(_start_table(self.start))
        if self.nearest:
            tables.append(_nearest_table(self.nearest))
            if left_open := _open_rows(self.nearest):
                tables.append(("k-NN: points whose interval was left open", _OPEN_HEAD, left_open))
        return tables


def _timings(timings: dict[str, Timing]) -> dict[str, Any]:
    return {"timings": {name: timing.as_dict() for name, timing in timings.items()}}


def _set_dict(result: SetResult) -> dict[str, Any]:
    return {
        "name": result.name,
        "shape": result.shape,
        **_timings(result.timings),
        "slow": {name: timing.as_dict() for name, timing in result.slow.items()},
        "search_on_the_same_points": {name: timing.as_dict() for name, timing in result.same_points.items()},
        "facts": result.facts,
        "notes": list(result.notes),
    }


def number(value: float) -> str:
    """Two significant digits, or three from 100 on."""
    return f"{value:.0f}" if value >= 99.5 else f"{value:.2g}"


def _span(timing: Timing) -> str:
    low, high = timing.range
    return f"{number(timing.median)} ms ({number(low)}–{number(high)})"


def _columns(results: Sequence[SetResult]) -> list[str]:
    return [f"{result.name} ({result.shape})" for result in results]


def _fast_table(results: Sequence[SetResult]) -> tuple[str, list[str], list[list[str]]]:
    rows = []
    for name in results[0].timings:
        cells = []
        for result in results:
            timing = result.timings[name]
            ratio = "" if name == BRUTE else f", {number(timing.ratio_to(result.timings[BRUTE]))}×"
            cells.append(_span(timing) + ratio)
        rows.append([name, *cells])
    title = "Time per point: median (least–most) of the repeats, and ratio to brute-force prediction"
    return title, ["per point", *_columns(results)], rows


def _slow_table(results: Sequence[SetResult]) -> tuple[str, list[str], list[list[str]]]:
    names = dict.fromkeys(name for result in results for name in result.slow)
    rows = []
    for name in names:
        cells = []
        for result in results:
            if name not in result.slow:
                cells.append("–")
                continue
            slow, same = result.slow[name], result.same_points[name]
            ratio, batch = number(slow.median / same.median), number(slow.median / result.timings[SEARCH].median)
            cells.append(f"{_span(slow)}, {ratio}× / {batch}× ({slow.points} points, {len(slow.milliseconds)} repeats)")
        rows.append([name, *cells])
    title = (
        "Other roads, on correctly labelled points; "
        "ratios to the exact radius in norm 2: on the same few points / per point of the table above"
    )
    return title, ["per point", *_columns(results)], rows


def _facts_table(results: Sequence[SetResult]) -> tuple[str, list[str], list[list[str]]]:
    names = dict.fromkeys(name for result in results for name in result.facts)
    rows = [[name, *(f"{r.facts[name]:.3g}" if name in r.facts else "–" for r in results)] for name in names]
    return "What was found", ["", *_columns(results)], rows


def _growth_table(growth: Sequence[Growth]) -> tuple[str, list[str], list[list[str]]]:
    rows = []
    for g in growth:
        search, brute = g.timings[SEARCH], g.timings[BRUTE]
        peaks = [
            f"{number(g.peak_bytes[name] / 2**20)} MB ({number(g.peak_bytes[name] / g.data_bytes)}×)"
            for name in MEASURED
            if name in g.peak_bytes
        ] or ["–"] * len(MEASURED)
        rows.append([
            str(g.d), str(g.n), _span(brute), f"{_span(search)}, {number(search.ratio_to(brute))}×",
            f"{g.data_bytes / 2**20:.1f} MB", *peaks,
        ])  # fmt: skip
    head = ["d", "N", "brute force, per query", "exact radius, per query", "8 N d", *(f"peak: {m}" for m in MEASURED)]
    return "Growth with the training set (Gaussian mixtures, 10 classes)", head, rows


def _exponent_table(growth: Sequence[Growth]) -> tuple[str, list[str], list[list[str]]]:
    every = exponents(growth)
    large = exponents(growth, _LARGE) if sum(g.n >= _LARGE for g in growth) > 1 else {}
    rows = [[name, f"{value:.2f}", f"{large[name]:.2f}" if name in large else "–"] for name, value in every.items()]
    return "Exponent of N in the time per query", ["road", "all sizes", f"N ≥ {_LARGE}"], rows


def _workers_table(workers: dict[int, Timing], on: str) -> tuple[str, list[str], list[list[str]]]:
    one = workers[min(workers)]
    rows = [[str(n), _span(timing), f"{1 / timing.ratio_to(one):.2f}×"] for n, timing in workers.items()]
    return f"Workers ({on}, {one.points} points)", ["n_jobs", "exact radius, per point", "speed-up"], rows


def _start_table(start: dict[str, list[float]]) -> tuple[str, list[str], list[list[str]]]:
    rows = [[name, f"{median(v):.2f} s", f"{min(v):.2f}–{max(v):.2f} s"] for name, v in start.items()]
    return "Start-up, fresh processes, compiled kernels cached", ["", "median", "range"], rows


def _nearest_table(results: Sequence[NearestResult]) -> tuple[str, list[str], list[list[str]]]:
    rows = []
    for result in results:
        times = np.percentile(result.exact_ms, [50, 95, 100])
        rows.append([
            f"{result.name} ({result.shape})", result.metric, result.vote, str(result.k),
            f"{100 * result.proven.mean():.3g} %", *(number(value) for value in times),
            f"{result.mean_radius:.3g}", f"{result.bound_ratio:.3f}", f"{result.attack_ratio:.3f}",
            f"{result.attack_time_ratio:.2f}", f"{np.median(result.nodes):.0f}", str(result.nodes.max()),
        ])  # fmt: skip
    head = [
        "set", "metric", "vote", "k", "proven", "median ms", "95 % ms", "worst ms", "mean radius", "certified / exact",
        "attack / exact", "attack time / exact time", "median nodes", "most nodes",
    ]  # fmt: skip
    points = len(results[0].nodes)
    title = (
        f"Exact k-NN radii in norm 2, {points} points each, every search timed by itself; "
        "means are over the points with a proven, positive radius"
    )
    return title, head, rows


def _open_rows(results: Sequence[NearestResult]) -> list[list[str]]:
    rows = []
    for result in results:
        for at in np.flatnonzero(~result.proven):
            lower, upper = result.lower[at], result.upper[at]
            rows.append([
                result.name, result.metric, result.vote, str(result.k), str(at), number(result.exact_ms[at]),
                str(result.nodes[at]), f"{lower:.6g} to {upper:.6g}", f"{(upper - lower) / upper:.2g}",
                result.status[at],
            ])  # fmt: skip
    return rows


def show(report: Report, console: Console) -> None:
    """Print the tables."""
    for title, head, rows in report.tables():
        table = Table(title=title, title_justify="left", show_lines=True)
        for place, name in enumerate(head):
            table.add_column(name, overflow="fold", justify="left" if place == 0 else "right")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    for note in report.notes:
        console.print(note)


def markdown(report: Report) -> str:
    """The tables for a README, with the machine and the command line."""
    facts = dict(report.machine)
    head = f"{facts.pop('cpu')}, {facts.pop('cores')} cores, {facts.pop('system')}"
    versions = ", ".join(f"{name} {version}" for name, version in facts.items())
    load = ", ".join("unknown" if value is None else f"{value:.1f}" for value in report.load)
    lines = [
        f"Machine: {head}; {versions}.",
        f"Threads for BLAS, OpenMP, numba and n_jobs: {report.threads}. Load average at the start and the end: {load}.",
        f"Command: `{report.command}`",
    ]
    for title, names, rows in report.tables():
        lines += ["", f"**{title}**", "", _line(names), _line(["---"] + ["---:"] * (len(names) - 1))]
        lines += [_line(row) for row in rows]
    if report.notes:
        lines += ["", *(f"- {note}" for note in report.notes)]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
