"""Adam, the stochastic gradient method of Kingma and Ba (2015), for one array."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Adam:
    """Steps for ascent along noisy gradients ``g_1, g_2, ...`` of one array.

    With ``m_k = β₁ m_{k−1} + (1 − β₁) g_k`` and ``v_k = β₂ v_{k−1} + (1 − β₂) g_k²``, the k-th step is

        ``learning_rate · m̂_k / (√v̂_k + ε),    m̂_k = m_k / (1 − β₁ᵏ),    v̂_k = v_k / (1 − β₂ᵏ)``

    (β₁ = 0.9, β₂ = 0.999, ε = 1e-8, as in the paper): of the size of the learning rate, whatever the scale of g.

    Parameters
    ----------
    learning_rate : float
    """

    decay, square_decay, floor = 0.9, 0.999, 1e-8

    def __init__(self, learning_rate: float) -> None:
        self.learning_rate = learning_rate
        self._steps = 0
        self._mean: NDArray[np.float64] | float = 0.0
        self._square: NDArray[np.float64] | float = 0.0

    def step(self, gradient: NDArray[np.float64]) -> NDArray[np.float64]:
        """Take one more gradient into account: what to add to the array."""
        self._steps += 1
        self._mean = self.decay * self._mean + (1 - self.decay) * gradient
        self._square = self.square_decay * self._square + (1 - self.square_decay) * gradient**2
        mean = self._mean / (1 - self.decay**self._steps)
        square = self._square / (1 - self.square_decay**self._steps)
        return np.asarray(self.learning_rate * mean / (np.sqrt(square) + self.floor))
