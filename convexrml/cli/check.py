"""``convexrml check`` and ``convexrml solvers``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from convexrml.cli.frame import reporting_errors
from convexrml.cli.options import DATA_DIR, FILE

CHECK_EXAMPLES = """\b
Examples:
  convexrml certify --certificates certs && convexrml check certs
  convexrml check certs --data train.csv --no-filter
"""


@click.command(epilog=CHECK_EXAMPLES, short_help="Check certificates in exact arithmetic.")
@click.argument("files", nargs=-1, required=True, type=FILE, metavar="FILE...")
@click.option("--data", type=FILE, metavar="FILE|NAME",
              help="The training points, as they were given to certify. Default: digits.")  # fmt: skip
@DATA_DIR
@click.option("--metric", type=FILE, metavar="FILE", help="The metric, as it was given to certify. Default: Euclidean.")
@click.option(
    "--filter/--no-filter",
    default=True,
    show_default=True,
    help="Settle easy comparisons in floating point, with a proof of its own.",
)
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
@reporting_errors
def check(
    files: tuple[Path, ...], data: Path | None, data_dir: Path | None, metric: Path | None, filter: bool, quiet: bool
) -> None:
    """Check certificates, or folders of them, in exact arithmetic.

    Exit status 1 if one is rejected, 2 if something cannot be read.
    """
    from convexrml.study.certificates import check_certificates, report

    results = check_certificates(files, data, metric, data_dir=data_dir, use_filter=filter)
    rejected = report(results, None if quiet else click.echo)
    if rejected and data is None and not quiet:
        click.echo("They were checked against the digits; name other training points with --data.")
    sys.exit(1 if rejected else 0)


@click.command(short_help="What solves what, and what is installed.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("-v", "--verbose", is_flag=True, help="Also accuracies, with tolerances, and known issues.")
@reporting_errors
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
