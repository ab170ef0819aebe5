"""Work through a ledger: each task in a process of its own, with limits; whatever happens to it is its row.

A process is forked from a server that has the heavy modules loaded and nothing else, so that it starts in milliseconds
and no task sees what another left behind.  The runner watches it: one that hangs is killed at its time limit, one that
grows beyond its memory is killed, one that crashes is written down with what it said last.  Memory is polled as
resident bytes: address space, which the kernel could limit, is reserved by numerical libraries far beyond what they
use.  The kernel's own timer and limit on data stand behind the watch, for the case that the runner itself is killed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import resource
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from convexrml.errors import InvalidInputError
from convexrml.ledger import OPEN, RUNNING, Ledger, Task

DONE, ERROR, CRASHED, TIME_LIMIT, MEMORY_LIMIT = "done", "error", "crashed", "time limit", "memory limit"
OUTCOMES = (DONE, ERROR, CRASHED, TIME_LIMIT, MEMORY_LIMIT)

Work = Callable[[dict[str, Any], dict[str, Any], Callable[[], None]], Mapping[str, Any]]
Progress = Callable[[str, int, int], object]

_POLL = 0.02  # seconds between two looks at a process; memory can grow by some 100 MB in between
_BEAT = 10.0
_GRACE = 30.0  # seconds by which the kernel's timer is behind the watch
_SLACK = 2 * 2**30  # bytes by which the kernel's limit on data is behind the watch: not all that is asked for is used
_LAST_WORDS = 1500
_ALWAYS = ("convexrml.compare.runner", "numpy", "threadpoolctl")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS")


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one task may take.

    Attributes
    ----------
    seconds : float
        Wall-clock time from the moment that the work says it begins (or from its start, if it never says so).
    memory : int
        Resident bytes.
    setup_seconds : float
        Time before it begins.
    """

    seconds: float = 60.0
    memory: int = 4 * 2**30
    setup_seconds: float = 120.0

    def __post_init__(self) -> None:
        for name in ("seconds", "memory", "setup_seconds"):
            if not getattr(self, name) > 0:
                raise InvalidInputError(f"{name}: needs a positive number; found {getattr(self, name)!r}")


def run_tasks(
    ledger: Ledger,
    work: Work,
    limits: Limits | None = None,
    *,
    jobs: int = 1,
    threads: int = 1,
    preload: Sequence[str] = (),
    progress: Progress | None = None,
    stage: str = "tasks",
) -> dict[str, int]:
    """Run every open task of a ledger; those of processes that are gone are open again.

    Parameters
    ----------
    ledger : Ledger
    work : callable
        ``work(key, payload, begin)`` returns the result as a mapping for JSON; a function of an importable module.  It
        may call ``begin()`` when its preparations are over: the time limit counts from there.
    limits : Limits, optional
    jobs : int
        How many processes at a time.
    threads : int
        How many threads BLAS, OpenMP and numba may use in each.
    preload : sequence of str
        Modules that the server loads before it forks.
    progress : callable, optional
        Called with (stage, finished, total).

    Returns
    -------
    dict
        How many tasks have which status.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C: what was running is open again, what was finished is written.
    """
    if jobs < 1 or threads < 1:
        raise InvalidInputError(f"jobs, threads: need to be at least 1; found {jobs} and {threads}")
    limits = limits or Limits()
    _start_server(preload, threads)
    running: list[_Process] = []
    beaten = time.monotonic()
    ledger.recover()
    try:
        while True:
            while len(running) < jobs and (task := ledger.claim()) is not None:
                running.append(_Process(task, work, limits, threads))
            if not running:
                if ledger.recover():
                    continue
                return ledger.counts()
            wait([waited for process in running for waited in process.waited], timeout=_POLL)
            for process in running[:]:
                if (end := process.look()) is not None:
                    running.remove(process)
                    ledger.finish(process.task, *end)
                    _tell(ledger, progress, stage)
            if time.monotonic() - beaten > _BEAT:
                ledger.beat(process.task for process in running)
                beaten = time.monotonic()
    finally:
        for process in running:
            process.kill()
            ledger.release(process.task)


