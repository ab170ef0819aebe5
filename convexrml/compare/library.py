"""A library of instances on disk: programs in common formats, their data, certified optima and certificates."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from convexrml.compare.families import Instance, get_family, held
from convexrml.errors import InvalidInputError
from convexrml.evidence import Prover
from convexrml.exact import exact_radius
from convexrml.export import FORMATS, write_program
from convexrml.formulations import KNearestPerturbation, MinimalPerturbation, RobustHinge

INDEX = "index.json"
BISECTION = "max-min"


def write_library(
    folder: Path,
    families: Sequence[str],
    *,
    sizes: Sequence[int] | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    formats: Sequence[str] = ("npz",),
    progress: Callable[[str, int, int], object] | None = None,
) -> list[Path]:
    """Write instances: ``NAME.FORMAT``, ``NAME.data.npz`` and, for ℓ2 radii, ``NAME.cert``; and an index of all.

    The index has for each file's program an interval that holds its optimum, in the units of its objective.  For a
    perturbation it follows from the radius, which the search proves from both sides; the certificate, which
    ``convexrml check`` reads with the data, proves the radius in exact arithmetic (to a relative 1e-9).  For
    ``robust-hinge`` the interval is what Clarabel's point and multipliers prove.

    Parameters
    ----------
    folder : Path
    families, sizes, seeds
        As in `convexrml.compare.plan.plan`.
    formats : sequence of str
        Among `convexrml.export.FORMATS`; a family is written in those that can hold it.
    progress : callable, optional
        Called with (stage, finished, total).

    Returns
    -------
    list of Path
        The files written, the index last.

    Raises
    ------
    InvalidInputError
        If a format is unknown or cannot hold a family, or a family is no single program.
    """
    for name in formats:
        if name not in FORMATS:
            raise InvalidInputError(f"formats: unknown name {name!r} (there are: {', '.join(FORMATS)})")
    if BISECTION in families:
        raise InvalidInputError(f"families: {BISECTION} is a bisection over programs, not one that a file could hold")
    kinds = {name: get_family(name).problem_class for name in families}
    for name, kind in kinds.items():
        if not any(kind in FORMATS[each] for each in formats):
            able = ", ".join(each for each, holds in FORMATS.items() if kind in holds)
            raise InvalidInputError(f"formats: {name} is of the class {kind}, which needs one of {able}")
    folder.mkdir(parents=True, exist_ok=True)
    instances = [
        Instance(name, size, seed) for name in families for size in sizes or get_family(name).sizes for seed in seeds
    ]
    files, index = [], []
    for done, instance in enumerate(instances):
        if progress is not None:
            progress("instances", done, len(instances))
        written, entry = _write(instance, folder, [f for f in formats if kinds[instance.family] in FORMATS[f]])
        files += written
        index.append(entry)
    if progress is not None:
        progress("instances", len(instances), len(instances))
    path = folder / INDEX
    path.write_text(json.dumps({"instances": index}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return [*files, path]


def _write(instance: Instance, folder: Path, formats: Sequence[str]) -> tuple[list[Path], dict[str, Any]]:
    family = get_family(instance.family)
    plan = family.plan(instance)
    program = family.build(instance, plan)
    files = [write_program(program.problem, folder / f"{instance}.{name}") for name in formats]
    data = folder / f"{instance}.data.npz"
    arrays: dict[str, Any] = held(program)
    np.savez_compressed(data, **arrays)
    entry: dict[str, Any] = {
        "name": str(instance),
        "family": instance.family,
        "problem_class": family.problem_class,
        "size": instance.size,
        "seed": instance.seed,
        **{name: value for name, value in plan.items() if name not in ("lower", "upper")},
        "files": [file.name for file in files],
        "data_file": data.name,
        **_optimum(program, plan),
    }
    proof = _certificate(program, folder / f"{instance}.cert")
    if proof is not None:
        entry["certificate"] = proof.name
        files.append(proof)
    return [*files, data], entry


def _optimum(program: object, plan: Mapping[str, Any]) -> dict[str, Any]:
    """``optimum``: the interval in units of the file's objective; ``radius`` or ``value``: in those of the input."""
    if isinstance(program, MinimalPerturbation | KNearestPerturbation):
        length = program.length if isinstance(program, KNearestPerturbation) else float(program.length.value)
        radius = [plan["lower"], plan["upper"]]
        in_units = [end / length for end in radius]
        return {
            "optimum": [_nudged(end**2 / 2, away) if program.norm.order == 2 else end
                        for end, away in zip(in_units, (-1, 1), strict=True)],
            "radius": radius,
            "length": length,
        }  # fmt: skip
    assert isinstance(program, RobustHinge)
    found = program.solve("clarabel")
    value = [found.lower_bound, found.value]
    return {"optimum": [end / program.scale for end in value], "value": value}


def _nudged(value: float, direction: int) -> float:
    """A square is rounded; an interval's end goes outward by as much."""
    return math.nextafter(value, direction * math.inf)


def _certificate(program: object, path: Path) -> Path | None:
    """A proof of the radius, for the norm that the search proves with certificates."""
    if not isinstance(program, MinimalPerturbation | KNearestPerturbation) or program.norm.order != 2:
        return None
    model, z = program.model, program.z[None]
    y = [model.classes_[program.label]]
    found = exact_radius(model, z, y)
    about = [{"preprocessing": {"scale": "none", "n_features": model.n_features_in_}}]
    (certificate,) = Prover(model).certificates(z, y, found, about=about)
    path.write_bytes(certificate.to_bytes())
    return path
