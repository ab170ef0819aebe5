"""Certificates of optimality: tight, accepted by exact arithmetic alone, and rejected as soon as a bit is wrong."""

import ast
import dataclasses
import itertools
import json
import math
import sys
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from random_triplets import two_clouds

from convexrml import optimality_checker as checker
from convexrml.formulations import RobustHinge
from convexrml.hinge import RobustHingeObjective
from convexrml.norms import as_norm
from convexrml.optimality import certify_optimum, check_optimum
from convexrml.optimality_checker import Rejected
from convexrml.regularisers import FixedTrace, FrobeniusPrior, TracePenalty
from convexrml.triplets import Triplets

REGULARISERS = {
    "fixed trace": FixedTrace(3.0),
    "trace penalty": TracePenalty(0.2),
    "slack penalty": TracePenalty(50.0),
    "prior": FrobeniusPrior(0.3),
    "other prior": FrobeniusPrior(0.3, np.diag([2.0, 0.5, -3.0])),
}


@pytest.fixture(params=REGULARISERS.values(), ids=REGULARISERS)
def regulariser(request):
    return request.param


def solved(norm, regulariser):
    program = RobustHinge(two_clouds(m=20), tau=0.2, norm=norm, regulariser=regulariser)
    return program, program.solve()


def certificate(norm=2, regulariser=REGULARISERS["fixed trace"]):
    program, found = solved(norm, regulariser)
    return program.triplets, program.certificate(found.duals)


def test_certificate_is_tight_and_accepted(norm, regulariser):
    program, found = solved(norm, regulariser)
    made = certify_optimum(program.objective, found.duals["hinge"], found.duals["length"])
    assert made.lower == pytest.approx(found.lower_bound, rel=1e-11)  # floating point gives up its rounding, not more
    assert (found.value - made.lower) / found.value <= 5e-9
    checked = check_optimum(made.to_bytes(), program.triplets)
    assert (checked.lower, checked.norm, checked.tau, checked.margin) == (
        made.lower, as_norm(norm).name, (0.2,), (1.0,),
    )  # fmt: skip


def test_the_next_float_is_too_much(norm, regulariser):
    """The claim is the exact bound rounded down: there is nothing between it and rejection."""
    T, made = certificate(norm, regulariser)
    more = dataclasses.replace(made, lower=math.nextafter(made.lower, math.inf))
    with pytest.raises(Rejected, match="less than is claimed"):
        check_optimum(more.to_bytes(), T)


def test_bad_multipliers_make_honest_certificates(norm, regulariser):
    """Any multipliers: the certificate is accepted, and its bound is below the optimum."""
    rng = np.random.default_rng(1)
    program, found = solved(norm, regulariser)
    for size in (0.0, 1e-30, 0.05, 1e200):
        a, q = rng.normal(size=20) * size, rng.normal(size=(20, 3)) * size
        made = certify_optimum(program.objective, a, q)
        assert check_optimum(made.to_bytes(), program.triplets).lower == made.lower <= found.value
        assert made.lower >= program.objective.lower_bound(a, q) - 1e-15


def test_floating_point_bounds_are_below_exact_ones(norm, regulariser):
    """The rounding that `lower_bound` subtracts is enough: exact arithmetic on the same multipliers proves more."""
    rng = np.random.default_rng(2)
    for seed in range(10):
        T = two_clouds(seed, m=20)
        F = RobustHingeObjective(T, as_norm(norm), 0.2, 1.0, regulariser)
        a = np.ldexp(rng.integers(0, 2**20, 20), -26).astype(float)
        a, q = F.admissible(a, rng.normal(size=(20, 3)) * a[:, None])
        exact = certify_optimum(F, a, np.ldexp(np.trunc(np.ldexp(q, 40)), -40)).lower
        assert F.lower_bound(a, np.ldexp(np.trunc(np.ldexp(q, 40)), -40)) <= exact


