"""Exact 1-NN radii in ℓ2 for a batch of queries: negatives that cannot matter are dropped unseen, positives too.

Training points are grouped by label here: class c holds the rows ``class_start[c]`` to ``class_start[c + 1]``.
"""

import numpy as np
from numba import njit

from convexrml.kernels.active_set import constraint_row, nearest_point
from convexrml.kernels.pruning import farthest_in_box, positives_in_touch, positives_that_matter, rivals
from convexrml.kernels.rounding import STRETCH, UNIT_ROUNDOFF, gap_rounding, score_rounding, widened
from convexrml.kernels.scores import scores_into
from convexrml.kernels.triplets import pair_bound
from convexrml.kernels.vectors import dot
from convexrml.kernels.witness import NOT, SURE, nudge

SOLVED, MISLABELLED, NO_NEGATIVE, UNREACHED = 0, 1, 2, 3
_QUERIES_PER_TILE = 16
_SOLVED_TO = 1e-3  # of the rounding in a difference of scores
_SMALL_NUDGE = 1e-9
_SMALL_NUDGES = np.array([0.0, 1e-14, *(10.0 ** (e / 4) for e in range(-52, -36)), _SMALL_NUDGE])
_LARGE_NUDGES = np.array([1e-8, 1e-6, 1e-4, 1e-2, 0.1, 0.3, 1.0])
_MARGINS = np.array([1e1, 1e2, 1e3, 1.5e3, 2e3, 4e3, 1e4, 1e5, 1e6, 1e7, 1e8])


@njit(cache=True, nogil=True)
def proved_bound(
    sites,
    lengths,
    positives,
    n,
    halves,
    j,
    half,
    room_lower,
    room_upper,
    active,
    multipliers,
    m,
    rules,
    z_length,
    reach,
):
    """Lower bound on ``‖δ‖₂`` that m multipliers prove by weak duality, all rounding subtracted.

    The same deduction as `formulations.half_spaces.HalfSpaces.weak_duality`.
    """
    site, d = sites[j], sites.shape[1]
    gamma = 4.0 * (m + 2 * d + 8) * UNIT_ROUNDOFF
    normal, magnitude, row = np.zeros(d), np.zeros(d), np.empty(d)
    evidence, size, slack = 0.0, 0.0, 0.0
    largest = 0.0
    for k in range(m):
        largest = max(largest, multipliers[k])
    for k in range(m):
        index, multiplier = active[k], max(multipliers[k], 0.0) / largest if largest > 0.0 else 0.0
        constraint_row(sites, positives, site, n, index, row)
        if index < n:
            i = positives[index]
            term = multiplier * (half - halves[index])
            evidence -= 0.5 * multiplier * gap_rounding(rules, lengths[i], lengths[j], z_length, reach)
            slack += multiplier * widened(rules, lengths[i], lengths[j], 0.0)
            for f in range(d):
                magnitude[f] += multiplier * (abs(sites[i, f]) + abs(site[f]))
        else:
            f = (index - n) % d
            term = -multiplier * (room_upper[f] if index < n + d else -room_lower[f])
            magnitude[f] += multiplier
        evidence += term
        size += abs(term)
        for f in range(d):
            normal[f] += multiplier * row[f]
    evidence -= gamma * size
    length = rules[STRETCH] * np.sqrt(dot(normal, normal)) + slack + gamma * np.sqrt(dot(magnitude, magnitude))
    if not evidence > 0.0:
        return 0.0
    return evidence / length if length > 0.0 else np.inf


