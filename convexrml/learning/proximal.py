"""The M-step of the first-order solver: one eigendecomposition, then a closed form on the eigenvalues."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from convexrml.regularisers import FixedTrace, FrobeniusPrior, Regulariser, TracePenalty


@functools.singledispatch
def proximal(regulariser: Regulariser, A: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    """``argmin over M ⪰ 0 of  step · R(M) + ‖M − A‖_F² / 2``.

    Parameters
    ----------
    regulariser : FixedTrace, TracePenalty or FrobeniusPrior
    A : (d, d) array
        Symmetric.
    step : float

    Returns
    -------
    (d, d) array
        Symmetric to the last bit.
    """
    raise TypeError(f"no proximal step is known for {type(regulariser).__name__}")


@proximal.register
def _(regulariser: FixedTrace, A: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    eigenvalues, Q = np.linalg.eigh(A)
    return _rebuilt(project_simplex(eigenvalues, regulariser.trace), Q)


@proximal.register
def _(regulariser: TracePenalty, A: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    eigenvalues, Q = np.linalg.eigh(A)
    return _rebuilt(np.maximum(eigenvalues - step * regulariser.lam, 0), Q)


@proximal.register
def _(regulariser: FrobeniusPrior, A: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    pull = step * regulariser.lam
    eigenvalues, Q = np.linalg.eigh((A + pull * regulariser.prior(len(A))) / (1 + pull))
    return _rebuilt(np.maximum(eigenvalues, 0), Q)


def project_simplex(values: NDArray[np.float64], total: float) -> NDArray[np.float64]:
    """The nearest nonnegative vector whose entries sum to `total`: ``[values − t]₊`` for one t."""
    descending = np.sort(values)[::-1]
    shifts = (np.cumsum(descending) - total) / np.arange(1, len(values) + 1)
    last = int(np.flatnonzero(descending > shifts)[-1])
    return np.maximum(values - shifts[last], 0)


def _rebuilt(eigenvalues: NDArray[np.float64], Q: NDArray[np.float64]) -> NDArray[np.float64]:
    kept = eigenvalues > 0
    M = (Q[:, kept] * eigenvalues[kept]) @ Q[:, kept].T
    return (M + M.T) / 2