def test_one_radius_and_margin_for_each_triplet():
    T = two_clouds(m=20)
    program = RobustHinge(T, tau=np.linspace(0, 0.4, 20), margin=np.linspace(0.5, 1.5, 20))
    found = program.solve()
    made = certify_optimum(program.objective, found.duals["hinge"], found.duals["length"])
    assert made.lower == pytest.approx(found.lower_bound, rel=1e-11)
    assert len(check_optimum(made.to_bytes(), T).tau) == 20


def test_by_hand():
    """One triplet on a line, v = −2, s = −4: the hinge 6 + 2·2 M − 8 M at M = 1, so the optimum is 2."""
    T = Triplets.from_indices([[0.0], [1.0], [3.0]], [0], [1], [2])
    F = RobustHingeObjective(T, as_norm(2), 1.0, 6.0, FixedTrace(1.0))
    made = certify_optimum(F, [1.0], [[-1.0]])
    assert 2 * (1 - 1e-12) <= made.lower < 2  # μ lies strictly above C
    check_optimum(made.to_bytes(), T)


def test_elimination_in_integers_agrees_with_minors():
    rng = np.random.default_rng(3)
    for _ in range(200):
        d = int(rng.integers(1, 6))
        B = rng.integers(-4, 5, (d, d))
        A = [[int(x) for x in row] for row in B @ B.T - int(rng.integers(0, 3)) * np.eye(d, dtype=int)]
        minors = [_determinant([row[:k] for row in A[:k]]) for k in range(1, d + 1)]
        assert checker.positive_definite(A) == all(minor > 0 for minor in minors)
    assert not checker.positive_definite([[1, 1], [1, 1]])  # semidefinite is not enough


def _determinant(A):
    d = len(A)
    total = 0
    for order in itertools.permutations(range(d)):
        inversions = sum(order[i] > order[j] for i, j in itertools.combinations(range(d), 2))
        total += (-1) ** inversions * math.prod(A[i][order[i]] for i in range(d))
    return total


MUTATIONS = {
    "a multiplier above its weight": lambda s: {"a": s["a"] + 2 * (np.arange(20) == 3)},
    "a negative multiplier": lambda s: {"a": -s["a"]},
    "a vector outside its ball": lambda s: {"q": s["q"] * (1 + 1e-9)},
    "an eigenvalue that is too small": lambda s: {"eigenvalue": s["eigenvalue"] * (1 - 1e-9)},
    "an eigenvalue below zero": lambda s: {"eigenvalue": -s["eigenvalue"]},
    "a smaller radius": lambda s: {"tau": s["tau"] * 0.99},  # a larger one is a true claim about a larger F
    "a negative radius": lambda s: {"tau": -s["tau"]},
    "a larger eigenvalue": lambda s: {"eigenvalue": s["eigenvalue"] * 1.01},
    "a smaller margin": lambda s: {"margin": s["margin"] * 0.9},
    "a multiplier too few": lambda s: {"a": s["a"][1:]},
    "a vector too few": lambda s: {"q": s["q"][1:]},
    "no eigenvalue": lambda s: {"eigenvalue": s["eigenvalue"][:0]},
    "two radii": lambda s: {"tau": np.array([0.2, 0.2])},
    "not a number": lambda s: {"q": s["q"] * np.nan},
    "infinite": lambda s: {"eigenvalue": np.array([np.inf])},
}


@pytest.mark.parametrize("mutation", MUTATIONS.values(), ids=MUTATIONS)
def test_mutated_evidence_is_rejected(mutation):
    T, made = certificate()
    with pytest.raises(Rejected) as told:
        check_optimum(dataclasses.replace(made, sections=made.sections | mutation(made.sections)).to_bytes(), T)
    assert str(told.value)


def test_a_mutated_square_root_or_prior_is_rejected():
    T, made = certificate(2, REGULARISERS["other prior"])
    root, prior = made.sections["root"], made.sections["prior"]
    assert np.abs(root).max() > 0.1
    for root_, reason in ((1.5 * root, "less than"), (0.5 * root, "less than"), (root[1:], "malformed")):
        changed = made.sections | {"root": root_}
        with pytest.raises(Rejected, match=reason):
            check_optimum(dataclasses.replace(made, sections=changed).to_bytes(), T)
    skew = made.sections | {"prior": prior + np.triu(np.ones((3, 3)), 1)}
    with pytest.raises(Rejected, match="symmetric"):
        check_optimum(dataclasses.replace(made, sections=skew).to_bytes(), T)


