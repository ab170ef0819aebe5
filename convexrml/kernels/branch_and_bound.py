"""Exact k-NN radii in ℓ2 by best-first branch and bound: which negatives are members, which positives are excused.

A node has chosen some members (negatives that are to be among the k nearest) and, of the positives, some to be *kept*
(no nearer than any member) and some to be *excused*.  Its bound is proved by multipliers of its own rows, all rounding
subtracted; a child's by those and the best multiplier for its one new row (the projection inequality).  A majority's
tree branches first on the farthest member p, and no other member is farther: ``φ_j ≤ φ_p``, one row for each.  The
other members are chosen hardest first, so that no set is visited twice.  Before a node splits, disjoint groups of
positives bound it once more (`packing`).  The least bound on the heap is a lower bound at any time.
"""

import numpy as np
from numba import njit

from convexrml.kernels.branching import branch, close_or_push, emit, listed_but, outside_class
from convexrml.kernels.incumbent import slack_of
from convexrml.kernels.local import half_scores
from convexrml.kernels.multipliers import proved, weighed
from convexrml.kernels.packing import decided, packed
from convexrml.kernels.pairs import INFEASIBLE, SOLVED, Known, led_to, nearest_of_pairs
from convexrml.kernels.tree import (
    ARENA_SIZE,
    CLASS,
    EMPTY_LEAF,
    EVALUATED,
    EXCUSES,
    FARTHEST,
    FOUND,
    FRESH,
    GENERATOR,
    HEAP_SIZE,
    MEMBER,
    N_EVALUATED,
    N_NODES,
    PACKED,
    ROOT,
    SECOND,
    SECOND_EXCUSES,
    SECONDS,
    keep,
    pop,
    recall,
    trail,
)  # fmt: skip
from convexrml.kernels.vectors import copied

PROVED, WITNESSED, MORE, FULL = 0, 1, 2, 3


@njit(cache=True, nogil=True)
def solve(tree, node, local, target, incumbent, slack, desk):
    """Solve a node's program, from its parent's active rows: writes w and multipliers on the desk; rows and outcome."""
    n, m = local.halves.shape[0], local.n_negatives
    n_members, n_seconds, n_kept, n_excused, n_kept_second, n_excused_second = trail(
        tree, node, desk.members, desk.kept, desk.excused, desk.kept_second, desk.excused_second
    )  # fmt: skip
    if n_excused == target[EXCUSES]:
        n_others = listed_but(desk.marked, desk.excused, n_excused, m, n, desk.others)
        for c in range(n_kept):
            if desk.kept[c] < m:  # the farthest member
                desk.others[n_others] = desk.kept[c]
                n_others += 1
    else:
        n_others = n_kept
        copied(desk.kept, n_kept, desk.others)
    n_second = n_kept_second
    copied(desk.kept_second, n_kept_second, desk.second)
    if n_seconds > 0 and n_excused_second == target[SECOND_EXCUSES]:
        n_second = listed_but(desk.marked, desk.excused_second, n_excused_second, 0, n, desk.second)
        n_second = outside_class(local.classes, target[CLASS], desk.second, n_second)
    n_low, n_others = decided(tree, node, local, target, n_members, n_kept, n_others, n_excused, desk)
    rows = recall(tree, node, desk.active, desk.multipliers)
    led_to(local.sites, desk.active, desk.multipliers, rows, desk.work[0, : local.sites.shape[1]], desk.normal)
    half_scores(local, desk.normal, desk.phi)
    return nearest_of_pairs(
        local.sites, local.halves, local.spreads, local.image, desk.members, n_low, desk.others, n_others,
        n_seconds, desk.second, n_second, local.room_lower, local.room_upper, local.boxed, 1e-3 * slack,
        incumbent * (1.0 + 1e-6),
        Known(desk.normal, desk.phi, desk.all, local.columns, desk.value, n), desk.w, rows, desk.active,
        desk.multipliers, desk.Q, desk.R, desk.work,
    )  # fmt: skip


