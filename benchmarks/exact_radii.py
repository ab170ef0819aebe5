"""How fast is an exact radius?  One command measures it: ``python benchmarks/exact_radii.py``."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
for folder in (HERE.parent, HERE):  # this checkout is what is measured, installed or not
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from bench_timing import limit_threads, load_average, machine, threads_asked  # noqa: E402

if __name__ == "__main__":
    limit_threads(threads_asked(sys.argv[1:]))

import dataclasses  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402

import click  # noqa: E402
from bench_anytime import checked, save_anytime, trace_hardest  # noqa: E402
from bench_data import Sample, choose_samples, data_folder  # noqa: E402
from bench_growth import measure_growth, measure_start, measure_threads  # noqa: E402
from bench_k_nearest import NearestPlan, cases, measure_nearest  # noqa: E402
from bench_report import Report, markdown, show  # noqa: E402
from bench_roads import QUICK, Plan, measure_set  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: E402

PARTS = ("sets", "growth", "workers", "start", "k_nearest")
SETS = "splice,pendigits,satimage,usps"
_PATHS = ("--data-dir", "--json", "--markdown", "--figure", "--paper")
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)
_STEPS_PER_SET = 7


def command_line(arguments: list[str]) -> str:
    """The command as it was given, with the option's name for every path."""
    shown: list[str] = []
    hide = ""
    for argument in arguments:
        name, _, value = argument.partition("=")
        if hide:
            shown.append(hide)
            hide = ""
        elif name in _PATHS:
            hidden = name.removeprefix("--").replace("-", "_").upper()
            shown.append(f"{name}={hidden}" if value else name)
            hide = "" if value else hidden
        else:
            shown.append(argument)
    return " ".join(["python benchmarks/exact_radii.py", *shown])


def make_plan(quick: bool, **given: int | None) -> Plan:
    """The usual plan, or the quick one, with what was asked for."""
    return dataclasses.replace(QUICK if quick else Plan(), **{k: v for k, v in given.items() if v is not None})


def odd_numbers(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """Numbers of neighbours from a command line: odd, and more than one."""
    if value is None:
        return None
    numbers = tuple(int(each) if each.isdigit() else 0 for each in value.split(","))
    if any(number < 3 or number % 2 == 0 for number in numbers):
        raise click.BadParameter(f"needs odd numbers from 3 on, separated by commas; found {value}")
    return numbers


def make_nearest_plan(
    quick: bool, points: int | None, neighbors: tuple[int, ...] | None, time_limit: float
) -> NearestPlan:
    """The plan of the part k_nearest: the usual one, or the quick one, with what was asked for."""
    plan = NearestPlan(points=10, neighbors=(3, 5)) if quick else NearestPlan()
    return dataclasses.replace(
        plan, points=points or plan.points, neighbors=neighbors or plan.neighbors, time_limit=time_limit
    )


def run(
    report: Report, samples: list[Sample], plan: Plan, parts: list[str], paper: Path | None, console: Console
) -> None:
    """Measure the parts, with a progress bar."""
    steps = 0
    steps += (_STEPS_PER_SET + (paper is not None)) * len(samples) * ("sets" in parts)
    steps += len(plan.sizes) * len(plan.dimensions) * ("growth" in parts)
    steps += sum(part in parts for part in ("workers", "start"))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=steps)

        def step(what: str) -> None:
            progress.update(task, description=what, advance=1)

        if "sets" in parts:
            for sample in samples:
                report.sets.append(measure_set(sample, plan, paper, step))
                report.notes += [f"{sample.name}: {note}" for note in report.sets[-1].notes]
        if "growth" in parts:
            report.growth = measure_growth(plan, step)
        if "workers" in parts:
            step("workers")
            largest = max(samples, key=lambda sample: sample.X.size)
            counts = sorted({1, 2, os.cpu_count() or 1})
            report.workers_on = f"{largest.name}, {largest.shape}"
            report.workers = measure_threads(largest, plan, counts)
        if "start" in parts:
            step("start")
            report.start = measure_start(plan.repeats)


