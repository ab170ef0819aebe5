"""Write down a certification: a table of points, and a document with everything needed to repeat it."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convexrml.judge import SEARCH
from convexrml.profiles import SolverProfile
from convexrml.study.certify import POSITIVE_MULTIPLIER, Certification
from convexrml.verdicts import CrossCheckReport

_EXACT_FIELDS = (
    "exact_lower",
    "exact_upper",
    "exact_radius",
    "status",
    "certified_over_exact",
    "witness_negative",
    "witness_label",
    "positive_multipliers",
    "solves",
)


def point_records(result: Certification) -> list[dict[str, Any]]:
    """One record for each test point; what is not known of a point is None."""
    place = {int(query): at for at, query in enumerate(result.exact_at)}
    attacked = dict(zip(result.sample.tolist(), result.attack.upper.tolist(), strict=True))
    y_train = result.model.classes_[result.model.labels_]
    records = []
    for query, label in enumerate(result.data.y_test):
        at = place.get(query)
        record: dict[str, Any] = {
            "index": query,
            "label": label.item(),
            "predicted": result.predicted[query].item(),
            "correct": bool(result.correct[query]),
            "certified_radius": float(result.certified.lower[query]),
            "certified_positive": _index(result.certified.positive[query]),
            "certified_negative": _index(result.certified.negative[query]),
            "attack_radius": attacked.get(query),
        }
        record |= dict.fromkeys(_EXACT_FIELDS)
        exact = result.exact
        if exact is not None and at is not None:
            lower, upper, negative = float(exact.lower[at]), float(exact.upper[at]), _index(exact.negative[at])
            values = (
                lower,
                upper,
                float(exact.radius[at]) if result.known[at] else None,
                exact.status[at].name,
                _ratio(float(result.certified.lower[query]), lower, upper),
                negative,
                None if negative is None else y_train[negative].item(),
                int((exact.multipliers[at] > POSITIVE_MULTIPLIER).sum()) if exact.n_neighbors == 1 else None,
                int(exact.solves[at]),
            )
            record |= dict(zip(_EXACT_FIELDS, values, strict=True))
        records.append(record)
    return records


def summary(result: Certification) -> dict[str, Any]:
    """Everything but the points: data, settings, errors, the judge's counts, versions."""
    data, judge = result.data, result.judge
    return {
        "data": {
            "name": data.name,
            **data.origin,
            "n_train": len(data.X_train),
            "n_test": len(data.X_test),
            "n_features": result.model.n_features_in_,
            "classes": result.model.classes_.tolist(),
            "clipped": result.clipped,
            "sha256": data.sha256(),
        },
        "settings": {
            **dataclasses.asdict(result.settings),
            "solvers": [name for name in judge.solvers if name != SEARCH],
            "radii": result.radii,
            "sample": result.sample.tolist(),
        },
        "interrupted": result.interrupted,
        "missing": result.missing or None,
        "clean_error": result.clean_error,
        "certified_robust_error": [{"radius": r, "error": result.certified_error(r)} for r in result.radii],
        "exact_robust_error": [{"radius": r, "bounds": result.exact_error(r)} for r in result.radii],
        "crosscheck": crosscheck_counts(judge),
        "versions": result.versions,
        "seconds": result.seconds,
    }


def crosscheck_counts(judge: CrossCheckReport) -> dict[str, Any]:
    """The judge's counts, the worst excess and the disagreement of the solvers; None where there is none."""
    disagreement = judge.disagreement
    return {
        "solvers": list(judge.solvers),
        "checked": judge.checked,
        "violated": judge.violated,
        "inconclusive": judge.inconclusive,
        "skipped": judge.skipped,
        "worst_excess": judge.worst_excess if judge.worst is not None else None,
        "worst": None if judge.worst is None else str(judge.worst),
        "disagreement": None if math.isnan(disagreement) else disagreement,
        "notes": list(judge.notes),
    }


def write_files(result: Certification, folder: Path, command: str | None = None) -> list[Path]:
    """Write ``points.csv`` and ``points.json`` into a folder, over what is there.

    Numbers are written so that reading them gives the same float; infinities are ``inf`` in csv and the string
    ``"inf"`` in JSON, which has no number for them.  What is not known is empty, or null.

    Returns
    -------
    list of Path
        The files written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    records = point_records(result)
    table, document = folder / "points.csv", folder / "points.json"
    with open(table, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, records[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
    content = _plain({"command": command, **summary(result), "points": records})
    document.write_text(json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")
    return [table, document]


def solver_records(profiles: Mapping[str, SolverProfile]) -> list[dict[str, Any]]:
    """What a profile says of each solver, with the installed version (None: not installed)."""
    return [
        {
            "name": name,
            "title": p.title,
            "version": p.version(),
            "installed": p.installed,
            "problem_classes": list(p.problem_classes),
            "method": p.method,
            "licence": p.licence,
            "needs_licence": p.needs_licence,
            "install": p.install,
            "homepage": p.homepage,
            "accuracies": {accuracy: what.tolerance for accuracy, what in p.accuracies.items()},
            "known_issues": [dataclasses.asdict(issue) for issue in p.known_issues],
        }
        for name, p in profiles.items()
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _index(value: Any) -> int | None:
    return int(value) if value >= 0 else None


def _ratio(certified: float, lower: float, upper: float) -> float | None:
    """Certified over exact radius; None where that is 0/0 or ∞/∞, or the radius is not known to be positive."""
    return certified / upper if 0 < upper < math.inf and lower > 0 else None
