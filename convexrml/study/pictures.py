"""Pictures of a study: robust error with spread over seeds, bound against exact radius, classes, fragile points."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from convexrml.study.outcome import Cell, Floats, Outcome, known_error_at

# Okabe and Ito's palette: told apart by colour-blind readers; more metrics than colours start it again, dashed.
_COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_BROKEN = (":", "--", "-.")
_SHOWN = 6  # fragile points in a picture


def pictures(outcome: Outcome) -> Iterator[tuple[str, str, Figure]]:
    """All pictures of a study as far as it is: name for a file, caption, figure."""
    for number, question in enumerate(outcome.plan.questions, start=1):
        for data in outcome.plan.data:
            cells = [cell for cell in outcome.of(data.name, question) if not np.isnan(cell.lower).any()]
            if not cells:
                continue
            stem, about = f"{data.name}-{number}", f"{data.name}, {question}"
            curves = ["certified robust error"]
            curves += ["broken: empirical, by each attack"] if question.attacks else []
            curves += ["bands: least to greatest over seeds"] if len(outcome.plan.seeds) > 1 else []
            yield f"{stem}-robust-error", f"{about}: {'; '.join(curves)}", robust_error_curves(cells)
            if any(np.isfinite(_ratios(cell)).any() for cell in cells):
                yield f"{stem}-ratio", f"{about}: certified (closed form) over exact radius", ratio_histogram(cells)
            yield f"{stem}-classes", f"{about}: proved radii of each class, median and quartiles", class_radii(cells)
            if cells[0].fragile:
                yield (
                    f"{stem}-fragile",
                    f"{about}, {cells[0].case.metric.name}: perturbations of the most fragile points (number: length)",
                    fragile_points(cells[0]),
                )


def robust_error_curves(cells: Sequence[Cell]) -> Figure:
    """Share of points whose lower bound is at most ε: the mean over seeds for each metric, and least to greatest.

    Where tools attack, also the share that each attack changes within ε, broken lines in the metric's colour.
    """
    figure, axes = _canvas()
    radii = np.concatenate([cell.lower[np.isfinite(cell.lower)] for cell in cells])
    end = 1.04 * float(radii.max(initial=0)) or 1.0
    at = np.linspace(0, end, 400)
    for number, (metric, group) in enumerate(_by_metric(cells)):
        errors = np.array([known_error_at(cell.lower, at) for cell in group])
        style = {"color": _COLOURS[number % len(_COLOURS)], "ls": "-" if number < len(_COLOURS) else "--"}
        axes.plot(at, errors.mean(axis=0), label=metric, lw=1.8, **style)
        if len(group) > 1:
            axes.fill_between(at, errors.min(axis=0), errors.max(axis=0), color=style["color"], alpha=0.15, lw=0)
        for attack, dashes in zip(cells[0].question.attacks, itertools.cycle(_BROKEN)):
            found = np.array([known_error_at(cell.by_attack(attack), at) for cell in group])
            if not np.isnan(found).any():
                label = f"{metric}, {attack}"
                axes.plot(at, found.mean(axis=0), label=label, lw=1.2, color=style["color"], ls=dashes)
    ylabel = "robust error" if cells[0].question.attacks else "certified robust error"
    axes.set(xlim=(0, end), ylim=(0, 1.02), xlabel="ε", ylabel=ylabel)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    return figure


def ratio_histogram(cells: Sequence[Cell]) -> Figure:
    """How much of the exact radius the closed form proves, over all points with a positive radius."""
    figure, axes = _canvas()
    for number, (metric, group) in enumerate(_by_metric(cells)):
        ratios = np.concatenate([_ratios(cell) for cell in group])
        ratios = ratios[np.isfinite(ratios)]
        if len(ratios):
            label = f"{metric} (mean {ratios.mean():.3f})"
            colour = _COLOURS[number % len(_COLOURS)]
            axes.hist(
                ratios, bins=np.linspace(0, 1, 41), histtype="step", lw=1.6, color=colour, label=label, density=True
            )
    axes.set(xlim=(0, 1), xlabel="certified / exact radius", ylabel="density")
    axes.legend(frameon=False, fontsize=9, loc="upper left")
    return figure


def class_radii(cells: Sequence[Cell]) -> Figure:
    """Median lower bound of each class's points, with quartiles, for each metric (all seeds together)."""
    figure, axes = _canvas()
    classes = np.unique(np.concatenate([cell.labels for cell in cells]))
    groups = list(_by_metric(cells))
    width = 0.8 / len(groups)
    for number, (metric, group) in enumerate(groups):
        quartiles = np.array([_quartiles(group, label) for label in classes])
        at = np.arange(len(classes)) + (number - (len(groups) - 1) / 2) * width
        middle = quartiles[:, 1]
        axes.bar(at, middle, 0.9 * width, color=_COLOURS[number % len(_COLOURS)], label=metric, alpha=0.85)
        bars = np.maximum([middle - quartiles[:, 0], quartiles[:, 2] - middle], 0)
        axes.errorbar(at, middle, yerr=bars, fmt="none", ecolor="0.3", lw=1, capsize=2)
    axes.set_xticks(range(len(classes)), [str(label) for label in classes])
    axes.set(xlabel="class", ylabel="lower bound: median, quartiles")
    axes.legend(frameon=False, fontsize=9)
    return figure


