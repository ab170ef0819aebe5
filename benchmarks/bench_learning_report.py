"""The page of the comparison of learners: tables in Markdown, all figures in JSON, curves of robust errors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bench_baselines import Array
from bench_learning import METHODS
from bench_learning_figure import draw
from bench_learning_rows import BASE, Block, Record, Row, blocks_of, shown
from bench_protocol import MANY


def write_report(records: Sequence[Record], page: Path) -> None:
    """Page, JSON and figure, side by side under one name."""
    blocks = blocks_of(records)
    page.with_suffix(".json").write_text(json.dumps(as_dict(blocks, records)) + "\n", encoding="utf-8")
    if blocks:
        draw(blocks, page.with_suffix(".png"))
    page.write_text(markdown(blocks, records, page.with_suffix(".png").name), encoding="utf-8")


def as_dict(blocks: Sequence[Block], records: Sequence[Record]) -> dict[str, Any]:
    """Every figure but the radii of single points."""
    return {
        "machines": _machines(records),
        "sets": {
            block.name: {
                "shape": block.shape,
                "radii": block.thresholds.tolist(),
                "methods": {row.method.name: [_record_dict(row, at) for at in range(len(row.records))]
                            for row in block.rows},
            }
            for block in blocks
        },
    }  # fmt: skip


def _record_dict(row: Row, at: int) -> Record:
    kept = {name: value for name, value in row.records[at].items() if name not in ("evaluation", "machine")}
    evaluated = [number for number, one in enumerate(row.records) if not one["problem"]]
    if at in evaluated:
        place = evaluated.index(at)
        kept |= {
            "nearest": row.nearest[place].tolist(),
            "certified_11": row.certified[place].tolist(),
            "empirical_11": row.empirical[place].tolist(),
            "open": row.records[at]["evaluation"]["open"],
        }
    return kept


def markdown(blocks: Sequence[Block], records: Sequence[Record], figure: str) -> str:
    """The whole page."""
    lines = ["# Learned metrics: which are robust?", "", *_introduction(records), ""]
    if not blocks:
        return "\n".join([*lines, "Nothing has been measured yet."]) + "\n"
    lines += [f"![Certified robust error against the radius]({figure})", ""]
    lines += ["## Against the published learner", "", *_against(blocks), ""]
    lines += ["## One neighbour: clean error, and certified robust error by exact radii", ""]
    for block in blocks:
        lines += [*_table(block, "nearest"), ""]
    lines += [f"## {MANY} neighbours: certified / empirical robust error", ""]
    lines += [
        f"The same metrics and the same radii with {MANY} neighbours: certified radii in closed form, and attacks. "
        "The true robust error lies between the two.",
        "",
    ]
    for block in blocks:
        lines += [*_table(block, "certified", "empirical"), ""]
    lines += ["## Settings chosen", "", *_settings_table(blocks), ""]
    lines += ["## What each learner saw", "", *(f"- **{method.name}**: {method.note}" for method in METHODS), ""]
    return "\n".join([*lines, *_problems(blocks)]) + "\n"


def _introduction(records: Sequence[Record]) -> list[str]:
    plan = next((one["plan"] for one in records if one["method"] == BASE), {})
    return [
        "Written by `python benchmarks/learned_metrics.py --data-dir DIR --out RESULTS --page PAGE`; with `--report` "
        "from stored results. What comes out is reported, also where the Euclidean metric wins.",
        "",
        "- **Data**: full training sets, features scaled to [0, 1] on the training part; the first "
        f"{plan.get('points')} test points after a shuffle with seed 42. Radii are 0.5, 1 and 1.5 times the median "
        "exact 1-NN radius under the Euclidean metric. A wrong test point has radius 0.",
        "- **Settings** of every learner are chosen in the same way: of its grid, the one with the least mean "
        "certified robust error (exact 1-NN radii) on a held-out, stratified part of the training set "
        f"({plan.get('validation_points')} points, at most 30 %), at 0.5, 1 and 1.5 times the Euclidean median there. "
        "Candidates that are 0.1 worse than the best on the first 100 points are dropped. The learner is then fitted "
        "to the full training set.",
        "- **Seeds** vary the held-out part and the learner's own randomness. Cells: mean ± standard deviation "
        "(of the population) over the seeds; the least mean of each column is bold. Rows with fewer seeds "
        "or test points say so.",
        "- **Time**: seconds of processor time of one fit with the chosen settings, one thread. A fit is ended after "
        f"{plan.get('cap')} s; it is then listed below and not chosen.",
        *(f"- **Machine**: {line}" for line in _machines(records)),
    ]  # fmt: skip


def _machines(records: Sequence[Record]) -> list[str]:
    shown = []
    for facts in (dict(one["machine"]) for one in records):
        head = f"{facts.pop('cpu')}, {facts.pop('cores')} cores, {facts.pop('system')}"
        shown.append("; ".join([head, ", ".join(f"{name} {version}" for name, version in facts.items())]))
    return list(dict.fromkeys(shown))


def _table(block: Block, *kinds: str) -> list[str]:
    """One row for each method; with two kinds both stand in each cell."""
    values = [[getattr(row, kind) for kind in kinds] for row in block.rows]
    least = [
        np.min([one[at].mean(axis=0).round(3) for one in values if len(one[at])], axis=0) for at in range(len(kinds))
    ]
    head = ["learner", "clean", *(f"ε = {value:.3g}" for value in block.thresholds), "seconds"]
    lines = [f"**{block.name}** ({block.shape[0]} × {block.shape[1]})", "", _line(head), _rule(len(head))]
    for row, both in zip(block.rows, values, strict=True):
        cells = []
        for column in range(1 + len(block.thresholds)):
            here = both[:1] if column == 0 else both
            cells.append(" / ".join(_cell(one[:, column], least[at][column]) for at, one in enumerate(here)))
        lines.append(_line([block.label(row), *cells, _seconds(row)]))
    return lines


def _cell(values: Array, least: float) -> str:
    if not len(values):
        return "–"
    mean = f"{values.mean():.3f}".removeprefix("0")
    shown = f"**{mean}**" if values.mean().round(3) <= least else mean
    return shown if len(values) == 1 else f"{shown} ± {values.std():.3f}".replace("± 0.", "± .")


def _seconds(row: Row) -> str:
    taken = [value for value, one in zip(row.seconds, row.records, strict=True) if not one["problem"]]
    return f"{np.mean(taken):.2g}" if taken and row.method.name != BASE else "–"


def _against(blocks: Sequence[Block]) -> list[str]:
    """Mean robust error over the three radii: differences to ARML, seed by seed."""
    names = [row.method.name for row in blocks[0].rows if row.method.name not in (BASE, "ARML")]
    lines = [
        "Mean certified robust error over the three radii (one neighbour, exact), minus that of ARML with settings "
        "chosen in the same way, seed by seed: mean ± standard deviation; negative is better than ARML.",
        "",
        _line(["learner", *(block.name for block in blocks)]),
        _rule(1 + len(blocks)),
    ]
    for name in [BASE, *names]:
        lines.append(_line([name, *(_difference(block, name) for block in blocks)]))
    return lines


def _difference(block: Block, name: str) -> str:
    means = {
        row.method.name: dict(zip(
            (one["seed"] for one in row.records if not one["problem"]), row.nearest[:, 1:].mean(axis=1), strict=True
        ))
        for row in block.rows
        if row.points == block.rows[0].points
    }  # fmt: skip
    ours, theirs = means.get(name, {}), means.get("ARML", {})
    if len(ours) == 1:  # nothing random in it
        ours = dict.fromkeys(theirs, next(iter(ours.values())))
    shared = sorted(ours.keys() & theirs.keys())
    if not shared:
        return "–"
    values = np.array([ours[seed] - theirs[seed] for seed in shared])
    return f"{values.mean():+.3f} ± {values.std():.3f}"


def _settings_table(blocks: Sequence[Block]) -> list[str]:
    lines = [_line(["set", "learner", "chosen, seed by seed", "candidates", "seconds for all of them"]), _rule(5)]
    for block in blocks:
        for row in block.rows:
            grids = [record.get("candidates", []) for record in row.records]
            if any(grids):
                chosen = "; ".join(shown(one["chosen"]) if "chosen" in one else "none" for one in row.records)
                taken = np.mean([sum(one["seconds"] for one in grid) for grid in grids])
                lines.append(_line([block.name, row.method.name, chosen, str(len(grids[0])), f"{taken:.2g}"]))
    return lines


def _problems(blocks: Sequence[Block]) -> list[str]:
    found = [f"- {block.name}, {row.method.name}, {said}" for block in blocks for row in block.rows
             for said in row.failures]  # fmt: skip
    left = [
        f"- {block.name}, {row.method.name}, seed {record['seed']}: {record['evaluation']['open']} radii are "
        "intervals; their lower ends are counted"
        for block in blocks
        for row in block.rows
        for record in row.records
        if not record["problem"] and record["evaluation"]["open"]
    ]
    lines = ["## What did not work", "", *(found + left or ["Every fit ended in time, and every radius is proven."])]
    return [*lines, ""]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _rule(columns: int) -> str:
    return _line(["---"] + ["---:"] * (columns - 1))
