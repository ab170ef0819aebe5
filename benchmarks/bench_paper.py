"""The exact 1-NN verifier of somebody's checkout of the paper's published code, called where it lies."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from bench_data import Sample
from numpy.typing import NDArray

_MODULE = "metric_robustness.evaluation.nn_only.torch_exact"
_SCREENING = 50  # screening_check_size in the configuration that is published with the code


def paper_radii(sample: Sample, checkout: Path, threads: int) -> Callable[[], NDArray[np.float64]]:
    """A call that computes the radius of each query, set up as in the published configuration, on the CPU.

    Raises
    ------
    ImportError
        If torch is missing or the checkout is not the paper's code.
    """
    if importlib.util.find_spec("torch") is None:
        raise ImportError("torch is not installed")
    if not (checkout / "metric_robustness").is_dir():
        raise ImportError("the checkout has no package metric_robustness")
    if str(checkout) not in sys.path:
        sys.path.append(str(checkout))
    importlib.import_module("torch").set_num_threads(threads)
    factory = importlib.import_module(_MODULE).ExactSolverFactory()
    solver = factory.create(
        "euclidean", sample.X, sample.y, screening_check_size=_least_class(sample), device="cpu", verbose=False
    )
    pairs = [(z, int(label)) for z, label in zip(sample.Z, sample.t, strict=True)]
    return lambda: np.array([np.linalg.norm(solver(z, label)) for z, label in pairs])


def _least_class(sample: Sample) -> int:
    """The published screening size, or the smallest class where that is smaller: the code refuses more."""
    return int(min(_SCREENING, np.bincount(sample.y)[np.unique(sample.y)].min()))