def fragile_points(cell: Cell) -> Figure:
    """The correctly classified points that the least perturbation changes: before, perturbation, after.

    Images where the plan says that features are pixels; otherwise the perturbation, feature by feature.
    """
    shown = cell.fragile[:_SHOWN]
    shape = cell.case.data.image_shape
    if shape and math.prod(shape) == len(shown[0]["z"]):
        return _images(shown, shape)
    figure = Figure(figsize=(7.0, 1.2 * len(shown) + 0.8), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, point in zip(figure.subplots(len(shown), squeeze=False)[:, 0], shown, strict=True):
        delta = np.asarray(point["delta"])
        axes.bar(range(len(delta)), delta, color=_COLOURS[1])
        axes.axhline(0, color="0.5", lw=0.6)
        axes.set_title(_caption(point), fontsize=8, loc="left", pad=2)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("feature", fontsize=9)
    figure.supylabel("perturbation", fontsize=9)
    return figure


def _images(shown: Sequence[dict[str, Any]], shape: tuple[int, ...]) -> Figure:
    figure = Figure(figsize=(1.5 * len(shown) + 0.6, 4.8), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(3, len(shown), squeeze=False)
    for column, point in enumerate(shown):
        z, delta = (np.asarray(point[name]).reshape(shape) for name in ("z", "delta"))
        size = float(np.abs(delta).max()) or 1.0
        low, high = float(z.min()), float(z.max())
        for row, (image, colours) in enumerate(
            [
                (z, {"cmap": "gray", "vmin": low, "vmax": high}),
                (delta, {"cmap": "RdBu", "vmin": -size, "vmax": size}),
                (z + delta, {"cmap": "gray", "vmin": low, "vmax": high}),
            ]
        ):
            axes = grid[row, column]
            axes.imshow(image, **colours)
            axes.set_xticks([])
            axes.set_yticks([])
            if column == 0:
                axes.set_ylabel(("point", "perturbation", "together")[row], fontsize=9)
        grid[0, column].set_title(_caption(point), fontsize=8)
    return figure


def _caption(point: dict[str, Any]) -> str:
    return f"#{point['query']}: {point['upper']:.4g}"


def _ratios(cell: Cell) -> Floats:
    ratios = np.full(len(cell.labels), np.nan)
    positive = (cell.exact_lower > 0) & np.isfinite(cell.exact_lower)
    ratios[positive] = np.minimum(cell.certified[positive] / cell.exact_lower[positive], 1.0)
    return ratios


def _quartiles(group: Sequence[Cell], label: Any) -> Floats:
    radii = np.concatenate([cell.lower[cell.labels == label] for cell in group])
    radii = radii[np.isfinite(radii)]
    return np.quantile(radii, (0.25, 0.5, 0.75)) if len(radii) else np.zeros(3)


def _by_metric(cells: Sequence[Cell]) -> Iterator[tuple[str, list[Cell]]]:
    names = dict.fromkeys(cell.case.metric.name for cell in cells)
    yield from ((name, [cell for cell in cells if cell.case.metric.name == name]) for name in names)


def _canvas() -> tuple[Figure, Any]:
    figure = Figure(figsize=(6.4, 3.8), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.add_subplot()
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
