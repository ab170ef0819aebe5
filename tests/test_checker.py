"""The checker accepts what is proved and nothing else: mutants, hostile files, and a reference in fractions."""

import ast
import dataclasses
import itertools
import json
import math
import subprocess
import sys
import tracemalloc
import zlib
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import oracle
import pytest
import reference_checker as reference
from hypothesis import given, settings
from hypothesis import strategies as st

import convexrml
from convexrml import MahalanobisMetric, NearestNeighbors, Vote, checker, exact_radius
from convexrml.certificate import ProofTree, read_certificate
from convexrml.checker import may_lose
from convexrml.evidence import Prover
from convexrml.norms import Box, as_norm

SOURCE, FILTER = Path(checker.__file__), "convexrml.checker_filter"


def accepted(certificate, training, **options):
    data = certificate if isinstance(certificate, bytes) else certificate.to_bytes()
    try:
        checker.check(data, training, **options)
    except checker.Rejected:
        return False
    return True


def certified(
    cloud, seed, norm, rank=None, boxed=False, integers=True, n=8, queries=3, matrix=False, k=1, classes=2, vote=None
):
    """A model, its instance in fractions, and the certificates of its queries."""
    data = cloud(seed, n=n, rank=rank, integers=integers, queries=queries, classes=classes)
    metric = None if data.L is None else MahalanobisMetric.from_components(data.L)
    if matrix:
        metric = MahalanobisMetric.from_matrix(data.M)
    model = NearestNeighbors(k, metric).fit(data.X, data.y)
    if k > 1:
        data.labels = model.predict(data.Z)
    box = (np.minimum(data.Z.min(axis=0), -2.0), np.maximum(data.Z.max(axis=0), 3.0)) if boxed else None
    found = exact_radius(
        model, data.Z, data.labels, norm=norm, box=box, vote=vote or "plurality", certificates=True
    )  # fmt: skip
    labels = [model.exact.labels[code] for code in model.labels_]
    if matrix:
        instance = oracle.Instance(data.X, labels, M=metric.matrix)
    else:
        instance = oracle.Instance(data.X, labels, L=data.L)
    return model, instance, found


def box_of(certificate):
    return None if certificate.box is None else (certificate.box.lower, certificate.box.upper)


def is_true(certificate, instance, radius):
    """Whether the claim on a radius (raised to its power) holds."""
    norm = certificate.norm.order
    below = oracle.at_most(certificate.lower, radius, norm)
    return below and (certificate.upper is None or radius <= Fraction(certificate.upper) ** oracle.power(norm))


def has_witness(certificate, instance):
    if certificate.upper is None:
        return certificate.witness is None
    if certificate.witness is None or not np.isfinite(certificate.witness).all() or math.isinf(certificate.upper):
        return False
    p, norm = oracle.rational(certificate.witness), certificate.norm.order
    step = oracle.norm_power(p - oracle.rational(certificate.query), norm)
    inside = certificate.box is None or certificate.box.contains(certificate.witness)
    near = step <= Fraction(certificate.upper) ** oracle.power(norm)
    D, n = instance.distances(p), len(instance.X)
    losing = oracle.losing_sets(instance.y, certificate.label, certificate.n_neighbors, certificate.vote.value)
    lost = any(max(D[j] for j in T) <= min((D[i] for i in range(n) if i not in T), default=math.inf) for T in losing)
    return inside and near and lost


@pytest.mark.parametrize("boxed", [False, True], ids=["free", "box"])
@pytest.mark.parametrize("rank", [None, 1, 2])
@pytest.mark.parametrize("integers", [False, True])
def test_honest_certificates_are_accepted_and_true(cloud, norm, rank, boxed, integers):
    for seed in range(4):
        model, instance, found = certified(cloud, seed, norm, rank, boxed, integers)
        for q, certificate in enumerate(found.certificates):
            assert (certificate.lower, certificate.upper or math.inf) == (found.lower[q], found.upper[q])
            assert accepted(certificate, model.exact)
            assert accepted(certificate, model.exact, use_filter=False)
            radius = instance.exact(certificate.query, certificate.label, norm, box_of(certificate))
            assert is_true(certificate, instance, radius)
            assert reference.holds(certificate, instance)


