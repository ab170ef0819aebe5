"""The tree of a branch and bound: planted with one root for each target, and given more room as it grows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from convexrml.kernels.local import Local, largest_bounds_outside
from convexrml.kernels.tree import (
    ARENA_SIZE,
    CANDIDATES_SIZE,
    CANDIDATES_START,
    CLASS,
    EXCUSES,
    FRESH,
    GENERATOR,
    MEMBERS,
    N_NODES,
    ROOT,
    SECOND_EXCUSES,
    SECONDS,
    Tree,
    push,
)  # fmt: skip

_NODES_AT_FIRST = 2048
_ARENA_AT_FIRST = 2**15


def named_rows(
    rows: NDArray[np.int64], multipliers: NDArray[np.float64], names: NDArray[np.int64], d: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], dict[int, float]]:
    """Members, others and multipliers of active rows of pairs, and those of a box, as a proof tree takes them.

    Rows have the numbers of `kernels.pairs`; `names` are the points' in the training set.  A proof tree counts rows of
    pairs twice (`convexrml.certificate.ProofTree.multipliers`), so the box's are doubled.
    """
    n, pairs = len(names), rows >= 0
    sides: dict[int, float] = {}
    for feature, weight in zip(-1 - rows[~pairs], multipliers[~pairs], strict=True):
        f = int(feature % d)
        sides[f] = sides.get(f, 0.0) + 2 * float(weight if feature < d else -weight)
    return names[rows[pairs] // n], names[rows[pairs] % n], multipliers[pairs], sides


def planted(
    near: Local, apart: NDArray[np.float64], targets: NDArray[np.int64], bounds: NDArray[np.float64], radius: float
) -> Tree:
    """A tree with one root for each target that can be met within a radius.

    The key of a root is a lower bound, rounding subtracted: for a target (c, a), k − a negatives have to reach their
    bounds against the positives, and a negatives of class c the larger of this bound and of that against all points
    of other classes, of which k − a are excused.  The bound of a set is that of its hardest member, and no set of a
    members has an easier one than the a-th easiest.

    Parameters
    ----------
    near : Local
    apart : (n_negatives, n) array
        `kernels.local.separations` of the negatives and all points.
    targets : (n_targets, 7) integer array
        As `kernels.cells` reads them; where their candidates are is written into the last two columns.
    bounds : (n_negatives, s) array
        The s largest triplet bounds of each negative with the positives, largest first: with a positives excused, the
        negative can be no farther than the others only beyond the ``a + 1``-st.
    radius : float
        The search is for points nearer than this.
    """
    lists: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
    outside: dict[int, NDArray[np.float64]] = {}
    size, roots = 0, []
    for target in targets:
        values = bounds[:, target[EXCUSES]]
        everyone = np.flatnonzero(values < radius)
        everyone = everyone[np.argsort(values[everyone], kind="stable")]
        target[CANDIDATES_START], target[CANDIDATES_SIZE] = size, len(everyone)
        lists.append((everyone, values[everyone]))
        size += len(everyone)
    for row, target in enumerate(targets):
        everyone, values = lists[row]
        start, count = int(target[CANDIDATES_START]), len(everyone)
        if count < target[MEMBERS]:
            continue
        key = values[target[MEMBERS] - 1]
        if target[SECONDS] > 0:
            c, excuses = int(target[CLASS]), int(target[SECOND_EXCUSES])
            if c not in outside:
                outside[c] = largest_bounds_outside(near, c, apart, int(target[MEMBERS] + target[EXCUSES]))
            own = near.classes[everyone] == c
            mine, both = everyone[own], np.maximum(values[own], outside[c][everyone[own], excuses])
            order = np.argsort(both, kind="stable")[: int((both < radius).sum())]
            lists.append((mine[order], both[order]))
            start, count = size, len(order)
            size += count
            if count < target[SECONDS]:
                continue
            key = max(key, both[order][target[SECONDS] - 1])
        roots.append((row, start, count, key))
    tree = _empty(max(_NODES_AT_FIRST, 2 * len(roots)), max(_ARENA_AT_FIRST, 4 * size))
    tree.arena_index[:size] = np.concatenate([index for index, _ in lists])
    tree.arena_value[:size] = np.concatenate([value for _, value in lists])
    tree.counts[ARENA_SIZE] = size
    tree.floor[0] = radius
    for node, (row, start, count, key) in enumerate(roots):
        tree.key[node], tree.parent[node], tree.what[node], tree.operand[node] = key, -1, ROOT, -1
        tree.state[node], tree.target[node] = FRESH, row
        if targets[row, SECONDS] == 0:  # branches on the farthest member
            tree.state[node], tree.generator[node], tree.emitted[node] = GENERATOR, (start, count), 0
        tree.candidates[node], tree.active[node] = (start, count), (0, 0)
        tree.counts[N_NODES] += 1
        push(tree, node)
    return tree


def grown(tree: Tree) -> Tree:
    """The same tree with twice the room."""
    larger = _empty(2 * len(tree.key), 2 * len(tree.arena_index))
    for name in Tree._fields:
        old = getattr(tree, name)
        getattr(larger, name)[: len(old)] = old
    return larger


def _empty(nodes: int, arena: int) -> Tree:
    def indices(*shape: int) -> NDArray[np.int64]:
        return np.empty(shape, dtype=np.int64)

    return Tree(
        key=np.empty(nodes), parent=indices(nodes), operand=indices(nodes), what=np.empty(nodes, dtype=np.int8),
        state=np.empty(nodes, dtype=np.int8), target=indices(nodes), candidates=indices(nodes, 2),
        generator=indices(nodes, 2), active=indices(nodes, 2), emitted=indices(nodes), heap_key=np.empty(nodes),
        heap_node=indices(nodes), arena_index=indices(arena), arena_value=np.empty(arena),
        counts=np.zeros(5, dtype=np.int64), floor=np.full(2, np.inf),
    )  # fmt: skip
