"""Time and gap of the explicit programs of metric learning, by number of triplets, features, norm and solver.

    OMP_NUM_THREADS=1 python benchmarks/bench_programs.py

prints a Markdown table of `RobustHinge`.  Times of compiling and solving are on the wall clock; the CPU time beside
them is that of the process, which a busy machine changes less.
"""  # noqa: D205

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Sequence

import numpy as np

from convexrml.formulations import RobustHinge
from convexrml.triplets import Triplets

SOLVERS = {"clarabel": "accurate", "scs": "fast"}
TAU = {16: 0.3, 36: 1.0}  # large enough that no metric is right about all triplets with the margin


@dataclasses.dataclass(frozen=True)
class Row:
    """One solve."""

    m: int
    d: int
    norm: str
    solver: str
    accuracy: str
    compile_seconds: float
    solve_seconds: float
    cpu_seconds: float
    gap: float


def clouds(m: int, d: int, N: int = 400, seed: int = 0) -> Triplets:
    """Triplets of three Gaussian clouds that differ in three features."""
    rng = np.random.default_rng(seed)
    y = np.arange(N) % 3
    X = rng.normal(size=(N, d)) + 0.7 * y[:, None] * (np.arange(d) < 3)
    anchors = rng.integers(N, size=m)
    positives = [rng.choice(np.flatnonzero((y == y[i]) & (np.arange(N) != i))) for i in anchors]
    negatives = [rng.choice(np.flatnonzero(y != y[i])) for i in anchors]
    return Triplets.from_indices(X, anchors, positives, negatives)


def measure(m: int, d: int, norm: str, solver: str, accuracy: str) -> Row:
    """Compile and solve one `RobustHinge` with a fixed trace."""
    program = RobustHinge(clouds(m, d), tau=TAU.get(d, 0.3), norm=norm)
    started = time.process_time()
    found = program.solve(solver, accuracy)
    cpu = time.process_time() - started
    report = found.report
    return Row(m, d, norm, solver, accuracy, report.compile_seconds, report.solve_seconds, cpu, found.residuals.gap)


def main(sizes: Sequence[int] = (500, 5000), features: Sequence[int] = (16, 36), norms: Sequence[str] = ("2",)) -> None:
    """Print the table, one row when it is measured."""
    print("| triplets | d | norm | solver | compile, s | solve, s | CPU, s | relative gap |")
    print("|---|---|---|---|---|---|---|---|")
    for m, d, norm, (solver, accuracy) in itertools.product(sizes, features, norms, SOLVERS.items()):
        r = measure(m, d, norm, solver, accuracy)
        print(
            f"| {m} | {d} | {norm} | {solver}, {accuracy} | {r.compile_seconds:.2f} | {r.solve_seconds:.1f} "
            f"| {r.cpu_seconds:.1f} | {r.gap:.0e} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