def test_a_metric_given_as_m_is_taken_as_stored(cloud, norm):
    for seed in range(4):
        model, instance, found = certified(cloud, seed, norm, rank=2, matrix=True, integers=False)
        by_components = checker.TrainingSet(
            model.training_points_, model.classes_[model.labels_], np.eye(2), "components"
        )
        for certificate in found.certificates:
            assert accepted(certificate, model.exact, use_filter=False)
            assert reference.holds(certificate, instance)
            assert not accepted(certificate, by_components)


def test_many_features_and_points_agree_without_the_filter(cloud, norm):
    for rank in (None, 5):
        model, _, found = certified(cloud, 1, norm, rank, n=120, queries=6, integers=False)
        for certificate in found.certificates:
            assert accepted(certificate, model.exact)
            assert accepted(certificate, model.exact, use_filter=False)


def test_the_radius_cannot_be_raised_by_one_ulp_above_what_the_evidence_supports(cloud, norm):
    tried = 0
    for seed in range(12):
        for integers in (True, False):
            model, instance, found = certified(cloud, seed, norm, [None, 1, 2][seed % 3], seed % 2 == 1, integers)
            for certificate in found.certificates:
                if not 0 < certificate.lower < math.inf:
                    continue
                most = reference.largest_float(reference.supported(certificate, instance), norm)
                assert most >= certificate.lower
                for use_filter in (True, False):
                    at, above = (
                        dataclasses.replace(certificate, lower=r, upper=None, witness=None)
                        for r in (most, math.nextafter(most, math.inf))
                    )
                    assert accepted(at, model.exact, use_filter=use_filter)
                    assert not accepted(above, model.exact, use_filter=use_filter)
                tried += 1
    assert tried > 20


# --- mutations ------------------------------------------------------------------------------------------------------


def changed(array, rng, *, low=-1, high=9):
    """The array with one entry changed, two swapped, one left out or one added."""
    array = array.copy()
    kind = rng.integers(4)
    flat = array.reshape(-1)
    if kind == 0 and len(flat):
        flat[rng.integers(len(flat))] = rng.integers(low, high)
    elif kind == 1 and len(flat) > 1:
        a, b = rng.choice(len(flat), 2, replace=False)
        flat[a], flat[b] = flat[b], flat[a]
    elif kind == 2 and len(array):
        array = np.delete(array, rng.integers(len(array)), axis=0)
    else:
        new = rng.integers(low, high, array.shape[1:]).astype(array.dtype)
        array = np.insert(array, rng.integers(len(array) + 1), new, axis=0)
    return array


def mutants(certificate, rng, others):
    """Certificates that differ from an honest one in one place; `others` are labels."""
    give = dataclasses.replace
    z, r = certificate.query, certificate.lower

    def asked(query):
        hashes = {**certificate.sha256, "query": checker.digest("query", query)}
        return give(certificate, query=query, sha256=hashes)

    for lower in (r * (1 + 2e-9), r * 1.001 + 1e-9, 2 * r + 1e-300, math.inf, (certificate.upper or r) * (1 + 1e-12)):
        if lower > r:
            yield give(certificate, lower=lower)
    if certificate.upper:
        for upper in (certificate.upper * (1 - 2e-9), certificate.upper / 2, 0.0, math.nextafter(r, 0)):
            yield give(certificate, upper=upper)
            back = z + (certificate.witness - z) * (upper / certificate.upper)
            yield give(certificate, upper=upper, witness=back)
        yield give(certificate, witness=rng.integers(-6, 7, len(z)).astype(float))
        yield give(certificate, upper=None)
        yield give(certificate, witness=None)
    for order in {1.0, 2.0, math.inf} - {certificate.norm.order}:
        yield give(certificate, norm=as_norm(order))
    for label in others:
        yield give(certificate, label=label)
    yield asked(z + rng.integers(-2, 3, len(z)))
    yield asked(z * (1 + 1e-9))
    if certificate.box is None:
        yield give(certificate, box=Box(z - r / 2, z + r / 2))
    else:
        yield give(certificate, box=None)
        yield give(certificate, box=Box(certificate.box.lower - 5, certificate.box.upper + 5))
        yield give(certificate, box=Box(certificate.box.lower, np.full(len(z), math.inf)))
    for name in certificate.sha256:
        digest = certificate.sha256[name]
        yield give(
            certificate, sha256={**certificate.sha256, name: digest[:-1] + "0123456789abcdef"[digest[-1] == "0"]}
        )
    proof = certificate.proof
    if proof is None:
        return
    for _ in range(3):
        yield give(certificate, proof=give(proof, open=changed(proof.open, rng)))
        yield give(certificate, proof=give(proof, sweep=changed(proof.sweep, rng)))
        yield give(certificate, proof=give(proof, ops=changed(proof.ops, rng, low=0, high=5)))
        yield give(certificate, proof=give(proof, args=changed(proof.args, rng)))
        yield give(certificate, proof=give(proof, values=changed(proof.values, rng)))
    for factor in (0.0, -1.0, 0.5, 1 + 1e-6, math.nan, math.inf):
        values = proof.values.copy()
        if len(values):
            at = rng.integers(len(values))
            values[at] = float(values[at]) * factor
            yield give(certificate, proof=give(proof, values=values))


