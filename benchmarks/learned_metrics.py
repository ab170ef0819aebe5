"""Which metric is robust?  One command compares learners: ``python benchmarks/learned_metrics.py``."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
for folder in (HERE.parent, HERE):  # this checkout is what is measured, installed or not
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from bench_timing import limit_threads, machine  # noqa: E402

if __name__ == "__main__":
    limit_threads(1)  # of each process; --jobs sets how many there are

import dataclasses  # noqa: E402
import json  # noqa: E402
import re  # noqa: E402
from concurrent.futures import ThreadPoolExecutor, as_completed  # noqa: E402
from typing import Any  # noqa: E402

import click  # noqa: E402
from bench_child import preload  # noqa: E402
from bench_data import data_folder  # noqa: E402
from bench_learning import METHODS, Method, choose_methods  # noqa: E402
from bench_learning_report import write_report  # noqa: E402
from bench_protocol import Plan, load_problem, measure  # noqa: E402
from rich.console import Console  # noqa: E402

SETS = "splice,pendigits,satimage,usps"
_FOLDER = click.Path(file_okay=False, path_type=Path)
_PRELOADED = [
    "bench_protocol", "convexrml.exact", "convexrml.search", "convexrml.attacks", "convexrml.bounds",
    "convexrml.learning", "sklearn.neighbors", "scipy.sparse.linalg", "metric_learn", "bench_learning_report",
    "click", "rich.console",
]  # fmt: skip


def record_file(folder: Path, name: str, method: Method, seed: int) -> Path:
    """Where one method's figures on one set with one seed are kept."""
    slug = re.sub(r"[^a-z0-9]+", "-", method.name.lower()).strip("-")
    return folder / f"{name}--{slug}--{seed}.json"


def plan_of(method: Method, plan: Plan, d: int) -> dict[str, Any]:
    """What the figures depend on beside the data: kept with them, and measured again where it has changed."""
    return {**dataclasses.asdict(plan), "grid": method.grid(d)}


def is_stored(file: Path, method: Method, plan: Plan, d: int) -> bool:
    """Whether the figures are there, from the same plan."""
    return file.is_file() and json.loads(file.read_text(encoding="utf-8"))["plan"] == plan_of(method, plan, d)


def run(
    folder: Path, names: list[str], methods: list[Method], seeds: list[int], data: Path, plan: Plan, jobs: int,
    again: bool, console: Console,
) -> None:  # fmt: skip
    """Measure what is not stored yet, `jobs` at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    problems = {name: load_problem(name, data, plan) for name in names}
    todo = [
        (problems[name], method, seed, record_file(folder, name, method, seed))
        for seed in seeds
        for name in names
        for method in methods
        if seed == seeds[0] or method.seeded
    ]
    todo = [job for job in todo if again or not is_stored(job[3], job[1], plan, job[0].X.shape[1])]
    preload(_PRELOADED)
    with ThreadPoolExecutor(jobs) as pool:
        started = {pool.submit(measure, *job[:3], plan): job for job in todo}
        for done, future in enumerate(as_completed(started), 1):
            problem, method, seed, file = started[future]
            record = future.result() | {"plan": plan_of(method, plan, problem.X.shape[1]), "machine": machine()}
            part = file.with_suffix(".part")
            part.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
            part.replace(file)
            said = record["problem"] or f"{record['chosen']}, fitted in {record['fit_seconds']:.1f} s"
            console.print(f"{done}/{len(todo)} {problem.name}, {method.name}, seed {seed}: {said}")


def _names(context: click.Context, parameter: click.Parameter, value: str | None) -> list[Method]:
    try:
        return choose_methods(value.split(",") if value else None)
    except KeyError as error:
        known = ", ".join(method.name for method in METHODS)
        raise click.BadParameter(f"unknown: {error.args[0]}; choose from {known}") from None


@click.command(context_settings={"show_default": True})
@click.option("--data-dir", type=_FOLDER, help="Folder with NAME.bz2 and NAME.t.bz2 (svmlight); or CONVEXRML_DATA.")
@click.option("--sets", default=SETS, help="Names, also the built-in digits.")
@click.option("--methods", callback=_names, help="Names.  [default: all]")
@click.option("--seeds", default="0,1,2", help="Of the validation split and of the learner.")
@click.option("--jobs", type=click.IntRange(1), default=1, help="Processes at a time, each with one thread.")
@click.option("--out", type=_FOLDER, required=True, help="Folder of results; what is there already is not repeated.")
@click.option("--report", is_flag=True, help="Measure nothing: write the page from what is there.")
@click.option("--again", is_flag=True, help="Repeat what was asked for, stored or not.")
@click.option("--page", type=click.Path(dir_okay=False, path_type=Path), help="Page; JSON and figure beside it.")
@click.option("--points", type=click.IntRange(1), default=Plan.points, help="Test points.")
@click.option(
    "--validation-points", type=click.IntRange(10), default=Plan.validation_points, help="Held out, at most 30 %."
)
@click.option("--cap", type=click.IntRange(1), default=Plan.cap, help="Seconds of processor time for one fit.")
def main(
    data_dir: Path | None, sets: str, methods: list[Method], seeds: str, jobs: int, out: Path, report: bool,
    again: bool, page: Path | None, points: int, validation_points: int, cap: int,
) -> None:  # fmt: skip
    """Compare learners of metrics by certified and empirical robust errors."""
    console = Console()
    plan = Plan(points=points, validation_points=validation_points, cap=cap)
    names, numbers = sets.split(","), [int(seed) for seed in seeds.split(",")]
    if not report:
        run(out, names, methods, numbers, data_folder(data_dir), plan, jobs, again, console)
    records = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(out.glob("*--*--*.json"))]
    write_report(records, page or out / "learned_metrics.md")
    console.print(f"Written: {page or out / 'learned_metrics.md'}")


if __name__ == "__main__":
    main()
