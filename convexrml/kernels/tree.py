"""The nodes of a branch and bound as arrays: each is one decision more than its parent; a heap holds the open ones.

A node's members, kept and excused sites are read off the way to its root (`trail`).  Lists of candidates and active
sets live in two arenas.  Nothing here grows: whoever calls makes room beforehand.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

ROOT, MEMBER, SECOND, KEPT, EXCUSED, KEPT_SECOND, EXCUSED_SECOND, FARTHEST = range(8)
FRESH, EVALUATED, GENERATOR, EMPTY_LEAF, PACKED = range(5)
N_NODES, HEAP_SIZE, ARENA_SIZE, N_EVALUATED, FOUND = range(5)
CLASS, MEMBERS, SECONDS, EXCUSES, SECOND_EXCUSES, CANDIDATES_START, CANDIDATES_SIZE = range(7)


class Tree(NamedTuple):
    """Nodes, heap and arenas.

    Attributes
    ----------
    key : (capacity,) array
        Lower bound of each node, a length.
    parent, operand : (capacity,) integer arrays
    what, state : (capacity,) int8 arrays
        The decision (ROOT ... FARTHEST), and FRESH, EVALUATED, PACKED, GENERATOR or EMPTY_LEAF.
    target : (capacity,) integer array
        Row of the targets.
    candidates, generator, active : (capacity, 2) integer arrays
        Start and size in the arenas; the generator's size shrinks by one for each candidate that it has emitted, from
        the front: its third number, in `emitted`, counts them.
    emitted : (capacity,) integer array
    heap_key, heap_node : (capacity,) arrays
    arena_index, arena_value : (size,) arrays
    counts : (5,) integer array
    floor : (2,) array
        The least bound of what was closed: against an incumbent, and as empty.
    """

    key: NDArray[np.float64]
    parent: NDArray[np.int64]
    operand: NDArray[np.int64]
    what: NDArray[np.int8]
    state: NDArray[np.int8]
    target: NDArray[np.int64]
    candidates: NDArray[np.int64]
    generator: NDArray[np.int64]
    active: NDArray[np.int64]
    emitted: NDArray[np.int64]
    heap_key: NDArray[np.float64]
    heap_node: NDArray[np.int64]
    arena_index: NDArray[np.int64]
    arena_value: NDArray[np.float64]
    counts: NDArray[np.int64]
    floor: NDArray[np.float64]


@njit(cache=True, nogil=True)
def push(tree, node):
    """Put a node on the heap, by its key."""
    key = tree.key[node]
    place = tree.counts[HEAP_SIZE]
    tree.counts[HEAP_SIZE] += 1
    while place > 0:
        above = (place - 1) // 2
        if tree.heap_key[above] <= key:
            break
        tree.heap_key[place], tree.heap_node[place] = tree.heap_key[above], tree.heap_node[above]
        place = above
    tree.heap_key[place], tree.heap_node[place] = key, node


@njit(cache=True, nogil=True)
def pop(tree):
    """Take the node of least key off the heap."""
    node = tree.heap_node[0]
    tree.counts[HEAP_SIZE] -= 1
    size = tree.counts[HEAP_SIZE]
    key, last = tree.heap_key[size], tree.heap_node[size]
    place = 0
    while True:
        below = 2 * place + 1
        if below >= size:
            break
        if below + 1 < size and tree.heap_key[below + 1] < tree.heap_key[below]:
            below += 1
        if tree.heap_key[below] >= key:
            break
        tree.heap_key[place], tree.heap_node[place] = tree.heap_key[below], tree.heap_node[below]
        place = below
    tree.heap_key[place], tree.heap_node[place] = key, last
    return node


@njit(cache=True, nogil=True)
def child(tree, parent, what, operand, key):
    """Make a node below another, with its candidates and its active set; it is not on the heap yet."""
    node = tree.counts[N_NODES]
    tree.counts[N_NODES] += 1
    tree.parent[node], tree.what[node], tree.operand[node], tree.key[node] = parent, what, operand, key
    tree.target[node], tree.state[node] = tree.target[parent], FRESH
    tree.candidates[node, 0], tree.candidates[node, 1] = tree.candidates[parent, 0], tree.candidates[parent, 1]
    tree.active[node, 0], tree.active[node, 1] = tree.active[parent, 0], tree.active[parent, 1]
    return node


@njit(cache=True, nogil=True)
def keep(tree, indices, values, size):
    """Copy `size` entries into the arenas; where they start."""
    start = tree.counts[ARENA_SIZE]
    tree.counts[ARENA_SIZE] += size
    for c in range(size):
        tree.arena_index[start + c], tree.arena_value[start + c] = indices[c], values[c]
    return start


@njit(cache=True, nogil=True)
def recall(tree, node, active, multipliers):
    """Read a node's active rows and their multipliers; how many."""
    start, rows = tree.active[node, 0], tree.active[node, 1]
    for k in range(rows):
        active[k], multipliers[k] = tree.arena_index[start + k], tree.arena_value[start + k]
    return rows


@njit(cache=True, nogil=True)
def trail(tree, node, members, kept, excused, kept_second, excused_second):
    """Read a node's decisions off the way to its root: how many members, seconds among them, kept, excused ...

    The members of the second condition come first.  The farthest member is a member, and kept: no other one is farther.
    """
    n_members, n_seconds, n_kept, n_excused, n_kept_second, n_excused_second = 0, 0, 0, 0, 0, 0
    while node >= 0:
        what, operand = tree.what[node], tree.operand[node]
        if what == MEMBER:
            members[n_members] = operand
            n_members += 1
        elif what == FARTHEST:
            members[n_members], kept[n_kept] = operand, operand
            n_members, n_kept = n_members + 1, n_kept + 1
        elif what == SECOND:
            members[n_members] = members[n_seconds]
            members[n_seconds] = operand
            n_members, n_seconds = n_members + 1, n_seconds + 1
        elif what == KEPT:
            kept[n_kept] = operand
            n_kept += 1
        elif what == EXCUSED:
            excused[n_excused] = operand
            n_excused += 1
        elif what == KEPT_SECOND:
            kept_second[n_kept_second] = operand
            n_kept_second += 1
        elif what == EXCUSED_SECOND:
            excused_second[n_excused_second] = operand
            n_excused_second += 1
        node = tree.parent[node]
    return n_members, n_seconds, n_kept, n_excused, n_kept_second, n_excused_second