def run_nearest(
    report: Report, samples: list[Sample], plan: NearestPlan, figure: Path | None, console: Console
) -> None:
    """Measure the part k_nearest, and draw its figure if asked for."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=sum(len(cases(sample.name, plan)) for sample in samples))

        def step(what: str) -> None:
            progress.update(task, description=what, advance=1)

        for sample in samples:
            report.nearest += measure_nearest(sample, plan, step)
        if figure is not None:
            report.traces = trace_hardest(samples, report.nearest, plan.time_limit, step)
            report.notes.append(checked(report.traces))
            save_anytime(report.traces, figure)


@click.command(context_settings={"show_default": True})
@click.option("--data-dir", type=_FOLDER, help="Folder with NAME.bz2 and NAME.t.bz2 (svmlight); or CONVEXRML_DATA.")
@click.option("--sets", help=f"Names, also the built-in digits and mixture.  [default: {SETS}; k_nearest: digits too]")
@click.option(
    "--points", type=click.IntRange(1), help="Test points for the fast roads.  [default: 1000; k_nearest: 200]"
)
@click.option("--program-points", type=click.IntRange(1), help="Test points for the solvers.  [default: 20]")
@click.option("--lp-points", type=click.IntRange(1), help="Test points for norms 1 and inf.  [default: 50]")
@click.option("--paper-points", type=click.IntRange(1), help="Test points for the paper's code.  [default: 10]")
@click.option("--k", callback=odd_numbers, help="Numbers of neighbours for k_nearest.  [default: 3,5,7,11,21]")
@click.option("--time-limit", type=click.FloatRange(0), default=10.0, help="Seconds for each point of k_nearest.")
@click.option("--threads", type=click.IntRange(1), default=1, help="For BLAS, OpenMP, numba and n_jobs alike.")
@click.option("--repeats", type=click.IntRange(1), help="Medians are over this many.  [default: 5]")
@click.option("--parts", default=",".join(PARTS), help="What to measure.")
@click.option("--quick", is_flag=True, help="Small sizes, two repeats: does it run?")
@click.option("--json", "json_file", type=_FILE, help="Write all raw times there.")
@click.option("--markdown", "markdown_file", type=_FILE, help="Write the tables there.")
@click.option("--figure", type=_FILE, help="Draw bounds against time of the hardest points of k_nearest there.")
@click.option("--paper", type=_FOLDER, help="A checkout of the paper's published code (needs torch), to be timed too.")
def main(
    data_dir: Path | None, sets: str | None, points: int | None, program_points: int | None, lp_points: int | None,
    paper_points: int | None, k: tuple[int, ...] | None, time_limit: float, threads: int, repeats: int | None,
    parts: str, quick: bool, json_file: Path | None, markdown_file: Path | None, figure: Path | None,
    paper: Path | None,
) -> None:  # fmt: skip
    """Time exact radii against brute-force prediction, solvers, and growing training sets."""
    chosen = parts.split(",")
    if unknown := [part for part in chosen if part not in PARTS]:
        raise click.BadParameter(f"unknown: {', '.join(unknown)}; choose from {', '.join(PARTS)}", param_hint="--parts")
    plan = make_plan(
        quick, points=points, program_points=program_points, lp_points=lp_points, paper_points=paper_points,
        repeats=repeats, threads=threads,
    )  # fmt: skip
    if figure is not None and "k_nearest" not in chosen:
        raise click.BadParameter("belongs to the part k_nearest", param_hint="--figure")
    nearest_plan = make_nearest_plan(quick, points, k, time_limit)
    samples, absent = choose_samples((sets or SETS).split(","), data_folder(data_dir))
    console = Console()
    report = Report(command_line(sys.argv[1:]), machine(), threads, [load_average()])
    if absent:
        names = ", ".join(sample.name for sample in samples)
        report.notes.append(f"No files for {', '.join(absent)} (--data-dir, CONVEXRML_DATA); measured: {names}.")
    run(report, samples, plan, chosen, paper, console)
    if "k_nearest" in chosen:
        nearest, _ = choose_samples((sets or f"digits,{SETS}").split(","), data_folder(data_dir))
        run_nearest(report, nearest, nearest_plan, figure, console)
    report.load.append(load_average())
    show(report, console)
    if json_file is not None:
        json_file.write_text(json.dumps(report.as_dict(), indent=1) + "\n", encoding="utf-8")
    if markdown_file is not None:
        markdown_file.write_text(markdown(report), encoding="utf-8")


if __name__ == "__main__":
    main()
