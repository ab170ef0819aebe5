"""``convexrml study``: long runs over data sets, metrics and questions, kept in one file."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from convexrml.cli.frame import INTERRUPTED, file_for, folder_for, reporting_errors
from convexrml.cli.options import DATA_DIR, FILE, JOBS, together, work_options

STUDY_EXAMPLES = """\b
Examples:
  convexrml study run study.toml --jobs 4
  convexrml study status study.toml
  convexrml study report study.toml --out report
"""

_study_options = together(
    click.argument("plan", type=FILE, metavar="STUDY.toml"),
    click.option(
        "--results",
        type=FILE,
        metavar="FILE",
        help="SQLite file of the results. Default: beside the study file, as .db.",
    ),
)


@click.group(epilog=STUDY_EXAMPLES, short_help="Long runs, described in a TOML file.")
def study() -> None:
    """Studies: what a TOML file asks for, in runs that survive being killed."""


@study.command(epilog=STUDY_EXAMPLES)
@_study_options
@JOBS
@DATA_DIR
@work_options
@reporting_errors
@click.pass_context
def run(
    ctx: click.Context, /, plan: Path, results: Path | None, jobs: int | None, data_dir: Path | None,
    progress: bool | None, quiet: bool,
) -> None:  # fmt: skip
    """Do what is not done yet. Kill it whenever you like; run it again, or twice at once, to go on.

    Exit status 2 if something went wrong, 130 if interrupted.
    """
    from convexrml.study.report import progress_bars
    from convexrml.study.runner import run_study

    where = _results(plan, results)
    if plan.is_file():
        file_for("--results", where)
    try:
        with progress_bars(progress, quiet) as watch:
            command = ctx.meta["convexrml.command"]
            standing = run_study(plan, where, n_jobs=jobs, data_dir=data_dir, command=command, progress=watch)
    except KeyboardInterrupt:
        click.echo(f"Interrupted. What is finished is in {where}; run the same command again to go on.", err=True)
        sys.exit(INTERRUPTED)
    for failure in standing.failed:
        click.echo(f"Failed: {failure}", err=True)
    if standing.mended:
        click.echo(f"{standing.mended} results in {where} could not be read, and were computed again.", err=True)
    if not quiet:
        click.echo(f"{standing.sentence} Results: {where}")
    sys.exit(2 if standing.failed else 0)


@study.command(epilog=STUDY_EXAMPLES)
@_study_options
@reporting_errors
def status(plan: Path, results: Path | None) -> None:
    """Say how far a study is; it may be running."""
    from convexrml.study.runner import read_standing

    standing = read_standing(plan, _results(plan, results))
    for stage, (done, total) in standing.counts.items():
        click.echo(f"{stage}: {done} of {total}")
    for failure in standing.failed:
        click.echo(f"Failed: {failure}")
    click.echo(standing.sentence)


@study.command(epilog=STUDY_EXAMPLES)
@_study_options
@click.option("--out", type=FILE, metavar="DIR", default="convexrml-study", show_default=True,
              help="Folder for report.html, report.md, tables.tex, points.csv, pictures. Overwritten.")  # fmt: skip
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
@reporting_errors
def report(plan: Path, results: Path | None, out: Path, quiet: bool) -> None:
    """Write tables, pictures and a page of what is there by now.

    Exit status 1 if a bound contradicts another, 2 if something cannot be read or written.
    """
    from convexrml.study.outcome import read_outcome
    from convexrml.study.page import judgement, write_report
    from convexrml.study.runner import read_standing

    where = _results(plan, results)
    standing = read_standing(plan, where).sentence
    folder_for("--out", out)
    outcome = read_outcome(plan, where)
    files = write_report(outcome, out, standing)
    if not quiet:
        click.echo(f"{standing}\n{judgement(outcome)}\nWritten: {files[0]} and {len(files) - 1} more in {out}")
    sys.exit(1 if any(len(cell.violations) for cell in outcome.cells) else 0)


def _results(plan: Path, results: Path | None) -> Path:
    return plan.with_suffix(".db") if results is None else results
