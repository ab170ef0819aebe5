"""Figures of a certification, drawn without a display and without pyplot's global state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from convexrml.documents.blocks import png_of
from convexrml.study.certify import Certification
from convexrml.study.data import DataSet
from convexrml.study.learn import LearnedMetric

# Okabe and Ito's palette: told apart by colour-blind readers.
_CERTIFIED, _EXACT, _EMPIRICAL, _CLEAN = "#0072B2", "#000000", "#D55E00", "#009E73"


def robust_error_figure(result: Certification) -> Figure:
    """Robust error against the size of the perturbation: certified from above, empirical from below, exact between.

    Certified error is drawn over all test points, exact error over those that were searched, and empirical error over
    the sample that was attacked.  Where some radii are known as intervals only, exact error is the band between its
    two bounds.

    Parameters
    ----------
    result : Certification

    Returns
    -------
    matplotlib Figure
    """
    figure, axes = _canvas()
    lower, exact, attack = result.certified.lower, result.exact, result.attack.upper
    end = _right_end([lower, attack] + ([] if exact is None else [exact.lower, exact.upper]))

    def of(count: int) -> str:
        return f"all {count} points" if count == len(lower) else f"{count} of {len(lower)} points"

    axes.plot(*_steps(lower, end), color=_CERTIFIED, lw=2.2, label=f"certified, {of(len(lower))}")
    if exact is not None:
        known, line = bool(result.known.all()), {"color": _EXACT, "lw": 1.4, "ls": (0, (4, 2))}
        if known:
            axes.plot(*_steps(exact.radius, end), **line, label=f"exact, {of(len(exact))}")
        else:
            axes.plot(*_steps(exact.lower, end), **line, label=f"exact, between bounds, {of(len(exact))}")
            axes.plot(*_steps(exact.upper, end), **line)
            axes.fill_between(*_band(exact.lower, exact.upper, end), step="post", color=_EXACT, alpha=0.12, lw=0)
    if len(attack):
        axes.plot(
            *_steps(attack, end),
            color=_EMPIRICAL,
            lw=1.6,
            ls=(0, (1, 1)),
            label=f"empirical (attack), {of(len(attack))}",
        )
    axes.axhline(
        result.clean_error, color=_CLEAN, lw=1.2, ls="-.", label=f"clean error, {result.clean_error:.1%}", zorder=1
    )

    within = "" if result.settings.box is None else ", inside the box for exact and empirical"
    k = result.settings.n_neighbors
    by = "1-nearest neighbour" if k == 1 else f"{k}-nearest neighbours, {result.settings.vote} vote"
    _finish(axes, end, f"{result.data.name}: {by}, robust error", f"{result.norm} ({_unit(result.data)}{within})")
    return figure


def learned_metric_figure(result: LearnedMetric) -> Figure:
    """Exact robust error of 1-NN on the test points, under the Euclidean and under the learned metric.

    Parameters
    ----------
    result : LearnedMetric

    Returns
    -------
    matplotlib Figure
    """
    figure, axes = _canvas()
    before, after = result.before.lower, result.after.lower
    end = _right_end([before, after])
    axes.plot(*_steps(before, end), color=_EXACT, lw=1.4, ls=(0, (4, 2)), label="Euclidean")
    axes.plot(*_steps(after, end), color=_CERTIFIED, lw=2.2, label=f"learned ({result.method})")
    title = f"{result.data.name}: 1-nearest neighbour, robust error of {len(after)} test points"
    _finish(axes, end, title, f"{result.after.norm} ({_unit(result.data)})")
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, the same bytes for the same figure."""
    path.write_bytes(png_of(figure))


def _canvas() -> tuple[Figure, Any]:
    figure = Figure(figsize=(7.0, 4.4), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _finish(axes: Any, end: float, title: str, measured_in: str) -> None:
    axes.set_xlim(0, end)
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel(f"perturbation size in {measured_in}")
    axes.set_ylabel("robust error")
    axes.set_title(title, loc="left", fontsize=11)
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="lower right")


def _unit(data: DataSet) -> str:
    return "scaled features" if data.origin.get("scale") == "minmax" else "units of the features"


def _right_end(curves: list[NDArray[np.float64]]) -> float:
    finite = np.concatenate(curves)
    finite = finite[np.isfinite(finite)]
    end = float(finite.max(initial=0.0))
    return 1.04 * end if end > 0 else 1.0


def _steps(radii: NDArray[np.float64], end: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Corners of the curve ε ↦ share of radii ≤ ε on [0, end]: right-continuous steps."""
    at = np.sort(radii[np.isfinite(radii)])
    height = np.arange(len(at) + 1) / len(radii)
    x = np.concatenate([[0.0], np.repeat(at, 2), [end]])
    return x, np.repeat(height, 2)


def _band(lower: NDArray[np.float64], upper: NDArray[np.float64], end: float) -> tuple[NDArray[np.float64], ...]:
    """Abscissae on [0, end], and the shares of `upper` and of `lower` that are ≤ each: where both curves may step."""
    x = np.unique(np.concatenate([[0.0, end], lower[np.isfinite(lower)], upper[np.isfinite(upper)]]))
    least, most = (np.searchsorted(np.sort(radii), x, side="right") / len(radii) for radii in (upper, lower))
    return x, least, most
