"""How time and memory grow with the training set, what threads gain, and how long the start takes."""

from __future__ import annotations

import dataclasses
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from bench_data import ROOT, Sample, mixture
from bench_roads import BRUTE, SEARCH, Plan, brute_force, search
from bench_timing import Timing, time_together

MEASURED = ("training points loaded", "model fitted", "after the search", "after brute force")

# The peak of the process itself: ru_maxrss of a fresh process on Linux starts at the peak of the one that started it.
_PEAK = """
import resource, sys
def peak():
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
"""
_MEMORY = (
    _PEAK
    + """
import numpy as np, convexrml
from sklearn.neighbors import KNeighborsClassifier
folder, road = sys.argv[1:]
def load():
    return tuple(np.load(f"{folder}/{name}.npy") for name in ("X", "y", "Z", "t"))
def run(X, y, Z, t, marks):
    marks.append(peak())
    if road == "search":
        model = convexrml.NearestNeighbors().fit(X, y)
        marks.append(peak())
        convexrml.exact_radius(model, Z, t, method="search", n_jobs=1)
    else:
        KNeighborsClassifier(1, algorithm="brute").fit(X, y).predict(Z)
    marks.append(peak())
rng = np.random.default_rng(0)
run(rng.random((50, 3)), np.arange(50) % 2, rng.random((5, 3)), np.arange(5) % 2, [])
base, marks = peak(), []
run(*load(), marks)
print(*(mark - base for mark in marks))
"""
)
_IMPORT = """
import time
start = time.perf_counter()
import convexrml
print(time.perf_counter() - start)
"""
_FIRST_RADIUS = """
import time
start = time.perf_counter()
import convexrml
model = convexrml.NearestNeighbors().fit([[0.0, 0.0], [4.0, 0.0], [0.0, 3.0]], [0, 1, 0])
convexrml.exact_radius(model, [[1.0, 0.0]], [0])
print(time.perf_counter() - start)
"""


@dataclasses.dataclass(frozen=True)
class Growth:
    """Times per query and peak memory at one size."""

    n: int
    d: int
    timings: dict[str, Timing]
    peak_bytes: dict[str, int]

    @property
    def data_bytes(self) -> int:
        return 8 * self.n * self.d


def exponent(sizes: Sequence[float], times: Sequence[float]) -> float:
    """Slope of the least-squares line through ``(log size, log time)``."""
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def measure_growth(plan: Plan, step: Callable[[str], object] = lambda what: None, memory: bool = True) -> list[Growth]:
    """Times and memory for every size and dimension of the plan."""
    results = []
    for d in plan.dimensions:
        for n in plan.sizes:
            step(f"growth: N = {n}, d = {d}")
            sample = mixture(n, d, plan.growth_points)
            roads = {BRUTE: brute_force(sample, plan.threads), SEARCH: search(sample, plan.threads)}
            timings = time_together(roads, len(sample.Z), plan.repeats, least_seconds=plan.least_seconds)
            results.append(Growth(n, d, timings, peak_memory(sample) if memory else {}))
    return results


def exponents(results: Sequence[Growth], least: int = 0) -> dict[str, float]:
    """Exponent in N for each road and dimension, over the sizes from `least` on."""
    fitted = {}
    for d in dict.fromkeys(result.d for result in results):
        of_d = [result for result in results if result.d == d and result.n >= least]
        for road in (BRUTE, SEARCH):
            times = [result.timings[road].median for result in of_d]
            fitted[f"{road}, d = {d}"] = exponent([result.n for result in of_d], times)
    return fitted


def peak_memory(sample: Sample) -> dict[str, int]:
    """Peak resident bytes above those of a process that has done the same on 50 points."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("X", "y", "Z", "t"):
            np.save(Path(folder) / f"{name}.npy", getattr(sample, name))
        searched = [int(value) for value in run_fresh(_MEMORY, folder, "search").split()]
        brute = [int(value) for value in run_fresh(_MEMORY, folder, "brute").split()]
    return dict(zip(MEASURED, [*searched, brute[-1]], strict=True))


def run_fresh(code: str, *arguments: str) -> str:
    """What a fresh process prints that finds this checkout first."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True)
    return done.stdout


def measure_threads(sample: Sample, plan: Plan, workers: Sequence[int]) -> dict[int, Timing]:
    """The search on all test points with several numbers of workers."""
    roads = {str(count): search(sample, count) for count in workers}
    timings = time_together(roads, len(sample.Z), plan.repeats, least_seconds=plan.least_seconds)
    return {count: timings[str(count)] for count in workers}


def measure_start(repeats: int) -> dict[str, list[float]]:
    """Seconds of the import, and from the import to the first radius, each in fresh processes with warm caches."""
    run_fresh(_FIRST_RADIUS)
    return {
        "import convexrml": [float(run_fresh(_IMPORT)) for _ in range(repeats)],
        "import to first exact radius": [float(run_fresh(_FIRST_RADIUS)) for _ in range(repeats)],
    }


def median(values: Sequence[float]) -> float:
    return statistics.median(values)
