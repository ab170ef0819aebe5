"""Show what a certification, the judge and the solver profiles say, on a terminal or in a pipe."""

from __future__ import annotations

import collections
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from rich import box as lines
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from convexrml.profiles import SolverProfile
from convexrml.results import ExactRadii
from convexrml.study.certify import Certification
from convexrml.study.instances import Instance
from convexrml.study.learn import LearnedMetric
from convexrml.study.records import point_records
from convexrml.verdicts import CrossCheckReport

NARROW = 76  # below this width, tables leave out what the files have
_QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_SHOWN_VIOLATIONS = 5


def print_certification(result: Certification, console: Console) -> None:
    """Print what was found, for a person."""
    data, model, settings = result.data, result.model, result.settings
    n = len(data.X_test)
    k = settings.n_neighbors
    _heading(console, f"{data.name}: {classifier(k, settings.vote)}, {result.norm} perturbations")
    facts = _table("", "", show_header=False)
    for column in facts.columns:
        column.justify, column.no_wrap, column.overflow = "left", False, "fold"
    facts.add_row(
        "training points", f"{len(data.X_train)}, {model.n_features_in_} features, {len(model.classes_)} classes"
    )
    facts.add_row("test points", f"{n} ({data.origin['test']})")
    facts.add_row(
        "scaling", {"minmax": "each feature to [0, 1] on the training points"}.get(data.origin["scale"], "none")
    )
    if settings.box is not None:
        moved = f"; {result.clipped} test points clipped into it" if settings.clip else ""
        facts.add_row("box", f"[{settings.box[0]:g}, {settings.box[1]:g}]{moved}")
    facts.add_row("clean error", f"{result.clean_error:.2%}  ({int((~result.correct).sum())} of {n})")
    console.print(facts)

    _heading(console, "Robust error: the share of points whose radius is at most ...")
    if result.radii:
        exact_of = "" if len(result.exact_at) == n else f" ({len(result.exact_at)} points)"
        table = _table("radius", "certified", *(() if result.exact is None else (f"exact{exact_of}",)))
        for radius in result.radii:
            table.add_row(f"{radius:g}", f"{result.certified_error(radius):.2%}", *_exact_error(result, radius))
        console.print(table)
        console.print("certified: by the closed form, for every test point; an upper bound on the exact robust error.")
    else:
        console.print("No radius to state it at: the median certified radius is 0 or infinite.")
    asked = _QUANTILES if console.width >= NARROW else _QUANTILES[::3]
    table = _table(*(f"{q:.0%}" for q in asked))
    quantiles = np.quantile(result.certified.lower, asked, method="lower")
    table.add_row(*(f"{value:.4g}" for value in quantiles))
    console.print("Quantiles of the certified radius:")
    console.print(table)

    _heading(console, f"Exact radii of {len(result.exact_at)} of {n} test points, {len(result.sample)} of them shown")
    if result.exact is not None:
        _print_exact(result, result.exact, console)
    if result.missing:
        console.print(f"[yellow]Not everything is here:[/] {escape(result.missing)}.")
    print_crosscheck(result.judge, console, points=result.sample.tolist())


def print_learned(result: LearnedMetric, console: Console) -> None:
    """Print what learning changed, for a person."""
    n = len(result.data.X_test)
    _heading(
        console, f"{result.data.name}: metric learned by {type(result.learner).__name__} in {result.seconds:.1f} s"
    )
    L = result.learner.components_
    console.print(
        f"{L.shape[1]} features, rank {np.linalg.matrix_rank(L)}; learned on {len(result.data.X_train)} points."
    )
    _heading(console, f"1-nearest neighbour: share of {n} test points whose exact ℓ2 radius is at most ...")
    table = _table("radius", "Euclidean", "learned")
    for radius in (0.0, *result.radii):
        errors = [f"{np.mean(radii.lower <= radius):.2%}" for radii in (result.before, result.after)]
        table.add_row("0 (clean error)" if radius == 0 else f"{radius:.4g}", *errors)
    table.add_row("median radius", *(f"{np.median(radii.lower):.4g}" for radii in (result.before, result.after)))
    console.print(table)
    console.print("radius: 0.5, 1 and 1.5 times the median under the Euclidean metric.")


