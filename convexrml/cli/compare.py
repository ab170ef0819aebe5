"""``convexrml compare`` and ``convexrml instances``."""

from __future__ import annotations

from pathlib import Path

import click

from convexrml.cli.frame import file_for, folder_for, reporting_errors
from convexrml.cli.options import FILE, Finite, read_names, read_sizes, work_options

COMPARE_EXAMPLES = """\b
Examples:
  convexrml compare --family perturbation-qp --sizes 100,300 --solvers clarabel,osqp,qpsolvers:osqp
  convexrml compare --family all --out results.db --jobs 2 --time-limit 60
  convexrml compare --report results.db --page report
"""
INSTANCES_EXAMPLES = """\b
Examples:
  convexrml instances --family perturbation-qp --sizes 100 --formats mps,npz --out instances
"""

# fmt: off
_which = (
    click.option("--family", "families", callback=read_names, default="all", show_default=True, metavar="NAME,...",
                 help="perturbation-qp, perturbation-lp, knn-miqp, robust-hinge, max-min, or all."),
    click.option("--sizes", callback=read_sizes, metavar="N,...",
                 help="Sizes of the instances, from 10. Default: each family's own."),
    click.option("--seeds", type=click.IntRange(1), metavar="N", default=3, show_default=True,
                 help="Instances at each size."),
)
# fmt: on


@click.command(epilog=COMPARE_EXAMPLES, short_help="Compare solvers at equal accuracy.")
@_which[0]
@_which[1]
@_which[2]
@click.option("--solvers", callback=read_names, metavar="NAME,...",
              help="Profiles, 'search', 'qpsolvers:NAME'. Default: all that take the family's class.")  # fmt: skip
@click.option("--accuracy", "accuracies", callback=read_names, default="fast,accurate", show_default=True,
              metavar="NAME,...", help="Named accuracies of the profiles.")  # fmt: skip
@click.option("--time-limit", type=Finite(0, min_open=True), default=60.0, show_default=True,
              metavar="SECONDS", help="For one solve, compiling included.")  # fmt: skip
@click.option("--memory-limit", type=Finite(0, min_open=True), default=4.0, show_default=True,
              metavar="GB", help="Resident memory of one solve.")  # fmt: skip
@click.option(
    "-j", "--jobs", type=click.IntRange(1), metavar="N", default=1, show_default=True, help="Solves at a time."
)
@click.option(
    "--threads", type=click.IntRange(1), metavar="N", default=1, show_default=True, help="Threads of each solve."
)
@click.option(
    "--profiles",
    type=FILE,
    metavar="DIR",
    help="Folder of solver profiles (*.toml) besides the shipped ones. Default: none.",
)
@click.option("--retry", is_flag=True, help="Run again what met a limit, crashed or broke.")
@click.option("--out", type=FILE, metavar="FILE", default="results.db", show_default=True,
              help="Results; what is there already is not run again.")  # fmt: skip
@click.option("--report", type=FILE, metavar="FILE", help="Report on these results, and run nothing.")
@click.option("--page", type=FILE, default="comparison", show_default=True, metavar="DIR",
              help="Folder for report.md, report.html and the figures.")  # fmt: skip
@work_options
@reporting_errors
@click.pass_context
def compare(
    ctx: click.Context, /, families: tuple[str, ...], sizes: list[int] | None, seeds: int,
    solvers: tuple[str, ...] | None, accuracies: tuple[str, ...], time_limit: float, memory_limit: float, jobs: int,
    threads: int, profiles: Path | None, retry: bool, out: Path, report: Path | None, page: Path,
    progress: bool | None, quiet: bool,
) -> None:  # fmt: skip
    """Compare solvers on programs whose optimum is certified, at equal accuracy.

    Every solve runs in a process of its own; one that hangs, crashes or eats memory is a row. Residuals, gap and
    distance from the certified optimum are measured here. Interrupt it as you like: the same command goes on where it
    stopped. Two commands may work on one file.

    Exit status 2 if something cannot be read or used, 130 if interrupted.
    """
    from convexrml.compare.main import compare as run
    from convexrml.compare.main import write_report
    from convexrml.compare.runner import Limits
    from convexrml.study.report import progress_bars

    folder_for("--page", page)
    if report is None:
        file_for("--out", out)
        with progress_bars(progress, quiet) as watch:
            counts = run(
                out,
                _families(families),
                sizes=sizes,
                seeds=range(seeds),
                solvers=solvers,
                accuracies=accuracies or (),
                limits=Limits(time_limit, int(memory_limit * 2**30)),
                jobs=jobs,
                threads=threads,
                profiles=profiles,
                retry=retry,
                command=ctx.meta["convexrml.command"],
                progress=watch,
            )
        if not quiet:
            click.echo(f"{out}: " + ", ".join(f"{count} {status}" for status, count in counts.items()))
    files = write_report(out if report is None else report, page)
    if not quiet:
        click.echo(f"Written: {files[0]}, {files[1]} and {len(files) - 2} figures")


@click.command(epilog=INSTANCES_EXAMPLES, short_help="Write a library of programs with optima.")
@_which[0]
@_which[1]
@_which[2]
@click.option("--formats", callback=read_names, default="npz", show_default=True, metavar="NAME,...",
              help="npz, mps, cbf, dat-s: each family is written in those that can hold it.")  # fmt: skip
@click.option(
    "--out", type=FILE, metavar="DIR", default="instances", show_default=True, help="Folder for the instances."
)
@work_options
@reporting_errors
def instances(
    families: tuple[str, ...], sizes: list[int] | None, seeds: int, formats: tuple[str, ...], out: Path,
    progress: bool | None, quiet: bool,
) -> None:  # fmt: skip
    """Write a graded, seeded library of programs with their certified optima, for other people's solvers."""
    from convexrml.compare.library import write_library
    from convexrml.study.report import progress_bars

    folder_for("--out", out)
    with progress_bars(progress, quiet) as watch:
        files = write_library(out, _written(families), sizes=sizes, seeds=range(seeds), formats=formats, progress=watch)
    if not quiet:
        click.echo(f"Written: {len(files)} files, listed with their optima in {out / 'index.json'}")


def _families(names: tuple[str, ...]) -> tuple[str, ...]:
    from convexrml.compare.families import FAMILIES, get_family

    return tuple(FAMILIES) if names == ("all",) else tuple(get_family(name).name for name in names)


def _written(names: tuple[str, ...]) -> tuple[str, ...]:
    from convexrml.compare.library import BISECTION

    return tuple(name for name in _families(names) if names != ("all",) or name != BISECTION)
