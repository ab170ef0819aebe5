"""Witnesses: perturbed points that are mislabelled, and the upper bounds they prove."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from convexrml.kernels.witness import SQUARES_VANISH, witnessed_length
from convexrml.neighbors import NearestNeighbors
from convexrml.norms import Box, Norm
from convexrml.rounding import UNIT_ROUNDOFF
from convexrml.votes import Vote

_GRIDS = 2.0 ** -np.arange(44.0, 2.0, -6.0)
_LONGER = 10.0 ** np.arange(-15.0, -2.0)
_FRACTIONS = np.linspace(0, 1, 65)
_NUDGES = np.concatenate([[0.0], 10.0 ** np.arange(-15.0, -1.0), [0.1, 0.3, 1.0]])


def witnessed_norms(Z: NDArray[np.float64], perturbations: NDArray[np.float64], norm: Norm) -> NDArray[np.float64]:
    """``‖δ‖_p`` along the last axis, rounded up, so that it is not below the norm of ``fl(z + δ) − z`` either.

    By as much as in `convexrml.kernels.witness.witnessed_length`.
    """
    moved = (Z + perturbations) - Z
    d = Z.shape[-1]
    larger = np.maximum(norm.of(perturbations), norm.of(moved)) * (1 + 4 * (d + 4) * UNIT_ROUNDOFF)
    away = (perturbations != 0).any(axis=-1) | (moved != 0).any(axis=-1)
    rounded: NDArray[np.float64] = np.where(away, larger + math.sqrt(d) * SQUARES_VANISH, larger)
    return rounded


def witnessed_norm(z: NDArray[np.float64], perturbation: NDArray[np.float64], norm: Norm) -> float:
    """`witnessed_norms` of one perturbation."""
    if norm.order == 2:
        return float(witnessed_length(z, perturbation))
    return float(witnessed_norms(z, perturbation, norm))


def first_mislabelled(
    model: NearestNeighbors,
    z: NDArray[np.float64],
    label: object,
    points: NDArray[np.float64],
    box: Box | None,
    vote: Vote = Vote.PLURALITY,
) -> NDArray[np.float64] | None:
    """The perturbation δ that leads from z to the first of `points` (m, d) that is admissible and mislabelled.

    Mislabelled twice: by the classifier's own scores, and in exact arithmetic, in which no rounding can feign it.  Both
    are asked about ``z + δ`` as floating point computes it, so that a caller who adds δ to z asks about the same point.
    None if there is no such point.
    """
    points = points[model.in_range(points)]
    if len(points) == 0:
        return None
    deltas = points - z
    if box is not None:
        deltas = box.clip(points) - z
        # z + fl(side − z) may round to the float beyond the side: aim one float inside
        deltas = np.where(z + deltas > box.upper, np.nextafter(box.upper, -np.inf) - z, deltas)
        deltas = np.where(z + deltas < box.lower, np.nextafter(box.lower, np.inf) - z, deltas)
    candidates = z + deltas
    good = model.mislabels(candidates, np.full(len(candidates), label), vote=vote)
    if box is not None:
        good &= box.contains(candidates)
    code = int(model.encode(np.array([label]), 1)[0])
    for place in np.flatnonzero(good):
        if model.exact.lost(candidates[place], code, model.n_neighbors, vote.value):
            found: NDArray[np.float64] = deltas[place]
            return found
    return None


def sure_witness(
    model: NearestNeighbors, z: NDArray[np.float64], label: int, delta: NDArray[np.float64], box: Box | None, vote: Vote
) -> NDArray[np.float64] | None:
    """A perturbation that the classifier's own scores accept, or one near it that exact arithmetic accepts as well.

    `label` is an encoded label.
    """
    if model.exact.lost(z + delta, label, model.n_neighbors, vote.value):
        return delta
    return stretched(model, z, label, delta, box, vote)


def stretched(
    model: NearestNeighbors, z: NDArray[np.float64], label: int, delta: NDArray[np.float64], box: Box | None, vote: Vote
) -> NDArray[np.float64] | None:
    """A witness near a perturbation that may be none; None if there is none.

    A witness that rounding has feigned is next to the boundary of half-spaces that leave the query out, ``⟨a, δ⟩ ≤ b``
    with b < 0, so a longer way in its direction leads into them.  From δ = 0, a way to a training point of another
    label does: on it that point comes nearer than all that tie with it.  The k nearest of these points are tried, and
    the mean of the (k + 1) / 2 nearest.  Where a tie itself is what loses the vote, nothing leads deeper; but between
    whole numbers the tie may lie at a point of few binary places, so the witness is rounded to these too.  `label` is
    an encoded label.
    """
    ways = delta[None]
    if not delta.any():
        others, row = np.flatnonzero(model.labels_ != label), model.scores(z[None])[0]
        near = others[np.argsort(row[others], kind="stable")[: model.n_neighbors]]
        ways = model.training_points_[near] - z
        ways = np.concatenate([ways, ways[: (model.n_neighbors + 1) // 2].mean(axis=0, keepdims=True)])
    snapped = np.rint((z + delta) / _GRIDS[:, None]) * _GRIDS[:, None]
    longer = (_LONGER[:, None, None] * ways).reshape(-1, len(z))
    longer = longer[np.argsort(np.linalg.norm(longer, axis=1), kind="stable")]
    return first_mislabelled(model, z, model.classes_[label], np.concatenate([z + delta + longer, snapped]), box, vote)


def nearest_mislabelled(
    model: NearestNeighbors, z: NDArray[np.float64], label: int, negative: int, box: Box | None
) -> NDArray[np.float64] | None:
    """The witness of a query that the classifier mislabels as it stands; `label` is an encoded label.

    δ = 0, unless exact arithmetic says that rounding alone mislabels z: then a witness on the way to the negative.
    """
    if model.exact.lost(z, label, model.n_neighbors, Vote.PLURALITY.value):
        return np.zeros_like(z)
    return nudged_little(model, z, label, np.zeros_like(z), model.training_points_[negative], box)


def nudged_little(
    model: NearestNeighbors,
    z: NDArray[np.float64],
    label: int,
    perturbation: NDArray[np.float64],
    inner: NDArray[np.float64],
    box: Box | None,
    witness: NDArray[np.float64] | None = None,
) -> NDArray[np.float64] | None:
    """`nudged`, whose nudges grow by tens, and then the first witness on the way that it took.

    `witness` is where that way ends if no nudge works; `label` is an encoded label.
    """
    name = model.classes_[label]
    far = nudged(model, z, name, perturbation, inner, box)
    end = witness if far is None else far
    if end is None:
        return None
    near = first_mislabelled(model, z, name, z + perturbation + _FRACTIONS[:, None] * (end - perturbation), box)
    return far if near is None else near


def nudged(
    model: NearestNeighbors,
    z: NDArray[np.float64],
    label: object,
    perturbation: NDArray[np.float64],
    inner: NDArray[np.float64],
    box: Box | None,
) -> NDArray[np.float64] | None:
    """A witness next to ``z + δ``, a point on the boundary of a cell as far as some solver is right.

    A cell is convex, so the way from a point of it to one deeper `inside` (the negative's training point) stays in it
    while every tie is broken.  The fraction of the way grows from 0 over 1e-15 by tens, so that the norm grows by no
    more than rounding makes necessary.
    """
    boundary = z + perturbation
    with np.errstate(over="ignore", invalid="ignore"):  # what a solver returns may be anything
        way = boundary + _NUDGES[:, None] * (inner - boundary)
    return first_mislabelled(model, z, label, way, box)
