"""Cells of a lost vote: which points are members and which are excused at a point, and the cell's nearest point.

A target (c, a) asks for ``members = k − a`` negatives each no farther than all but a positives, and, where c is a
class, for a of them of that class no farther than all but ``k − a`` of all other points (see `convexrml.votes.Vote`).
The majority is the target without a class, with a = s − 1.
"""

import numpy as np
from numba import njit

from convexrml.kernels.local import smallest
from convexrml.kernels.pairs import Known, nearest_of_pairs
from convexrml.kernels.tree import CLASS, EXCUSES, MEMBERS, SECOND_EXCUSES, SECONDS
from convexrml.kernels.vectors import copied, same


@njit(cache=True, nogil=True)
def least_of(values, chosen, count, places, found):
    """Append the places of the `count` least chosen values to `places`, unchoosing them; how many are there then."""
    for _ in range(count):
        best = -1
        for t in range(values.shape[0]):
            if chosen[t] and (best < 0 or values[t] < values[best]):
                best = t
        if best < 0:
            return found
        places[found], chosen[best] = best, False
        found += 1
    return found


@njit(cache=True, nogil=True)
def cell_at(local, target, phi, members, others, second):
    """Read a target's cell off half scores: writes members (the second condition's first), others and second others.

    Returns how many there are of each; fewer members than the target asks for mean that there is no such cell.
    """
    n, m = phi.shape[0], local.n_negatives
    chosen = np.zeros(n, dtype=np.bool_)
    found = 0
    if target[SECONDS] > 0:
        for t in range(m):
            chosen[t] = local.classes[t] == target[CLASS]
        found = least_of(phi, chosen, target[SECONDS], members, 0)
        if found < target[SECONDS]:
            return 0, 0, 0
    chosen[:m], chosen[m:] = True, False
    for c in range(found):
        chosen[members[c]] = False
    found = least_of(phi, chosen, target[MEMBERS] - found, members, found)
    if found < target[MEMBERS]:
        return 0, 0, 0
    excused = np.empty(max(target[EXCUSES], target[SECOND_EXCUSES]), dtype=np.int64)
    chosen[:m], chosen[m:] = False, True
    least_of(phi, chosen, target[EXCUSES], excused, 0)
    n_others = 0
    for t in range(m, n):
        if chosen[t]:
            others[n_others] = t
            n_others += 1
    n_second = 0
    if target[SECONDS] > 0:
        for t in range(n):
            chosen[t] = local.classes[t] != target[CLASS]
        least_of(phi, chosen, target[SECOND_EXCUSES], excused, 0)
        for t in range(n):
            if chosen[t]:
                second[n_second] = t
                n_second += 1
    return found, n_others, n_second


@njit(cache=True, nogil=True)
def target_is_met(local, target, phi, slack):
    """Whether a target's conditions hold at half scores `phi`, up to `slack`."""
    n, m, most = phi.shape[0], local.n_negatives, target[MEMBERS] + target[EXCUSES] + 1
    places = np.empty(most, dtype=np.int64)
    if smallest(phi, 0, m, target[MEMBERS], places) < target[MEMBERS]:
        return False
    last = phi[places[target[MEMBERS] - 1]]
    if smallest(phi, m, n, target[EXCUSES] + 1, places) == target[EXCUSES] + 1:
        if last > phi[places[target[EXCUSES]]] + slack:
            return False
    if target[SECONDS] == 0:
        return True
    chosen = local.classes == target[CLASS]
    if least_of(phi, chosen, target[SECONDS], places, 0) < target[SECONDS]:
        return False
    last = phi[places[target[SECONDS] - 1]]
    chosen = local.classes != target[CLASS]
    if least_of(phi, chosen, target[SECOND_EXCUSES] + 1, places, 0) <= target[SECOND_EXCUSES]:
        return True
    return last <= phi[places[target[SECOND_EXCUSES]]] + slack


@njit(cache=True, nogil=True)
def nearest_in_cell(local, target, phi, margin, tolerance, stop_at, space):
    """The point of least norm in the cell that is read off `phi`, narrowed by a margin: rows and outcome.

    The space's `w`, `active` and `multipliers` receive the answer; −1 rows where there is no such cell.
    """
    n, members, others, second = local.halves.shape[0], space.members, space.others, space.second
    n_members, n_others, n_second = cell_at(local, target, phi, members, others, second)
    if n_members == 0:
        return -1, 0
    halves = local.halves
    if margin > 0.0:
        halves = drawn_apart(local, members, n_members, others, n_others, second, n_second, margin)
    copied(halves, n, space.phi)
    known = Known(np.zeros(space.w.shape[0]), space.phi, space.all, local.columns, space.total, n)
    return nearest_of_pairs(
        local.sites, halves, local.spreads, local.image, members, n_members, others, n_others, target[SECONDS],
        second, n_second, local.room_lower, local.room_upper, local.boxed, tolerance, stop_at, known, space.w, 0,
        space.active, space.multipliers, space.Q, space.R, space.work,
    )  # fmt: skip


@njit(cache=True, nogil=True)
def drawn_apart(local, members, n_members, others, n_others, second, n_second, margin):
    """Half scores with members raised and others lowered by a margin, so that they have to be farther apart.

    A member and an other in the same place stay where they are: no margin tells them apart.
    """
    halves, n = local.halves.copy(), local.halves.shape[0]
    lowered, placed = np.zeros(n, dtype=np.bool_), np.zeros(n, dtype=np.bool_)
    for c in range(n_others):
        lowered[others[c]] = True
    for c in range(n_second):
        lowered[second[c]] = True
    for a in range(n_members):
        j = members[a]
        lowered[j] = False
        for t in range(n):
            if lowered[t] and local.halves[t] == local.halves[j] and same(local.sites, t, j):
                placed[t], placed[j] = True, True
    for t in range(n):
        if lowered[t] and not placed[t]:
            halves[t] -= margin
    for a in range(n_members):
        if not placed[members[a]]:
            halves[members[a]] += margin
    return halves
