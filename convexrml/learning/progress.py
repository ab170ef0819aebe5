"""Progress of a learner: a bar on stderr where `verbose` asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


@contextmanager
def progress_bar(verbose: bool, total: int) -> Iterator[Callable[[int, str], None]]:
    """What a learner calls with the number of finished steps (of `total`) and with what is known by now."""
    if not verbose:  # older versions of rich write an empty line even for bars that are disabled
        yield lambda finished, about: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        bar = bars.add_task("learning the metric", total=total)

        def show(finished: int, about: str) -> None:
            bars.update(bar, completed=finished, description=about)

        yield show
