"""The attack on one query, in two parts: the first point found at which its vote is lost, and the nearest around it."""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from convexrml.kernels.incumbent import aim, attacked, crossing, lost, pool
from convexrml.kernels.local import gathered, half_scores, matter, smallest
from convexrml.kernels.lost_vote import witnessed
from convexrml.kernels.vectors import column_products, copied, distance, dot
from convexrml.kernels.witness import witnessed_length

_MANY_RAYS = 64
_STRETCHES = np.array([1.0 + 1e-9, 1.01, 1.03, 1.1, 1.2, 1.4, 1.7, 2.0])
_NORMALS = 3  # half-spaces, and groups of them, whose normals are followed
SMALLEST_BALL = 1e-15  # of the lengths around: nothing nearer can be told apart
_BEYOND = 1.0 + 1e-6


class Data(NamedTuple):
    """A training set, grouped by label, as the attack reads it; `rules` as in `convexrml.kernels.rounding`.

    `euclidean` says that sites are the points themselves.
    """

    sites: NDArray[np.float64]
    columns: NDArray[np.float64]
    offsets: NDArray[np.float64]
    points: NDArray[np.float64]
    labels: NDArray[np.int64]
    lengths: NDArray[np.float64]
    longest: float
    class_start: NDArray[np.int64]
    shift: NDArray[np.float64]
    rules: NDArray[np.float64]
    euclidean: bool


class Place(NamedTuple):
    """A query as the attack reads it; see `convexrml.queries.Query`."""

    z: NDArray[np.float64]
    centred: NDArray[np.float64]
    image: NDArray[np.float64]
    row: NDArray[np.float64]
    squared: NDArray[np.float64]
    offset: float
    box_lower: NDArray[np.float64]
    box_upper: NDArray[np.float64]
    boxed: bool


@njit(cache=True, nogil=True)
def gathered_at(data, place, index, n_negatives, far):
    """The listed points side by side; bounds hold for witnesses no farther than `far`."""
    z_length = np.sqrt(dot(place.centred, place.centred))
    return gathered(
        index, n_negatives, data.sites, data.lengths, data.labels, place.row, place.squared, place.offset, place.image,
        place.box_lower - place.z, place.box_upper - place.z, place.boxed, data.rules, z_length, z_length + far,
    )  # fmt: skip


@njit(cache=True, nogil=True)
def first_found(data, place, rule, n_rays, best, target, space):
    """Write the step to a point at which the vote is lost into `best`: its length, 0 if z itself is one, ∞ if none.

    Among the nearest points only; the whole training set decides whether the vote is lost.
    """
    if lost(rule, place.row, data.labels, space)[0]:
        best[:] = 0.0
        return 0.0
    index, n_negatives = pool(place.row, data.class_start[rule.own], data.class_start[rule.own + 1])
    near = gathered_at(data, place, index, n_negatives, 0.0)
    for rays in (n_rays, _MANY_RAYS):
        first = attacked(
            near, data.points, place.z, place.box_lower, place.box_upper, rule, rays, 0, np.inf, best, target, space
        )  # fmt: skip
        if first < np.inf:
            first = first_point(data, place, near, rule, best, space)
        if first < np.inf:
            return first if data.euclidean else along_normals(data, place, rule, first, best, space)
    return np.inf


@njit(cache=True, nogil=True)
def first_point(data, place, near, rule, best, space):
    """Stretch the step `best` until the vote is lost over the whole training set: its length, ∞ if it never is."""
    d, N = data.columns.shape
    slopes, values, step = np.empty(N), np.empty(N), np.empty(d)
    for stretch in _STRETCHES:
        for f in range(d):
            step[f] = min(max(stretch * best[f], near.room_lower[f]), near.room_upper[f])
        if rule.majority:
            gone = majority_is_lost(data, place, near, rule, step, slopes, values)
        else:
            column_products(data.columns, 0, N, step, slopes)
            for t in range(N):
                values[t] = 0.5 * place.row[t] - slopes[t]
            gone = lost(rule, values, data.labels, space)[0]
        if gone:
            copied(step, d, best)
            return np.sqrt(dot(best, best))
    return np.inf


@njit(cache=True, nogil=True)
def majority_is_lost(data, place, near, rule, step, slopes, values):
    """Whether enough of the near negatives are no farther than all but (k − 1) / 2 of the positives.

    Other negatives could only help, so that positives alone are read in full.
    """
    start, stop, s = data.class_start[rule.own], data.class_start[rule.own + 1], (rule.n_neighbors + 1) // 2
    places = np.empty(s, dtype=np.int64)
    half_scores(near, step, values)
    if smallest(values, 0, near.n_negatives, s, places) < s:
        return False
    high, nearer = values[places[s - 1]], 0
    column_products(data.columns, start, stop, step, slopes)
    for i in range(start, stop):
        nearer += 0.5 * place.row[i] - slopes[i] < high
    return nearer < s