class _Process:
    """One task at work."""

    def __init__(self, task: Task, work: Work, limits: Limits, threads: int) -> None:
        self.task, self.limits = task, limits
        handle, log = tempfile.mkstemp(prefix="convexrml-", suffix=".log")
        os.close(handle)
        self.log = Path(log)
        self.pipe, theirs = multiprocessing.Pipe(duplex=False)
        self.process = multiprocessing.get_context("forkserver").Process(
            target=_child, args=(work, task.key, task.payload, theirs, log, limits, threads), daemon=True
        )
        self.process.start()
        theirs.close()
        self.deadline = time.monotonic() + limits.setup_seconds
        self.peak, self.began, self.hung_up = 0, False, False

    @property
    def waited(self) -> list[Any]:
        return [self.process.sentinel] if self.hung_up else [self.pipe, self.process.sentinel]

    def look(self) -> tuple[str, Mapping[str, Any] | None, str | None] | None:
        """(outcome, result, error) once it is over, else None."""
        alive = self.process.is_alive()  # before the pipe is read: what it sent last must not be missed
        while not self.hung_up and self.pipe.poll():
            try:
                message = self.pipe.recv()
            except (EOFError, OSError):
                self.hung_up = True
                break
            if message is None:
                self.began, self.deadline = True, time.monotonic() + self.limits.seconds
            else:
                self.kill()
                outcome, result, error = message
                return outcome, result, error
        if not alive:
            said = self._last_words()
            self.kill()
            code = self.process.exitcode or 0
            how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            return CRASHED, self._measured(), f"the process was {how}" + (f"; it said last: {said}" if said else "")
        self.peak = max(self.peak, resident(self.process.pid or 0))
        if self.peak > self.limits.memory:
            self.kill()
            allowed = f"{self.limits.memory / 2**20:.0f} MB"
            return MEMORY_LIMIT, self._measured(), f"killed at {self.peak / 2**20:.0f} MB resident ({allowed} allowed)"
        if time.monotonic() > self.deadline:
            self.kill()
            limit = self.limits.seconds if self.began else self.limits.setup_seconds
            return (
                TIME_LIMIT,
                self._measured(),
                f"killed after {limit:g} s" + ("" if self.began else " of preparations"),
            )
        return None

    def kill(self) -> None:
        """End it, and what it started."""
        if self.process.pid is not None and self.process.is_alive():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)  # its own group, if it got so far as to make it
            self.process.kill()
        self.process.join()
        self.pipe.close()
        self.log.unlink(missing_ok=True)

    def _measured(self) -> dict[str, Any]:
        return {"peak_memory": self.peak}

    def _last_words(self) -> str:
        return " ".join(self.log.read_text(encoding="utf-8", errors="replace").split())[-_LAST_WORDS:]


def resident(pid: int) -> int:
    """Resident bytes of a process; 0 if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


def _child(
    work: Work, key: dict[str, Any], payload: dict[str, Any], pipe: Connection, log: str, limits: Limits, threads: int
) -> None:
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, limits.setup_seconds + limits.seconds + _GRACE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, 2 * (_data() + limits.memory + _SLACK,))
    try:
        with _threads_limited(threads):
            message: tuple[str, dict[str, Any] | None, str | None] = (
                DONE,
                dict(work(key, payload, lambda: pipe.send(None))),
                None,
            )
    except MemoryError as error:
        message = (MEMORY_LIMIT, None, f"MemoryError: {error}")
    except Exception:  # whatever the work raises is its row
        message = (ERROR, None, traceback.format_exc())
    pipe.send(message)
    pipe.close()


def _data() -> int:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmData:"))


def _threads_limited(threads: int) -> contextlib.AbstractContextManager[object]:
    from threadpoolctl import threadpool_limits

    return threadpool_limits(threads)


def _start_server(preload: Sequence[str], threads: int) -> None:
    """Start the server that forks; if this process has one, it stays as it is."""
    multiprocessing.get_context("forkserver").set_forkserver_preload([*_ALWAYS, *preload])
    with _environment(dict.fromkeys(_THREADS, str(threads))):
        forkserver.ensure_running()


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _tell(ledger: Ledger, progress: Progress | None, stage: str) -> None:
    if progress is not None:
        counts = ledger.counts()
        total = sum(counts.values())
        progress(stage, total - counts.get(OPEN, 0) - counts.get(RUNNING, 0), total)
