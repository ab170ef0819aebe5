"""``‖M v_i‖_q ≤ r_i`` for all triplets at once, compiled as one block, with the multipliers of the cones."""

from __future__ import annotations

from typing import Any

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

from convexrml.formulations.sides import returned
from convexrml.norms import Norm


class DualNorms:
    """The constraints ``‖M v_i‖_q ≤ r_i``: second-order cones for q = 2, linear for q = 1 and q = ∞.

    The product ``W = V M`` is a variable.  Substituted, few features solve up to twice as fast, but Clarabel then stops
    at relative gaps of up to 5e-6 on programs where it reaches 5e-10 so (measured).

    q = ∞: ``−r_i ≤ (M v_i)_j ≤ r_i``.  q = 1: ``−e_ij ≤ (M v_i)_j ≤ e_ij``, ``Σ_j e_ij ≤ r_i``.

    Parameters
    ----------
    V : (m, d) array
    M : (d, d) expression
    lengths : (m,) expression
        r.
    norm : Norm
        Order p; q is dual to it.

    Attributes
    ----------
    products : (m, d) expression
        ``M v_i`` in the rows.
    constraints : list of cvxpy constraints
    """

    def __init__(self, V: NDArray[np.float64], M: cp.Expression, lengths: cp.Expression, norm: Norm) -> None:
        m, d = self._shape = V.shape
        self.products = cp.Variable((m, d), name="products")
        self.constraints: list[Any] = [self.products == V @ M]
        self._cone: tuple[Any, ...]
        if norm.order == 2:
            self._cone = (cp.SOC(lengths, self.products, axis=1),)
        else:
            entries = cp.Variable((m, d), name="entries")
            if norm.order == 1:
                entries = cp.reshape(lengths, (m, 1), order="C") @ np.ones((1, d))
            else:
                self.constraints.append(cp.sum(entries, axis=1) <= lengths)
            self._cone = (self.products <= entries, -self.products <= entries)
        self.constraints += self._cone

    def multipliers(self) -> NDArray[np.float64]:
        """``z_i`` of each triplet with ``⟨z_i, M v_i⟩`` in the Lagrangian, shape ``(m, d)``; ``‖z_i‖_p ≤`` that of r_i.

        NaN where the solver left nothing.
        """
        m, d = self._shape
        if len(self._cone) == 1:
            dual = self._cone[0].dual_value
            return -returned(None if dual is None or dual[1] is None else dual[1], m * d).reshape(m, d)
        upper, lower = (returned(side.dual_value, m * d).reshape(m, d) for side in self._cone)
        return upper - lower