@njit(cache=True, nogil=True)
def expand(tree, local, apart, targets, incumbent, budget, desk):
    """Work on the tree: until a target is met at a node of least bound, or the heap's least bound reaches `incumbent`.

    Stops after `budget` evaluated nodes, and when the arrays are nearly full.  Returns PROVED (everything left is at
    least the incumbent), WITNESSED (w is on the desk, and the node's number in ``counts[FOUND]``), MORE or FULL.
    ``floor[0]`` is the least bound of closed nodes, but for those at which a target is met; ``floor[1]`` that of nodes
    that are empty but for a proof of it.
    """
    n, d = local.sites.shape
    slack, limit = slack_of(local), tree.counts[N_EVALUATED] + budget
    while tree.counts[HEAP_SIZE] > 0:
        if tree.heap_key[0] >= incumbent:
            tree.floor[0] = min(tree.floor[0], tree.heap_key[0])
            return PROVED
        if tree.counts[N_EVALUATED] >= limit:
            return MORE
        if (
            tree.counts[N_NODES] + 2 * desk.rows_j.shape[0] + 2 > tree.key.shape[0]
            or tree.counts[ARENA_SIZE] + n + d + 2 > tree.arena_index.shape[0]
        ):
            return FULL
        node = pop(tree)
        target = targets[tree.target[node]]
        if tree.state[node] == GENERATOR:
            in_seconds = target[SECONDS] > 0 and is_in_seconds(tree, node, target, desk)
            what = FARTHEST if tree.what[node] == ROOT and not in_seconds else SECOND if in_seconds else MEMBER
            emit(tree, node, what, incumbent)
            continue
        if tree.state[node] == FRESH:
            tree.counts[N_EVALUATED] += 1
            rows, outcome = solve(tree, node, local, target, incumbent, slack, desk)
        else:
            rows, outcome = recall(tree, node, desk.active, desk.multipliers), SOLVED
        evidence = weighed(
            local, desk.active, desk.multipliers, rows, desk.normal, desk.magnitude, desk.work[0, :d]
        )  # fmt: skip
        if tree.state[node] == FRESH:
            tree.key[node] = max(tree.key[node], proved(evidence, local.rules))
            tree.active[node, 0] = keep(tree, desk.active, desk.multipliers, rows)
            tree.active[node, 1] = rows
            if outcome == INFEASIBLE:
                if incumbent == np.inf and tree.key[node] < np.inf:
                    tree.state[node] = EMPTY_LEAF
                    tree.floor[1] = min(tree.floor[1], tree.key[node])
                else:
                    tree.floor[0] = min(tree.floor[0], tree.key[node])
                continue
            tree.state[node] = EVALUATED
            if tree.key[node] >= incumbent or (tree.counts[HEAP_SIZE] > 0 and tree.key[node] > tree.heap_key[0]):
                close_or_push(tree, node, incumbent)
                continue
        copied(desk.normal, d, desk.w)
        half_scores(local, desk.w, desk.phi)
        if tree.state[node] == EVALUATED:
            tree.state[node] = PACKED
            tree.key[node] = max(tree.key[node], packed(tree, node, local, target, incumbent, slack, desk))
            if tree.key[node] >= incumbent or (tree.counts[HEAP_SIZE] > 0 and tree.key[node] > tree.heap_key[0]):
                close_or_push(tree, node, incumbent)
                continue
        if branch(tree, node, local, apart, target, evidence, incumbent, slack, desk):
            tree.counts[FOUND] = node
            return WITNESSED
    return PROVED


@njit(cache=True, nogil=True)
def is_in_seconds(tree, node, target, desk):
    """Whether a node still lacks members of its target's class."""
    n_members, _, _, _, _, _ = trail(
        tree, node, desk.members, desk.kept, desk.excused, desk.kept_second, desk.excused_second
    )  # fmt: skip
    return n_members < target[SECONDS]
