"""The command line: certify a data set, hold the roads to a radius against each other, list the solvers.

Heavy modules are imported inside the commands, so that help comes at once.
"""

from __future__ import annotations

import functools
import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from convexrml import __version__
from convexrml.errors import ConvexrmlError

if TYPE_CHECKING:
    from convexrml.metric import MahalanobisMetric
    from convexrml.neighbors import NearestNeighbors
    from convexrml.study.data import DataSet
    from convexrml.verdicts import CrossCheckReport

EPILOG = """\b
Examples:
  convexrml certify
  convexrml certify --data train.csv --test test.csv --norm inf --box 0,1 --clip
  convexrml certify --data usps.bz2 --test usps.t.bz2 --limit 200 --check 5
  convexrml certify -k 5 --vote majority --time-limit 10 --solvers search
  convexrml crosscheck --points 100 --norms 2 --solvers clarabel,daqp
  convexrml crosscheck --replay convexrml-out/violations/point3-norm2-box0.npz
  convexrml certify --certificates certs && convexrml check certs
"""

_F = TypeVar("_F", bound=Callable[..., Any])


class _Failure(click.ClickException):
    exit_code = 2


_Callback = Callable[[click.Context, click.Parameter, Any], Any]


def _numbers(count: int | None = None) -> _Callback:
    """Read numbers separated by commas; exactly `count` of them where that is given."""

    def read(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[float, ...] | None:
        if value is None:
            return None
        try:
            numbers = tuple(float(part) for part in value.split(","))
        except ValueError:
            raise click.BadParameter(f"{value!r} is not a list of numbers separated by commas") from None
        if count is not None and len(numbers) != count:
            raise click.BadParameter(f"needs {count} numbers separated by a comma, found {value!r}")
        return numbers

    return read


def _names(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """Read names separated by commas."""
    if value is None:
        return None
    names = tuple(filter(None, map(str.strip, value.split(","))))
    if not names:
        raise click.BadParameter("name at least one")
    return names


def _count(ctx: click.Context, param: click.Parameter, value: str) -> int | None:
    """Read a positive whole number, or ``all`` (None)."""
    if value == "all":
        return None
    if not value.isdecimal() or int(value) < 1:
        raise click.BadParameter(f"{value!r} is neither a positive whole number nor 'all'")
    return int(value)


class _Commands(click.Group):
    """Keeps the command line as it was typed, for the records."""

    def make_context(self, info_name: str | None, args: list[str], *more: Any, **extra: Any) -> click.Context:
        typed = shlex.join(["convexrml", *args])
        ctx = super().make_context(info_name, args, *more, **extra)
        ctx.meta["convexrml.command"] = typed
        return ctx


def _reporting_errors(command: _F) -> _F:
    """Show what convexrml raises on purpose, and what the disk says, as one line; with --debug, the whole trace."""

    @click.option("--debug", is_flag=True, help="Show the trace of an error.")
    @functools.wraps(command)
    def guarded(*args: Any, debug: bool, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except (ConvexrmlError, OSError) as error:
            if debug:
                raise
            raise _Failure(str(error)) from error
        except KeyboardInterrupt:
            if debug:
                raise
            click.echo("Interrupted before anything was finished.", err=True)
            sys.exit(_INTERRUPTED)

    return guarded  # type: ignore[return-value]


def _options(*options: Callable[[_F], _F]) -> Callable[[_F], _F]:
    def apply(command: _F) -> _F:
        for option in reversed(options):
            command = option(command)
        return command

    return apply


_FILE = click.Path(path_type=Path)
_INTERRUPTED = 130  # 128 + SIGINT, as shells have it
_DEFAULT_PROGRAMS = "clarabel,daqp; with more neighbours scip for norm 2, highs for 1 and inf"
# fmt: off
_data_options = _options(
    click.option("--data", type=_FILE, help="Points: .npz (X, y), .csv, else svmlight (.gz, .bz2). Default: digits."),
    click.option("--test", type=_FILE, help="Test points; without it, a part of the data is held out."),
    click.option("--label-column", metavar="NAME|INDEX", help="Label column of csv files. Default: the last."),
    click.option("--test-size", type=click.FloatRange(0, 1, True, True), default=0.3, show_default=True,
                 help="Share of the data held out."),
    click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the stratified split."),
    click.option("--scale", type=click.Choice(["minmax", "none"]), default="minmax", show_default=True,
                 help="minmax maps each feature to [0, 1], as learnt on the training points."),
    click.option("--metric", type=_FILE, help="Mahalanobis metric (.npy .npz .csv .txt): square is M, else L."),
    click.option("-k", "--n-neighbors", type=click.IntRange(1), default=1, show_default=True, help="Neighbours, odd."),
    click.option("--box", callback=_numbers(2), metavar="LOWER,UPPER",
                 help="Perturbed points stay inside (after scaling)."),
    click.option("--clip", is_flag=True, help="Clip the test points into the box first."),
)
_question_options = _options(
    click.option("--vote", type=click.Choice(["plurality", "majority"]), default="plurality", show_default=True,
                 help="The vote of more than one neighbour that has to be lost."),
    click.option("--time-limit", type=click.FloatRange(0), metavar="SECONDS",
                 help="For each exact radius of more than one neighbour; what is met leaves an interval."),
    click.option("--node-limit", type=click.IntRange(0), metavar="N", help="The same for the nodes of the search."),
)
_work_options = _options(
    click.option("--progress/--no-progress", default=None, help="Progress on stderr. Default: on a terminal."),
    click.option("--quiet", is_flag=True, help="Print nothing but errors."),
)
_certify_options = _options(
    click.option("--norm", type=click.Choice(["1", "2", "inf"]), default="2", show_default=True,
                 help="Norm of perturbations."),
    click.option("--solvers", callback=_names, metavar="NAME,...",
                 help="Solvers of the explicit programs, for the cross-check; 'search' for none. "
                      f"Default: {_DEFAULT_PROGRAMS}."),
    click.option("--limit", type=click.IntRange(1), help="Only the first N test points."),
    click.option("--radii", callback=_numbers(), metavar="R1,R2,...",
                 help="Radii to state errors at. Default: 0.5, 1, 1.5 times the median certified radius."),
    click.option("--exact", callback=_count, default="all", show_default=True, metavar="N|all",
                 help="How many test points, evenly spaced, get an exact radius."),
    click.option("--check", callback=_count, default="20", show_default=True, metavar="N|all",
                 help="How many of these are shown, attacked and cross-checked."),
    click.option("-j", "--jobs", type=int, metavar="N", help="Workers of the exact search; -1 is all processors."),
    click.option("--out", type=_FILE, default="convexrml-out", show_default=True,
                 help="Folder for points.csv, points.json, robust_error.png; earlier ones are overwritten."),
    click.option("--certificates", type=_FILE, metavar="DIR", help="Write a certificate for every radius there."),
)
_crosscheck_options = _options(
    click.option("--points", type=click.IntRange(1), default=50, show_default=True, help="The first N test points."),
    click.option("--norms", callback=_names, default="1,2,inf", show_default=True, help="Norms of perturbations."),
    click.option("--solvers", callback=_names, metavar="NAME,...",
                 help="Exact roads to compare: 'search', and solvers of the explicit programs. "
                      f"Default: search,{_DEFAULT_PROGRAMS}."),
    click.option("--out", type=_FILE, default="convexrml-out/violations", show_default=True,
                 help="Folder for the instances that violate, one .npz each; earlier ones are overwritten."),
    click.option("--replay", type=_FILE, help="Judge one saved instance again, and nothing else."),
)
# fmt: on


@click.group(cls=_Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="convexrml", message="%(prog)s %(version)s")
def main() -> None:
    """Measure how far an input may be perturbed before a nearest-neighbour classifier changes its mind."""


@main.command(epilog=EPILOG)
@_data_options
@_question_options
@_certify_options
@_work_options
@_reporting_errors
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

    Exit code 1 if the cross-check finds a violation, 2 if something cannot be read or used, 130 if interrupted: what
    is finished by then is written.
    """
    from rich.console import Console

    from convexrml.study import certificates as proofs
    from convexrml.study import certify as study
    from convexrml.study import figures, records, report

    data, metric = _load(**options)
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
    out.mkdir(parents=True, exist_ok=True)
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
    sys.exit(_INTERRUPTED if result.interrupted else 1 if result.judge.violated else 0)


@main.command(epilog=EPILOG)
@_data_options
@_question_options
@_crosscheck_options
@_work_options
@_reporting_errors
def crosscheck(
    points: int, norms: tuple[str, ...], vote: str, time_limit: float | None, node_limit: int | None,
    solvers: tuple[str, ...] | None, out: Path, replay: Path | None, progress: bool | None, quiet: bool, **options: Any,
) -> None:  # fmt: skip
    """Hold every road to a radius against every other: certified <= exact <= attack.

    With a box, the radii are compared both without it and with it. Exit code 1 if a lower bound exceeds a witnessed
    upper bound: then the instances are saved, to be judged again with --replay. Exit code 130 if interrupted.
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
    data, metric = _load(**options)
    with report.progress_bars(progress, quiet) as watch:
        check = study.check(
            data.head(points), n_neighbors=options["n_neighbors"], metric=metric, norms=norms, box=options["box"],
            clip=options["clip"], vote=vote, solvers=solvers, time_limit=time_limit, node_limit=node_limit,
            progress=watch,
        )  # fmt: skip
    report.print_crosscheck(check.judge, console)
    _save_violations(check.judge, check.model, check.data, range(len(check.data.X_test)), out, quiet)
    if check.interrupted:
        console.print("[yellow]Interrupted[/]: these are the comparisons made before.")
    sys.exit(_INTERRUPTED if check.interrupted else 1 if check.judge.violated else 0)


@main.command(epilog=EPILOG)
@click.argument("files", nargs=-1, required=True, type=_FILE, metavar="FILE...")
@click.option("--data", type=_FILE, help="The training points, as they were given to certify. Default: digits.")
@click.option("--metric", type=_FILE, help="The metric, as it was given to certify.")
@click.option("--filter/--no-filter", default=True, help="Settle easy comparisons in floating point.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
@_reporting_errors
def check(files: tuple[Path, ...], data: Path | None, metric: Path | None, filter: bool, quiet: bool) -> None:
    """Check certificates, or folders of them, in exact arithmetic: exit code 1 if one is rejected, 2 if unreadable."""
    from convexrml.study.certificates import check_certificates, report

    results = check_certificates(files, data, metric, use_filter=filter)
    sys.exit(1 if report(results, None if quiet else click.echo) else 0)


@main.command(epilog=EPILOG)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("-v", "--verbose", is_flag=True, help="Also accuracies, with tolerances, and known issues.")
@_reporting_errors
def solvers(as_json: bool, verbose: bool) -> None:
    """List the solvers: what each solves, whether it is installed, its licence, how to get it."""
    from convexrml.profiles import load_profiles

    profiles = load_profiles()
    if as_json:
        from convexrml.study.records import solver_records

        click.echo(json.dumps(solver_records(profiles), indent=1, ensure_ascii=False))
        return
    from rich.console import Console

    from convexrml.study.report import print_solvers

    print_solvers(profiles, Console(highlight=False), verbose=verbose)


def _load(
    data: Path | None, test: Path | None, label_column: str | None, test_size: float, seed: int, scale: str,
    metric: Path | None, **_: Any,
) -> tuple[DataSet, MahalanobisMetric | None]:  # fmt: skip
    from convexrml.study.data import load_data
    from convexrml.study.files import read_metric

    found = load_data(data, test, label_column=label_column, test_size=test_size, seed=seed, scale=scale)
    return found, None if metric is None else read_metric(metric)


def _save_violations(
    judge: CrossCheckReport, model: NearestNeighbors, data: DataSet, points: Any, folder: Path, quiet: bool
) -> None:
    """Save what the judge objected to, and say how to replay it."""
    if not judge.violated:
        return
    from convexrml.study.certify import versions
    from convexrml.study.instances import save_violations, violating_instances

    found = violating_instances(judge, model, data, points, versions(judge.solvers))
    paths = save_violations(found, folder)
    if not quiet:
        click.echo(f"\n{len(paths)} of {len(found)} violating instances written, the worst first. To judge one again:")
        for path in paths:
            click.echo(f"  convexrml crosscheck --replay {shlex.quote(str(path))}")