def judge_mutants(cloud, instances):
    """The checker agrees with the reference on every mutant, and accepts no claim that is false."""
    counts = {"false": 0, "true": 0, "accepted": 0}
    for seed, (model, instance, found) in instances:
        rng, radii = np.random.default_rng(seed), {}
        for certificate in found.certificates:
            for mutant in mutants(certificate, rng, set(model.exact.labels) - {certificate.label}):
                if mutant.box is not None and not mutant.box.contains(mutant.query):
                    continue
                asked = mutant.query.tobytes(), mutant.label, mutant.norm, str(box_of(mutant))
                if asked not in radii:
                    z, norm, box = mutant.query, mutant.norm.order, box_of(mutant)
                    if model.n_neighbors == 1:
                        radii[asked] = instance.exact(z, mutant.label, norm, box)
                    else:
                        k, vote = model.n_neighbors, mutant.vote.value
                        radii[asked] = instance.k_nearest(z, mutant.label, k, norm, vote, box)
                true = is_true(mutant, instance, radii[asked])
                hashes = {**model.exact.sha256, "query": checker.digest("query", mutant.query)}
                proved = mutant.sha256 == hashes and has_witness(mutant, instance) and reference.holds(mutant, instance)
                said = accepted(mutant, model.exact)
                assert said == accepted(mutant, model.exact, use_filter=False)
                assert said == proved, mutant
                assert true or not said, mutant
                counts["true" if true else "false"] += 1
                counts["accepted"] += said
    return counts


