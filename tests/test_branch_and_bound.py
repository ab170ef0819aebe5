"""The rooms behind the k-NN search: kernels in plain Python, the heap, proofs of emptiness, limits, interruptions."""

import dataclasses
import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest

from convexrml import MahalanobisMetric, NearestNeighbors, RadiusStatus, Vote, certified_radius, checker, exact_radius
from convexrml.emptiness import prove_empty
from convexrml.errors import InvalidInputError, SearchInterrupted
from convexrml.findings import Limits
from convexrml.grouped import grouped_sites
from convexrml.k_nearest import KNearestSearch
from convexrml.k_nearest_proof import vote_proofs
from convexrml.kernels import incumbent, local
from convexrml.kernels import tree as nodes
from convexrml.queries import each_query, prepared
from convexrml.search_tree import _empty

SMALL = """
import json, sys
import numpy as np
from convexrml import NearestNeighbors, attack_radius, exact_radius
rng = np.random.default_rng(5)
found = []
for k, vote, box in ((3, "majority", None), (5, "plurality", None), (5, "plurality", (-1.5, 1.5))):
    X, y = rng.standard_normal((24, 3)), np.arange(24) % 4
    Z = rng.uniform(-1, 1, (4, 3))
    model = NearestNeighbors(k, rng.standard_normal((2, 3)) if k == 5 else None).fit(X, y)
    labels = model.predict(Z)
    exact = exact_radius(model, Z, labels, vote=vote, box=box)
    attack = attack_radius(model, Z, labels, vote=vote, box=box)
    found += [exact.lower.tolist(), exact.upper.tolist(), exact.solves.tolist(), attack.upper.tolist()]
print(json.dumps(found))
"""


def test_compiled_and_plain_agree_bit_by_bit():
    """In plain Python an index out of range raises; the same sums give the same bits."""
    runs = []
    for disabled in ("0", "1"):
        environment = {**os.environ, "NUMBA_DISABLE_JIT": disabled}
        done = subprocess.run(
            [sys.executable, "-c", SMALL], capture_output=True, text=True, env=environment, check=False
        )
        assert done.returncode == 0, done.stderr
        runs.append(json.loads(done.stdout))
    assert runs[0] == runs[1]
    assert any(0 < radius < math.inf for radius in runs[0][0])


def test_the_heap_gives_nodes_in_the_order_of_their_keys():
    rng = np.random.default_rng(0)
    tree = _empty(200, 1)
    keys = rng.integers(0, 40, 200) / 8
    taken = []
    for node, key in enumerate(keys):
        tree.key[node] = key
        nodes.push(tree, node)
        if rng.random() < 0.3:
            least = tree.heap_key[0]
            assert tree.key[nodes.pop(tree)] == least
            taken.append(least)
    rest = [tree.key[nodes.pop(tree)] for _ in range(tree.counts[nodes.HEAP_SIZE])]
    assert rest == sorted(rest) and sorted(rest + taken) == sorted(keys)


@pytest.mark.parametrize("seed", range(4))
def test_one_neighbour_is_a_special_case(cloud, seed):
    """s = 1: the branch and bound against the search of its own for 1-NN, both proved to 1e-9."""
    data = cloud(seed=seed, n=40, d=4, classes=3, queries=8, integers=False, rank=3 if seed % 2 else None)
    model = data.model(1)
    labels = model.encode(data.labels, len(data.Z))
    grouped = grouped_sites(model)
    search = KNearestSearch(grouped, model.metric_, 1, Vote.MAJORITY, None)
    known = exact_radius(model, data.Z, data.labels)
    for a, q in enumerate(each_query(grouped, prepared(model, grouped, data.Z, labels, None))):
        found = search.search(q, Limits())
        assert found.status is RadiusStatus.EXACT
        assert found.lower <= known.upper[a] and known.lower[a] <= found.upper


def overlapping(seed, k, classes, n, d, queries=3):
    """A plurality's search and its queries, labelled as the classifier labels them; learned metrics at odd seeds."""
    rng = np.random.default_rng(seed)
    X, y, Z = rng.standard_normal((n, d)), np.arange(n) % classes, 0.5 * rng.standard_normal((queries, d))
    X *= rng.choice([1.0, 2.0, 5.0], (n, 1))
    L = rng.standard_normal((d, d)) * np.geomspace(1, 20, d)[:, None]
    metric = MahalanobisMetric.from_components(L) if seed % 2 else None
    model = NearestNeighbors(k, metric).fit(X, y)
    data, labels = grouped_sites(model), model.encode(model.predict(Z), queries)
    search = KNearestSearch(data, model.metric_, k, Vote.PLURALITY, None)
    return model, search, list(each_query(data, prepared(model, data, Z, labels, None)))


