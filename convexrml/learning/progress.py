"""Progress of a learner: a bar on stderr where asked for, and whatever callable the user passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from convexrml.learning.first_order import Progress

Watch = Callable[[int, Progress], object]


@contextmanager
def shown_progress(shown: bool, n_rounds: int, callback: Watch | None) -> Iterator[Watch]:
    """What a learner calls with the round (from 0) and what is known in it; the bar counts finished rounds."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=Console(stderr=True), disable=not shown) as bars:
        bar = bars.add_task("learning the metric", total=n_rounds)

        def watch(number: int, now: Progress) -> None:
            about = f"round {number + 1}: iteration {now.n_iter}, value {now.value:.5g}, gap {now.gap:.1e}"
            bars.update(bar, completed=number, description=about)
            if callback is not None:
                callback(number, now)

        yield watch
        bars.update(bar, completed=n_rounds)
