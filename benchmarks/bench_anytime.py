"""What a branch and bound knows while it runs: lower and upper bounds of the hardest points against time."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bench_data import Sample
from bench_k_nearest import EUCLIDEAN, MAJORITY, NearestResult, shuffled
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, PercentFormatter
from numpy.typing import NDArray

import convexrml
from convexrml.study.figures import save_figure

_POINTS_PER_CASE = 3
_MOST_CASES = 3
_GROWTH = 1.4  # of the number of nodes, from one run to the next
_ROUNDING = 1e-12  # relative: a witness that is found later may cut a bound off that is above it by rounding
_DASHES = (0, (3, 1.5))
_COLOURS = ("#0072B2", "#D55E00", "#009E73")  # Okabe and Ito


@dataclasses.dataclass(frozen=True, eq=False)
class Trace:
    """Intervals of one point after ever more nodes.

    Attributes
    ----------
    name, k, point : the data set, the number of neighbours, which test point (after the shuffle)
    nodes, seconds, lower, upper : (n,) arrays
    closed : bool
        Whether the last interval is closed.
    """

    name: str
    k: int
    point: int
    nodes: NDArray[np.int64]
    seconds: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    closed: bool

    def require_monotone(self) -> None:
        """Raise an AssertionError if the lower bound ever falls, or the upper one ever rises."""
        falls = self.lower[1:] < self.lower[:-1] * (1 - _ROUNDING)
        rises = self.upper[1:] > self.upper[:-1] * (1 + _ROUNDING)
        if falls.any() or rises.any():
            raise AssertionError(f"{self.name}, k = {self.k}, point {self.point}: {self.lower}, {self.upper}")

    def as_dict(self) -> dict[str, Any]:
        """Everything raw, for JSON."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in fields.items()}


def hardest_cases(results: Sequence[NearestResult]) -> list[NearestResult]:
    """The Euclidean majority case with most nodes of each data set; if there are many, those with most nodes of all."""
    hardest: dict[str, NearestResult] = {}
    for result in sorted(results, key=lambda result: -result.nodes.max()):
        if (result.metric, result.vote) == (EUCLIDEAN, MAJORITY):
            hardest.setdefault(result.name, result)
    few = list(hardest.values())[:_MOST_CASES]
    return [result for result in results if any(result is case for case in few)]


def trace_hardest(
    samples: Sequence[Sample],
    results: Sequence[NearestResult],
    time_limit: float,
    step: Callable[[str], object] = lambda what: None,
) -> list[Trace]:
    """Traces of the points with most nodes in the hardest cases; every one is checked to be monotone."""
    by_name, traces = {sample.name: sample for sample in samples}, []
    for case in hardest_cases(results):
        some = shuffled(by_name[case.name], len(case.nodes))
        model = convexrml.NearestNeighbors(case.k).fit(some.X, some.y)
        for point in np.argsort(-case.nodes, kind="stable")[:_POINTS_PER_CASE]:
            step(f"{case.name}: k = {case.k}, bounds against time of point {point}")
            trace = trace_of(some, model, int(point), time_limit)
            trace.require_monotone()
            traces.append(trace)
    return traces


def trace_of(some: Sample, model: convexrml.NearestNeighbors, point: int, time_limit: float) -> Trace:
    """Search a point again and again, each time with more nodes, until its interval is closed or time is up.

    A run with fewer nodes is the beginning of one with more, and cannot take longer: times are made to say so.
    """
    z, t = some.Z[point : point + 1], some.t[point : point + 1]
    limit, limits, seconds, found = 0, [], [], []
    while not found or not (found[-1].status[0].closed or seconds[-1] * _GROWTH > time_limit):
        start = time.perf_counter()
        found.append(convexrml.exact_radius(model, z, t, vote=MAJORITY, node_limit=limit))
        seconds.append(time.perf_counter() - start)
        limits.append(int(found[-1].solves[0]))
        limit = max(limit + 1, int(_GROWTH * limit))
    return Trace(
        some.name,
        model.n_neighbors,
        point,
        nodes=np.array(limits),
        seconds=np.minimum.accumulate(np.array(seconds)[::-1])[::-1],
        lower=np.array([one.lower[0] for one in found]),
        upper=np.array([one.upper[0] for one in found]),
        closed=bool(found[-1].status[0].closed),
    )


def checked(traces: Sequence[Trace]) -> str:
    """How much was checked, in a sentence."""
    intervals = sum(len(trace.nodes) for trace in traces)
    return f"Bounds against time: in {intervals} intervals of {len(traces)} points no lower bound ever fell."


def anytime_figure(traces: Sequence[Trace]) -> Figure:
    """Bounds against time, a panel for each case, relative to the nearest witness found in the end."""
    panels = list(dict.fromkeys((trace.name, trace.k) for trace in traces))
    figure = Figure(figsize=(3.4 * len(panels) + 0.6, 4.5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    row: Any = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (name, k) in zip(row, panels, strict=True):
        those = [trace for trace in traces if (trace.name, trace.k) == (name, k)]
        for trace, colour in zip(those, _COLOURS, strict=False):
            _draw(axes, trace, colour)
        axes.axhline(1.0, color="0.6", lw=0.8, zorder=1)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds:g}"))
        axes.set_xlabel("time on one core (s)")
        axes.set_title(f"{name.split(',')[0]}, k = {k}", loc="left", fontsize=11)
        axes.grid(color="0.9")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        below = {"loc": "upper left", "bbox_to_anchor": (0.0, -0.16), "alignment": "left"}
        axes.legend(frameon=False, fontsize=9, title="radius of the hardest points", title_fontsize=9, **below)
    row[0].set_ylabel("bounds / nearest witness found in the end")
    row[0].yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    lines = [Line2D([], [], color="0.2", lw=1.6), Line2D([], [], color="0.2", lw=1.6, ls=_DASHES)]
    names = ["proven lower bound", "nearest witness so far (upper bound)"]
    figure.legend(lines, names, frameon=False, fontsize=9, ncols=2, loc="outside upper left")
    return figure


def _draw(axes: Any, trace: Trace, colour: str) -> None:
    unit = trace.upper[-1]
    if trace.closed:
        label = f"{unit:.3f}, proven in {trace.seconds[-1]:.2g} s"
    else:
        label = f"{trace.lower[-1]:.3f} to {unit:.3f}, open"
    axes.fill_between(
        trace.seconds, trace.lower / unit, trace.upper / unit, step="post", color=colour, alpha=0.10, lw=0
    )
    axes.step(trace.seconds, trace.lower / unit, where="post", color=colour, lw=1.6, label=label)
    axes.step(trace.seconds, trace.upper / unit, where="post", color=colour, lw=1.6, ls=_DASHES)
    if trace.closed:
        axes.plot(trace.seconds[-1], 1.0, "o", color=colour, ms=5, zorder=3)


def save_anytime(traces: Sequence[Trace], path: Path) -> None:
    """Draw the traces and save the figure."""
    save_figure(anytime_figure(traces), path)