def test_a_different_claim_is_rejected():
    """Unless it is true: a larger ball of multipliers has room for the same evidence, about another F."""
    T, made = certificate()
    worse = made.parameter * (1.01 if made.sections["eigenvalue"][0] > 0 else 0.99)
    for change in ({"norm": "1"}, {"norm": "3"}, {"parameter": worse}, {"parameter": -1.0}, {"regulariser": "trace"}):
        with pytest.raises(Rejected):
            check_optimum(dataclasses.replace(made, **change).to_bytes(), T)
    assert check_optimum(dataclasses.replace(made, norm="inf").to_bytes(), T).norm == "inf"


def test_other_triplets_are_rejected():
    T, made = certificate()
    for other in (
        Triplets(T.V[::-1], T.S, T.weights),
        Triplets(T.V, np.nextafter(T.S, 9), T.weights),
        Triplets(T.V, T.S, T.weights * 2),
        Triplets(T.V[1:], T.S[1:], T.weights[1:]),
    ):
        with pytest.raises(Rejected, match="hash"):
            check_optimum(made.to_bytes(), other)


def test_every_truncation_and_every_flipped_bit_is_noticed():
    """Rejected with a reason or, where a flip leaves a true statement (in ``about``, say), accepted: never a crash."""
    T, made = certificate()
    data = dataclasses.replace(made, about={}).to_bytes()
    for end in range(0, len(data), 7):
        with pytest.raises(Rejected):
            check_optimum(data[:end], T)
    with pytest.raises(Rejected, match="after the last"):
        check_optimum(data + b"x", T)
    rng = np.random.default_rng(4)
    for at in rng.choice(len(data), 400, replace=False):
        flipped = bytearray(data)
        flipped[at] ^= 1 << int(rng.integers(8))
        try:
            checked = check_optimum(bytes(flipped), T)
        except Rejected as told:
            assert str(told)
        else:
            assert checked.lower <= made.lower


def test_a_file_cannot_make_the_checker_unpack_more_than_its_limit():
    bomb = zlib.compress(bytes(10**7))
    for size in (8, 2**40):
        header = {
            "claim": {"lower": 0.0.hex(), "norm": "2", "regulariser": "fixed trace", "parameter": 1.0.hex()},
            "sha256": "", "sections": [["a", len(bomb), size]], "about": {},
        }  # fmt: skip
        with pytest.raises(Rejected, match="malformed"):
            checker.parse(checker.MAGIC + json.dumps(header).encode() + b"\n" + bomb)
    with pytest.raises(Rejected, match="header"):
        checker.parse(checker.MAGIC + b" " * checker.HEADER_LIMIT + b"\n")


@pytest.mark.parametrize("header", ["[]", "{}", "null", '"x"', "[" * 5000, '{"claim": 1}', "1e999", "\\"])
def test_headers_that_make_no_sense_are_rejected(header):
    with pytest.raises(Rejected):
        checker.parse(checker.MAGIC + header.encode() + b"\n")


def test_checker_is_short_and_needs_only_the_standard_library():
    path = Path(checker.__file__)
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 200
    imported = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])
    assert imported <= set(sys.stdlib_module_names)


def test_sixteen_features_take_no_more_than_seconds():
    """d = 16: the bound is exact, and within 1e-9 of what floating point makes of the same multipliers."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(60, 16)) + (np.arange(60) % 2)[:, None]
    T = Triplets.from_indices(X, *(rng.choice(np.arange(first, 60, 2), 400) for first in (0, 0, 1)))
    F = RobustHingeObjective(T, as_norm(2), 0.1, 1.0, TracePenalty(1.0))
    a, q = F.multipliers(np.eye(16))
    made = certify_optimum(F, a, q)
    assert check_optimum(made.to_bytes(), T).lower == made.lower
    assert made.lower == pytest.approx(F.lower_bound(a, q), rel=1e-9)
    assert Fraction(made.lower) > 0