def classifier(n_neighbors: int, vote: str) -> str:
    """Name the classifier, and the vote where it makes a difference."""
    return "1-nearest neighbour" if n_neighbors == 1 else f"{n_neighbors}-nearest neighbours, {vote} vote"


def _exact_error(result: Certification, radius: float) -> tuple[str, ...]:
    bounds = result.exact_error(radius)
    if bounds is None:
        return ()
    low, high = bounds
    return (f"{low:.2%}" if low == high else f"{low:.2%} to {high:.2%}",)


def _print_exact(result: Certification, exact: ExactRadii, console: Console) -> None:
    wide = console.width >= NARROW
    if len(result.sample):
        console.print(_exact_table(result, exact, wide))
        legend = (
            f"By {exact.solver}: an interval closed to a relative {exact.tolerance:.1g} is exact; bounds are rounded "
            "outward. ratio: certified / exact radius."
        )
        if wide and exact.n_neighbors == 1:
            legend += (
                " runs into: the training point (and its label) that the witness runs into. weights: how many positive "
                "multipliers prove the lower bound."
            )
        elif wide:
            legend += " nodes: of the branch and bound, that were evaluated."
        console.print(legend + " More digits and columns are in the files.")
    counts = collections.Counter(_words(status.name) for status in exact.status)
    console.print(f"All {len(exact)}: {', '.join(f'{count} {name}' for name, count in counts.most_common())}.")
    undecided = int((~result.known).sum())
    if undecided:
        reasons = "; ".join(dict.fromkeys(status.value for status in exact.status[~result.known]))
        console.print(f"[yellow]{undecided} radii are known as intervals only: {reasons}.[/]")


def _exact_table(result: Certification, exact: ExactRadii, wide: bool) -> Table:
    more = ("runs into", "weights") if exact.n_neighbors == 1 else ("nodes",)
    table = _table("point", "label", "lower", "upper", "status", "ratio", *(more if wide else ()))
    status = table.columns[4]
    status.justify, status.no_wrap, status.overflow = "left", False, "fold"
    digits = 7 if wide else 5
    shown = set(result.sample.tolist())
    for record in point_records(result):
        if record["index"] not in shown:
            continue
        ratio, negative = record["certified_over_exact"], record["witness_negative"]
        row = [
            str(record["index"]),
            str(record["label"]),
            _rounded(record["exact_lower"], down=True, digits=digits),
            _rounded(record["exact_upper"], down=False, digits=digits),
            _words(record["status"]),
            "" if ratio is None else f"{ratio:.4f}",
        ]
        if exact.n_neighbors == 1:
            into = "" if negative is None else f"{negative} ({record['witness_label']})"
            row += [into, str(record["positive_multipliers"] or "")]
        else:
            row.append(str(record["solves"]))
        table.add_row(*map(escape, row[: len(table.columns)]))
    return table


def _words(status: str) -> str:
    return status.lower().replace("_", " ")


def print_crosscheck(judge: CrossCheckReport, console: Console, *, points: Sequence[int] | None = None) -> None:
    """Print the judge's counts and what stands behind them; `points` are the queries' numbers in the test set."""
    norms = ", ".join(map(str, judge.norms))
    vote = "" if judge.n_neighbors == 1 else f"{judge.vote.value} of {judge.n_neighbors}; "
    roads = ", ".join([*judge.solvers, *(f"attack {one.name}" for one in judge.attack_tools)])
    _heading(console, f"Cross-check of {judge.n_queries} points: {vote}{norms}; {roads}")
    table = _table("checked", "violated", "inconclusive", "skipped")
    table.add_row(*(str(count) for count in (judge.checked, judge.violated, judge.inconclusive, judge.skipped)))
    console.print(table)

    def place(query: int) -> str:
        return f"point {query if points is None else points[query]}"

    if judge.worst is not None:
        worst = judge.worst
        inside = "" if judge.boxes[worst.box] is None else ", in the box"
        console.print(
            f"Worst excess {worst.excess:.2g} (lower / upper - 1) at {place(worst.query)}, {worst.norm}{inside}: "
            f"{worst.below} {worst.lower:.17g}, {worst.above} {worst.upper:.17g}."
        )
    if not math.isnan(judge.disagreement):
        console.print(f"Largest relative disagreement between solvers: {judge.disagreement:.2g}.")
    reasons = sorted({c.reason for c in judge.comparisons if c.reason and c.verdict.name == "SKIPPED"})
    if reasons:
        console.print(f"Skipped because: {escape('; '.join(reasons))}.")
    for note in judge.notes:
        console.print(f"Note: {escape(note)}")
    if judge.violated:
        console.print(f"[bold red]VIOLATED[/]: {judge.violated} lower bounds exceed a witnessed upper bound.")
        for violation in judge.violations[:_SHOWN_VIOLATIONS]:
            console.print(
                f"  {place(violation.query)}, {violation.norm}, box {violation.box}: {violation.below} "
                f"{violation.lower:.17g} > {violation.above} {violation.upper:.17g}"
                + (f" ({escape(violation.reason)})" if violation.reason else "")
            )
    else:
        verdict = "every lower bound is at most every witnessed upper bound" if judge.checked else "nothing was decided"
        console.print(f"[bold green]No violation[/]: {verdict}.")


