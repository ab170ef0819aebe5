"""How long does learning take?  One command measures it on one core: ``python benchmarks/arml_epochs.py``."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
for folder in (HERE.parent, HERE):  # this checkout is what is measured, installed or not
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from bench_timing import limit_threads, load_average, machine  # noqa: E402

if __name__ == "__main__":
    limit_threads(1)

import json  # noqa: E402
import time  # noqa: E402
from statistics import median  # noqa: E402
from typing import Any  # noqa: E402

import click  # noqa: E402
import numpy as np  # noqa: E402
from bench_data import data_folder  # noqa: E402
from bench_protocol import Plan, Problem, load_problem  # noqa: E402

import convexrml  # noqa: E402

PUBLISHED = {"splice": 31.0, "pendigits": 1240.0, "satimage": 386.0, "usps": 1833.0}  # ms per epoch, one core
BARS = {"pendigits": 30.0, "usps": 300.0}  # seconds to the gap, one core
GAP = 1e-3
_FIRST = 2  # epochs that are not counted: compiled code is loaded, lists are built


def distance_product(X: np.ndarray) -> np.ndarray:
    """All squared Euclidean distances of the training points by one N × N matrix product."""
    squares = np.einsum("ij,ij->i", X, X)
    distances = X @ X.T
    distances *= -2
    distances += squares
    distances += squares[:, None]
    return distances


def one_epoch(problem: Problem, epochs: int, seed: int) -> float:
    """Milliseconds of processor time per epoch of ARML, after the first ones."""
    clock = [time.process_time()]
    learner = convexrml.ARML(
        n_epochs=epochs + _FIRST, random_state=seed, callback=lambda *_: clock.append(time.process_time())
    )
    learner.fit(problem.X, problem.y)
    return 1e3 * (clock[-1] - clock[_FIRST]) / epochs


def time_epochs(problem: Problem, epochs: int, repeats: int) -> dict[str, Any]:
    """Milliseconds of processor time per epoch of ARML and per distance product, alternating.

    Within a repeat both run one after the other; the ratio is taken there, so that whatever else the machine does meets
    them alike.
    """
    epoch_ms, product_ms = [], []
    for repeat in range(repeats):
        epoch_ms.append(one_epoch(problem, epochs, repeat))
        start = time.process_time()
        distance_product(problem.X)
        product_ms.append(1e3 * (time.process_time() - start))
    return {
        "set": problem.name,
        "shape": problem.X.shape,
        "epochs": epochs,
        "epoch_ms": epoch_ms,
        "product_ms": product_ms,
        "ratio": median(own / theirs for own, theirs in zip(epoch_ms, product_ms, strict=True)),
    }


def time_to_gap(problem: Problem, gap: float) -> dict[str, Any]:
    """Processor seconds until the program of the first round of `RobustMetricLearner` has this proven gap; defaults."""
    start, seen = time.process_time(), []

    def watch(number: int, progress: Any) -> None:
        seen.append((time.process_time() - start, progress.n_iter, progress.gap))

    learner = convexrml.RobustMetricLearner(n_rounds=1, tol=gap, callback=watch).fit(problem.X, problem.y)
    return {
        "set": problem.name, "shape": problem.X.shape, "triplets": learner.n_triplets_, "gap": learner.gap_,
        "seconds": time.process_time() - start, "iterations": learner.n_iter_, "trace": seen,
    }  # fmt: skip


def markdown(
    rows: list[dict[str, Any]], solved: list[dict[str, Any]], facts: dict[str, str], load: list[float | None]
) -> str:
    """One row for each set."""
    lines = [
        f"Machine: {', '.join(f'{name} {value}' for name, value in facts.items())}; one thread, processor time; load "
        f"average {', '.join('unknown' if value is None else f'{value:.1f}' for value in load)}.",
        "",
        "| set | one epoch (least–most) | N × N distance product | ratio | published code (another machine) | faster |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        ms, published = median(row["epoch_ms"]), PUBLISHED.get(row["set"])
        against = ["–", "–"] if published is None else [f"{published:g} ms", f"{published / ms:.1f}×"]
        lines.append("| " + " | ".join([
            f"{row['set']} ({row['shape'][0]} × {row['shape'][1]})",
            f"{ms:.3g} ms ({min(row['epoch_ms']):.3g}–{max(row['epoch_ms']):.3g})",
            f"{median(row['product_ms']):.3g} ms", f"{row['ratio']:.2f}", *against,
        ]) + " |")  # fmt: skip
    lines += [
        "",
        "| set | triplets | proven gap | iterations | mining and solving | bar |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in solved:
        lines.append("| " + " | ".join([
            f"{row['set']} ({row['shape'][0]} × {row['shape'][1]})", str(row["triplets"]), f"{row['gap']:.1e}",
            str(row["iterations"]), f"{row['seconds']:.3g} s", f"{BARS[row['set']]:g} s" if row["set"] in BARS else "–",
        ]) + " |")  # fmt: skip
    return "\n".join(lines) + "\n"


@click.command(context_settings={"show_default": True})
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path), help="As for learned_metrics.py.")
@click.option("--sets", default=",".join(PUBLISHED), help="Names, also the built-in digits.")
@click.option("--parts", default="epochs,solver", help="What to measure.")
@click.option("--epochs", type=click.IntRange(1), default=20, help="Counted in each repeat.")
@click.option("--repeats", type=click.IntRange(1), default=3, help="Medians are over this many.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write all times there.")
def main(data_dir: Path | None, sets: str, parts: str, epochs: int, repeats: int, json_file: Path | None) -> None:
    """Time one epoch of ARML against one distance product and the published code's times; the robust hinge to a gap."""
    load, rows, solved = [load_average()], [], []
    for name in sets.split(","):
        problem = load_problem(name, data_folder(data_dir), Plan())
        if "epochs" in parts:
            rows.append(time_epochs(problem, epochs, repeats))
        if "solver" in parts:
            solved.append(time_to_gap(problem, GAP))
    load.append(load_average())
    click.echo(markdown(rows, solved, machine(), load))
    if json_file is not None:
        raw = {"machine": machine(), "load": load, "epochs": rows, "solver": solved}
        json_file.write_text(json.dumps(raw, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
