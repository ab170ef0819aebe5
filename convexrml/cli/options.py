"""Options that several commands share, and how their values are read."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from convexrml.cli.frame import F, Failure

if TYPE_CHECKING:
    from convexrml.metric import MahalanobisMetric
    from convexrml.study.data import DataSet

FILE = click.Path(path_type=Path)
DEFAULT_PROGRAMS = "clarabel,daqp; with more neighbours scip for norm 2, highs for 1 and inf"

_Callback = Callable[[click.Context, click.Parameter, Any], Any]


def read_numbers(length: int | None = None) -> _Callback:
    """Read numbers separated by commas; exactly `length` of them where that is given."""

    def read(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[float, ...] | None:
        if value is None:
            return None
        try:
            numbers = tuple(float(part) for part in value.split(","))
        except ValueError:
            raise click.BadParameter(f"{value!r} is not a list of numbers separated by commas") from None
        if length is not None and len(numbers) != length:
            raise click.BadParameter(f"needs {length} numbers separated by a comma; found {value!r}")
        return numbers

    return read


def read_sizes(ctx: click.Context, param: click.Parameter, value: str | None) -> list[int] | None:
    """Read whole numbers of at least 10 separated by commas."""
    if value is None:
        return None
    parts = [part.strip() for part in value.split(",")]
    if not all(part.isdecimal() and int(part) >= 10 for part in parts):
        raise click.BadParameter(f"needs whole numbers of at least 10 separated by commas; found {value!r}")
    return [int(part) for part in parts]


def read_jobs(ctx: click.Context, param: click.Parameter, value: int | None) -> int | None:
    """Read a number of workers."""
    if value == 0:
        raise click.BadParameter("needs a number of workers, or -1 for all processors; found 0")
    return value


class Finite(click.FloatRange):
    """A range of floats without infinities and NaN."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read the number."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


def read_names(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """Read names separated by commas."""
    if value is None:
        return None
    names = tuple(filter(None, map(str.strip, value.split(","))))
    if not names:
        raise click.BadParameter(f"needs one name at least, separated by commas; found {value!r}")
    return names


def read_count(ctx: click.Context, param: click.Parameter, value: str) -> int | None:
    """Read a positive whole number, or ``all`` (None)."""
    if value == "all":
        return None
    if not value.isdecimal() or int(value) < 1:
        raise click.BadParameter(f"{value!r} is neither a positive whole number nor 'all'")
    return int(value)


def together(*options: Callable[[F], F]) -> Callable[[F], F]:
    """One decorator that adds several options, in this order."""

    def apply(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return apply


DATA_DIR = click.option(
    "--data-dir",
    type=FILE,
    metavar="DIR",
    help="Where data sets by name are looked for, and downloaded to. Default: $CONVEXRML_DATA, or the cache folder.",
)
JOBS = click.option("-j", "--jobs", type=int, callback=read_jobs, metavar="N",
                    help="Workers of the exact search; -1 is all processors. Default: 1.")  # fmt: skip
# fmt: off
source_options = together(
    click.option("--data", type=FILE, metavar="FILE|NAME",
                 help="Points: .npz (X, y), .csv, else svmlight (.gz, .bz2); or a data set by name: breast_cancer, "
                      "digits, iris, wine, dna, letter, mnist, pendigits, satimage, splice, usps, openml:NAME. "
                      "Default: digits."),
    DATA_DIR,
    click.option("--test", type=FILE, metavar="FILE",
                 help="Test points; without it, those that come with a data set by name, or a part of the data, "
                      "held out."),
    click.option("--label-column", metavar="NAME|INDEX", help="Label column of csv files. Default: the last."),
    click.option("--test-size", type=Finite(0, 1, True, True), metavar="SHARE", default=0.3, show_default=True,
                 help="Share of the data held out, where no test points are given."),
    click.option("--seed", type=click.IntRange(0), metavar="N", default=0, show_default=True,
                 help="Seed of the stratified split that holds points out."),
    click.option("--scale", type=click.Choice(["minmax", "none"]), default="minmax", show_default=True,
                 help="minmax maps each feature to [0, 1], as learnt on the training points."),
)
data_options = together(
    source_options,
    click.option("--metric", type=FILE, metavar="FILE",
                 help="Mahalanobis metric (.npy .npz .csv .txt): square is M, else L. Default: Euclidean."),
    click.option("-k", "--n-neighbors", type=click.IntRange(1), metavar="K", default=1, show_default=True,
                 help="Neighbours, an odd number."),
    click.option("--box", callback=read_numbers(2), metavar="LOWER,UPPER",
                 help="Perturbed points stay inside (in the units after --scale). Default: no box."),
    click.option("--clip", is_flag=True, help="Clip the test points into the --box first."),
)
question_options = together(
    click.option("--vote", type=click.Choice(["plurality", "majority"]), default="plurality", show_default=True,
                 help="The vote that has to be lost; for one neighbour they are the same."),
    click.option("--time-limit", type=Finite(0), metavar="SECONDS",
                 help="For each exact radius of more than one neighbour; one that is met leaves an interval. "
                      "Default: none."),
    click.option("--node-limit", type=click.IntRange(0), metavar="N",
                 help="The same for the nodes of the search. Default: none."),
)
work_options = together(
    click.option("--progress/--no-progress", default=None, help="Progress on stderr. Default: on a terminal."),
    click.option("--quiet", is_flag=True, help="Print nothing but errors."),
)
# fmt: on


def load(
    data: Path | None, data_dir: Path | None, test: Path | None, label_column: str | None, test_size: float, seed: int,
    scale: str, metric: Path | None, box: tuple[float, ...] | None = None, clip: bool = False, **_: Any,
) -> tuple[DataSet, MahalanobisMetric | None]:  # fmt: skip
    """Read what `data_options` ask for: the data set, and the metric where one is named."""
    if clip and box is None:
        raise Failure("--clip: has no effect without --box; give both, or neither")
    from convexrml.study.data import load_data
    from convexrml.study.files import read_metric

    found = load_data(
        data, test, data_dir=data_dir, label_column=label_column, test_size=test_size, seed=seed, scale=scale
    )
    return found, None if metric is None else read_metric(metric)