def print_instance(instance: Instance, console: Console) -> None:
    """Print what a saved instance is, and what was seen with it."""
    _heading(console, f"Instance: {classifier(instance.n_neighbors, instance.vote)}, norm {instance.norm}")
    console.print(
        f"{len(instance.X)} training points, {instance.X.shape[1]} features, label {escape(repr(instance.label))}, "
        f"{'no box' if instance.box is None else 'a box'}. Seen: {instance.below} {instance.lower:.17g} > "
        f"{instance.above} {instance.upper:.17g}."
    )
    seen = ", ".join(f"{name} {version}" for name, version in instance.versions.items())
    console.print(f"Seen with {escape(seen)}.")


def print_solvers(profiles: Mapping[str, SolverProfile], console: Console, *, verbose: bool = False) -> None:
    """Print the solver profiles."""
    table = _table("name", "version", "solves", "method, licence, how to get it")
    for column in table.columns:
        column.justify, column.no_wrap, column.overflow = "left", column.header == "name", "fold"
    table.columns[2].max_width = 11
    for name, p in profiles.items():
        about = f"{p.method}\n{p.licence}\n{p.install}"
        table.add_row(*map(escape, (name, p.version() or "not installed", " ".join(p.problem_classes), about)))
    console.print(table)
    if not verbose:
        return
    for p in profiles.values():
        _heading(console, f"{p.title} ({p.homepage})")
        if p.needs_licence:
            console.print(f"Needs a licence: {escape(p.licence_page)}")
        for accuracy, what in p.accuracies.items():
            options = ", ".join(f"{key} = {value}" for key, value in what.options.items())
            console.print(f"{escape(accuracy)}: relative gap {what.tolerance:g} expected; {escape(options)}")
        for issue in p.known_issues:
            console.print(f"Known issue ({escape(issue.seen_with)}): {escape(issue.what)} {escape(issue.workaround)}")


@contextmanager
def progress_bars(asked: bool | None, quiet: bool) -> Iterator[Callable[[str, int, int], object]]:
    """Bars with the time left on stderr: on a terminal, or where asked for."""
    console = Console(stderr=True, force_terminal=True if asked else None)
    shown = asked if asked is not None else console.is_terminal and not quiet
    if not shown:  # older versions of rich write an empty line even for bars that are disabled
        yield lambda stage, finished, total: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    tasks: dict[str, Any] = {}
    with Progress(*columns, console=console) as bars:

        def watch(stage: str, finished: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=finished)

        yield watch


def _heading(console: Console, text: str) -> None:
    console.print(f"\n[bold]{escape(text)}[/]")


def _table(*columns: str, show_header: bool = True) -> Table:
    table = Table(box=lines.SIMPLE_HEAD if show_header else None, show_header=show_header, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _rounded(value: float, *, down: bool, digits: int) -> str:
    """A bound with a few digits, rounded outward so that it stays a bound."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - digits + 1)
    steps = math.floor(value / unit) if down else math.ceil(value / unit)
    return f"{steps * unit:#.{digits}g}"