@njit(cache=True, nogil=True)
def exact_radii(
    sites, columns, offsets, squares, lengths, points, class_start, shift, euclidean, queries, centred, images,
    own_class, box_lower, box_upper, boxed, outside, rules, spread_rounding,
    lower, value, steps, witnesses, sure, negative, support, multipliers, support_size, programs,
):  # fmt: skip
    """Exact radii of a batch of queries, written into the last ten arguments; returns the outcome of each.

    `sure` tells whether the witness (of MISLABELLED, the query itself) is one in exact arithmetic: if not, it is one by
    the classifier's own scores, and rounding may hide that it is none.

    ``squares_i = ‖u_i‖²``; ``images = M (z − m)``; under the Euclidean metric ``‖u_i − Mz‖² = score_i + ‖z − m‖²`` and
    one product serves both.  `spread_rounding` is added to every squared distance.
    """
    longest, some_outside = lengths.max(), outside.any()
    n_queries, N, d = queries.shape[0], sites.shape[0], sites.shape[1]
    outcome = np.empty(n_queries, dtype=np.int64)
    tile = min(n_queries, _QUERIES_PER_TILE)
    scores, squared = np.empty((tile, N)), np.empty((1 if euclidean else tile, N))
    positives, halves, spreads = np.empty(N, dtype=np.int64), np.empty(N), np.empty(N)
    candidates, bounds = np.empty(N, dtype=np.int64), np.empty(N)
    Q, R = np.empty((d + 1, d)), np.empty((d + 1, d + 1))
    active, lam = np.empty(d + 2, dtype=np.int64), np.empty(d + 2)
    moved, other, room_lower, room_upper = np.empty(d), np.empty(d), np.empty(d), np.empty(d)
    for a in range(n_queries):
        t = a % tile
        if t == 0:
            scores_into(columns, offsets, centred[a : a + tile], scores)
            if not euclidean:
                scores_into(columns, squares, images[a : a + tile], squared)
        row, z, image = scores[t], queries[a], images[a]
        sq = row if euclidean else squared[t]
        offset = dot(image, image) + spread_rounding[a]
        start, stop = class_start[own_class[a]], class_start[own_class[a] + 1]
        lower[a], value[a], negative[a], support_size[a], programs[a] = np.inf, np.inf, -1, 0, 0
        sure[a] = True
        if start == 0 and stop == N:
            outcome[a] = NO_NEGATIVE
            continue
        for f in range(d):
            room_lower[f], room_upper[f] = box_lower[f] - z[f], box_upper[f] - z[f]
        nearest = start + int(np.argmin(row[start:stop]))
        rival = -1
        if start > 0:
            rival = int(np.argmin(row[:start]))
        if stop < N:
            after = stop + int(np.argmin(row[stop:]))
            rival = after if rival < 0 or row[after] < row[rival] else rival
        z_length = np.sqrt(dot(centred[a], centred[a]))
        if row[rival] <= row[nearest]:
            outcome[a], lower[a], value[a] = MISLABELLED, 0.0, 0.0
            sure[a] = row[nearest] - row[rival] >= score_rounding(rules, longest, longest, z_length)
            continue
        reach = 0.0
        if boxed:  # nothing in the box is farther than this
            value[a] = farthest_in_box(room_lower, room_upper)
            reach = z_length + value[a] if some_outside and value[a] < np.inf else 0.0
        rounding = gap_rounding(rules, longest, longest, z_length, reach)  # of any pair
        count = positives_that_matter(row, sq, offset, start, stop, np.inf, 0.0, positives, halves, spreads)
        candidates[0], n_candidates = rival, 1
        bounds[0] = pair_bound(
            sites, lengths, row, nearest, rival, 2.0, rules, z_length, reach if outside[rival] else 0.0
        )
        for stage in range(2):  # first the nearest negative alone, for an incumbent; then whatever may beat it
            if stage == 1:
                if value[a] <= 0.0:
                    break  # a tie up to rounding
                n_candidates = 0
                for first, last in ((0, start), (stop, N)):
                    n_candidates = rivals(
                        sites, lengths, row, sq, offset, nearest, first, last, value[a], rules, z_length, reach,
                        outside, candidates, bounds, n_candidates,
                    )  # fmt: skip
                if value[a] < np.inf:
                    highest = -np.inf
                    for c in range(n_candidates):
                        j = candidates[c]
                        highest = max(highest, 0.5 * row[j] + np.sqrt(max(sq[j] + offset, 0.0)) * value[a])
                    highest += rounding
                    count = positives_that_matter(
                        row, sq, offset, start, stop, highest, value[a], positives, halves, spreads
                    )
            order = np.argsort(bounds[:n_candidates])
            for c in range(n_candidates):
                j, bound = candidates[order[c]], bounds[order[c]]
                if stage == 1 and bound >= value[a]:
                    break
                if stage == 1 and j == rival:
                    continue
                far = reach if outside[j] else 0.0
                for k in range(support_size[a]):  # the positives that bind the incumbent may suffice to rule j out
                    i = support[a, k]
                    bound = max(bound, pair_bound(sites, lengths, row, i, j, 2.0, rules, z_length, far))
                if stage == 1 and bound >= value[a]:
                    continue
                half = 0.5 * row[j]
                tolerance = _SOLVED_TO * gap_rounding(rules, lengths[nearest], lengths[j], z_length, far)
                step, m, end = nearest_point(
                    sites, positives, count, halves, spreads, image, sites[j], half,
                    room_lower, room_upper, boxed, tolerance, value[a], Q, R, active, lam,
                )  # fmt: skip
                programs[a] += 1
                proved = proved_bound(
                    sites, lengths, positives, count, halves, j, half, room_lower, room_upper,
                    active, lam, m, rules, z_length, far,
                )  # fmt: skip
                lower[a] = min(lower[a], max(proved, bound))
                if end == 0:
                    length = np.sqrt(dot(step, step))
                    if length < value[a]:
                        value[a], negative[a], support_size[a] = length, j, 0
                        steps[a] = step
                        for k in range(m):
                            if active[k] < count:
                                support[a, support_size[a]] = positives[active[k]]
                                multipliers[a, support_size[a]] = lam[k]
                                support_size[a] += 1
                        if m == 0:  # a tie up to rounding
                            support[a, 0], multipliers[a, 0], support_size[a] = nearest, 1.0, 1
        j = negative[a]
        if j < 0:
            outcome[a] = UNREACHED
            continue
        outcome[a] = SOLVED
        # the witness may lie a little farther than the incumbent: list the positives that matter there
        way = 0.0
        for f in range(d):
            way += (points[j, f] - z[f] - steps[a, f]) ** 2
        small = _SMALL_NUDGE * np.sqrt(way)
        near, half, spread = 1.01 * value[a] + 2.0 * small, 0.5 * row[j], np.sqrt(max(sq[j] + offset, 0.0))
        tolerance = _SOLVED_TO * gap_rounding(
            rules, lengths[nearest], lengths[j], z_length, reach if outside[j] else 0.0
        )
        count = positives_that_matter(
            row, sq, offset, start, stop, half + spread * near + rounding, near, positives, halves, spreads
        )
        touching = positives_in_touch(
            sites, positives, count, halves, spreads, image, sites[j], half, spread, steps[a],
            2.0 * small, rounding, candidates,
        )  # fmt: skip
        good = nudge(
            sites, offsets, points, lengths, rules, j, candidates, touching, z, steps[a], box_lower, box_upper, shift,
            _SMALL_NUDGES, witnesses[a], moved,
        )  # fmt: skip
        for margin in _MARGINS:  # the training point may lie outside the box: tighten the half-spaces instead
            if good == SURE or (good != NOT and not boxed):
                break
            step, m, end = nearest_point(
                sites, positives, count, halves, spreads, image, sites[j], half + margin * tolerance,
                room_lower, room_upper, boxed, tolerance, np.inf, Q, R, active, lam,
            )  # fmt: skip
            programs[a] += 1
            verdict = nudge(
                sites, offsets, points, lengths, rules, j, positives, count, z, step, box_lower, box_upper, shift,
                _SMALL_NUDGES[:1], other, moved,
            )  # fmt: skip
            if verdict > good and np.sqrt(dot(other, other)) <= near:
                good, witnesses[a] = verdict, other
        if good == NOT:  # a longer way: more positives matter
            near = 1.01 * value[a] + 2.0 * _LARGE_NUDGES[-1] * np.sqrt(way)
            count = positives_that_matter(
                row, sq, offset, start, stop, half + spread * near + rounding, near, positives, halves, spreads
            )
            good = nudge(
                sites, offsets, points, lengths, rules, j, positives, count, z, steps[a], box_lower, box_upper, shift,
                _LARGE_NUDGES, witnesses[a], moved,
            )  # fmt: skip
        sure[a] = good == SURE
        if good == NOT or np.sqrt(dot(witnesses[a], witnesses[a])) > near:
            witnesses[a] = np.nan
    return outcome