def test_points_that_are_left_out_change_no_vote():
    """In the ball, the points that matter lose a plurality exactly where the whole training set does."""
    rng, lost, left_out = np.random.default_rng(0), [], 0
    for seed in range(40):
        model, search, queries = overlapping(seed, k=[5, 7, 9][seed % 3], classes=4, n=60, d=3)
        for q in queries:
            attack = search.attack(q)
            radius = attack.upper * 1.2 if attack is not None and attack.upper > 0 else 1.0
            near = search.around(q, radius, radius)
            if near.n_negatives == 0:
                continue
            m = near.n_negatives
            apart = local.separations(near, m, len(near.halves))
            useful = local.narrowed(near, apart, local.largest_bounds(near, apart, search.k // 2 + 1), radius)
            near = search._gathered(q, near.rows[useful], int(useful[:m].sum()), radius)
            left_out += (search.labels != q.label).sum() - near.n_negatives
            for w in rng.standard_normal((40, 3)):
                w *= radius * rng.uniform(0.7, 0.999) / np.linalg.norm(w)
                phi = np.empty(len(near.halves))
                local.half_scores(near, w, phi)
                row = search.data.offsets - 2 * search.data.sites @ (q.centred + w)
                rule = search.rule(q.label)
                lost.append(bool(incumbent.lost(rule, row, search.labels, search.space)[0]))
                assert bool(incumbent.lost(rule, phi, near.classes, search.space)[0]) == lost[-1]
    assert left_out > 1000 and 100 < sum(lost) < len(lost) - 100


def test_bounds_against_all_points_of_other_classes():
    """By definition, sorted; gaps here are differences of up to 1e4, deductions for rounding some 1e-15 of that."""
    seen = 0
    for seed in range(8):
        _, search, queries = overlapping(seed, k=7, classes=4, n=40, d=3)
        for q in queries:
            near = search.around(q, math.inf, 10.0)
            apart = local.separations(near, 0, len(near.halves))
            for other in set(near.classes[: near.n_negatives].tolist()):
                found = local.largest_bounds_outside(near, other, apart, 5)
                rest = np.flatnonzero(near.classes != other)
                for j in range(near.n_negatives):
                    if near.classes[j] != other:
                        assert (found[j] == 0).all()
                        continue
                    gaps = np.maximum(near.halves[j] - near.halves[rest], 0)
                    known = np.sort(gaps / np.linalg.norm(near.sites[rest] - near.sites[j], axis=1))[::-1][:5]
                    assert (found[j] <= known).all()
                    np.testing.assert_allclose(found[j], known, rtol=1e-9, atol=1e-10)
                    seen += (known > 0).sum()
    assert seen > 1000


def test_an_interruption_leaves_what_is_finished(cloud):
    data = cloud(seed=3, n=30, d=3, classes=2, queries=40, integers=False)
    model, seen = data.model(3), []

    def stop(finished):
        seen.append(finished)
        if sum(seen) >= 10:
            raise KeyboardInterrupt

    with pytest.raises(SearchInterrupted) as caught:
        exact_radius(model, data.Z, data.labels, n_jobs=2, progress=stop)
    radii, whole = caught.value.radii, exact_radius(model, data.Z, data.labels)
    assert isinstance(caught.value, KeyboardInterrupt) and len(radii) == 40
    done = np.array([status is not RadiusStatus.INTERRUPTED for status in radii.status])
    assert sum(seen) == done.sum() < 40
    np.testing.assert_array_equal(radii.lower[done], whole.lower[done])
    np.testing.assert_array_equal(radii.perturbation[done], whole.perturbation[done])
    assert (radii.lower[~done] == 0).all() and np.isinf(radii.upper[~done]).all()


def test_memory_is_capped(cloud):
    """No room for any distance, and room for distances only: the closed form, and the interval known by then."""
    data = cloud(seed=1, n=120, d=6, classes=2, queries=6, integers=False)
    model = data.model(7)
    final, closed_form = exact_radius(model, data.Z, data.labels), certified_radius(model, data.Z, data.labels).lower
    for limit in (0, 2**16):
        found = exact_radius(model, data.Z, data.labels, max_memory=limit)
        assert (found.lower >= closed_form * (1 - 1e-12)).all()
        assert (found.lower <= final.upper).all() and (found.upper >= final.lower).all()
        assert RadiusStatus.MEMORY_LIMIT in set(found.status) if limit == 0 else True
        assert all(status.closed or status is RadiusStatus.MEMORY_LIMIT for status in found.status)


@pytest.mark.parametrize(
    ("options", "begins"),
    [
        ({"time_limit": -1}, "time_limit: "),
        ({"node_limit": -1}, "node_limit: "),
        ({"max_memory": math.nan}, "max_memory: "),
        ({"node_limit": 5, "solver": "scip"}, "node_limit: "),
        ({"vote": "unanimity"}, "vote: "),
    ],
)
def test_limits_that_make_no_sense(cloud, options, begins):
    data = cloud(n=10)
    with pytest.raises(InvalidInputError, match=f"^{begins}"):
        exact_radius(data.model(3), data.Z, data.labels, **options)
    with pytest.raises(InvalidInputError, match="^node_limit: belongs to"):
        exact_radius(data.model(1), data.Z, data.labels, node_limit=3)


def test_emptiness_is_proved_by_rationals():
    """On a line, a negative between two positives that are both to be farther than itself and than each other."""
    X, z = np.array([[-1.0], [0.0], [1.0]]), np.array([0.25])
    euclidean = MahalanobisMetric.euclidean(1)
    assert not prove_empty(euclidean, X, z, [(1, 0), (1, 2)])  # between −1/2 and 1/2 both are farther
    assert prove_empty(euclidean, X, z, [(0, 1), (2, 1)])  # not nearer to both −1 and 1 than to 0
    assert not prove_empty(euclidean, X, z, [(0, 1)])
    assert prove_empty(euclidean, X, z, [(2, 1)], [(0, 1.0, 0.375)])  # 1 is nearer than 0 only beyond 1/2
    assert not prove_empty(euclidean, X, z, [(2, 1)], [(0, 1.0, 0.5)])
    L = MahalanobisMetric.from_components(np.array([[0.1]]))
    assert prove_empty(L, X, z, [(0, 1), (2, 1)])


def test_no_perturbation_loses_the_vote():
    """Each negative sits among two positives of its own: two of three neighbours are positives everywhere."""
    X = np.array([[0.0], [0.0], [0.0], [10.0], [10.0], [10.0], [20.0], [20.0], [20.0]])
    y = np.array([0, 0, 1] * 3)
    found = exact_radius(NearestNeighbors(5).fit(X, y), [[4.0]], [0])
    assert found.status[0] in (RadiusStatus.UNREACHABLE, RadiusStatus.EXACT)
    few = exact_radius(NearestNeighbors(3).fit([[0.0], [1.0], [2.0], [5.0]], [0, 0, 0, 1]), [[0.5]], [0])
    assert few.status[0] is RadiusStatus.UNREACHABLE and np.isinf(few.lower[0])
    line = [[-2.0], [-1.0], [0.0], [1.0], [2.0], [9.0], [10.0], [11.0]]
    far = exact_radius(NearestNeighbors(3).fit(line, [0, 0, 1, 0, 0, 0, 1, 0]), [[1.5]], [0])
    assert far.status[0] is RadiusStatus.UNREACHABLE and np.isinf(far.lower[0])


@pytest.mark.parametrize("k", [3, 5])
@pytest.mark.parametrize("kind", ["euclidean", "components", "box"])
def test_every_exact_radius_is_proved_to_the_checker(cloud, k, kind):
    """The tree closes at the search's lower bound less 1e-11, and never above it: then that bound is proved instead."""
    data = cloud(seed=k, n=40, d=3, classes=2, queries=15, integers=False, rank=2 if kind == "components" else None)
    model = data.model(k)
    data.labels = model.predict(data.Z)
    box = (np.full(3, -4.0), np.full(3, 4.0)) if kind == "box" else None
    radii = exact_radius(model, data.Z, data.labels, vote="majority", box=box, certificates=True)
    training = checker.TrainingSet(data.X, data.y, data.L, "euclidean" if data.L is None else "components")
    for a, made in enumerate(radii.certificates):
        assert made.lower >= radii.lower[a] * (1 - 2e-11) and made.lower <= radii.lower[a]
        checker.check(made.to_bytes(), training)
    labels = model.encode(data.labels, len(data.Z))
    closed_form = certified_radius(model, data.Z, data.labels).lower
    above = np.where(radii.lower > closed_form, radii.upper * (1 + 1e-9), 0.0)
    assert above.any()
    lower, proofs = vote_proofs(model, data.Z, labels, dataclasses.replace(radii, lower=above), closed_form)
    assert (lower <= radii.lower).all()
    assert [proof is not None for proof in proofs] == (above > 0).tolist()


@pytest.mark.parametrize("k", [5, 7])
@pytest.mark.parametrize("kind", ["euclidean", "components", "box"])
def test_a_plurality_that_outlasts_the_majority_is_proved_to_the_checker(cloud, k, kind):
    """The tree proves the plurality's own radius, above the majority's, at the search's lower bound less 1e-11."""
    data = cloud(seed=k, n=60, d=3, classes=4, queries=12, integers=False, rank=2 if kind == "components" else None)
    model = data.model(k)
    data.labels = model.predict(data.Z)
    box = (np.full(3, -4.0), np.full(3, 4.0)) if kind == "box" else None
    majority = exact_radius(model, data.Z, data.labels, vote="majority", box=box)
    radii = exact_radius(model, data.Z, data.labels, vote="plurality", box=box, certificates=True)
    above = radii.lower > majority.upper * (1 + 1e-6)
    assert above.sum() > 2
    for made, lower in zip(radii.certificates, radii.lower, strict=True):
        assert lower * (1 - 2e-11) <= made.lower <= lower
        assert made.vote is Vote.PLURALITY
        for use_filter in (True, False):
            checker.check(made.to_bytes(), model.exact, use_filter=use_filter)
    made = radii.certificates[int(np.flatnonzero(above)[0])]
    with pytest.raises(checker.Rejected, match="counts nothing out|nothing is known"):
        checker.check(dataclasses.replace(made, vote=Vote.MAJORITY, upper=None, witness=None).to_bytes(), model.exact)
