"""A bound on a node of the branch and bound from disjoint groups of positives, of which one at least is kept whole.

With e positives still to be excused, an excused one is missing from at most e of any e + 1 disjoint groups: some group
is kept, every member no farther than all of it.  The least of the groups' bounds is therefore one on the node.  A group
is what the active-set method leaves active when its bound passes the incumbent (few rows, a proof that not all of
them can be kept) and the next group is found among what is left of the positives that are nearer than a member.
"""

import numpy as np
from numba import njit

from convexrml.kernels.branching import listed_but, nearer_than_farthest
from convexrml.kernels.multipliers import proved, weighed
from convexrml.kernels.pairs import Known, nearest_of_pairs
from convexrml.kernels.tree import EXCUSES, MEMBER, MEMBERS, SECONDS, recall, trail
from convexrml.kernels.vectors import copied


@njit(cache=True, nogil=True)
def decided(tree, node, local, target, n_members, n_kept, n_others, n_excused, desk):
    """Complete the desk's members and others by all that a node's decisions imply; how many there are of each.

    The farthest member p of a majority tells near from far.  No farther than it are all candidates, if no more are left
    than are missing, and every positive that is excused: one that is farther at a point is kept in another branch.  No
    nearer are the candidates that were passed over as harder than the hardest member, for the same reason.
    """
    if n_kept == 0 or desk.kept[n_kept - 1] >= local.n_negatives:
        return n_members, n_others
    n_low = with_forced(tree, node, target, n_members, desk.marked, desk.members)
    for c in range(n_excused):
        desk.members[n_low] = desk.excused[c]
        n_low += 1
    while node >= 0:
        if tree.what[node] == MEMBER:
            above = tree.parent[node]
            start = tree.candidates[node, 0] + tree.candidates[node, 1] + 1
            for c in range(start, tree.generator[above, 0] + tree.generator[above, 1]):
                desk.others[n_others] = tree.arena_index[c]
                n_others += 1
        node = tree.parent[node]
    return n_low, n_others


@njit(cache=True, nogil=True)
def with_forced(tree, node, target, n_members, marked, members):
    """Append the candidates to the members if no more are left than are missing; how many are listed then."""
    start, size = tree.candidates[node, 0], tree.candidates[node, 1]
    if size > target[MEMBERS]:  # p may be one of them
        return n_members
    for a in range(n_members):
        marked[members[a]] = True
    count = n_members
    for c in range(start, start + size):
        if not marked[tree.arena_index[c]] and count <= target[MEMBERS]:
            if count < target[MEMBERS]:
                members[count] = tree.arena_index[c]
            count += 1
    for a in range(n_members):
        marked[members[a]] = False
    return count if count == target[MEMBERS] else n_members


@njit(cache=True, nogil=True)
def packed(tree, node, local, target, incumbent, slack, desk):
    """The lower bound that disjoint groups prove of a node, whose half scores are on the desk; 0 if there are too few.

    The desk's `w` stays; `normal` and `magnitude` are work space.
    """
    n, m, d = local.halves.shape[0], local.n_negatives, local.sites.shape[1]
    n_members, n_seconds, n_kept, n_excused, _, _ = trail(
        tree, node, desk.members, desk.kept, desk.excused, desk.kept_second, desk.excused_second
    )  # fmt: skip
    groups = target[EXCUSES] + 1 - n_excused
    if groups == 1 or n_members == 0 or target[SECONDS] > 0:
        return 0.0
    for c in range(n_kept):
        desk.excused[n_excused + c] = desk.kept[c]
    n_free = listed_but(desk.marked, desk.excused, n_excused + n_kept, m, n, desk.others)
    left = nearer_than_farthest(desk.phi, desk.members, n_members, desk.others, n_free, slack, desk.second)
    copied(desk.kept, n_kept, desk.others)
    n_low, n_fixed = decided(tree, node, local, target, n_members, n_kept, n_kept, n_excused, desk)
    known = with_columns(local, desk, n_low, n_fixed, left)
    bound = np.inf
    for g in range(groups):
        if left < groups - g:
            return 0.0
        for c in range(left):
            desk.others[n_fixed + c] = desk.second[c]
        copied(desk.w, d, known.start)
        for c in range(known.n_listed):
            known.phi[known.listed[c]] = desk.phi[known.listed[c]]
        rows, _ = nearest_of_pairs(
            local.sites, local.halves, local.spreads, local.image, desk.members, n_low, desk.others, n_fixed + left,
            0, desk.second, 0, local.room_lower, local.room_upper, local.boxed, 1e-3 * slack,
            incumbent * (1.0 + 1e-6), known, desk.magnitude, recall(tree, node, desk.active, desk.multipliers),
            desk.active, desk.multipliers, desk.Q, desk.R, desk.work,
        )  # fmt: skip
        evidence = weighed(
            local, desk.active, desk.multipliers, rows, desk.normal, desk.magnitude, desk.work[0, :d]
        )  # fmt: skip
        bound = min(bound, proved(evidence, local.rules))
        if bound <= tree.key[node]:
            return 0.0
        left = without_active(desk.second, left, desk.active, rows, n, desk.marked)
    return bound


@njit(cache=True, nogil=True)
def with_columns(local, desk, n_low, n_fixed, left):
    """The sites of all members and others that a node's groups are made of, feature by feature."""
    listed, pool, columns, count = desk.places, desk.pool, local.columns, 0
    for c in range(n_low):
        listed[count] = desk.members[c]
        count += 1
    for c in range(n_fixed):
        listed[count] = desk.others[c]
        count += 1
    for c in range(left):
        listed[count] = desk.second[c]
        count += 1
    for f in range(columns.shape[0]):
        for c in range(count):
            pool[f, c] = columns[f, listed[c]]
    return Known(desk.start, desk.pool_phi, listed, pool, desk.value, count)


@njit(cache=True, nogil=True)
def without_active(listed, n_listed, active, rows, n, marked):
    """Take the others of the active rows off a list; how many are left."""
    for k in range(rows):
        if active[k] >= 0:
            marked[active[k] % n] = True
    left = 0
    for c in range(n_listed):
        if not marked[listed[c]]:
            listed[left] = listed[c]
            left += 1
    for k in range(rows):
        if active[k] >= 0:
            marked[active[k] % n] = False
    return left
