"""How a node of the branch and bound splits: on which others are kept, and on who joins the members."""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from convexrml.kernels.cells import target_is_met
from convexrml.kernels.multipliers import proved, with_one_more
from convexrml.kernels.tree import (
    CANDIDATES_SIZE,
    CANDIDATES_START,
    CLASS,
    EXCUSED,
    EXCUSED_SECOND,
    EXCUSES,
    FARTHEST,
    GENERATOR,
    KEPT,
    KEPT_SECOND,
    MEMBERS,
    SECOND_EXCUSES,
    SECONDS,
    child,
    keep,
    push,
    trail,
)  # fmt: skip


class Desk(NamedTuple):
    """Work space of the branch and bound: lists of local points, half scores, the active-set method's arrays."""

    phi: NDArray[np.float64]
    marked: NDArray[np.bool_]
    members: NDArray[np.int64]
    kept: NDArray[np.int64]
    excused: NDArray[np.int64]
    kept_second: NDArray[np.int64]
    excused_second: NDArray[np.int64]
    others: NDArray[np.int64]
    second: NDArray[np.int64]
    rows_j: NDArray[np.int64]
    rows_i: NDArray[np.int64]
    farness: NDArray[np.float64]
    places: NDArray[np.int64]
    value: NDArray[np.float64]
    all: NDArray[np.int64]
    pool: NDArray[np.float64]
    pool_phi: NDArray[np.float64]
    start: NDArray[np.float64]
    active: NDArray[np.int64]
    multipliers: NDArray[np.float64]
    Q: NDArray[np.float64]
    R: NDArray[np.float64]
    work: NDArray[np.float64]
    w: NDArray[np.float64]
    normal: NDArray[np.float64]
    magnitude: NDArray[np.float64]


@njit(cache=True, nogil=True)
def desk_for(n, d, k):
    """Work space for n local points in d dimensions; `places`, `value` and `pool` for members and others together."""
    both = n + k + 1
    return Desk(
        np.empty(n), np.zeros(n, dtype=np.bool_), np.empty(k + 1, dtype=np.int64), np.empty(n, dtype=np.int64),
        np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64),
        np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64), np.empty(k + 1, dtype=np.int64),
        np.empty(k + 1, dtype=np.int64), np.empty(k + 1), np.empty(both, dtype=np.int64), np.empty(both), np.arange(n),
        np.empty((d, both)), np.empty(n), np.empty(d), np.empty(d + 2, dtype=np.int64), np.empty(d + 2),
        np.empty((d + 1, d)), np.empty((d + 1, d + 1)), np.empty((4, d + 2)), np.empty(d), np.empty(d), np.empty(d),
    )  # fmt: skip


@njit(cache=True, nogil=True)
def hardest_rows(phi, members, n_members, listed, n_listed, apart, count, rows_j, rows_i, farness):
    """The `count` listed sites that are nearest compared with some member, by distance to the half-space; how many.

    Only sites nearer than a member, of positive farness, count.
    """
    found = 0
    for c in range(n_listed):
        i, best, at = listed[c], 0.0, -1
        for a in range(n_members):
            j = members[a]
            if phi[j] > phi[i]:
                if phi[j] - phi[i] > best * apart[j, i] and apart[j, i] > 0.0:
                    best, at = (phi[j] - phi[i]) / apart[j, i], j
        if at < 0 or (found == count and best <= farness[count - 1]):
            continue
        if found < count:
            found += 1
        place = found - 1
        while place > 0 and farness[place - 1] < best:
            farness[place], rows_j[place], rows_i[place] = farness[place - 1], rows_j[place - 1], rows_i[place - 1]
            place -= 1
        farness[place], rows_j[place], rows_i[place] = best, at, i
    return found


@njit(cache=True, nogil=True)
def close_or_push(tree, node, incumbent):
    """Put a node on the heap if its bound leaves hope, else close it."""
    if tree.key[node] >= incumbent:
        tree.floor[0] = min(tree.floor[0], tree.key[node])
    else:
        push(tree, node)


@njit(cache=True, nogil=True)
def branch_on_others(tree, node, local, evidence, apart, phi, found, rows_j, rows_i, kept, excused, incumbent):
    """One of the found others is kept: child m keeps the m-th and excuses those before it."""
    before = node
    for c in range(found):
        j, i = rows_j[c], rows_i[c]
        one_more = with_one_more(local, evidence, j, i, phi[j] - phi[i], apart[j, i])
        key = max(tree.key[node], proved(one_more, local.rules))
        close_or_push(tree, child(tree, before, kept, i, key), incumbent)
        if c + 1 < found:
            before = child(tree, before, excused, i, tree.key[node])


