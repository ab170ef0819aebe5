"""Curves of certified robust errors, one panel for each data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bench_learning import METHODS, Method
from bench_learning_rows import BASE, Block
from bench_protocol import errors_at

_GRAY = "#777777"


def draw(blocks: Sequence[Block], file: Path) -> None:
    """Certified robust error (one neighbour, exact) against the radius: mean over the seeds, shaded min to max."""
    from matplotlib.figure import Figure

    columns = min(2, len(blocks))
    rows = -(-len(blocks) // columns)
    figure = Figure(figsize=(5.2 * columns, 3.9 * rows + 0.7), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, block in zip(axes, blocks, strict=False):
        grid = np.linspace(0, 2.2 * block.median, 300)
        for row in block.rows:
            done = [one["evaluation"]["exact"] for one in row.records if not one["problem"]]
            if done:
                curves = np.array([errors_at(np.array(radii), grid) for radii in done])
                style = _style(row.method)
                ax.fill_between(grid, curves.min(axis=0), curves.max(axis=0), color=style["color"], alpha=0.15, lw=0)
                ax.plot(grid, curves.mean(axis=0), label=row.method.name, **style)
        for value in block.thresholds:
            ax.axvline(value, color=_GRAY, lw=0.6, ls=":")
        ax.set(title=f"{block.name} ({block.shape[0]} × {block.shape[1]})", xlim=(0, grid[-1]), ylim=(0, 1))
        ax.set(xlabel="ℓ2 radius ε", ylabel="certified robust error, 1-NN")
        ax.grid(alpha=0.2)
    for ax in axes[len(blocks) :]:
        ax.set_axis_off()
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(5, len(labels)), frameon=False)
    figure.savefig(file, dpi=130)


def _style(method: Method) -> dict[str, Any]:
    at = [one.name for one in METHODS].index(method.name)
    if method.name == BASE:
        return {"color": "black", "lw": 1.6, "ls": "--"}
    return {"color": f"C{at - 1}", "lw": 1.5 if at <= 4 else 2.0, "ls": "-" if at > 4 else "-."}
