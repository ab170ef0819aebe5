"""``convexrml learn``: a metric from training points."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from convexrml.cli.frame import reporting_errors
from convexrml.cli.options import FILE, load, source_options, together, work_options

LEARN_EXAMPLES = """\b
Examples:
  convexrml learn --out metric.npz && convexrml certify --metric metric.npz
  convexrml learn --data usps.bz2 --test usps.t.bz2 --method exact-radius --set n_steps=200 --limit 500
"""

# fmt: off
_learn_options = together(
    click.option("--method", type=click.Choice(["robust", "exact-radius", "arml"]), default="robust",
                 show_default=True, help="robust: convex hinge; exact-radius: ascends exact radii; arml: the paper's."),
    click.option("--set", "parameters", multiple=True, metavar="NAME=VALUE",
                 help="A parameter of the learner; may be given more than once."),
    click.option("--limit", type=click.IntRange(1), help="Measure on the first N test points only."),
    click.option("-j", "--jobs", type=int, metavar="N", help="Workers of the exact search; -1 is all processors."),
    click.option("--out", type=FILE, default="metric.npz", show_default=True,
                 help="The metric, for certify --metric; beside it the picture, as .png. Overwritten."),
)
# fmt: on


@click.command(epilog=LEARN_EXAMPLES)
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
    """
    from rich.console import Console

    from convexrml.study import figures, report
    from convexrml.study import learn as study

    data, _ = load(metric=None, **options)
    with report.progress_bars(progress, quiet) as watch:
        result = study.learn(
            data.head(limit), method, dict(map(study.read_parameter, parameters)), n_jobs=jobs, progress=watch
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    result.save(out)
    picture = out.with_suffix(".png")
    figures.save_figure(figures.learned_metric_figure(result), picture)
    console = Console(highlight=False, quiet=quiet)
    report.print_learned(result, console)
    console.print(f"\nWritten: {out}, {picture}", soft_wrap=True, markup=False)
