"""Curves of certified robust errors: for each data set as they are, and less those of the Euclidean metric."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bench_baselines import Array
from bench_learning import METHODS, Method
from bench_learning_rows import BASE, Block, Row
from bench_protocol import errors_at

_GRAY = "#777777"
_BASELINES = 5  # the first methods, drawn thin
_BEYOND = 2.0  # in medians


def draw(blocks: Sequence[Block], file: Path) -> None:
    """Certified robust error (one neighbour, exact) against the radius: mean over the seeds, shaded min to max."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 3.3 * len(blocks) + 0.8), layout="constrained")
    panels = figure.subplots(len(blocks), 2, squeeze=False)
    for block, (left, right) in zip(blocks, panels, strict=True):
        grid = np.linspace(0, _BEYOND * block.median, 300)
        (euclidean,) = next(row for row in block.rows if row.method.name == BASE).records
        radii = np.array(euclidean["evaluation"]["exact"])
        for row in block.rows:
            found = curves(row, grid)
            if len(found):
                style, base = _style(row.method), errors_at(radii[: row.points], grid)
                for ax, values in ((left, found), (right, found - base)):
                    ax.fill_between(
                        grid, values.min(axis=0), values.max(axis=0), color=style["color"], alpha=0.12, lw=0
                    )
                    ax.plot(grid, values.mean(axis=0), label=row.method.name, **style)
        for ax in (left, right):
            for value in block.thresholds:
                ax.axvline(value, color=_GRAY, lw=0.6, ls=":")
            ax.set(xlim=(0, grid[-1]), xlabel="ℓ2 radius ε")
            ax.grid(alpha=0.2)
        left.set(title=f"{block.name} ({block.shape[0]} × {block.shape[1]})", ylim=(0, 1))
        left.set(ylabel="certified robust error, 1-NN")
        right.set(
            title=f"{block.name}: minus the Euclidean",
            ylabel="difference",
            ylim=_limits(block, grid, errors_at(radii, grid)),
        )
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False)
    figure.savefig(file, dpi=90)


def curves(row: Row, grid: Array) -> Array:
    """Certified robust errors for every seed and every radius of the grid."""
    done = [one["evaluation"]["exact"] for one in row.records if not one["problem"]]
    return np.array([errors_at(np.array(radii), grid) for radii in done])


def _limits(block: Block, grid: Array, base: Array) -> tuple[float, float]:
    """Wide enough for what is better than the Euclidean metric; what is much worse leaves the panel."""
    means = [values.mean(axis=0) - base for row in block.rows if len(values := curves(row, grid))]
    low = 1.15 * min(float(mean.min()) for mean in means) - 0.005
    return low, -low / 2


def _style(method: Method) -> dict[str, Any]:
    at = [one.name for one in METHODS].index(method.name)
    if at == 0:
        return {"color": "black", "lw": 1.5, "ls": "--"}
    baseline = at < _BASELINES
    return {"color": f"C{at - 1}", "lw": 1.2 if baseline else 1.8, "ls": "-." if baseline else "-"}
