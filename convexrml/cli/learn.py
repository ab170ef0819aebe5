"""``convexrml learn``: a metric from training points."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from convexrml.cli.frame import file_for, reporting_errors
from convexrml.cli.options import FILE, JOBS, load, source_options, together, work_options
from convexrml.errors import InvalidInputError

LEARN_EXAMPLES = """\b
Examples:
  convexrml learn --out metric.npz && convexrml certify --metric metric.npz
  convexrml learn --data usps.bz2 --test usps.t.bz2 --method exact-radius --set n_steps=200 --limit 500
"""


def _read_out(ctx: click.Context, param: click.Parameter, value: Path) -> Path:
    if value.suffix != ".npz":
        raise click.BadParameter(f"the file's name has to end in .npz; found '{value}'")
    return value


# fmt: off
_learn_options = together(
    click.option("--method", type=click.Choice(["robust", "exact-radius", "arml"]), default="robust",
                 show_default=True, help="robust: convex hinge; exact-radius: ascends exact radii; arml: the paper's."),
    click.option("--set", "parameters", multiple=True, metavar="NAME=VALUE",
                 help="A parameter of the learner; may be given again for another one."),
    click.option("--limit", type=click.IntRange(1), metavar="N",
                 help="Measure on the first N test points only. Default: all."),
    JOBS,
    click.option("--out", type=FILE, metavar="FILE", default="metric.npz", show_default=True,
                 callback=_read_out, help="The metric, an .npz file for certify --metric; beside it the picture, as "
                                          ".png. Overwritten."),
)
# fmt: on


@click.command(epilog=LEARN_EXAMPLES, short_help="Learn a metric from training points.")
@source_options
@_learn_options
@work_options
@reporting_errors
def learn(
    method: str, parameters: tuple[str, ...], limit: int | None, jobs: int | None, out: Path, progress: bool | None,
    quiet: bool, **options: Any,
) -> None:  # fmt: skip
    """Learn a Mahalanobis metric on the training points, and show what it changes on the test points.

    Give certify the same --data, --test, --scale and --seed, so that it sees the same training points.

    Exit status 2 if something cannot be read or used, 130 if interrupted.
    """
    from rich.console import Console

    from convexrml.study import figures, report
    from convexrml.study import learn as study

    data, _ = load(metric=None, **options)
    file_for("--out", out)
    given = [study.read_parameter(text) for text in parameters]
    if twice := [name for at, (name, _) in enumerate(given) if name in dict(given[:at])]:
        raise InvalidInputError(f"parameter: {twice[0]} is given twice")
    with report.progress_bars(progress, quiet) as watch:
        result = study.learn(data.head(limit), method, dict(given), n_jobs=jobs, progress=watch)
    result.save(out)
    picture = out.with_suffix(".png")
    figures.save_figure(figures.learned_metric_figure(result), picture)
    console = Console(highlight=False, quiet=quiet)
    report.print_learned(result, console)
    console.print(f"\nWritten: {out}, {picture}", soft_wrap=True, markup=False)
