"""The mean radius of triplets, and the robust hinge that models it near a metric."""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
from numpy.typing import NDArray

from convexrml.errors import InvalidInputError
from convexrml.hinge import RobustHingeObjective, dual_vectors
from convexrml.max_min import radius_ceilings
from convexrml.norms import Norm
from convexrml.regularisers import FixedTrace
from convexrml.triplets import Triplets


@dataclasses.dataclass(frozen=True, eq=False)
class MeanRadiusObjective:
    """``J(M) = Σ_i c_i min(t_i(M), cap_i)`` with signed radii ``t_i(M) = v_iᵀ M s_i / (2 ‖M v_i‖_q)``; 0/0 is 0.

    A triplet that M orders wrongly counts minus the distance to being right.  No radius exceeds its `radius_ceilings`,
    so ``cap_i = min(cap, ceiling_i)`` changes nothing where no cap is given.  J is not concave.  It does not change
    when M is scaled.

    Parameters
    ----------
    triplets : Triplets
    norm : Norm
        Of perturbations, order p; q is dual to it.
    cap : float, default inf
        What a radius counts at most, in the units of the input: beyond it, a triplet asks for nothing more.
    """

    triplets: Triplets
    norm: Norm
    cap: float = math.inf

    def __post_init__(self) -> None:
        if not self.cap > 0:
            raise InvalidInputError(f"cap: needs a positive number; found {self.cap!r}")

    @functools.cached_property
    def caps(self) -> NDArray[np.float64]:
        """``cap_i``, shape ``(m,)``."""
        return np.minimum(radius_ceilings(self.triplets, self.norm), self.cap)

    @property
    def ceiling(self) -> float:
        """``Σ c_i cap_i ≥ J(M)`` for every M; up to rounding."""
        return float(self.triplets.weights @ self.caps)

    def radii(self, M: NDArray[np.float64]) -> NDArray[np.float64]:
        """The signed radii ``t_i(M)``, shape ``(m,)``."""
        lengths = 2 * self.triplets.lengths(M, self.norm)
        return np.divide(self.triplets.margins(M), lengths, out=np.zeros(len(lengths)), where=lengths > 0)

    def value(self, M: NDArray[np.float64]) -> float:
        """``J(M)``."""
        return float(self.triplets.weights @ np.minimum(self.radii(M), self.caps))

    def model(self, M: NDArray[np.float64]) -> RobustHingeObjective:
        """A robust hinge F_M with ``J(M) − J(N) ≈ F_M(N) − F_M(M)`` near M: equal at ``N = M``, and in its slope there.

        With the denominators ``D_i = 2 ‖M v_i‖_q`` and radii ``t_i`` of M fixed,

            ``t_i(N) ≈ t_i + (v_iᵀ N s_i − 2 t_i ‖N v_i‖_q) / D_i:``

        the derivative of a quotient.  It is concave in N where ``t_i ≥ 0``; for ``t_i < 0`` the norm is replaced by its
        tangent ``⟨u_i, N v_i⟩`` at M, that is, s_i by ``s_i − 2 t_i u_i``.  The shortfall from cap_i is then a hinge,

            ``c_i [cap_i − …]₊ = (c_i / D_i) [D_i (cap_i − t_i) + 2 τ_i ‖N v_i‖_q − v_iᵀ N s_i]₊,   τ_i = max(t_i, 0).``

        The trace of N is that of M.  Triplets whose v_i M maps to 0 have no slope and are left out.

        Raises
        ------
        InvalidInputError
            If M maps every v_i to 0.
        """
        T, t = self.triplets, self.radii(M)
        W = T.V @ M
        D = 2 * np.asarray(self.norm.dual_of(W))
        kept = D > 0
        if not kept.any():
            raise InvalidInputError(
                "M: maps every difference x⁺ − x⁻ to 0, so no radius has a slope; use another start"
            )
        U = dual_vectors(W, self.norm)
        S = T.S - 2 * np.minimum(t, 0)[:, None] * U
        return RobustHingeObjective(
            triplets=Triplets(T.V[kept], S[kept], T.weights[kept] / D[kept]),
            norm=self.norm,
            tau=np.maximum(t, 0)[kept],
            margin=(D * (self.caps - t))[kept],
            regulariser=FixedTrace(float(np.trace(M))),
        )

    def gradient(self, M: NDArray[np.float64]) -> NDArray[np.float64]:
        """``∇J(M)``, symmetric ``(d, d)``, where J is differentiable."""
        return -self.model(M).gradient(M)
