"""Data for the benchmarks: svmlight files scaled to [0, 1], scikit-learn's digits, seeded Gaussian mixtures."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convexrml.study.data import load_data

ROOT = Path(__file__).resolve().parents[1]
BUILT_IN = ("digits", "mixture")
_COMPONENTS_PER_CLASS = 5


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """Training points, and test points in the box [0, 1]."""

    name: str
    X: NDArray[np.float64]
    y: NDArray[np.int64]
    Z: NDArray[np.float64]
    t: NDArray[np.int64]

    def head(self, points: int | None) -> Sample:
        return self if points is None else dataclasses.replace(self, Z=self.Z[:points], t=self.t[:points])

    @property
    def shape(self) -> str:
        return f"{self.X.shape[0]} × {self.X.shape[1]}"


def data_folder(given: Path | None) -> Path:
    """Where the svmlight files are: the option, the environment, or a folder beside the checkout."""
    return given or Path(os.environ.get("CONVEXRML_DATA") or ROOT.parent / "shared" / "datasets")


def choose_samples(names: list[str], folder: Path) -> tuple[list[Sample], list[str]]:
    """The data sets asked for, and the names of those without files; the built-in ones if nothing is left."""
    absent = [name for name in names if name not in BUILT_IN and not (folder / f"{name}.bz2").is_file()]
    present = [name for name in names if name not in absent] or list(BUILT_IN)
    return [_sample(name, folder) for name in present], absent


def _sample(name: str, folder: Path) -> Sample:
    if name == "mixture":
        return mixture(3000, 16, 500)
    if name == "digits":
        data = load_data()
    else:
        data = load_data(folder / f"{name}.bz2", folder / f"{name}.t.bz2")
    _, codes = np.unique(data.y_train, return_inverse=True)
    code_of = dict(zip(data.y_train.tolist(), codes.tolist(), strict=True))
    t = np.array([code_of[label] for label in data.y_test.tolist()])
    return Sample(name, data.X_train, codes, np.clip(data.X_test, 0.0, 1.0), t)


def mixture(n: int, d: int, queries: int, classes: int = 10, seed: int = 0) -> Sample:
    """Five Gaussians for each class, the same ones for every n, mapped into [0, 1] by a fixed map."""
    rng = np.random.default_rng([seed, d])
    centres = rng.standard_normal((classes, _COMPONENTS_PER_CLASS, d))
    rng = np.random.default_rng([seed, d, n])

    def draw(count: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        label = rng.integers(0, classes, count)
        points = rng.standard_normal((count, d))
        points += centres[label, rng.integers(0, _COMPONENTS_PER_CLASS, count)]
        points /= 16.0
        points += 0.5
        return np.clip(points, 0.0, 1.0, out=points), label

    X, y = draw(n)
    Z, t = draw(queries)
    return Sample(f"mixture, N = {n}, d = {d}", X, y, Z, t)
