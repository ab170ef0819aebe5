"""Exact 1-NN radii in ℓ1 and ℓ∞ by small linear programs: half-spaces join only when they are violated."""

from __future__ import annotations

import math
from collections.abc import Callable

import highspy
import numpy as np
from numpy.typing import NDArray

from convexrml.formulations.half_spaces import HalfSpaces, half_spaces, power_of_two
from convexrml.neighbors import NearestNeighbors
from convexrml.norms import Box, Norm
from convexrml.results import ExactRadii
from convexrml.visits import ROUNDING_WIDTH, Record, visit_all
from convexrml.witness import nudged, witnessed_norm

_ROWS_AT_ONCE = 4
_VIOLATED = 1e-12  # in the program's units, in which the radius is near 1
# by how much half-spaces are tightened for a point strictly inside a cell
_MARGINS = (1e-11, 1e-10, 1e-9, 1e-7, 1e-5, 1e-3, 1e-1)
_ENOUGH = 1e-9  # once there is a witness


def exact_radius_by_lazy_lp(
    model: NearestNeighbors,
    Z: NDArray[np.float64],
    y: NDArray[np.int64],
    norm: Norm,
    box: Box | None,
    progress: Callable[[int], object] | None = None,
    numbers: NDArray[np.int64] | None = None,
) -> ExactRadii:
    """Exact radii of 1-NN in ℓ1 or ℓ∞, the arguments checked already; `y` are encoded labels.

    `numbers` are those by which the caller knows the queries, for the notes.
    """

    def against(label: int) -> LazyLinearProgram:
        return LazyLinearProgram(model, label, norm, box)

    return visit_all(model, Z, y, norm, box, against, ROUNDING_WIDTH, "search", progress, numbers)


