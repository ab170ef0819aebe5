"""``convexrml certify`` and ``convexrml crosscheck``: radii of a data set, and the judge."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from convexrml.cli.frame import INTERRUPTED, folder_for, reporting_errors
from convexrml.cli.options import (
    DEFAULT_PROGRAMS,
    FILE,
    JOBS,
    data_options,
    load,
    question_options,
    read_count,
    read_names,
    read_numbers,
    together,
    work_options,
)

if TYPE_CHECKING:
    from convexrml.neighbors import NearestNeighbors
    from convexrml.study.data import DataSet
    from convexrml.verdicts import CrossCheckReport

CERTIFY_EXAMPLES = """\b
Examples:
  convexrml certify
  convexrml certify --data train.csv --test test.csv --norm inf --box 0,1 --clip
  convexrml certify --data usps.bz2 --test usps.t.bz2 --limit 200 --check 5
  convexrml certify -k 5 --vote majority --time-limit 10 --solvers search
"""
CROSSCHECK_EXAMPLES = """\b
Examples:
  convexrml crosscheck --points 100 --norms 2 --solvers clarabel,daqp
  convexrml crosscheck --points 10 --norms 2 --solvers search --attack-tools foolbox:BoundaryAttack,art
  convexrml crosscheck --replay convexrml-out/violations/point3-norm2-box0.npz
