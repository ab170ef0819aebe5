"""Figures of a comparison: performance profiles, and time against size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from convexrml.compare.measure import DIRECT, SEARCH
from convexrml.compare.rows import Row
from convexrml.compare.statistics import growth, performance_profile

_PALETTE = [matplotlib.colormaps["tab20"](i) for i in (*range(0, 20, 2), *range(1, 20, 2))]


def styles(solvers: Sequence[str]) -> dict[str, dict[str, Any]]:
    """One colour for each solver, dashed where it was called without cvxpy; the search is black."""
    bases = sorted({solver.removeprefix(DIRECT) for solver in solvers} - {SEARCH})
    found: dict[str, dict[str, Any]] = {}
    for solver in solvers:
        if solver == SEARCH:
            found[solver] = {"color": "black", "lw": 2.0, "ls": "-"}
        else:
            place = bases.index(solver.removeprefix(DIRECT)) % len(_PALETTE)
            dashed = solver.startswith(DIRECT)
            found[solver] = {"color": _PALETTE[place], "lw": 1.5, "ls": (0, (3, 1.5)) if dashed else "-"}
    return found


def profile_figure(rows: Sequence[Row], title: str) -> Figure:
    """Performance profiles of one family at one accuracy."""
    figure, axes = _canvas(title)
    profiles = performance_profile(rows)
    end = 2.0 * max((float(ratios.max(initial=1.0)) for ratios, _ in profiles.values()), default=1.0)
    style = styles(list(profiles))
    for solver, (ratios, shares) in profiles.items():
        at = np.concatenate([[1.0], ratios, [end]])
        heights = np.concatenate([[0.0], shares, [shares[-1] if len(shares) else 0.0]])
        axes.step(at, heights, where="post", label=solver, **style[solver])
    axes.set_xscale("log")
    axes.set_xlim(1.0, end)
    axes.set_ylim(-0.02, 1.04)
    axes.set_xlabel("time, as a multiple of the fastest road's")
    axes.set_ylabel("share of instances solved")
    return _finished(figure, axes)


def growth_figure(rows: Sequence[Row], title: str) -> Figure:
    """Time against size of one family at one accuracy, with the exponent of the fit in the legend."""
    figure, axes = _canvas(title)
    curves = growth(rows)
    style = styles(list(curves))
    for solver, curve in curves.items():
        exponent = "" if math.isnan(curve.exponent) else f", n^{curve.exponent:.1f}"
        axes.plot(curve.sizes, curve.seconds, marker="o", ms=3, label=f"{solver}{exponent}", **style[solver])
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("size n (training points, or triplets)")
    axes.set_ylabel("seconds, median over the seeds")
    return _finished(figure, axes)


def _canvas(title: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=(8.2, 4.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=10)
    return figure, axes


def _finished(figure: Figure, axes: Any) -> Figure:
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right center", frameon=False, fontsize=7.5)
    return figure
