"""Tables of a study in the paper's layout, and its points as CSV."""

from __future__ import annotations

import csv
import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from convexrml.documents.blocks import Table
from convexrml.study.outcome import Cell, Outcome, spread
from convexrml.study.plan import Question


def error_table(outcome: Outcome, question: Question) -> Table:
    """Clean error, certified and (where points were attacked or searched) empirical robust error by radius.

    One row for each data set and metric; the mean over seeds, with the least and greatest where they differ.
    """
    metrics = [metric.name for metric in outcome.plan.metrics]
    columns = ["data", "radii", "metric", "clean"]
    columns += [f"certified, ε{i + 1}" for i in range(len(outcome.plan.radii))]
    columns += [f"empirical, ε{i + 1}" for i in range(len(outcome.plan.radii))]
    attacks = question.attacks
    columns += [f"{attack}, ε{i + 1}" for attack in attacks for i in range(len(outcome.plan.radii))]
    rows = []
    for data in outcome.plan.data:
        radii = outcome.radii(data.name, question)
        for metric in metrics:
            cells = outcome.of(data.name, question, metric)
            if not cells:
                continue
            errors = [_errors([cell.clean_error for cell in cells])]
            kinds: list[Callable[..., float]] = [Cell.certified_error, Cell.empirical_error]
            kinds += [functools.partial(Cell.attack_error, name=attack) for attack in attacks]
            for kind in kinds:
                errors += [_errors([kind(cell, radius=radius) for cell in cells]) for radius in radii]
                errors += ["–"] * (len(outcome.plan.radii) - len(radii))
            rows.append((data.name, ", ".join(f"{radius:.4g}" for radius in radii) or "–", metric, *errors))
    relative = "times the median radius under the first metric" if outcome.plan.relative else "as listed"
    factors = ", ".join(f"{radius:g}" for radius in outcome.plan.radii)
    by_each = f"; {', '.join(attacks)}: by this attack alone" if attacks else ""
    note = (
        f"Robust error at ε: the share of test points whose radius is at most ε; certified counts by the proved lower "
        f"bound, empirical by the best witnessed upper bound{by_each}. Radii: {factors}, {relative}. "
        "[least, greatest] over seeds; – is not there yet or was not asked for."
    )
    return Table(tuple(columns), tuple(rows), f"Robust error: {question}", note)


def runs_table(outcome: Outcome) -> Table:
    """Every run of the study: when, the command, versions."""
    rows = []
    for run in outcome.facts.get("runs", []):
        versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
        rows.append((run["started"], run["command"] or "(from Python)", versions))
    return Table(("started", "command", "versions"), tuple(rows), "Runs")


def data_table(outcome: Outcome) -> Table:
    """Sizes and hashes of the data sets."""
    rows = []
    for name, found in outcome.data.items():
        sizes = (str(found[key]) for key in ("n_train", "n_test", "n_features"))
        rows.append(
            (name, *sizes, *(found["sha256"][part][:16] for part in ("X_train", "y_train", "X_test", "y_test")))
        )
    hashes = tuple(f"sha256 {part}" for part in ("X_train", "y_train", "X_test", "y_test"))
    return Table(("data", "training points", "test points", "features", *hashes), tuple(rows), "Data")


def write_csv(outcome: Outcome, path: Path) -> None:
    """Every record of a study as CSV."""
    records = outcome.records()
    first = next(records, None)
    with path.open("w", newline="", encoding="utf-8") as file:
        if first is None:
            return
        writer = csv.DictWriter(file, list(first))
        writer.writeheader()
        writer.writerow(first)
        writer.writerows(records)


def _errors(values: Sequence[float]) -> str:
    if any(map(math.isnan, values)):
        return "–"
    mean, least, greatest = spread(values)
    return f"{mean:.3f}" if f"{least:.3f}" == f"{greatest:.3f}" else f"{mean:.3f} [{least:.3f}, {greatest:.3f}]"
