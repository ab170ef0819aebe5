"""The training points that can matter to a vote within a ball around the query, and how far their scores may differ."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from convexrml.neighbors import NearestNeighbors
from convexrml.norms import Box, Norm
from convexrml.rounding import UNIT_ROUNDOFF, Rounding


@dataclasses.dataclass(frozen=True, eq=False)
class Ball:
    """The perturbations that are looked at: ``‖δ‖_p ≤ R`` and ``lower ≤ δ ≤ upper``.

    Attributes
    ----------
    norm : Norm
    radius : float
        R, finite.
    lower, upper : (d,) arrays
        The room that the box leaves, at most R on each side (an ℓ_p ball lies in the ℓ∞ ball); finite.
    """

    norm: Norm
    radius: float
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]

    def support(self, V: NDArray[np.float64], slack: NDArray[np.float64], stretch: float) -> NDArray[np.float64]:
        """Upper bound on ``⟨v, δ⟩`` over the ball for each row v of `V`, whose dual norm may be off by `slack`.

        The smaller of ``R ‖v‖_q`` and of the maximum over the box, taken coordinate by coordinate.
        """
        parts = np.maximum(V * self.lower, V * self.upper)
        off = self.radius * (np.sqrt(V.shape[1]) * slack + (stretch - 1) * np.abs(V).sum(axis=1))
        bound: NDArray[np.float64] = np.minimum(
            self.radius * stretch * (self.norm.dual_of(V) + slack), parts.sum(axis=1) + off
        )
        return bound


def ball(z: NDArray[np.float64], norm: Norm, radius: float, box: Box | None) -> Ball:
    """The ball of radius R around query `z` (d,), less what the box cuts off; the room is rounded outward."""
    if box is None:
        return Ball(norm, radius, np.full(len(z), -radius), np.full(len(z), radius))
    off = 4 * UNIT_ROUNDOFF * np.abs(z)
    lower = box.lower - z - off - 4 * UNIT_ROUNDOFF * np.where(np.isfinite(box.lower), np.abs(box.lower), 0.0)
    upper = box.upper - z + off + 4 * UNIT_ROUNDOFF * np.where(np.isfinite(box.upper), np.abs(box.upper), 0.0)
    return Ball(norm, radius, np.maximum(lower, -radius), np.minimum(upper, radius))


@dataclasses.dataclass(frozen=True, eq=False)
class Contenders:
    """The training points that can be among the k nearest in a way that matters, of one query.

    Attributes
    ----------
    points : (m,) integer array
        Nearest to the query first; `own` tells which of them carry its label.
    own : (m,) boolean array
    inside : (m,) boolean array
        Points of the label that are among the k nearest wherever the vote is lost.
    above : (m,) array
        Upper bound on ``score_p − t`` over the ball, t the threshold; at least 0.
    below : (m,) array
        Upper bound on ``t − score_p``; at least 0.
    twin : (m,) integer array
        The same number for points that share site and offset, and so every score.
    """

    points: NDArray[np.int64]
    own: NDArray[np.bool_]
    inside: NDArray[np.bool_]
    above: NDArray[np.float64]
    below: NDArray[np.float64]
    twin: NDArray[np.int64]


def contenders(
    model: NearestNeighbors,
    z: NDArray[np.float64],
    row: NDArray[np.float64],
    label: int,
    within: Ball,
    majority: bool,
    presolve: bool,
) -> Contenders:
    """Find the contenders and the constants of a big-M formulation; see `KNearestPerturbation` for why it is exact.

    A vote is lost with at most s − 1 points of the label among the k nearest, hence with at least s others.  Point q is
    *ahead* of p when ``score_q < score_p`` all over the ball: decided by ``max (score_q − score_p) ≤ score_q(z) −
    score_p(z) + 2 max ⟨u_p − u_q, δ⟩``, rounding added.  A point is dropped when s points of the label are ahead of it,
    or (majority) s others, or (plurality) k points.  A point of the label is inside when at most s − 1 others can be
    as near as it.

    With ``D_qp`` that maximum, order statistics bound the threshold pair by pair: where t is the s-th smallest of the
    scores of some points q, ``t − score_p`` is the s-th smallest of ``score_q − score_p``, hence at most the s-th
    smallest of the ``D_qp``; and ``score_p − t`` at most the s-th largest of the ``D_pq``.

    Parameters
    ----------
    row : (N,) array
        Scores of z.
    majority : bool
        The threshold is the s-th smallest score of the other labels; else the k-th smallest of all.
    presolve : bool
        False keeps all points, and fixes none.
    """
    k = model.n_neighbors
    s = (k + 1) // 2
    differences = _Differences(model, z, row, within)
    points = np.argsort(row, kind="stable")
    own = model.labels_[points] == label
    if presolve:
        kept = differences.may_matter(points, own, s, k, majority)
        points, own = points[kept], own[kept]
    D = differences.between(points)
    inside = np.zeros(len(points), dtype=bool)
    if presolve:
        ahead = D < 0
        others = ahead[~own].sum(axis=0)
        dropped = (ahead[own].sum(axis=0) >= s) | ((others >= s) if majority else (ahead.sum(axis=0) >= k))
        points, own, D = points[~dropped], own[~dropped], D[np.ix_(~dropped, ~dropped)]
        inside = own & ((D >= 0)[:, ~own].sum(axis=1) < s)
    above, below = _order_statistic(-D[:, ~own], s), _order_statistic(D[own].T, s)
    if majority:
        below = np.minimum(below, _order_statistic(D[~own].T, s))
    else:
        above, below = np.maximum(above, _order_statistic(-D, k)), np.minimum(below, _order_statistic(D.T, k))
    functions = np.column_stack([model.sites_[points], model.offsets_[points]])
    return Contenders(
        points=points,
        own=own,
        inside=inside,
        above=np.maximum(-above, 0.0),
        below=np.maximum(below, 0.0),
        twin=np.unique(functions, axis=0, return_inverse=True)[1].reshape(-1),
    )


class _Differences:
    """Upper bounds on differences of scores over the ball, of one query."""

    def __init__(self, model: NearestNeighbors, z: NDArray[np.float64], row: NDArray[np.float64], within: Ball) -> None:
        self.sites, self.row, self.within = model.sites_, row, within
        self.rounding: Rounding = model.rounding(within.norm)
        self.z_length = float(np.linalg.norm(z - model.shift_))
        self.reach = self.z_length + within.radius * float(np.sqrt(len(z)))

    def over(self, points: NDArray[np.int64], p: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Upper bounds on ``score_q − score_p`` and on ``score_p − score_q`` for each q of `points`."""
        V = self.sites[p] - self.sites[points]
        gap, off = self.row[points] - self.row[p], self.rounding.gap(points, p, self.z_length, self.reach)
        slack, stretch = self.rounding.separation(points, p), self.rounding.stretch
        return (
            gap + off + 2 * self.within.support(V, slack, stretch),
            -gap + off + 2 * self.within.support(-V, slack, stretch),
        )

    def between(self, points: NDArray[np.int64]) -> NDArray[np.float64]:
        """``D_qp``, an ``(m, m)`` array."""
        D = np.zeros((len(points), len(points)))
        for a, p in enumerate(points):
            D[a:, a], D[a, a:] = self.over(points[a:], int(p))
        return D

    def may_matter(
        self, points: NDArray[np.int64], own: NDArray[np.bool_], s: int, k: int, majority: bool
    ) -> NDArray[np.bool_]:
        """The points that are not dropped by differences from the nearest point alone, N of them instead of N²."""
        highest, minus_lowest = self.over(points, int(points[0]))
        ahead = [_order_statistic(highest[own], s)]
        ahead.append(_order_statistic(highest[~own], s) if majority else _order_statistic(highest, k))
        kept: NDArray[np.bool_] = -minus_lowest <= min(ahead)
        return kept


def _order_statistic(values: NDArray[np.float64], s: int) -> NDArray[np.float64]:
    """The s-th smallest along the last axis; ∞ where there are fewer."""
    if values.shape[-1] < s:
        return np.full(values.shape[:-1], np.inf)
    smallest: NDArray[np.float64] = np.partition(values, s - 1, axis=-1)[..., s - 1]
    return smallest