"""

# fmt: off
_certify_options = together(
    click.option("--norm", type=click.Choice(["1", "2", "inf"]), default="2", show_default=True,
                 help="Norm of perturbations."),
    click.option("--solvers", callback=read_names, metavar="NAME,...",
                 help="Solvers of the explicit programs, for the cross-check; 'search' for none. "
                      f"Default: {DEFAULT_PROGRAMS}."),
    click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N test points. Default: all."),
    click.option("--radii", callback=read_numbers(), metavar="R1,R2,...",
                 help="Radii to state errors at. Default: 0.5, 1, 1.5 times the median certified radius."),
    click.option("--exact", callback=read_count, default="all", show_default=True, metavar="N|all",
                 help="How many test points, evenly spaced, get an exact radius."),
    click.option("--check", callback=read_count, default="20", show_default=True, metavar="N|all",
                 help="How many of these are shown, attacked and cross-checked."),
    JOBS,
    click.option("--out", type=FILE, metavar="DIR", default="convexrml-out", show_default=True,
                 help="Folder for points.csv, points.json, robust_error.png; earlier ones are overwritten."),
    click.option("--certificates", type=FILE, metavar="DIR",
                 help="Folder for a certificate of every radius. Default: none are made."),
)
_crosscheck_options = together(
    click.option("--points", type=click.IntRange(1), default=50, show_default=True, metavar="N",
                 help="The first N test points."),
    click.option("--norms", callback=read_names, default="1,2,inf", show_default=True, metavar="P,...",
                 help="Norms of perturbations: 1, 2, inf."),
    click.option("--solvers", callback=read_names, metavar="NAME,...",
                 help="Exact roads to compare: 'search', and solvers of the explicit programs. "
                      f"Default: search,{DEFAULT_PROGRAMS}."),
    click.option("--attack-tools", callback=read_names, metavar="TOOL[:CLASS],...",
                 help="Attacks of other tools as well, by their defaults: 'foolbox', 'art', 'foolbox:BoundaryAttack' "
                      "(extra 'attacks')."),
    click.option("--out", type=FILE, metavar="DIR", default="convexrml-out/violations", show_default=True,
                 help="Folder for the instances that violate, one .npz each; earlier ones are overwritten."),
    click.option("--replay", type=FILE, metavar="FILE", help="Judge one saved instance again, and nothing else."),
)
# fmt: on


@click.command(epilog=CERTIFY_EXAMPLES, short_help="Radii of a data set: certified, exact, attack.")
@data_options
@question_options
@_certify_options
@work_options
@reporting_errors
@click.pass_context
def certify(
    ctx: click.Context, /, norm: str, vote: str, time_limit: float | None, node_limit: int | None,
    solvers: tuple[str, ...] | None, limit: int | None, radii: tuple[float, ...] | None, exact: int | None,
    check: int | None, jobs: int | None, out: Path, certificates: Path | None, progress: bool | None, quiet: bool,
    **options: Any,
) -> None:  # fmt: skip
    """Certify a nearest-neighbour classifier on a data set.

    Certified radii in closed form and exact radii by search for every test point; on a sample also an attack and the
    explicit programs, all held against each other. Without --data: the handwritten digits that come with scikit-learn.

    Exit status 1 if the cross-check finds a violation, 2 if something cannot be read or used, 130 if interrupted: what
    is finished by then is written.
    """
    from rich.console import Console

    from convexrml.study import certificates as proofs
    from convexrml.study import certify as study
    from convexrml.study import figures, records, report

    data, metric = load(**options)
    settings = study.Settings(
        n_neighbors=options["n_neighbors"],
        norm=norm,
        vote=vote,
        box=options["box"],
        clip=options["clip"],
        radii=radii,
        exact=exact,
        check=check,
        solvers=solvers,
        time_limit=time_limit,
        node_limit=node_limit,
        n_jobs=jobs,
    )
    folder_for("--out", out)
    if certificates is not None:
        folder_for("--certificates", certificates)
    with report.progress_bars(progress, quiet) as watch:
        result = study.certify(data.head(limit), settings, metric=metric, progress=watch)
        if certificates is not None:
            proofs.write_certificates(result, certificates, watch)
    files = records.write_files(result, out, ctx.meta["convexrml.command"])
    figures.save_figure(figures.robust_error_figure(result), out / "robust_error.png")
    console = Console(highlight=False, quiet=quiet)
    report.print_certification(result, console)
    files += [out / "robust_error.png", *([] if certificates is None else [certificates])]
    console.print("\nWritten: " + ", ".join(map(str, files)), soft_wrap=True, markup=False)
    _save_violations(result.judge, result.model, result.data, result.sample.tolist(), out / "violations", quiet)
    sys.exit(INTERRUPTED if result.interrupted else 1 if result.judge.violated else 0)


@click.command(epilog=CROSSCHECK_EXAMPLES, short_help="Hold all roads to a radius together.")
@data_options
@question_options
@_crosscheck_options
@work_options
@reporting_errors
def crosscheck(
    points: int, norms: tuple[str, ...], vote: str, time_limit: float | None, node_limit: int | None,
    solvers: tuple[str, ...] | None, attack_tools: tuple[str, ...] | None, out: Path, replay: Path | None,
    progress: bool | None, quiet: bool, **options: Any,
) -> None:  # fmt: skip
    """Hold every road to a radius against every other: certified <= exact <= attack.

    With a box, the radii are compared both without it and with it. Exit status 1 if a lower bound exceeds a witnessed
    upper bound: then the instances are saved, to be judged again with --replay. 2 if something cannot be read or used,
    130 if interrupted.
    """
    from rich.console import Console

    from convexrml.study import check as study
    from convexrml.study import instances, report

    console = Console(highlight=False, quiet=quiet)
    if replay is not None:
        instance = instances.load_instance(replay)
        judge = instance.judge(time_limit=time_limit, node_limit=node_limit)
        report.print_instance(instance, console)
        report.print_crosscheck(judge, console)
        sys.exit(1 if judge.violated else 0)
    data, metric = load(**options)
    folder_for("--out", out.parent)
    with report.progress_bars(progress, quiet) as watch:
        check = study.check(
            data.head(points), n_neighbors=options["n_neighbors"], metric=metric, norms=norms, box=options["box"],
            clip=options["clip"], vote=vote, solvers=solvers, time_limit=time_limit, node_limit=node_limit,
            attack_tools=attack_tools or (), progress=watch,
        )  # fmt: skip
    report.print_crosscheck(check.judge, console)
    _save_violations(check.judge, check.model, check.data, range(len(check.data.X_test)), out, quiet)
    if check.interrupted:
        console.print("[yellow]Interrupted[/]: these are the comparisons made before.")
    sys.exit(INTERRUPTED if check.interrupted else 1 if check.judge.violated else 0)


def _save_violations(
    judge: CrossCheckReport, model: NearestNeighbors, data: DataSet, points: Any, folder: Path, quiet: bool
) -> None:
    """Save what the judge objected to, and say how to replay it."""
    if not judge.violated:
        return
    from convexrml.judge import SEARCH
    from convexrml.study.instances import save_violations, violating_instances
    from convexrml.versions import versions

    used = versions([name for name in judge.solvers if name != SEARCH]) | {
        one.tool: one.version for one in judge.attack_tools
    }
    found = violating_instances(judge, model, data, points, used)
    paths = save_violations(found, folder)
    if not quiet:
        click.echo(f"\n{len(paths)} of {len(found)} violating instances written, the worst first. To judge one again:")
        for path in paths:
            click.echo(f"  convexrml crosscheck --replay {shlex.quote(str(path))}")