@njit(cache=True, nogil=True)
def along_normals(data, place, rule, length, best, space):
    """A shorter step at which the vote is lost, along the normals of the nearest half-spaces; its length.

    The points that are near under a metric that weighs features unevenly may be far in the norm of the perturbation.
    Of the half-spaces in which a negative j is nearer than the positive i that may be nearest but (k − 1) / 2, those
    are taken that are nearest in this norm, from as many negatives on as a lost majority needs; their normals are
    ``u_j − u_i``, and for that many negatives together ``mean u_j − u_i``.  `best` is a step of the given `length` at
    which the vote is lost, and receives a shorter one.
    """
    (N, d), start, stop = data.sites.shape, data.class_start[rule.own], data.class_start[rule.own + 1]
    size = (rule.n_neighbors + 1) // 2
    order = np.empty(size - 1 + _NORMALS, dtype=np.int64)
    found = smallest(place.row, start, stop, size, order)
    if found == 0:
        return length
    i, halves = order[found - 1], 0.5 * place.row
    bound, slopes, values = np.full(N, np.inf), np.empty(N), np.empty(N)
    normal, ray, centre = np.empty(d), np.empty(d), np.empty(d)
    for j in range(N):
        if start <= j < stop:
            continue
        apart = distance(data.sites, j, i, 2.0)
        if apart > 0.0:
            bound[j] = (place.row[j] - place.row[i]) / apart
    found = smallest(bound, 0, N, order.shape[0], order)
    for number in range(_NORMALS * (1 + (size > 1))):
        last = size - 1 + number % _NORMALS
        count = 1 if number < _NORMALS else size
        if last >= found or bound[order[last]] == np.inf:
            continue
        for f in range(d):
            normal[f] = -data.sites[i, f]
            for r in range(last - count + 1, last + 1):
                normal[f] += data.sites[order[r], f] / count
        norm = np.sqrt(dot(normal, normal))
        if norm == 0.0:
            continue
        for f in range(d):
            centre[f] = place.z[f] + length / norm * normal[f]
        whole = aim(place.z, centre, place.box_lower, place.box_upper, ray)
        column_products(data.columns, 0, N, ray, slopes)
        theta = crossing(rule, halves, slopes, data.labels, values, space)
        if theta * whole < length:
            length = theta * whole
            for f in range(d):
                best[f] = theta * ray[f]
    return length


@njit(cache=True, nogil=True)
def found(data, place, rule, n_rays, n_exchanges, best, target, space, step):
    """`first_found`, and where that is a point, `nearest_found` from there: what both return."""
    first = first_found(data, place, rule, n_rays, best, target, space)
    if first == 0.0 or not first < np.inf:
        return first, -1.0, False
    blur, sure = nearest_found(data, place, rule, first, n_exchanges, best, target, space, step)
    return first, blur, sure


@njit(cache=True, nogil=True)
def nearest_found(data, place, rule, first, n_exchanges, best, target, space, step):
    """From a step `best` of length `first` at which the vote is lost to the nearest witness found, written into `step`.

    Returns what `lost_vote.witnessed` does: how far rounding may move the boundary there, −1 if there is no witness;
    and whether it is one beyond doubt: within the ball, in which the listed points decide.
    """
    start, stop = data.class_start[rule.own], data.class_start[rule.own + 1]
    z_length = np.sqrt(dot(place.centred, place.centred))
    radius = max(first * _BEYOND, SMALLEST_BALL * (z_length + data.longest))
    index, n_negatives = matter(
        data.sites, data.lengths, data.longest, place.row, place.squared, place.offset, start, stop, radius,
        (rule.n_neighbors + 1) // 2, data.rules, z_length, z_length + radius,
    )  # fmt: skip
    complete, far = n_negatives > 0, radius
    if not complete:  # all are ties up to rounding
        index, n_negatives = pool(place.row, start, stop)
        far = 0.0
    near = gathered_at(data, place, index, n_negatives, far)
    attacked(
        near, data.points, place.z, place.box_lower, place.box_upper, rule, 0, n_exchanges, radius, best, target, space
    )  # fmt: skip
    blur, sure = witnessed(
        near, data.offsets, place.z, data.shift, place.box_lower, place.box_upper, rule, target, best, radius, space,
        step, np.empty(place.z.shape[0]),
    )  # fmt: skip
    return blur, sure and complete and witnessed_length(place.z, step) <= radius