@njit(cache=True, nogil=True)
def generate(tree, node, rest, size, incumbent):
    """Make a node the generator of its next member: candidate number ``rest − 1`` or later as the hardest one left."""
    tree.state[node], tree.emitted[node] = GENERATOR, rest - 1
    if rest <= size:
        tree.key[node] = max(tree.key[node], tree.arena_value[tree.generator[node, 0] + rest - 1])
        close_or_push(tree, node, incumbent)


@njit(cache=True, nogil=True)
def emit(tree, node, what, incumbent):
    """Push a generator's next child, and the generator itself for those after it."""
    start, size, at = tree.generator[node, 0], tree.generator[node, 1], tree.emitted[node]
    key = max(tree.key[node], tree.arena_value[start + at])
    new = child(tree, node, what, tree.arena_index[start + at], key)
    tree.candidates[new, 0], tree.candidates[new, 1] = start, size if what == FARTHEST else at
    close_or_push(tree, new, incumbent)
    tree.emitted[node] += 1
    if at + 1 < size:
        tree.key[node] = max(tree.key[node], tree.arena_value[start + at + 1])
        close_or_push(tree, node, incumbent)


@njit(cache=True, nogil=True)
def listed_but(marked, listed, n_listed, start, stop, chosen):
    """List the points ``start:stop`` that are not among those listed; how many."""
    for c in range(n_listed):
        marked[listed[c]] = True
    count = 0
    for t in range(start, stop):
        if not marked[t]:
            chosen[count] = t
            count += 1
    for c in range(n_listed):
        marked[listed[c]] = False
    return count


@njit(cache=True, nogil=True)
def outside_class(classes, other, chosen, count):
    """Keep the chosen points that are not of class `other`; how many."""
    found = 0
    for c in range(count):
        if classes[chosen[c]] != other:
            chosen[found] = chosen[c]
            found += 1
    return found


@njit(cache=True, nogil=True)
def nearer_than_farthest(phi, members, n_members, listed, n_listed, slack, chosen):
    """List those of the listed points that are nearer than the farthest member, by more than `slack`; how many."""
    high, count = -np.inf, 0
    for a in range(n_members):
        high = max(high, phi[members[a]])
    for c in range(n_listed):
        if phi[listed[c]] < high - slack:
            chosen[count] = listed[c]
            count += 1
    return count


@njit(cache=True, nogil=True)
def harder(local, evidence, phi, apart, j, others, n_others, kept, n_kept, count, incumbent, desk):
    """What is proved if negative j becomes a member: no other that is kept may be nearer, and one of the farthest is.

    Of the `count` others farthest from j's half-spaces, at least one is not excused.
    """
    found, least, own = 0, 0.0, phi[j]
    farness, rows_i, distances = desk.farness, desk.rows_i, apart[j]
    for c in range(n_others):
        i = others[c]
        if own - phi[i] <= least * distances[i] or distances[i] <= 0.0:
            continue
        far = (own - phi[i]) / distances[i]
        if found < count:
            found += 1
        place = found - 1
        while place > 0 and farness[place - 1] < far:
            farness[place], rows_i[place] = farness[place - 1], rows_i[place - 1]
            place -= 1
        farness[place], rows_i[place] = far, i
        if found == count:
            least = farness[count - 1]
    bound = 0.0
    if found == count:
        bound = np.inf
        for c in range(count):
            i = rows_i[c]
            more = with_one_more(local, evidence, j, i, phi[j] - phi[i], distances[i])
            bound = min(bound, proved(more, local.rules))
    for c in range(n_kept):
        i = kept[c]
        if bound < incumbent and phi[j] > phi[i]:
            if distances[i] > 0.0:
                more = with_one_more(local, evidence, j, i, phi[j] - phi[i], distances[i])
                bound = max(bound, proved(more, local.rules))
    return bound


@njit(cache=True, nogil=True)
def next_members(
    tree, node, local, target, evidence, apart, start, size, n_members, n_others, n_kept, free, incumbent, desk
):  # fmt: skip
    """Write the candidates that may join a node, by what is proved if they do, into the arenas: start and size."""
    for a in range(n_members):
        desk.marked[desk.members[a]] = True
    count = 0
    for c in range(start, start + size):
        j, bound = tree.arena_index[c], tree.arena_value[c]
        if desk.marked[j]:
            continue
        bound = max(bound, tree.key[node])
        bound = max(
            bound,
            harder(
                local, evidence, desk.phi, apart, j, desk.others, n_others, desk.kept, n_kept, free, incumbent, desk
            ),
        )
        if bound >= incumbent:
            tree.floor[0] = min(tree.floor[0], bound)
            continue
        desk.places[count], desk.value[count] = j, bound
        count += 1
    for a in range(n_members):
        desk.marked[desk.members[a]] = False
    order = np.argsort(desk.value[:count])
    return keep(tree, desk.places[order], desk.value[order], count), count


