"""What does a proof cost?  Finding 1-NN radii against checking their certificates."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
for folder in (HERE.parent, HERE):  # this checkout is what is measured, installed or not
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from bench_timing import Timing, limit_threads, load_average, machine  # noqa: E402

if __name__ == "__main__":
    limit_threads(1)

import dataclasses  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402

import click  # noqa: E402
import numpy as np  # noqa: E402
from bench_data import Sample, choose_samples, data_folder  # noqa: E402

import convexrml  # noqa: E402
from convexrml import checker  # noqa: E402
from convexrml.certificate import Certificate  # noqa: E402

SETS = "digits,splice,pendigits,satimage,usps"
COLUMNS = (
    "data set", "training points", "find", "find and certify", "check", "check / find", "check in integers, longest",
    "bytes per training point", "widest interval",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Costs:
    """Of one data set: milliseconds per point, seconds, bytes per training point, ``(upper − lower) / upper``."""

    sample: Sample
    find: Timing
    certify: Timing
    check: Timing
    exact_seconds: tuple[float, ...]
    size: float
    width: float

    def row(self) -> tuple[str, ...]:
        times = [f"{timing.median:.2f} ms" for timing in (self.find, self.certify, self.check)]
        ratio, longest = f"{self.check.ratio_to(self.find):.1f}×", f"{max(self.exact_seconds):.2f} s"
        return self.sample.name, self.sample.shape, *times, ratio, longest, f"{self.size:.2f}", f"{self.width:.1e}"


def measure(sample: Sample, repeats: int, exact_points: int) -> Costs:
    """Find, certify and check the same points one after the other; every certificate has to be accepted.

    The classifier and the checker have read the training set beforehand, except for the checks in integers: each of
    those starts anew.
    """
    model = convexrml.NearestNeighbors().fit(sample.X, sample.y)
    training, n = checker.TrainingSet(sample.X, sample.y), len(sample.Z)
    found = convexrml.exact_radius(model, sample.Z, sample.t, certificates=True)
    files = [certificate.to_bytes() for certificate in certificates_of(found)]
    checker.check(files[0], training)
    times: dict[str, list[float]] = {"find": [], "certify": [], "check": []}
    for _ in range(repeats):
        times["find"].append(seconds(lambda: convexrml.exact_radius(model, sample.Z, sample.t)))
        times["certify"].append(seconds(lambda: convexrml.exact_radius(model, sample.Z, sample.t, certificates=True)))
        times["check"].append(seconds(lambda: [checker.check(file, training) for file in files]))
    exact = [seconds(lambda file=file: in_integers(file, sample)) for file in files[:exact_points]]
    known = found.lower > 0  # 0 are ties
    width = ((found.upper - found.lower)[known] / found.upper[known]).max()
    size = float(np.mean([len(file) for file in files])) / len(sample.X)
    road = {name: Timing(name, n, tuple(1e3 * value / n for value in values)) for name, values in times.items()}
    return Costs(sample, road["find"], road["certify"], road["check"], tuple(exact), size, float(width))


def seconds(call: Callable[[], object]) -> float:
    """Processor seconds of one call: whatever else the machine does is not counted."""
    start = time.process_time()
    call()
    return time.process_time() - start


def certificates_of(found: convexrml.ExactRadii) -> tuple[Certificate, ...]:
    """The certificates, each of which claims what was found."""
    made = found.certificates
    assert made is not None
    assert [certificate.lower for certificate in made] == found.lower.tolist()
    return made


def in_integers(file: bytes, sample: Sample) -> None:
    """Check without the filter, from reading the training set on."""
    checker.check(file, checker.TrainingSet(sample.X, sample.y), use_filter=False)


@click.command(context_settings={"show_default": True})
@click.option("--data-dir", type=click.Path(exists=True, file_okay=False, path_type=Path), help="As in exact_radii.py.")
@click.option("--sets", default=SETS, help="Names, also the built-in digits and mixture.")
@click.option("--points", type=click.IntRange(1), default=100, help="Test points.")
@click.option("--exact-points", type=click.IntRange(1), default=3, help="Test points that are checked in integers too.")
@click.option("--repeats", type=click.IntRange(1), default=3, help="Medians are over this many.")
def main(data_dir: Path | None, sets: str, points: int, exact_points: int, repeats: int) -> None:
    """Time finding, certifying and checking exact 1-NN radii in norm 2, on one thread; prints Markdown."""
    samples, absent = choose_samples(sets.split(","), data_folder(data_dir))
    load = load_average()
    rows = [measure(sample.head(points), repeats, exact_points).row() for sample in samples]
    facts = dict(machine())
    print(
        f"Machine: {facts.pop('cpu')}, {facts.pop('cores')} cores; numpy {facts['numpy']}. One thread; load {load:.1f}."
    )
    print(f"{points} test points each; medians of {repeats} repeats; processor time per test point.\n")
    for cells in (COLUMNS, ("---", *["---:"] * (len(COLUMNS) - 1)), *rows):
        print("| " + " | ".join(cells) + " |")
    if absent:
        print(f"\nNo files for {', '.join(absent)}.")


if __name__ == "__main__":
    main()
