"""Which sites can matter for one query: bounds by the triangle inequality, so that most are never read."""

import numpy as np
from numba import njit

from convexrml.kernels.rounding import STRETCH, gap_rounding, widened
from convexrml.kernels.triplets import pair_bound
from convexrml.kernels.vectors import dot, row_dot


@njit(cache=True, nogil=True)
def positives_that_matter(row, squared, offset, start, stop, threshold, radius, found, halves, spreads):
    """List the positives i with ``score_i/2 − ‖u_i − Mz‖ radius < threshold``, their half scores and distances.

    All others stay farther than the negatives behind `threshold` within `radius`: ``⟨u_i − u_j, δ⟩ ≤ (‖u_i − Mz‖ +
    ‖u_j − Mz‖) ‖δ‖``.  ``squared_i + offset`` bounds ``‖u_i − Mz‖²`` from above.  Returns how many there are.
    """
    count = 0
    for i in range(start, stop):
        half, spread = 0.5 * row[i], np.sqrt(max(squared[i] + offset, 0.0))
        if half - spread * radius < threshold:
            found[count], halves[count], spreads[count] = i, half, spread
            count += 1
    return count


@njit(cache=True, nogil=True)
def rivals(
    sites,
    lengths,
    row,
    squared,
    offset,
    nearest,
    first,
    last,
    radius,
    rules,
    z_length,
    reach,
    outside,
    candidates,
    bounds,
    count,
):
    """Add the rows ``first:last`` whose triplet bound with the positive `nearest` is below `radius` to the candidates.

    Most rows are passed over without reading their site, by ``‖u_i − u_j‖ ≤ ‖u_i − Mz‖ + ‖u_j − Mz‖``, with the
    rounding of the longest pair for all.  `outside` tells the training points for which `reach` counts.
    """
    near, longest = np.sqrt(max(squared[nearest] + offset, 0.0)), lengths.max()
    scale = 1.0 / (2.0 * radius * rules[STRETCH])
    base = row[nearest] + gap_rounding(rules, longest, longest, z_length, reach)
    off = near + widened(rules, longest, longest, 0.0)
    for j in range(first, last):
        rest = (row[j] - base) * scale - off
        if rest > 0.0 and rest * rest >= squared[j] + offset:  # the bound with near + ‖u_j − Mz‖ reaches the radius
            continue
        far = reach if outside[j] else 0.0
        bound = pair_bound(sites, lengths, row, nearest, j, 2.0, rules, z_length, far)
        if bound < radius:
            candidates[count], bounds[count] = j, bound
            count += 1
    return count


@njit(cache=True, nogil=True)
def positives_in_touch(
    sites, positives, count, halves, spreads, image, site, half, spread, delta, reach, rounding, found
):
    """List the positives that a step of length `reach` from `delta` can bring as near as the site: few.

    Over such a step ``score_j − score_i`` changes by at most ``2 (‖u_i − Mz‖ + ‖u_j − Mz‖) reach``.
    """
    own, centre, length = dot(site, delta) - half, dot(image, delta), np.sqrt(dot(delta, delta))
    touching = 0
    for c in range(count):
        margin = (spreads[c] + spread) * reach + rounding
        if centre + spreads[c] * length - halves[c] - own < -margin:
            continue
        if row_dot(sites, positives[c], delta) - halves[c] - own >= -margin:
            found[touching] = positives[c]
            touching += 1
    return touching


@njit(cache=True, nogil=True)
def farthest_in_box(room_lower, room_upper):
    """A length that every point of the box stays below, by a relative 1e-6."""
    square = 0.0
    for f in range(room_lower.shape[0]):
        side = max(-room_lower[f], room_upper[f])
        square += side * side
    return (1.0 + 1e-6) * np.sqrt(square)
