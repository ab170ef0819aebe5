"""Time the stages of a study, and pass their progress on."""

from __future__ import annotations

import time
from collections.abc import Callable

Progress = Callable[[str, int, int], object]


class Clock:
    """Times the stages of a study and passes their progress on."""

    def __init__(self, progress: Progress | None = None) -> None:
        self.progress, self.seconds = progress, dict[str, float]()

    def stage(self, name: str, total: int) -> _Stage:
        """Return a context manager for one stage; entered, it gives a callback that counts finished items."""
        return _Stage(self, name, total)


class _Stage:
    def __init__(self, clock: Clock, name: str, total: int) -> None:
        self.clock, self.name, self.total, self.done = clock, name, total, 0

    def __enter__(self) -> Callable[[int], object]:
        self.started = time.perf_counter()
        self.tell()
        return self.tick

    def tick(self, finished: int) -> None:
        self.done += finished
        self.tell()

    def tell(self) -> None:
        if self.clock.progress is not None:
            self.clock.progress(self.name, self.done, self.total)

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            self.done = self.total
            self.tell()
        self.clock.seconds[self.name] = round(time.perf_counter() - self.started, 3)
