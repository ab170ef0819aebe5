"""What a majority's nodes decide: the nearest lost vote stays in an open one, under its bound."""

import math

import numpy as np
from test_kernels import plain

from convexrml import NearestNeighbors, Vote
from convexrml.findings import Limits
from convexrml.grouped import grouped_sites
from convexrml.k_nearest import KNearestSearch
from convexrml.kernels import attack, branch_and_bound, local
from convexrml.kernels import tree as nodes
from convexrml.kernels.branching import desk_for
from convexrml.kernels.packing import decided
from convexrml.queries import each_query, prepared
from convexrml.search_tree import planted

TOLERANCE = 1e-7  # of the size of the data: a witness is nudged beyond its boundary by some 1e-9


def holds(tree, node, near, target, desk, phi):
    """Whether all that a node decides is true of half scores; and of a generator, that the true child is to come."""
    members, kept, excused = desk.members, desk.kept, desk.excused
    n_members, _, n_kept, n_excused, _, _ = nodes.trail(
        tree, node, members, kept, excused, desk.kept_second, desk.excused_second
    )  # fmt: skip
    if tree.state[node] == nodes.GENERATOR:
        (start, size), emitted = tree.generator[node], tree.emitted[node]
        listed = tree.arena_index[start : start + size]
        if n_members == 0:  # the root: its children name the farthest member
            farthest = np.argsort(phi[: near.n_negatives])[target[nodes.MEMBERS] - 1]
            return farthest in listed[emitted:]
        if not (phi[listed[emitted:]] <= phi[members[:n_members]].max() + TOLERANCE).any():
            return False
    desk.others[:n_kept] = kept[:n_kept]
    n_low, n_high = decided(tree, node, near, target, n_members, n_kept, n_kept, n_excused, desk)
    return phi[members[:n_low]].max() <= phi[desk.others[:n_high]].min() + TOLERANCE


def all_planted(search, q, radius):
    """A tree over all the points that matter in a ball, and what goes with it."""
    near, targets = search.around(q, radius, radius), search.targets(q.label)
    apart = local.separations(near, 0, len(near.halves))
    with_positives = np.ascontiguousarray(apart[:, near.n_negatives :])
    bounds = local.largest_bounds(near, with_positives, search.k // 2 + 1)
    tree = planted(near, apart, targets, bounds, radius)
    return near, apart, targets, tree, desk_for(len(near.halves), len(q.z), search.k)


def test_the_nearest_lost_vote_stays_in_an_open_node_under_its_bound():
    assert sum(looks(seed) for seed in range(6)) >= 50


def looks(seed):
    """Search slowly, looking at all open nodes after each; how many times."""
    rng, k = np.random.default_rng(seed), 5 + 2 * (seed % 3)
    X, y, Z = rng.standard_normal((120, 5)), rng.integers(0, 3, 120), 0.5 * rng.standard_normal((4, 5))
    model = NearestNeighbors(k).fit(X, y)
    labels = model.encode(model.predict(Z), len(Z))
    data = grouped_sites(model)
    search, looked = KNearestSearch(data, model.metric_, k, Vote.MAJORITY, None), 0
    for q in each_query(data, prepared(model, data, Z, labels, None)):
        found = search.search(q, Limits())
        if not 0 < found.upper < math.inf:
            continue
        radius = found.upper * 1.2  # worse than what is known, so that bounds have to do the work
        near, apart, targets, tree, desk = all_planted(search, q, radius)
        phi = np.empty(len(near.halves))
        local.half_scores(near, found.step, phi)
        outcome = branch_and_bound.MORE
        while outcome == branch_and_bound.MORE:
            outcome = branch_and_bound.expand(tree, near, apart, targets, radius, 1, desk)
            if outcome == branch_and_bound.MORE:
                heap = tree.heap_node[: tree.counts[nodes.HEAP_SIZE]]
                true = [node for node in heap if holds(tree, node, near, targets[0], desk, phi)]
                assert any(tree.key[node] <= found.upper for node in true)
                looked += 1
        assert outcome == branch_and_bound.WITNESSED
        assert tree.key[tree.counts[nodes.FOUND]] <= found.upper
    return looked


def test_no_index_leaves_its_array():
    """Attack and tree in plain Python, where one raises, on sets so small that all points are listed at once."""
    searched = 0
    for seed in range(40):
        rng, k = np.random.default_rng(seed), 3 + 2 * (seed % 3)
        X, vote = rng.standard_normal((int(rng.integers(k + 1, k + 6)), 2)), list(Vote)[seed % 2]
        y = np.arange(len(X)) % 2 if seed % 4 else rng.integers(0, 3, len(X))
        model, Z = NearestNeighbors(k).fit(X, y), 0.5 * rng.standard_normal((1, 2))
        data, label = grouped_sites(model), model.encode(model.predict(Z), 1)
        search = KNearestSearch(data, model.metric_, k, vote, None)
        (q,) = each_query(data, prepared(model, data, Z, label, None))
        found = search.search(q, Limits())
        if not 0 < found.upper < math.inf:
            continue
        place = attack.Place(
            q.z, q.centred, q.image, q.row, q.squared, q.offset, q.box_lower, q.box_upper, False
        )  # fmt: skip
        step = np.empty(2)
        first, blur, _ = plain(attack.found)(
            search.attacked, place, search.rule(q.label), 4, 2, np.full(2, np.nan), np.empty(7, dtype=np.int64),
            search.space, step,
        )  # fmt: skip
        assert blur < 0 or found.upper * (1 - TOLERANCE) <= np.linalg.norm(step) <= first * (1 + TOLERANCE)
        radius = 3 * found.upper
        near, apart, targets, tree, desk = all_planted(search, q, radius)
        outcome = branch_and_bound.MORE
        while outcome == branch_and_bound.MORE:
            outcome = plain(branch_and_bound.expand)(tree, near, apart, targets, radius, 8, desk)
        assert outcome == branch_and_bound.WITNESSED
        assert np.linalg.norm(desk.w) <= found.upper * (1 + TOLERANCE)
        searched += 1
    assert searched >= 15