@njit(cache=True, nogil=True)
def members_are_harder(tree, node, n_negatives, apart, n_members, n_kept, rest, least, desk):
    """Whether some of the `rest` members that are missing is farther away than `least`, which any other's row is.

    No member is farther than the farthest one, p, so `rest` candidates have to reach half-spaces ``φ_j ≤ φ_p``.
    Branching first on what is farther keeps the tree small.  False where there is no such p.
    """
    p = -1
    for c in range(n_kept):
        if desk.kept[c] < n_negatives:
            p = desk.kept[c]
    if p < 0:
        return False
    for a in range(n_members):
        desk.marked[desk.members[a]] = True
    start, size = tree.candidates[node, 0], tree.candidates[node, 1]
    for c in range(start, start + size):
        j = tree.arena_index[c]
        if rest > 0 and not desk.marked[j] and desk.phi[j] - desk.phi[p] <= least * apart[j, p]:
            rest -= 1
    for a in range(n_members):
        desk.marked[desk.members[a]] = False
    return rest > 0


@njit(cache=True, nogil=True)
def branch(tree, node, local, apart, target, evidence, incumbent, slack, desk):
    """Split a node at its point w, whose half scores are on the desk; whether its target is met there instead."""
    phi, n, m = desk.phi, local.halves.shape[0], local.n_negatives
    if target_is_met(local, target, phi, slack):
        return True
    n_members, n_seconds, n_kept, n_excused, n_kept_second, n_excused_second = trail(
        tree, node, desk.members, desk.kept, desk.excused, desk.kept_second, desk.excused_second
    )  # fmt: skip
    members, free = desk.members, target[EXCUSES] + 1 - n_excused
    # the first condition: are too many positives nearer than the farthest member?
    for c in range(n_kept):
        desk.excused[n_excused + c] = desk.kept[c]
    n_free = listed_but(desk.marked, desk.excused, n_excused + n_kept, m, n, desk.others)
    nearer = nearer_than_farthest(phi, members, n_members, desk.others, n_free, slack, desk.second)
    if n_excused < target[EXCUSES] and nearer >= free:
        found = hardest_rows(
            phi, members, n_members, desk.second, nearer, apart, free, desk.rows_j, desk.rows_i, desk.farness
        )  # fmt: skip
        rest, least = target[MEMBERS] - n_members, desk.farness[free - 1]
        if found == free and not members_are_harder(tree, node, m, apart, n_members, n_kept, rest, least, desk):
            branch_on_others(
                tree, node, local, evidence, apart, phi, found, desk.rows_j, desk.rows_i, KEPT, EXCUSED, incumbent
            )  # fmt: skip
            return False
    if n_members < target[MEMBERS]:
        start, size = tree.candidates[node, 0], tree.candidates[node, 1]
        if n_members == target[SECONDS]:
            start, size = target[CANDIDATES_START], target[CANDIDATES_SIZE]
        n_others = listed_but(desk.marked, desk.excused, n_excused, m, n, desk.others)
        in_seconds = n_members < target[SECONDS]
        tree.generator[node, 0], tree.generator[node, 1] = next_members(
            tree, node, local, target, evidence, apart, start, size, n_members, n_others, n_kept, free, incumbent, desk
        )  # fmt: skip
        rest = (target[SECONDS] if in_seconds else target[MEMBERS]) - n_members
        generate(tree, node, rest, tree.generator[node, 1], incumbent)
        return False
    # the second condition: are too many other points nearer than the farthest of the class's members?
    for c in range(n_kept_second):
        desk.excused_second[n_excused_second + c] = desk.kept_second[c]
    n_free = listed_but(desk.marked, desk.excused_second, n_excused_second + n_kept_second, 0, n, desk.others)
    n_free = outside_class(local.classes, target[CLASS], desk.others, n_free)
    nearer = nearer_than_farthest(phi, members, n_seconds, desk.others, n_free, slack, desk.second)
    free = target[SECOND_EXCUSES] + 1 - n_excused_second
    if n_seconds > 0 and n_excused_second < target[SECOND_EXCUSES] and nearer >= free:
        found = hardest_rows(
            phi, members, n_seconds, desk.second, nearer, apart, free, desk.rows_j, desk.rows_i, desk.farness
        )  # fmt: skip
        if found == free:
            branch_on_others(
                tree, node, local, evidence, apart, phi, found, desk.rows_j, desk.rows_i, KEPT_SECOND, EXCUSED_SECOND,
                incumbent,
            )  # fmt: skip
            return False
    return True  # met but for rounding
