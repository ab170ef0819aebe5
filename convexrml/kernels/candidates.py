"""The nearest points of the same label and of other labels for every point, exact, most pairs left unread.

Points are grouped by label here: class c holds the rows ``class_start[c]`` to ``class_start[c + 1]``.
"""

import numpy as np
from numba import njit

_PAIRS_AT_ONCE = 64


@njit(cache=True, nogil=True)
def squared_distance(a, b):
    """``‖a − b‖²``, in a fixed order of summation."""
    d = a.shape[0]
    s0 = s1 = s2 = s3 = 0.0
    f = 0
    while f + 4 <= d:
        s0 += (a[f] - b[f]) * (a[f] - b[f])
        s1 += (a[f + 1] - b[f + 1]) * (a[f + 1] - b[f + 1])
        s2 += (a[f + 2] - b[f + 2]) * (a[f + 2] - b[f + 2])
        s3 += (a[f + 3] - b[f + 3]) * (a[f + 3] - b[f + 3])
        f += 4
    while f < d:
        s0 += (a[f] - b[f]) * (a[f] - b[f])
        f += 1
    return (s0 + s1) + (s2 + s3)


@njit(cache=True, nogil=True)
def _insert(distances, members, size, distance, j):
    """Put j into a list in the order of (distance, index), the last of a full list falling out; the new size."""
    full = size == members.shape[0]
    if full and (distance > distances[size - 1] or (distance == distances[size - 1] and j >= members[size - 1])):
        return size
    place = size - 1 if full else size
    while place > 0 and (
        distances[place - 1] > distance or (distances[place - 1] == distance and members[place - 1] > j)
    ):
        distances[place], members[place] = distances[place - 1], members[place - 1]
        place -= 1
    distances[place], members[place] = distance, j
    return size if full else size + 1


@njit(cache=True, nogil=True)
def restart(points, lists, sizes, distances):
    """Order the members of all lists, ``(N, k)`` of which ``sizes`` are taken, by their distances among `points`."""
    for a in range(points.shape[0]):
        for c in range(sizes[a]):
            j = lists[a, c]
            _insert(distances[a], lists[a], c, squared_distance(points[a], points[j]), j)


@njit(cache=True, nogil=True)
def _any_near(squares, products, limit):
    """Whether any ``squares − 2 products`` is at most `limit`: counted, which goes by the vector, not looked for."""
    near = np.int32(0)
    for j in range(squares.shape[0]):
        near += np.int32(squares[j] - np.float32(2.0) * products[j] <= limit)
    return near > 0


@njit(cache=True, nogil=True)
def _farther(b, c, limit):
    """Whether ``‖b − c‖² > limit``, in single precision and no farther along than it takes to tell."""
    d = b.shape[0]
    total, f = np.float32(0.0), 0
    while f + 32 <= d and total <= limit:
        s0 = s1 = s2 = s3 = np.float32(0.0)
        for g in range(f, f + 32, 4):
            s0 += (b[g] - c[g]) * (b[g] - c[g])
            s1 += (b[g + 1] - c[g + 1]) * (b[g + 1] - c[g + 1])
            s2 += (b[g + 2] - c[g + 2]) * (b[g + 2] - c[g + 2])
            s3 += (b[g + 3] - c[g + 3]) * (b[g + 3] - c[g + 3])
        total += (s0 + s1) + (s2 + s3)
        f += 32
    return total > limit


@njit(cache=True, nogil=True)
def improve(
    points, images, first, products, squares, scale, margin, class_start, labels, same, lists, sizes, distances
):
    """Make the lists of the rows ``first : first + n`` those of the nearest, of the same label or of the others.

    `products` is ``(n, N)``: inner products of images of the points under a map that lengthens no distance, with
    ``squares`` their squared norms, all squares taken `scale` times.  A pair whose images are farther apart than the
    list's last member, by more than `margin` for the rounding in them, is passed over unread; so is one whose `images`
    are, the points themselves in single precision, ``√scale`` times.  Products that need no look are overwritten.
    """
    N = products.shape[1]
    for row in range(products.shape[0]):
        a = first + row
        start, stop = class_start[labels[a]], class_start[labels[a] + 1]
        its, members, apart = products[row], lists[a], distances[a]
        its[a] = -np.inf  # far from itself and from what is in the list already: never looked at
        for c in range(sizes[a]):
            its[members[c]] = -np.inf
        for part in range(1 if same else 2):
            low, high = (start, stop) if same else ((0, start) if part == 0 else (stop, N))
            for chunk in range(low, high, _PAIRS_AT_ONCE):
                end = min(high, chunk + _PAIRS_AT_ONCE)
                size = sizes[a]
                limit = np.float32(np.inf)
                if size == members.shape[0]:
                    limit = np.float32(scale * apart[size - 1] - squares[a] + margin)
                if not _any_near(squares[chunk:end], its[chunk:end], limit):
                    continue
                for j in range(chunk, end):
                    if squares[j] - np.float32(2.0) * its[j] <= limit and its[j] > -np.inf:
                        if sizes[a] == members.shape[0] and _farther(
                            images[a], images[j], np.float32(scale * apart[sizes[a] - 1] + margin)
                        ):
                            continue
                        sizes[a] = _insert(apart, members, sizes[a], squared_distance(points[a], points[j]), j)


@njit(cache=True, nogil=True)
def triplet_differences(points, anchors, positives, negatives):
    """``x⁺ − x⁻`` and ``2 x − x⁺ − x⁻`` of triplets of rows, two ``(m, d)`` arrays."""
    m, d = anchors.shape[0], points.shape[1]
    V, S = np.empty((m, d)), np.empty((m, d))
    for a in range(m):
        x, plus, minus = points[anchors[a]], points[positives[a]], points[negatives[a]]
        for f in range(d):
            V[a, f] = plus[f] - minus[f]
            S[a, f] = (x[f] - plus[f]) + (x[f] - minus[f])
    return V, S
