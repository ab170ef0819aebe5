"""Threads, clocks and the machine: nothing here imports numpy, so that thread limits can be set first."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)
_PACKAGES = ("numpy", "scipy", "numba", "scikit-learn", "cvxpy", "clarabel", "daqp", "highspy", "joblib")
_LEAST_SECONDS = 0.05  # a shorter call is repeated until it takes about as long
_PATIENCE = 30.0  # seconds; a road that takes longer is repeated less often


def threads_asked(arguments: Sequence[str], default: int = 1) -> int:
    """The value of ``--threads`` on a command line that nobody has parsed yet."""
    for place, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name == "--threads":
            value = value or (arguments[place + 1] if place + 1 < len(arguments) else "")
            return int(value) if value.isdigit() and int(value) > 0 else default
    return default


def limit_threads(threads: int) -> None:
    """Limit BLAS, OpenMP and numba; has to be called before any of them is imported."""
    if "numpy" in sys.modules:
        raise RuntimeError("numpy is loaded already: its threads cannot be limited any more")
    for name in THREAD_VARIABLES:
        os.environ[name] = str(threads)


@dataclasses.dataclass(frozen=True)
class Timing:
    """Milliseconds per point, one entry per repeat."""

    name: str
    points: int
    milliseconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.milliseconds)

    @property
    def range(self) -> tuple[float, float]:
        return min(self.milliseconds), max(self.milliseconds)

    def ratio_to(self, other: Timing) -> float:
        """Median over the repeats of the ratio within a repeat, where both roads were run one after the other."""
        pairs = zip(self.milliseconds, other.milliseconds, strict=False)
        return statistics.median(own / theirs for own, theirs in pairs)

    def as_dict(self) -> dict[str, object]:
        return {"points": self.points, "ms_per_point": list(self.milliseconds), "median_ms": self.median}


def seconds(call: Callable[[], object], number: int = 1) -> float:
    """Seconds per call."""
    start = time.perf_counter()
    for _ in range(number):
        call()
    return (time.perf_counter() - start) / number


def time_together(
    roads: Mapping[str, Callable[[], object]],
    points: int,
    repeats: int,
    done: Callable[[], object] = lambda: None,
    least_seconds: float = _LEAST_SECONDS,
) -> dict[str, Timing]:
    """Time several roads on the same points, all of them within each repeat: what else runs meets them alike.

    Each is called once beforehand (compilation, caches); calls that are too short for the clock are repeated.
    """
    numbers = {}
    for name, call in roads.items():
        seconds(call)
        numbers[name] = max(1, round(least_seconds / max(seconds(call), 1e-9)))
    taken: dict[str, list[float]] = {name: [] for name in roads}
    for _ in range(repeats):
        for name, call in roads.items():
            taken[name].append(1e3 * seconds(call, numbers[name]) / points)
        done()
    return {name: Timing(name, points, tuple(values)) for name, values in taken.items()}


def time_slow(name: str, call: Callable[[], object], points: int, repeats: int, patience: float = _PATIENCE) -> Timing:
    """Time a slow road: repeats end when `patience` is used up, after one at least; no warm-up call."""
    taken: list[float] = []
    while len(taken) < repeats and (not taken or sum(taken) + statistics.median(taken) < patience):
        taken.append(seconds(call))
    return Timing(name, points, tuple(1e3 * value / points for value in taken))


def load_average() -> float | None:
    """How many processes wanted a core during the last minute, where the system says so."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def machine() -> dict[str, str]:
    """The machine and the versions, for the head of a table."""
    facts = {
        "cpu": _cpu_model(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
    for package in _PACKAGES:
        try:
            facts[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            facts[package] = "not installed"
    return facts
