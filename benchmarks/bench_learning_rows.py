"""What the comparison of learners stored, by data set and method, as errors at the three radii."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from bench_baselines import Array
from bench_learning import METHODS, Method, Settings
from bench_protocol import RATIOS, errors_at

Record = dict[str, Any]
BASE = METHODS[0].name
_SETS = ("splice", "pendigits", "satimage", "usps")


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """One method on one data set.

    Attributes
    ----------
    method : Method
    records : list
        One for each seed.
    nearest : (seeds, 4) array
        Clean error and certified robust errors at the three radii, by exact 1-NN radii.
    certified, empirical : (seeds, 4) arrays
        The same for 11 neighbours, by closed-form bounds and by attacks.
    """

    method: Method
    records: list[Record]
    nearest: Array
    certified: Array
    empirical: Array

    @property
    def points(self) -> int:
        """Test points."""
        return self.records[0]["plan"]["points"]

    @property
    def seconds(self) -> list[float]:
        """Of the last fit, for each seed."""
        return [record["fit_seconds"] for record in self.records]

    @property
    def failures(self) -> list[str]:
        """What went wrong with whole seeds, and with single candidates."""
        whole = [f"seed {record['seed']}: {record['problem']}" for record in self.records if record["problem"]]
        single = [
            f"seed {record['seed']}, {shown(one['settings'])}: {one['problem']}"
            for record in self.records
            for one in record.get("candidates", [])
            if one["problem"]
        ]
        return whole + single


@dataclasses.dataclass(frozen=True, eq=False)
class Block:
    """All methods on one data set, at radii relative to the Euclidean median."""

    name: str
    shape: tuple[int, int]
    median: float
    rows: list[Row]

    @property
    def thresholds(self) -> Array:
        return np.array(RATIOS) * self.median

    def label(self, row: Row) -> str:
        """The method's name, and what its figures have less of than others."""
        seeds = max(len(one.records) for one in self.rows)
        less = []
        if row.method.seeded and len(row.records) < seeds:
            less.append(f"{len(row.records)} of {seeds} seeds")
        if row.points < self.rows[0].points:
            less.append(f"first {row.points} points")
        return f"{row.method.name} ({', '.join(less)})" if less else row.method.name


def blocks_of(records: Sequence[Record]) -> list[Block]:
    """The records by data set and method; sets without Euclidean figures have no radii yet and are left out."""
    blocks = []
    names = sorted({record["set"] for record in records}, key=lambda name: (name not in _SETS, _order(name), name))
    for name in names:
        here = [record for record in records if record["set"] == name]
        base = [record for record in here if record["method"] == BASE and not record["problem"]]
        if base:
            median = float(np.median(base[0]["evaluation"]["exact"]))
            thresholds = np.array(RATIOS) * median
            rows = [row_of(method, here, thresholds) for method in METHODS]
            blocks.append(Block(name, tuple(base[0]["shape"]), median, [row for row in rows if row.records]))
    return blocks


def _order(name: str) -> int:
    return _SETS.index(name) if name in _SETS else 0


def row_of(method: Method, here: Sequence[Record], thresholds: Array) -> Row:
    """Errors of one method for every seed that was evaluated."""
    records = sorted((one for one in here if one["method"] == method.name), key=lambda one: one["seed"])
    done = [one["evaluation"] for one in records if not one["problem"]]

    def errors(radii: str, clean: str) -> Array:
        rows = [[one[clean], *errors_at(np.array(one[radii]), thresholds)] for one in done]
        return np.array(rows).reshape(-1, 1 + len(thresholds))

    return Row(
        method, records, errors("exact", "clean_1"), errors("certified", "clean_11"), errors("attack", "clean_11")
    )


def shown(settings: Settings) -> str:
    """Settings in words."""
    return ", ".join(f"{name} {value}" for name, value in settings.items())
