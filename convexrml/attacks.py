"""Attack radii: upper bounds on the exact radius, each with a witness that the classifier itself mislabels."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexrml.bounds import certified_radius
from convexrml.grouped import grouped_sites
from convexrml.k_nearest import KNearestSearch
from convexrml.kernels import scores as kernel
from convexrml.neighbors import NearestNeighbors, require_model
from convexrml.norms import Box, Norm, as_box, as_norm, require_inside
from convexrml.queries import each_query, prepared
from convexrml.results import AttackRadii
from convexrml.validation import whole_number
from convexrml.votes import Vote, as_vote
from convexrml.witness import first_mislabelled, stretched, sure_witness, witnessed_norm

_ABOVE_BOUND = np.array([1 + 1e-12, 1 + 1e-9, 1 + 1e-6, 1.001, 1.01, 1.05, 1.2, 1.5, 2.0, 4.0])
_OF_REACH = np.array([0.1, 0.25, 0.5, 0.75, 1.0])
_HALVINGS = 48
_BEYOND = 1 + np.concatenate([[0.0], 10.0 ** np.arange(-15.0, -2.0)])


def attack_radius(
    model: NearestNeighbors,
    Z: ArrayLike,
    y: ArrayLike,
    *,
    norm: float | str | Norm = 2,
    box: tuple[ArrayLike, ArrayLike] | Box | None = None,
    vote: str | Vote = Vote.PLURALITY,
    n_targets: int = 4,
    progress: Callable[[int], object] | None = None,
) -> AttackRadii:
    """Attack radius at each query: the norm of a perturbation at which the label loses the vote.

    Norm 2: rays to groups of near negatives; where a ray enters a region in which the vote is lost, the sets of points
    that decide it are read off, and the nearest point of that cell taken, which is a quadratic program; there the sets
    are read off again, as long as that gains.

    Norms 1 and ∞: scores are affine, so along a ray ``z + θ v`` the classifier is known from two rows of scores.  For
    each of the nearest negatives j two rays are tried: straight to ``x_j``, and the direction in which ``score_j``
    falls below the nearest positive's score at the least cost in the norm.  The first crossing seen on a ladder of
    lengths is refined by bisection and then confirmed by `NearestNeighbors.mislabels`.

    **Guarantee**: an upper bound on the exact radius of the same vote, ties counting against the label, with its
    witness.

    Parameters
    ----------
    model : NearestNeighbors
        Fitted; any odd number of neighbours.
    Z : (n, d) array
        Queries.
    y : (n,) array
        Their true labels.
    norm : {1, 2, inf}, default 2
        Norm in which perturbations are measured.
    box : pair (lower, upper) of numbers or (d,) arrays, optional
        Perturbed points stay inside; it has to contain every query.
    vote : {"plurality", "majority"}, default "plurality"
        The vote that has to be lost: see `Vote`.
    n_targets : int, default 4
        How many of the nearest negatives are tried.
    progress : callable, optional
        Called with the number of queries finished since the last call.

    Returns
    -------
    AttackRadii
        `upper` (n,), in the units of the input features, inf where no point was met that is mislabelled in exact
        arithmetic too, and 0 for a query that is mislabelled as it stands; `perturbation` (n, d), the witnesses.

    Raises
    ------
    InvalidInputError
        If an argument does not fit the training set or the box leaves a query out.
    NotFittedError
        If the model is not fitted.

    Examples
    --------
    >>> import convexrml
    >>> model = convexrml.NearestNeighbors().fit([[0.0], [4.0]], ["left", "right"])
    >>> attack = convexrml.attack_radius(model, [[1.0]], ["left"])
    >>> attack.upper.round(6).tolist(), model.mislabels([[1.0]] + attack.perturbation, ["left"]).tolist()
    ([1.0], [True])
    """
    p = as_norm(norm)
    points = require_model(model).require_queries(Z)
    labels = model.encode(y, len(points))
    limits = as_box(box, model.n_features_in_)
    require_inside(limits, points)
    lost = as_vote(vote)
    n_targets = whole_number("n_targets", n_targets, minimum=1)
    if p.order == 2:
        return _by_cells(model, points, labels, limits, lost, n_targets, progress)
    bound = certified_radius(model, points, y, norm=p).lower
    upper = np.full(len(points), math.inf)
    perturbation = np.full(points.shape, math.nan)
    for query, (z, label) in enumerate(zip(points, labels, strict=True)):
        delta = _by_rays(model, z, int(label), bound[query], p, limits, lost, n_targets)
        if delta is not None:
            perturbation[query], upper[query] = delta, witnessed_norm(z, delta, p)
        if progress is not None:
            progress(1)
    return AttackRadii(upper, perturbation, p, lost)


def _by_cells(
    model: NearestNeighbors,
    Z: NDArray[np.float64],
    label: NDArray[np.int64],
    box: Box | None,
    vote: Vote,
    n_targets: int,
    progress: Callable[[int], object] | None,
) -> AttackRadii:
    """The attack in norm 2, one batch of queries after the other."""
    data = grouped_sites(model)
    search = KNearestSearch(data, model.metric_, model.n_neighbors, vote, box)
    upper, perturbation = np.full(len(Z), math.inf), np.full(Z.shape, math.nan)
    for at in model.batches(len(Z)):
        for query, q in enumerate(each_query(data, prepared(model, data, Z[at], label[at], box)), at.start):
            witness = search.attack(q, n_targets, model.n_neighbors // 2 - 1)
            if witness is not None and witness.sure:
                upper[query], perturbation[query] = witness.upper, witness.step
            elif witness is not None:  # rounding may feign it, or hide it (blur < 0)
                found = sure_witness if witness.blur >= 0 else stretched
                step = found(model, Z[query], int(label[query]), witness.step, box, vote)
                if step is not None:
                    upper[query], perturbation[query] = witnessed_norm(Z[query], step, Norm(2.0)), step
            if progress is not None:
                progress(1)
    return AttackRadii(upper, perturbation, Norm(2.0), vote)


def _by_rays(
    model: NearestNeighbors,
    z: NDArray[np.float64],
    label: int,
    bound: float,
    norm: Norm,
    box: Box | None,
    vote: Vote,
    targets: int,
) -> NDArray[np.float64] | None:
    name = model.classes_[label]
    if first_mislabelled(model, z, name, z[None], box, vote) is not None:
        return np.zeros_like(z)
    row = model.scores(z[None])[0]
    others = np.flatnonzero(model.labels_ != label)
    if len(others) == 0:
        return None
    near = others[np.argsort(row[others], kind="stable")[:targets]]
    positive = np.flatnonzero(model.labels_ == label)[np.argmin(row[model.labels_ == label])]
    straight = model.training_points_[near] - z
    steep = steepest(model.sites_[near] - model.sites_[positive], norm)
    rays = np.concatenate([straight, steep])
    rays = rays[norm.of(rays) > 0]
    rays /= norm.of(rays)[:, None]
    reach = _room(z, rays, box)
    slopes = kernel.scores(model.sites_, np.zeros(len(row)), rays)
    best: NDArray[np.float64] | None = None
    best_length = math.inf
    ladder = np.concatenate([bound * _ABOVE_BOUND, norm.of(straight).max() * _OF_REACH])
    for ray, slope, end in zip(rays, slopes, reach, strict=True):
        rungs = np.unique(np.minimum(ladder, end))
        rungs = rungs[(rungs > 0) & (rungs < best_length)]
        length = _first_crossing(model, row, slope, label, rungs, vote)
        if length is None or length >= best_length:
            continue
        witness = first_mislabelled(model, z, name, z + length * _BEYOND[:, None] * ray, box, vote)
        if witness is not None:
            best, best_length = witness, float(norm.of(witness))
    return best


def _first_crossing(
    model: NearestNeighbors,
    row: NDArray[np.float64],
    slope: NDArray[np.float64],
    label: int,
    rungs: NDArray[np.float64],
    vote: Vote,
) -> float | None:
    """Length of the ray at the first crossing seen on the rungs, refined by bisection."""
    if len(rungs) == 0:
        return None
    wrong = model.mislabelled_by_scores(row + rungs[:, None] * slope, np.full(len(rungs), label), vote)
    if not wrong.any():
        return None
    first = int(np.argmax(wrong))
    low, high = (float(rungs[first - 1]) if first else 0.0), float(rungs[first])
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        if model.mislabelled_by_scores((row + middle * slope)[None], np.array([label]), vote)[0]:
            high = middle
        else:
            low = middle
    return high


def steepest(w: NDArray[np.float64], norm: Norm) -> NDArray[np.float64]:
    """The directions v with ``‖v‖_p = 1`` (0 for w = 0) along which ``⟨w, v⟩ = ‖w‖_q``: one for each row of `w`."""
    if norm.order == 2:
        length = norm.of(w)[:, None]
        return w / np.where(length > 0, length, 1.0)
    if norm.order == 1:
        v = np.zeros_like(w)
        rows, column = np.arange(len(w)), np.abs(w).argmax(axis=1)
        v[rows, column] = np.sign(w[rows, column])
        return v
    return np.sign(w)


def _room(z: NDArray[np.float64], rays: NDArray[np.float64], box: Box | None) -> NDArray[np.float64]:
    """How far along each ray the box reaches: ∞ without a box."""
    if box is None:
        return np.full(len(rays), math.inf)
    wall = np.where(rays > 0, box.upper, box.lower) - z
    steps = np.where(rays != 0, wall / np.where(rays != 0, rays, 1.0), math.inf)
    result: NDArray[np.float64] = steps.min(axis=1)
    return result