class LazyLinearProgram:
    """``min ‖δ‖_p`` over the half-spaces of one negative, of which only the violated ones are ever handed to HiGHS.

    Lengths count in ℓ, as in `formulations.MinimalPerturbation`, and each half-space is scaled to a largest entry of 1,
    so that a violation is a length too.  For ℓ∞ the variables are δ and a bound t on its entries; for ℓ1 they are its
    positive and its negative part.  The sides of a box are bounds on variables.  HiGHS is kept warm: from one negative
    of a query to the next only rows and bounds change.
    """

    def __init__(self, model: NearestNeighbors, label: int, norm: Norm, box: Box | None) -> None:
        self.model, self.name, self.norm, self.box = model, model.classes_[label], norm, box
        self.positives = np.flatnonzero(model.labels_ == label)
        self._sigma = power_of_two(float(np.abs(model.sites_).max()))
        self._record: Record | None = None
        d = model.n_features_in_
        self._highs = highs = highspy.Highs()
        for option, value in (
            ("output_flag", False),
            ("presolve", "off"),  # the programs are tiny, and a ray is wanted when one is infeasible
            ("solver", "simplex"),
            ("parallel", "off"),  # "threads" would clash with whoever used HiGHS before in this process
            ("primal_feasibility_tolerance", 1e-10),
            ("dual_feasibility_tolerance", 1e-10),
        ):
            highs.setOptionValue(option, value)
        nothing, none = np.zeros(0), np.zeros(0, dtype=np.int32)
        if norm.order == 1:
            highs.addCols(2 * d, np.ones(2 * d), np.zeros(2 * d), np.full(2 * d, np.inf), 0, none, none, nothing)
        else:
            highs.addCols(d, np.zeros(d), np.full(d, -np.inf), np.full(d, np.inf), 0, none, none, nothing)
            highs.addCols(1, np.ones(1), np.zeros(1), np.full(1, np.inf), 0, none, none, nothing)
            pairs = np.column_stack([np.tile(np.arange(d), 2), np.full(2 * d, d)]).astype(np.int32)
            signs = np.column_stack([np.repeat([1.0, -1.0], d), np.full(2 * d, -1.0)])
            starts = np.arange(0, 4 * d, 2, dtype=np.int32)
            highs.addRows(2 * d, np.full(2 * d, -np.inf), np.zeros(2 * d), 4 * d, starts, pairs.ravel(), signs.ravel())
        self._base = highs.getNumRow()

    def __call__(self, record: Record, negative: int) -> float:
        """Solve against one negative, for a witness and the lower bound that its multipliers prove."""
        if record is not self._record:  # a query's answer must not depend on the queries before it
            self._record = record
            self._highs.clearSolver()
        h = half_spaces(self.model, record.z, self.positives, negative, self.norm, self.box, record.row)
        if self.box is not None and h.proves_empty(np.eye(1, len(h.gaps), int(np.argmin(h.gaps)))[0]):
            return math.inf
        delta, duals, bound = self._solve(record, h, 0.0, record.upper)
        if delta is None:
            return bound
        inner = self.model.training_points_[negative]
        witness, length = None, math.inf
        if self.box is None or self.box.contains(inner):
            witness, length = self._nearer(record, delta, inner, witness, length)
        for margin in _MARGINS:  # HiGHS may leave rows violated by its tolerance; the training point may be outside
            if length <= bound * (1 + ROUNDING_WIDTH / 2) or (witness is not None and margin > _ENOUGH):
                break
            inside, _, _ = self._solve(record, h, margin, math.inf)
            if inside is not None:
                witness, length = self._nearer(record, inside, record.z + inside, witness, length)
                witness, length = self._nearer(record, delta, record.z + inside, witness, length)
        record.improve(witness, self.norm, negative, self.positives, duals)
        return bound

    def multipliers(self, record: Record, negative: int, stop_at: float) -> NDArray[np.float64]:
        """Multipliers of `positives` against one negative, good enough for a bound of `stop_at` if any are."""
        self._highs.clearSolver()
        h = half_spaces(self.model, record.z, self.positives, negative, self.norm, self.box, record.row)
        return np.maximum(np.nan_to_num(self._solve(record, h, 0.0, stop_at)[1]), 0.0)

    def _nearer(
        self,
        record: Record,
        delta: NDArray[np.float64],
        inner: NDArray[np.float64],
        witness: NDArray[np.float64] | None,
        length: float,
    ) -> tuple[NDArray[np.float64] | None, float]:
        """The nearer of a witness and one on the way from ``z + δ`` to `inner`, with its length."""
        other = nudged(self.model, record.z, self.name, delta, inner, self.box)
        if other is None:
            return witness, length
        reached = witnessed_norm(record.z, other, self.norm)
        return (other, reached) if reached < length else (witness, length)

    def _solve(
        self, record: Record, h: HalfSpaces, margin: float, stop_at: float
    ) -> tuple[NDArray[np.float64] | None, NDArray[np.float64], float]:
        """δ (None if it is not needed or does not exist), the half-spaces' multipliers, and the bound they prove."""
        highs, n = self._highs, len(h.gaps)
        A, b = h.sites - h.site, h.gaps / h.unit
        scale = np.abs(A).max(axis=1)
        scale[scale == 0] = self._sigma  # a positive in the negative's place: no perturbation tells them apart
        A, b = A / scale[:, None], b / scale - np.where(A.any(axis=1), margin, 0.0)
        self._measure(h)
        if highs.getNumRow() > self._base:
            highs.deleteRows(highs.getNumRow() - self._base, np.arange(self._base, highs.getNumRow(), dtype=np.int32))
        rows: list[int] = []
        delta = np.zeros(A.shape[1])
        lam, bound = np.zeros(n), 0.0
        while True:
            violation = A @ delta - b
            violation[rows] = -np.inf
            worst = np.argpartition(-violation, min(_ROWS_AT_ONCE, n) - 1)[:_ROWS_AT_ONCE]
            new = [int(i) for i in worst if violation[i] > _VIOLATED]
            if not new:
                return h.unit * delta, lam, bound
            self._add(A[new], b[new])
            rows += new
            record.solves += 1
            highs.run()
            status = highs.getModelStatus()
            if status == highspy.HighsModelStatus.kInfeasible:
                lam = np.zeros(n)
                lam[rows] = self._ray() / scale[rows]
                return None, lam, h.out_of_reach(lam)
            if status != highspy.HighsModelStatus.kOptimal:
                record.notes.append(f"HiGHS ended with {highs.modelStatusToString(status)}")
                return None, lam, 0.0
            delta, lam, bound = self._read(h, rows, scale)
            if bound >= stop_at:
                return None, lam, bound

    def _measure(self, h: HalfSpaces) -> None:
        """Set the room that the box leaves."""
        d = len(h.site)
        columns = np.arange(2 * d if self.norm.order == 1 else d, dtype=np.int32)
        lower, upper = h.room_lower / h.unit, h.room_upper / h.unit
        if self.norm.order == 1:
            lower, upper = np.zeros(2 * d), np.concatenate([upper, -lower])
        self._highs.changeColsBounds(len(columns), columns, lower, upper)

    def _add(self, A: NDArray[np.float64], b: NDArray[np.float64]) -> None:
        values = np.hstack([A, -A]) if self.norm.order == 1 else A
        k, width = values.shape
        starts = np.arange(0, k * width, width, dtype=np.int32)
        indices = np.tile(np.arange(width, dtype=np.int32), k)
        self._highs.addRows(k, np.full(k, -np.inf), b, k * width, starts, indices, np.ascontiguousarray(values).ravel())

    def _read(
        self, h: HalfSpaces, rows: list[int], scale: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        solution, d = self._highs.getSolution(), len(h.site)
        x, reduced = np.array(solution.col_value), np.array(solution.col_dual)
        lam = np.zeros(len(h.gaps))
        lam[rows] = np.maximum(-np.array(solution.row_dual[self._base :]), 0.0) / scale[rows]
        if self.norm.order == 1:
            delta, mu, nu = x[:d] - x[d:], -reduced[:d], -reduced[d:]
        else:
            delta, mu, nu = x[:d], -reduced[:d], reduced[:d]
        return delta, lam, h.weak_duality(lam, mu, nu)

    def _ray(self) -> NDArray[np.float64]:
        """The half-spaces' part of HiGHS's proof of infeasibility, whichever sign it has; zeros if there is none."""
        _, exists, ray = self._highs.getDualRay()
        own = np.array(ray[self._base :]) if exists else np.zeros(self._highs.getNumRow() - self._base)
        return np.abs(own)