def one_neighbour(cloud, seeds):
    for seed in seeds:
        norm, rank, boxed = (1, 2, math.inf)[seed % 3], [None, None, 1, 2][seed // 3 % 4], seed // 12 % 2 == 1
        yield seed, certified(cloud, seed, norm, rank, boxed, seed // 24 % 2 == 0, n=7, queries=2)


def five_neighbours(cloud, seeds):
    """Three classes, so that a plurality may be kept where the majority is lost."""
    for seed in seeds:
        vote = "plurality" if seed % 4 else "majority"
        yield (
            seed,
            certified(cloud, seed, 2, None, seed % 3 == 0, seed % 2 == 0, n=9, queries=2, k=5, classes=3, vote=vote),
        )


def test_mutants_are_judged_as_the_reference_judges_them(cloud):
    counts = judge_mutants(cloud, one_neighbour(cloud, range(30)))
    assert counts["false"] > 300
    assert counts["true"] > 300  # evidence that no longer proves what is true
    assert counts["accepted"] > 10  # evidence that still does


@pytest.mark.slow
def test_thousands_of_false_claims_are_rejected(cloud):
    assert judge_mutants(cloud, one_neighbour(cloud, range(100, 260)))["false"] >= 4000


def test_mutants_of_proof_trees_are_judged_as_the_reference_judges_them(cloud):
    counts = judge_mutants(cloud, five_neighbours(cloud, range(6)))
    assert counts["false"] > 60
    assert counts["true"] > 60
    assert counts["accepted"] > 5


@pytest.mark.slow
def test_thousands_of_false_claims_with_proof_trees_are_rejected(cloud):
    assert judge_mutants(cloud, five_neighbours(cloud, range(100, 230)))["false"] >= 2000


def test_a_negative_that_is_left_out_is_missed(cloud):
    """Whatever negative is taken out of the evidence, what is left is no proof."""
    model, _, found = certified(cloud, 3, 2, n=30, integers=False)
    for certificate in found.certificates:
        proof = certificate.proof
        for row in range(len(proof.sweep)):
            less = dataclasses.replace(proof, sweep=np.delete(proof.sweep, row, axis=0))
            assert not accepted(dataclasses.replace(certificate, proof=less), model.exact)
        for place in range(len(proof.open)):
            less = dataclasses.replace(proof, open=np.delete(proof.open, place))
            assert not accepted(dataclasses.replace(certificate, proof=less), model.exact)


def test_another_training_set_is_noticed(cloud):
    model, _, found = certified(cloud, 0, 2)
    X, y = model.training_points_, model.classes_[model.labels_]
    certificate = found.certificates[0]
    assert accepted(certificate, checker.TrainingSet(X.tolist(), y.tolist()))
    moved = X.copy()
    moved[3, 1] = math.nextafter(moved[3, 1], math.inf)
    for other in ((moved, y), (X[::-1], y[::-1]), (X[:-1], y[:-1]), (X, 1 - y), (X, y.astype(str))):
        assert not accepted(certificate, checker.TrainingSet(*other))
    with pytest.raises(ValueError, match="symmetric"):
        checker.TrainingSet(X, y, [[1.0, 0.5], [0.25, 1.0]], "matrix")


# --- more than one neighbour ----------------------------------------------------------------------------------------


def test_closed_form_certificates_of_more_neighbours(cloud, norm):
    for seed in range(6):
        for k in (3, 5):
            data = cloud(seed, n=20, classes=3, queries=4, integers=seed % 2 == 0)
            model = data.model(k)
            found = convexrml.certified_radius(model, data.Z, data.labels, norm=norm)
            instance = oracle.Instance(data.X, [model.exact.labels[code] for code in model.labels_], L=data.L)
            for q, certificate in enumerate(Prover(model).certificates(data.Z, data.labels, found)):
                assert certificate.lower == found.lower[q]
                assert certificate.vote is Vote.MAJORITY
                assert accepted(certificate, model.exact)
                assert accepted(certificate, model.exact, use_filter=False)
                assert reference.holds(certificate, instance)
                if certificate.lower:
                    most = reference.largest_float(reference.supported(certificate, instance), norm)
                    above = dataclasses.replace(certificate, lower=math.nextafter(most, math.inf))
                    assert not accepted(above, model.exact)
                    same = certificate.proof.sweep.copy()
                    same[0] = same[0, 0]
                    twice = dataclasses.replace(certificate.proof, sweep=same)
                    assert not accepted(dataclasses.replace(certificate, proof=twice), model.exact)


class Line:
    """Exact k-NN radii on a line by a full proof tree: every set of negatives, every set of excused positives."""

    def __init__(self, x, y, z, k):
        self.x, self.z, self.s = x, z, (k + 1) // 2
        self.own, self.others = np.flatnonzero(y == 0).tolist(), np.flatnonzero(y == 1).tolist()
        self.tree, self.radius = ProofTree(), math.inf
        self.branch([], [], self.others, [], self.own)

    def branch(self, chosen, out, rest, excused, kept):
        if len(self.others) - len(out) < self.s or len(excused) >= self.s:
            self.tree.count()
        elif len(chosen) < self.s:
            self.tree.negative(rest[0])
            self.branch([*chosen, rest[0]], out, rest[1:], excused, kept)
            self.branch(chosen, [*out, rest[0]], rest[1:], excused, kept)
        else:
            self.excuse(chosen, [], excused, kept)

    def excuse(self, chosen, settled, excused, rest):
        if len(excused) == self.s - 1 or not rest:
            self.close(chosen, settled + rest)
            return
        self.tree.positive(rest[0])
        self.excuse(chosen, [*settled, rest[0]], excused, rest[1:])
        self.excuse(chosen, settled, [*excused, rest[0]], rest[1:])

    def close(self, chosen, kept):
        """``a δ ≤ b`` for each pair, a = 2 (x_i − x_j): the interval's nearest end, or two rows that clash."""
        rows = [
            (2 * (self.x[i] - self.x[j]), (self.x[i] - self.z) ** 2 - (self.x[j] - self.z) ** 2, j, i)
            for j in chosen
            for i in kept
        ]
        for a, b, j, i in rows:
            for c, d, m, n in rows:
                if a < 0 < c and b * c - d * a < 0:
                    self.tree.multipliers([j, m], [i, n], [c, -a])
                    return
        bounds = [(-b / abs(a), j, i) for a, b, j, i in rows if a and b < 0]
        if not bounds:
            raise ArithmeticError("lost at the query")
        bound, j, i = max(bounds)
        self.tree.multipliers([j], [i], [1.0])
        self.radius = min(self.radius, bound)


def lost_on_line(x, y, p, k):
    order = sorted(range(len(x)), key=lambda i: ((x[i] - p) ** 2, y[i] == 0))
    return sum(y[i] == 1 for i in order[:k]) >= (k + 1) // 2


@pytest.mark.parametrize("k", [1, 3, 5])
def test_proof_trees_of_exact_radii_on_a_line(k):
    """Whole numbers: the radius is the nearest midpoint at which the vote is lost, and the tree proves just that."""
    norm, tried = as_norm(2), 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        x, y, z = rng.integers(-30, 31, 9).astype(float), np.array([0, 1] * 4 + [0]), float(rng.integers(-30, 31))
        try:
            line = Line(x, y, z, k)
        except ArithmeticError:
            assert lost_on_line(x, y, z, k)
            continue
        middles = [abs((a + b) / 2 - z) for a in x for b in x]
        truth = min((m for m in middles if lost_on_line(x, y, z - m, k) or lost_on_line(x, y, z + m, k)), default=None)
        assert line.radius == (math.inf if truth is None else truth)
        training = checker.TrainingSet(x[:, None], y)
        model = NearestNeighbors(k).fit(x[:, None], y)
        hashes = {**training.sha256, "query": checker.digest("query", np.array([z]))}
        proof = line.tree.proof(line.others, np.zeros((0, (k + 1) // 2)))
        ends = (z + line.radius, z - line.radius) if line.radius < math.inf else ()
        witness = next((p for p in ends if lost_on_line(x, y, p, k)), None)
        certificate = convexrml.certificate.Certificate(
            line.radius, None if witness is None else line.radius, norm, k, Vote.MAJORITY, "i:0", np.array([z]),
            None if witness is None else np.array([witness]), None, proof, hashes,
        )  # fmt: skip
        assert accepted(certificate, training)
        assert accepted(certificate, model.exact, use_filter=False)
        if witness is None:
            continue
        above = math.nextafter(line.radius, math.inf)
        assert not accepted(dataclasses.replace(certificate, lower=above), training)
        assert not accepted(dataclasses.replace(certificate, upper=math.nextafter(line.radius, 0)), training)
        for mutant in (changed(proof.ops, rng, low=0, high=4) for _ in range(20)):
            mutated = dataclasses.replace(certificate, proof=dataclasses.replace(proof, ops=mutant))
            instance = oracle.Instance(x[:, None], [f"i:{label}" for label in y])
            assert accepted(mutated, training) == reference.holds(mutated, instance)
        tried += 1
    assert tried > 20


def test_a_plurality_may_be_kept_where_the_majority_is_lost():
    x, y = np.array([[0.0], [1.0], [-1.0], [10.0], [-10.0], [2.0], [-2.0]]), np.array([0, 0, 1, 2, 1, 1, 2])
    training = checker.TrainingSet(x, y)
    query = np.array([0.0])  # 0, 1 and -1, 2, -2: two votes of the label, three of others, two of them for one
    hashes = {**training.sha256, "query": checker.digest("query", query)}
    for vote, label, lost in (
        (Vote.MAJORITY, "i:0", True),
        (Vote.PLURALITY, "i:0", True),
        (Vote.PLURALITY, "i:1", True),
    ):
        claim = convexrml.certificate.Certificate(
            0.0, 0.0, as_norm(2), 5, vote, label, query, query, None, None, hashes
        )
        assert accepted(claim, training) == lost
    assert training.lost(query, 0, 5, "majority")
    only = checker.TrainingSet(x, np.array([0, 0, 1, 2, 1, 3, 4]))
    assert only.lost(query, 0, 5, "majority")
    assert not only.lost(query, 0, 5, "plurality")
    assert not only.lost(query, 0, 5, "plurality", use_filter=False)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_lost_agrees_with_the_classifier_on_grids_full_of_ties(cloud, k):
    data = cloud(0, n=30, classes=3, queries=120, span=3)
    model = data.model(k)
    for vote in Vote:
        for label in range(3):
            said = model.mislabels(data.Z, np.full(120, label), vote=vote)
            for use_filter in (True, False):
                exact = [model.exact.lost(z, label, k, vote.value, use_filter) for z in data.Z]
                assert exact == said.tolist()


# --- the filter -----------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=60)
def test_the_filter_never_says_what_integers_deny(seed):
    rng = np.random.default_rng(seed)
    d, n = int(rng.integers(1, 6)), 14
    scale, shift = 10.0 ** rng.integers(-30, 20), 10.0 ** rng.integers(-3, 6)
    X = (rng.integers(-2, 3, (n, d)) / 3 + rng.standard_normal(d) * shift) * scale
    kind = ["euclidean", "matrix", "components"][seed % 3]
    L = rng.standard_normal((2, d)) * 10.0 ** rng.integers(-9, 9)
    metric = {"euclidean": None, "matrix": (L.T @ L + (L.T @ L).T) / 2, "components": L}[kind]
    y = np.arange(n) % 2
    training = checker.TrainingSet(X, y, metric, kind)
    z = X[0] + rng.integers(-1, 2, d) / 3 * scale
    hashes = {**training.sha256, "query": checker.digest("query", z)}
    norm = as_norm((1, 2, math.inf)[seed // 3 % 3])
    claim = convexrml.certificate.Certificate(1.0, None, norm, 1, Vote.MAJORITY, "i:0", z, None, None, None, hashes)
    case = checker.Check(claim.to_bytes(), training, False)
    J, I = (a.ravel() for a in np.meshgrid(np.flatnonzero(y == 1), np.flatnonzero(y == 0)))  # noqa: E741
    instance = oracle.Instance(X, y, M=metric if kind == "matrix" else None, L=L if kind == "components" else None)
    settled = 0
    for j, i in zip(J.tolist(), I.tolist(), strict=True):
        bound = instance.triplet(oracle.rational(z), i, j, norm.order, instance.distances(oracle.rational(z)))
        near = oracle.as_float(bound, norm.order)
        for r in {near, near * (1 - 1e-15), near * (1 + 1e-15), near * (1 - 1e-9), near / 2} - {math.inf, 0.0}:
            case.r = r
            integers = case.closed([j], [i], [1.0], {})
            assert integers == oracle.at_most(r, bound, norm.order)
            query = training.filter.at(z, norm.name, r)
            sure = query.pairs(np.array([j]), np.array([i]))[0], query.together([j], [i], [1.0])
            assert integers or not any(sure)
            settled += any(sure)
    lam = rng.random(5)
    for _ in range(20):
        at = rng.integers(0, len(J), 5)
        for r in 10.0 ** rng.uniform(-3, 1, 4) * np.abs(X).max():
            case.r = float(r)
            sure = training.filter.at(z, norm.name, float(r)).together(J[at], I[at], lam)
            assert not sure or case.closed(J[at], I[at], lam, {})


# --- hostile files --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small():
    model = NearestNeighbors().fit([[0.0, 0.0], [4.0, 0.0], [1.0, 3.0], [5.0, 4.0]], ["a", "b", "a", "b"])
    found = exact_radius(model, [[1.0, 1.0]], ["a"], box=(-10, 10), certificates=True)
    return model.exact, found.certificates[0].to_bytes()


def reason(data, training):
    with pytest.raises(checker.Rejected) as error:
        checker.check(data, training)
    return str(error.value)


def test_every_truncation_is_rejected(small):
    training, data = small
    assert accepted(data, training)
    for length in range(len(data)):
        assert not accepted(data[:length], training)
    assert "after the last section" in reason(data + b"\0", training)


def test_every_flipped_bit_is_rejected_or_changes_no_claim(small):
    training, data = small
    honest = read_certificate(data)
    for place in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[place] ^= 1 << bit
            if accepted(bytes(flipped), training):
                other = read_certificate(bytes(flipped))
                assert (other.norm, other.label) == (honest.norm, honest.label)
                assert other.lower <= 1.0 <= other.upper  # the radius
                assert np.array_equal(other.query, honest.query)


@given(st.binary(max_size=300))
def test_noise_is_rejected_with_a_reason(small, noise):
    training, data = small
    end = data.index(b"\n", len(checker.MAGIC)) + 1
    for hostile in (noise, checker.MAGIC + noise, checker.MAGIC + noise + b"\n" + noise, data[:end] + noise):
        assert reason(hostile, training)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_any_json_in_any_place_of_the_header_is_rejected_or_harmless(small, data):
    training, honest = small
    end = honest.index(b"\n", len(checker.MAGIC)) + 1
    header = json.loads(honest[len(checker.MAGIC) : end])
    place = data.draw(st.sampled_from([("claim", key) for key in header["claim"]] + [("sha256", "metric")]
                                      + [("sections", n) for n in range(len(header["sections"]))]
                                      + [(key,) for key in header]))  # fmt: skip
    value = data.draw(_JSON)
    into = header if len(place) == 1 else header[place[0]]
    same = into[place[-1]] == value and type(into[place[-1]]) is type(value)
    into[place[-1]] = value
    said = accepted(checker.MAGIC + json.dumps(header).encode() + b"\n" + honest[end:], training)
    assert not said or same or place == ("about",)


def rewritten(data, change):
    end = data.index(b"\n", len(checker.MAGIC)) + 1
    header = json.loads(data[len(checker.MAGIC) : end])
    body = change(header, data[end:])
    return checker.MAGIC + json.dumps(header).encode() + b"\n" + (data[end:] if body is None else body)


def test_clear_words_for_what_is_malformed(small):
    training, data = small

    def claim(**given):
        return lambda header, body: header["claim"].update(given)

    assert "version 1" in reason(data.replace(b"certificate 1", b"certificate 2", 1), training)
    assert "version 1" in reason(b"", training)
    for wrong in ({"lower": "nan"}, {"lower": "-0x1.0p+0"}, {"lower": "1.0"}, {"lower": "0x1.0p+9999"}, {"upper": "x"}):
        assert "malformed" in reason(rewritten(data, claim(**wrong)), training)
    for wrong in ({"n_neighbors": 2}, {"n_neighbors": 0}, {"n_neighbors": 99}, {"n_neighbors": True}, {"norm": "3"}):
        assert "malformed" in reason(rewritten(data, claim(**wrong)), training)
    assert "does not occur" in reason(rewritten(data, claim(label="s:zebra")), training)
    assert "upper" in reason(rewritten(data, claim(upper="inf")), training)
    assert "keys" in reason(rewritten(data, lambda header, body: header.update(more=1)), training)
    deep = checker.MAGIC + b"[" * 60000 + b"\n"
    assert "malformed" in reason(deep, training)
    assert "no header" in reason(checker.MAGIC + b" " * 70000 + b"\n", training)
    assert "malformed" in reason(checker.MAGIC + b'{"claim": ' + b"9" * 5000 + b"}\n", training)


def test_a_bomb_is_not_unpacked(small):
    """A hundred megabytes of zeros in a hundred kilobytes: refused for their size, whatever size is declared."""
    training, data = small
    packed = zlib.compress(bytes(100 * 2**20), 9)
    for size in (8, 16, 2**20, 2**40):

        def swap(header, body, size=size):
            header["sections"] = [["query", len(packed), size]]
            return packed

        bomb = rewritten(data, swap)
        tracemalloc.start()
        assert "malformed" in reason(bomb, training)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2**23


def test_a_tree_without_end_is_refused():
    """Splits nested thousands deep, and none that is closed: an answer, not a crash."""
    X = np.arange(3000.0)[:, None]
    training = checker.TrainingSet(X, [1] + [0] * 2999)
    query, tree = np.array([2000.0]), ProofTree()
    for i in range(1, 3000):
        tree.positive(i)
    hashes = {**training.sha256, "query": checker.digest("query", query)}
    proof = tree.proof([0], np.zeros((0, 1)))
    claim = convexrml.certificate.Certificate(
        1.0, None, as_norm(2), 1, Vote.PLURALITY, "i:0", query, None, None, proof, hashes
    )
    assert "too deep" in reason(claim.to_bytes(), training)


# --- the file itself ------------------------------------------------------------------------------------------------


def imported(source):
    """The modules that a file imports, wherever in it."""
    tree = ast.parse(source.read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}


def test_the_checker_and_its_filter_import_the_standard_library_and_numpy():
    names = imported(SOURCE)
    assert names - sys.stdlib_module_names - {"collections.abc"} == {"numpy", "numpy.typing", FILTER}
    assert not names & {"pickle", "marshal", "ctypes", "importlib", "subprocess"}
    assert imported(SOURCE.with_name("checker_filter.py")) - sys.stdlib_module_names <= {
        "collections.abc", "numpy", "numpy.typing",
    }  # fmt: skip
    heavy = "('numba', 'cvxpy', 'scipy', 'sklearn', 'convexrml.search', 'convexrml.checker_filter')"
    code = f"import sys, convexrml.checker; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_checker_is_complete_without_its_filter(small, tmp_path):
    """One file, in a folder of its own, decides everything in integers."""
    _, data = small
    (tmp_path / "checker.py").write_bytes(SOURCE.read_bytes())
    (tmp_path / "honest").write_bytes(data)
    raised = dataclasses.replace(read_certificate(data), lower=1.0 + 1e-9, upper=None, witness=None)
    (tmp_path / "false").write_bytes(raised.to_bytes())
    code = (
        "import pathlib, sys\n"
        "sys.modules['convexrml'] = None\n"
        "import checker\n"
        "training = checker.TrainingSet([[0.0, 0.0], [4.0, 0.0], [1.0, 3.0], [5.0, 4.0]], ['a', 'b', 'a', 'b'])\n"
        "checker.check(pathlib.Path('honest').read_bytes(), training, use_filter=False)\n"
        "try:\n"
        "    checker.check(pathlib.Path('false').read_bytes(), training, use_filter=False)\n"
        "except checker.Rejected as reason:\n"
        "    print(reason)\n"
        "try:\n"
        "    checker.check(pathlib.Path('honest').read_bytes(), training)\n"
        "except ImportError:\n"
        "    print('no filter')\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert [line.split(":")[0] for line in ran.stdout.splitlines()] == ["not proved", "no filter"]


def test_the_checker_can_be_read_in_one_sitting():
    assert len(SOURCE.read_text(encoding="utf-8").splitlines()) <= 300


@pytest.mark.parametrize("vote", ["majority", "plurality"])
def test_a_vote_may_be_lost_exactly_where_some_counts_lose_it(vote):
    rng = np.random.default_rng(7)
    seen = set()
    for _ in range(400):
        k, classes = int(rng.choice([1, 3, 5, 7])), int(rng.integers(1, 5))
        low = rng.integers(0, 3, classes)
        high = low + rng.integers(0, 4, classes)
        ranges = [range(a, b + 1) for a, b in zip(low.tolist(), high.tolist(), strict=True)]
        votes = [count for count in itertools.product(*ranges) if sum(count) == k]
        rival = [max(count[1:], default=0) for count in votes]
        lost = any(
            (k - own[0] >= (k + 1) // 2) if vote == "majority" else (classes > 1 and other >= own[0])
            for own, other in zip(votes, rival, strict=True)
        )
        counts = (Counter(dict(enumerate(side.tolist()))) for side in (low, high))
        assert may_lose(*counts, 0, k, vote) == lost, (low, high, k)
        seen.add(lost)
    assert seen == {True, False}
