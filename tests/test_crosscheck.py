import dataclasses
import importlib
import math
import subprocess
import sys

import numpy as np
import oracle
import pytest

import convexrml.solve
from convexrml.attacks import attack_radius
from convexrml.bounds import certified_radius
from convexrml.errors import (
    CrossCheckInterrupted,
    InvalidInputError,
    SearchInterrupted,
    SolverCapabilityError,
    SolverError,
    SolverFailedError,
    SolverMissingError,
    UnknownSolverError,
    UnsupportedError,
)
from convexrml.exact import exact_radius
from convexrml.judge import Roads, crosscheck, default_solvers
from convexrml.neighbors import NearestNeighbors
from convexrml.norms import as_norm
from convexrml.results import AttackRadii, ExactRadii, RadiusStatus
from convexrml.solve import ClaimedStatus
from convexrml.verdicts import Comparison, Verdict
from convexrml.votes import Vote

NORMS = (1, 2, math.inf)
EXACT_ROADS = ("search", "clarabel", "daqp")


def assert_counts_add_up(report):
    assert report.checked + report.inconclusive + report.skipped == len(report.comparisons)
    assert report.checked == report.count(Verdict.HOLDS) + report.violated
    assert len(report.violations) == report.violated
    assert all(c.reason for c in report.comparisons if c.verdict in (Verdict.SKIPPED, Verdict.INCONCLUSIVE))
    for number in ("checked", "violated", "inconclusive", "skipped"):
        assert f"{getattr(report, number)} {number}" in str(report)


@pytest.fixture
def tight():
    """One point per class: certified, exact and attack radius are the same number, in every norm."""
    return (
        NearestNeighbors().fit([[0.0, 0.0], [3.0, 4.0]], ["here", "there"]),
        [[0.0, 0.0], [2.0, 4.0]],
        ["here", "there"],
    )


@pytest.fixture
def ordinary(cloud):
    data = cloud(seed=2, n=12, d=3, classes=3, integers=False, rank=3, queries=4)
    return data.model(), data.Z, data.labels


def test_honest_roads_agree(ordinary):
    steps = []
    report = crosscheck(*ordinary, boxes=(None, (-4.0, 4.0)), progress=steps.append)
    assert_counts_add_up(report)
    assert report.violated == 0
    assert report.inconclusive == 0
    assert report.skipped <= 0.1 * len(report.comparisons)
    # per query, norm and box: the attack's witness and certified–attack; for each exact road its witness,
    # certified–exact, its own two ends, exact–attack and its certificate; and the exact roads both ways
    assert len(report.comparisons) == 4 * 3 * 2 * (2 + 3 * 5 + 3 * 2)
    assert sum(steps) == 4 * 3 * 2 * 3
    assert report.worst_excess <= 0
    assert report.disagreement <= 1e-8
    assert report.solvers == EXACT_ROADS
    assert set(report.exact) == {(n, b, s) for n in ("1", "2", "inf") for b in (0, 1) for s in EXACT_ROADS}


def test_every_pair_of_roads_is_compared_once_for_every_query(tight):
    report = crosscheck(*tight)
    seen = [(c.query, c.norm.name, c.box, c.below, c.above) for c in report.comparisons]
    assert len(set(seen)) == len(seen)
    exact = [f"exact {name}" for name in EXACT_ROADS]
    pairs = {("certified", "attack"), ("witness of attack", "attack")}
    pairs |= {("certified", name) for name in exact} | {(name, "attack") for name in exact}
    pairs |= {(f"{what} of {name}", name) for name in exact for what in ("witness", "certificate")}
    pairs |= {(one, other) for one in exact for other in exact}  # each with itself, too
    assert {(c.below, c.above) for c in report.comparisons} == pairs
    assert len(seen) == 2 * 3 * len(pairs)
    assert {c.verdict for c in report.comparisons} == {Verdict.HOLDS}


def test_all_free_solvers_side_by_side(ordinary, norm, takes):
    from conftest import free_solvers

    solvers = [name for name in free_solvers() if takes(name)]
    report = crosscheck(*ordinary, norms=[norm], solvers=solvers)
    assert_counts_add_up(report)
    assert report.violated == 0
    assert report.disagreement <= 1e-5
    assert len(solvers) >= 4


# --- planted faults -------------------------------------------------------------------------------------------------


def changed(road, **changes):
    """A road whose results are replaced, field by field, by what the functions make of them."""

    def go(*args, **kwargs):
        result = road(*args, **kwargs)
        return dataclasses.replace(result, **{name: change(result) for name, change in changes.items()})

    return go


def test_a_bound_inflated_by_a_millionth_is_convicted(tight):
    road = changed(certified_radius, lower=lambda r: r.lower * (1 + 1e-6))
    report = crosscheck(*tight, roads=Roads(certified=road))
    assert_counts_add_up(report)
    convicted = {(c.query, c.norm.name, c.above) for c in report.violations if c.below == "certified"}
    assert convicted >= {
        (q, n, a)
        for q in (0, 1)
        for n in ("1", "2", "inf")
        for a in ("attack", "exact search", "exact clarabel", "exact daqp")
    }
    assert {c.below for c in report.violations} == {"certified"}
    assert report.worst_excess == pytest.approx(1e-6, rel=1e-2)
    assert report.violations[0] == report.worst
    assert "violated" in str(report)
    assert ">" in str(report.worst)


@pytest.mark.parametrize("factor", [1 + 1e-9, 1.1, 2.0, math.inf])
def test_bounds_inflated_by_more_and_less(tight, factor):
    report = crosscheck(*tight, roads=Roads(certified=changed(certified_radius, lower=lambda r: r.lower * factor)))
    assert report.violated + report.inconclusive >= 6 * 4 - 6
    assert report.violated >= 6


def test_bounds_that_are_no_numbers_are_not_passed_over(tight):
    report = crosscheck(*tight, roads=Roads(certified=changed(certified_radius, lower=lambda r: r.lower * math.nan)))
    assert_counts_add_up(report)
    assert {c.verdict for c in report.comparisons if c.below == "certified"} == {Verdict.SKIPPED}
    assert report.skipped == 6 * 4


def test_swapped_labels_are_convicted(cloud):
    data = cloud(seed=2, n=12, d=2, queries=5)

    def swapped(road):
        return lambda model, Z, y, **kwargs: road(model, Z, 1 - np.asarray(y), **kwargs)

    for name, road in (("exact", exact_radius), ("attack", attack_radius)):
        report = crosscheck(data.model(), data.Z, data.labels, norms=[2], roads=Roads(**{name: swapped(road)}))
        assert_counts_add_up(report)
        assert report.violated >= 5


def test_an_attack_that_claims_less_than_it_needs_is_convicted(tight, ordinary):
    for factor in (1 - 1e-6, 0.5, 0.0, -1.0):
        road = changed(attack_radius, upper=lambda r, factor=factor: r.upper * factor)
        report = crosscheck(*tight, roads=Roads(attack=road))
        assert_counts_add_up(report)
        assert {c.below for c in report.violations} == {
            "certified", "exact search", "exact clarabel", "exact daqp", "witness of attack",
        }  # fmt: skip
        assert {c.above for c in report.violations} == {"attack"}
        assert report.violated == 2 * 3 * 5
    report = crosscheck(*ordinary, roads=Roads(attack=changed(attack_radius, upper=lambda r: r.upper * 0.3)))
    below = {c.below for c in report.violations}
    assert "witness of attack" in below and len(below) > 1, "another road should notice, too"


@pytest.mark.parametrize(
    "solvers", [("clarabel",), ("search",), ("clarabel", "daqp"), EXACT_ROADS], ids=lambda solvers: " ".join(solvers)
)
def test_an_exact_road_whose_lower_bound_is_above_its_own_witness_is_convicted(ordinary, solvers):
    """The attack is not tight here: only the road's own witness, or another solver's, can convict."""
    road = changed(exact_radius, lower=lambda r: r.upper * (1 + 1e-6))
    report = crosscheck(*ordinary, solvers=solvers, roads=Roads(exact=road))
    assert_counts_add_up(report)
    everywhere = {(q, n) for q in range(4) for n in ("1", "2", "inf")}
    for name in solvers:  # each by its own witness
        own = [c for c in report.violations if c.below == c.above == f"exact {name}"]
        assert {(c.query, c.norm.name) for c in own} == everywhere
    assert {(c.query, c.norm.name) for c in report.violations} == everywhere


def test_an_exact_road_that_claims_too_little_is_convicted(tight):
    road = changed(exact_radius, lower=lambda r: r.lower * 0.5, upper=lambda r: r.upper * 0.5)
    report = crosscheck(*tight, roads=Roads(exact=road))
    assert_counts_add_up(report)
    assert {(c.below, c.above) for c in report.violations} == {
        (below, f"exact {name}")
        for name in EXACT_ROADS
        for below in ("certified", f"witness of exact {name}", f"certificate of exact {name}")
    }
    assert report.violated == 3 * 3 * 6


# --- planted faults in witnesses ------------------------------------------------------------------------------------


def with_witness(road, move):
    """A road whose witnesses are moved, and whose upper bounds are what these measure."""

    def go(model, Z, y, *, norm, **kwargs):
        result = road(model, Z, y, norm=norm, **kwargs)
        perturbation = move(result.perturbation)
        return dataclasses.replace(result, perturbation=perturbation, upper=norm.of(perturbation) * (1 + 1e-12))

    return go


def verdicts_on_witnesses(report, road):
    return [c for c in report.comparisons if c.below == f"witness of {road}"]


@pytest.mark.parametrize("which", ["attack", "exact"])
@pytest.mark.parametrize("solver", ["search", "clarabel"])
def test_a_witness_that_the_classifier_does_not_mislabel_is_convicted(tight, which, solver):
    """However the bounds compare: here the upper bound is raised, the way from the boundary being the wrong one."""
    road = with_witness({"attack": attack_radius, "exact": exact_radius}[which], lambda delta: -1.5 * delta)
    report = crosscheck(*tight, solvers=[solver], roads=Roads(**{which: road}))
    assert_counts_add_up(report)
    name = "attack" if which == "attack" else f"exact {solver}"
    found = verdicts_on_witnesses(report, name)
    assert {(c.query, c.norm.name) for c in found} == {(q, n) for q in (0, 1) for n in ("1", "2", "inf")}
    assert {c.verdict for c in found} == {Verdict.VIOLATED}
    assert {c.reason for c in found} == {"the classifier does not mislabel the witness"}
    assert all(c.above == name for c in report.violations)


@pytest.mark.parametrize("which", ["attack", "exact"])
def test_a_witness_outside_the_box_is_convicted(which):
    model = NearestNeighbors().fit([[0.0], [4.0]], [0, 1])
    road = with_witness({"attack": attack_radius, "exact": exact_radius}[which], lambda delta: 4 * delta)
    report = crosscheck(
        model, [[1.0]], [0], boxes=[None, (-1.0, 3.0)], solvers=["search"], roads=Roads(**{which: road})
    )
    assert_counts_add_up(report)
    found = verdicts_on_witnesses(report, "attack" if which == "attack" else "exact search")
    assert {(c.box, c.verdict) for c in found} == {(0, Verdict.HOLDS), (1, Verdict.VIOLATED)}
    assert {c.reason for c in found if c.box == 1} == {"the witness is outside the box"}


@pytest.mark.parametrize("which", ["attack", "exact"])
@pytest.mark.parametrize("factor", [1 - 1e-9, 0.5])
def test_a_witness_longer_than_its_upper_bound_is_convicted(ordinary, which, factor):
    road = changed({"attack": attack_radius, "exact": exact_radius}[which], upper=lambda r: r.upper * factor)
    report = crosscheck(*ordinary, solvers=["search"], roads=Roads(**{which: road}))
    assert_counts_add_up(report)
    found = verdicts_on_witnesses(report, "attack" if which == "attack" else "exact search")
    assert len(found) == 4 * 3 and {c.verdict for c in found} == {Verdict.VIOLATED}
    assert all(c.lower > c.upper for c in found)


@pytest.mark.parametrize("which", ["attack", "exact"])
@pytest.mark.parametrize("nothing", [math.nan, math.inf])
def test_an_upper_bound_without_a_witness_is_convicted(tight, which, nothing):
    road = changed(
        {"attack": attack_radius, "exact": exact_radius}[which], perturbation=lambda r: r.perturbation * 0 + nothing
    )
    report = crosscheck(*tight, solvers=["search"], roads=Roads(**{which: road}))
    assert_counts_add_up(report)
    found = verdicts_on_witnesses(report, "attack" if which == "attack" else "exact search")
    assert len(found) == 2 * 3 and {c.verdict for c in found} == {Verdict.VIOLATED}


def test_an_attack_without_numbers_never_holds(tight):
    report = crosscheck(*tight, roads=Roads(attack=changed(attack_radius, upper=lambda r: r.upper * math.nan)))
    assert_counts_add_up(report)
    assert {c.verdict for c in report.comparisons if c.above == "attack"} == {Verdict.SKIPPED}
    assert report.skipped == 2 * 3 * 5 and report.violated == 0


# --- planted faults in exact roads ----------------------------------------------------------------------------------


def test_an_exact_road_that_claims_nothing_can_be_reached_is_convicted(tight):
    road = changed(
        exact_radius,
        lower=lambda r: r.lower * math.inf, upper=lambda r: r.upper * math.inf,
        status=lambda r: np.array([RadiusStatus.UNREACHABLE] * len(r), dtype=object),
    )  # fmt: skip
    report = crosscheck(*tight, solvers=["clarabel"], roads=Roads(exact=road))
    assert_counts_add_up(report)
    assert ("exact clarabel", "attack") in {(c.below, c.above) for c in report.violations}


@pytest.mark.parametrize("which", ["lower", "upper", "both"])
def test_an_exact_road_without_numbers_never_holds(tight, which):
    """Whatever status it claims.  (Its witness, whose length is not the lower bound, may still be one.)"""
    changes = {name: lambda r: r.lower * math.nan for name in (("lower", "upper") if which == "both" else (which,))}
    report = crosscheck(*tight, solvers=["clarabel"], roads=Roads(exact=changed(exact_radius, **changes)))
    assert_counts_add_up(report)
    road = "exact clarabel"
    broken = [c for c in report.comparisons if which != "lower" and c.above == road]
    broken += [c for c in report.comparisons if which != "upper" and c.below == road]
    broken += [c for c in report.comparisons if c.above == road and c.below in ("certified", f"certificate of {road}")]
    assert {(c.below, c.above) for c in broken} >= {("certified", road), (road, road)}
    assert {c.verdict for c in broken} == {Verdict.SKIPPED}
    assert {c.verdict for c in report.comparisons if c not in broken} == {Verdict.HOLDS}
    witnesses = {c.verdict for c in verdicts_on_witnesses(report, road)}
    assert witnesses == {Verdict.HOLDS if which == "lower" else Verdict.SKIPPED}


def test_a_wide_interval_is_inconclusive_or_skipped_never_held(tight):
    wide = {"status": lambda r: np.array([RadiusStatus.INTERVAL] * len(r), dtype=object)}
    report = crosscheck(
        *tight, solvers=["clarabel"], roads=Roads(exact=changed(exact_radius, lower=lambda r: r.lower * 0.5, **wide))
    )
    assert_counts_add_up(report)
    assert report.inconclusive == 6
    report = crosscheck(*tight, solvers=["clarabel"], roads=Roads(exact=changed(exact_radius, **wide)))
    assert_counts_add_up(report)
    assert [c.reason for c in report.comparisons if c.verdict is Verdict.SKIPPED] == ["no usable gap"] * 6


LIES = {
    "shrunk": lambda values: values * 0.5, "grown": lambda values: values * 1.5, "turned round": lambda values: -values,
    "zero": lambda values: values * 0, "nan": lambda values: values * math.nan, "shifted": lambda values: values + 1.0,
    "tiny": lambda values: values * 1e-200, "huge": lambda values: values * 1e300,
}  # fmt: skip


@pytest.mark.parametrize(
    "claim", [ClaimedStatus.OPTIMAL, ClaimedStatus.INFEASIBLE], ids=lambda claim: claim.name.lower()
)
@pytest.mark.parametrize("about", ["primal", "dual", "both"])
@pytest.mark.parametrize("lie", LIES)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_solver_that_lies_is_never_believed(ordinary, monkeypatch, lie, about, claim):
    honest = convexrml.solve.run
    truth = {n: exact_radius(*ordinary, norm=n, solver="daqp").radius for n in NORMS}

    def run(problem, solver, accuracy, **kwargs):
        report = honest(problem, solver, accuracy, **kwargs)
        variables = problem.variables() if about != "dual" else []
        if about != "primal":
            variables = variables + [v for c in problem.constraints for v in c.dual_variables]
        for variable in variables:
            if variable.value is not None:
                variable.save_value(LIES[lie](np.asarray(variable.value, dtype=float)))
        return dataclasses.replace(report, claimed=claim)

    monkeypatch.setattr(convexrml.solve, "run", run)
    report = crosscheck(*ordinary, solvers=["clarabel"])
    assert_counts_add_up(report)
    for (name, _, _), result in report.exact.items():
        true = truth[as_norm(name).order]
        known = ~np.isnan(result.radius)
        np.testing.assert_allclose(result.radius[known], true[known], rtol=1e-8)
        assert (result.lower <= true * (1 + 1e-8)).all()
        assert (result.upper >= true * (1 - 1e-8)).all()
        for c in report.comparisons:
            if (c.norm.name, c.below, c.above) == (name, "certified", "exact clarabel") and not known[c.query]:
                assert c.verdict is not Verdict.HOLDS
    assert report.violated == 0


def test_a_solver_that_fails_is_counted_and_noted(tight, monkeypatch):
    honest = convexrml.solve.run

    def run(problem, solver, *args, **kwargs):
        if solver == "daqp":
            raise SolverFailedError("out of luck")
        return honest(problem, solver, *args, **kwargs)

    monkeypatch.setattr(convexrml.solve, "run", run)
    report = crosscheck(*tight)
    assert_counts_add_up(report)
    assert report.violated == 0
    assert report.skipped >= 6
    assert any(note.startswith("daqp, ") and "out of luck" in note for note in report.notes)


# --- more neighbours ------------------------------------------------------------------------------------------------


def enumerated(data, share=1.0, status=RadiusStatus.EXACT):
    """An exact and an attack road for k > 1 by full enumeration; lower bounds are the truth times `share`.

    Rounding of 1e-9 is given up on both sides: half-spaces are moved inwards, so that the classifier sees the witness.
    """

    def witnesses(model, Z, y, norm, box, vote):
        sides = None if box is None else (box.lower, box.upper)
        ask = (data.X, data.y, data.M)
        found = [
            oracle.float_k_nearest_point(*ask, z, label, model.n_neighbors, norm.order, vote.value, sides, 1e-10)
            for z, label in zip(Z, y, strict=True)
        ]
        radius = np.array([value for value, _ in found])
        return radius, np.array([np.full(len(Z[0]), math.nan) if point is None else point for _, point in found])

    def exact(model, Z, y, *, norm, box, vote, solver, accuracy, progress=None, **limits):
        radius, points = witnesses(model, Z, y, norm, box, vote)
        n = len(Z)
        nothing = (np.empty(0, dtype=np.int64),) * n, (np.empty(0),) * n
        kinds = [status if math.isfinite(r) else RadiusStatus.UNREACHABLE for r in radius]
        return ExactRadii(
            radius * (1 - 1e-8) * share, radius * (1 + 1e-12), points, np.array(kinds, dtype=object),
            np.full(n, -1), *nothing, np.ones(n, dtype=np.int64), 1e-7, solver or "search", norm, box,
            n_neighbors=model.n_neighbors, vote=vote,
        )  # fmt: skip

    def attack(model, Z, y, *, norm, box, vote):
        radius, points = witnesses(model, Z, y, norm, box, vote)
        return AttackRadii(radius * (1 + 1e-12), points, norm, vote)

    return {"exact": exact, "attack": attack}


@pytest.fixture
def crowd(cloud):
    """A model of five neighbours and four classes, and queries of which some are lost sooner by majority."""
    data = cloud(seed=6, n=11, d=2, classes=4, queries=8, integers=False)
    rank = np.argsort(oracle.direct_distances(data.X, data.M, data.Z), axis=1, kind="stable")
    data.labels = np.array([np.bincount(data.y[row[:5]]).argmax() for row in rank])
    model = data.model(5)
    wins = ~model.mislabels(data.Z, data.labels)
    data.Z, data.labels = data.Z[wins], data.labels[wins]
    return data, (model, data.Z, data.labels)


@pytest.mark.parametrize("vote", ["majority", "plurality"])
def test_more_neighbours_on_equal_terms(crowd, vote):
    data, ask = crowd
    steps = []
    report = crosscheck(
        *ask, vote=vote, boxes=(None, (-9.0, 9.0)), solvers=("search", "scip"), roads=Roads(**enumerated(data)),
        progress=steps.append,
    )  # fmt: skip
    assert_counts_add_up(report)
    assert report.violated == report.inconclusive == 0
    assert len(report.comparisons) == len(data.Z) * 3 * 2 * (2 + 2 * 5 + 2)
    assert set(report.exact) == {(n, b, s) for n in ("1", "2", "inf") for b in (0, 1) for s in ("search", "scip")}
    assert (report.n_neighbors, report.vote.value) == (5, vote)
    assert {c.reason for c in report.comparisons} <= {"", "no witness", "only the closed form is certified"}
    assert report.disagreement == 0 and report.worst_excess <= 0


def test_a_road_that_answers_for_the_other_vote_is_convicted(crowd):
    """Too far for a majority; and a witness at which only the majority is lost is none for a plurality."""
    data, ask = crowd
    honest = enumerated(data)

    def other(road):
        return lambda *a, vote, **k: road(
            *a, vote=Vote.MAJORITY if vote is Vote.PLURALITY else Vote.PLURALITY, **k
        )  # fmt: skip

    liar = Roads(exact=other(honest["exact"]), attack=honest["attack"])
    report = crosscheck(*ask, vote="majority", norms=[2], solvers=["search"], roads=liar)
    assert {(c.below, c.above) for c in report.violations} == {("exact search", "attack")}
    report = crosscheck(*ask, vote="plurality", norms=[2], solvers=["search"], roads=liar)
    assert ("witness of exact search", "exact search") in {(c.below, c.above) for c in report.violations}
    assert "the classifier does not mislabel the witness" in {c.reason for c in report.violations}


def test_a_wrong_claim_of_a_mixed_integer_solver_is_convicted_by_name(crowd):
    data, ask = crowd
    honest, wrong = enumerated(data), enumerated(data, 1.001, RadiusStatus.CLAIMED)

    def road(*args, solver, **keywords):
        return (wrong if solver == "scip" else honest)["exact"](*args, solver=solver, **keywords)

    roads = Roads(exact=road, attack=honest["attack"])
    report = crosscheck(*ask, norms=[2], solvers=["search", "scip", "highs"], roads=roads)
    assert_counts_add_up(report)
    assert {(c.below, c.above) for c in report.violations} == {
        ("exact scip", above) for above in ("exact scip", "exact search", "exact highs", "attack")
    }
    assert {c.reason for c in report.violations} == {"the lower bound is scip's word, without a proof"}
    assert "scip's word" in str(report.worst)
    assert report.disagreement == pytest.approx(0.0005, rel=0.1)
    modest = enumerated(data, 1.0, RadiusStatus.CLAIMED)
    report = crosscheck(*ask, norms=[2], solvers=["scip"], roads=Roads(**modest))
    assert report.violated == 0 and report.count(Verdict.HOLDS) > 0


@pytest.mark.parametrize("status", [RadiusStatus.TIME_LIMIT, RadiusStatus.NODE_LIMIT, RadiusStatus.INTERVAL])
def test_intervals_that_a_limit_left_are_compared_and_counted(crowd, status):
    """Their ends are bounds like others; only the certified radius inside of one decides nothing."""
    data, ask = crowd
    for share, verdict in ((0.5, Verdict.INCONCLUSIVE), (0.99, Verdict.SKIPPED), (1.1, Verdict.SKIPPED)):
        roads = enumerated(data, share, status)
        report = crosscheck(*ask, norms=[2], solvers=["search"], time_limit=1.0, node_limit=5, roads=Roads(**roads))
        assert_counts_add_up(report)
        assert math.isnan(report.disagreement)
        of = {c.verdict for c in report.comparisons if (c.below, c.above) == ("certified", "exact search")}
        assert verdict in of and of <= {verdict, Verdict.SKIPPED, Verdict.INCONCLUSIVE, Verdict.HOLDS}
        assert (report.violated > 0) == (share > 1)
    words = {"INTERVAL": "no usable gap", "TIME_LIMIT": "no usable gap (time limit)"}
    assert words.get(status.name, "no usable gap (node limit)") in {c.reason for c in report.comparisons}


def test_limits_are_handed_to_the_roads_that_know_them(crowd):
    data, ask = crowd
    honest, asked = enumerated(data), []

    def road(*args, solver, **keywords):
        asked.append((solver, keywords.pop("time_limit", None), keywords.pop("node_limit", None)))
        return honest["exact"](*args, solver=solver, **keywords)

    roads = Roads(exact=road, attack=honest["attack"])
    crosscheck(*ask, norms=[2], solvers=["search", "scip"], time_limit=2.0, node_limit=7, roads=roads)
    crosscheck(*ask, norms=[2, 1], roads=roads)
    assert asked == [
        (None, 2.0, 7), ("scip", 2.0, None), (None, None, None), ("scip", None, None),
        (None, None, None), ("highs", None, None),
    ]  # fmt: skip


def test_a_road_that_does_not_take_a_norm_is_skipped_with_its_reason(crowd):
    data, ask = crowd
    honest = enumerated(data)

    def road(*args, norm, solver, **keywords):
        if solver is None and norm.order != 2:
            raise UnsupportedError("norm: the search is for norm 2")
        if solver == "highs" and norm.order == 2:
            raise SolverCapabilityError("HiGHS does not take MIQP")
        return honest["exact"](*args, norm=norm, solver=solver, **keywords)

    report = crosscheck(
        *ask, norms=[1, 2], solvers=["search", "highs"], roads=Roads(exact=road, attack=honest["attack"])
    )
    assert_counts_add_up(report)
    assert report.violated == 0
    assert set(report.exact) == {("1", 0, "highs"), ("2", 0, "search")}
    reasons = {(c.norm.name, c.above, c.reason) for c in report.comparisons if math.isnan(c.upper)}
    assert reasons == {
        ("1", "exact search", "search: norm: the search is for norm 2"),
        ("2", "exact highs", "highs: HiGHS does not take MIQP"),
    }
    assert report.solvers_at(as_norm(1), 0) == ("highs",)
    assert math.isnan(report.disagreement)


def test_a_default_solver_that_is_missing_is_skipped_but_not_one_that_was_named(crowd):
    data, ask = crowd
    honest = enumerated(data)

    def road(*args, solver, **keywords):
        if solver == "scip":
            raise SolverMissingError("pip install it")
        return honest["exact"](*args, solver=solver, **keywords)

    roads = Roads(exact=road, attack=honest["attack"])
    report = crosscheck(*ask, norms=[2], roads=roads)
    assert report.solvers == ("search", "scip") and set(report.exact) == {("2", 0, "search")}
    assert "scip: pip install it" in {c.reason for c in report.comparisons}
    with pytest.raises(SolverMissingError):
        crosscheck(*ask, norms=[2], solvers=["search", "scip"], roads=roads)


def test_ctrl_c_hands_over_what_was_compared(crowd):
    data, ask = crowd
    honest = enumerated(data)

    def road(*args, norm, **keywords):
        found = honest["exact"](*args, norm=norm, **keywords)
        if norm.order == 2:
            raise SearchInterrupted(found)
        return found

    with pytest.raises(CrossCheckInterrupted) as caught:
        crosscheck(*ask, norms=[1, 2], solvers=["search"], roads=Roads(exact=road, attack=honest["attack"]))
    report = caught.value.report
    assert_counts_add_up(report)
    assert set(report.exact) == {("1", 0, "search")}
    assert {(c.norm.name, c.below) for c in report.comparisons} >= {("1", "exact search"), ("2", "certified")}
    assert isinstance(caught.value.__cause__, SearchInterrupted) and isinstance(caught.value, KeyboardInterrupt)


@pytest.mark.parametrize("vote", ["majority", "plurality"])
def test_the_librarys_own_roads_for_more_neighbours_agree(cloud, vote):
    data = cloud(seed=1, n=15, d=2, classes=3, queries=4, integers=False)
    report = crosscheck(data.model(5), data.Z, data.labels, vote=vote)
    assert_counts_add_up(report)
    assert report.violated == report.inconclusive == 0
    assert {("1", 0, "highs"), ("2", 0, "search"), ("2", 0, "scip"), ("inf", 0, "highs")} <= set(report.exact)
    assert all(status.closed for radii in report.exact.values() for status in radii.status)
    assert report.disagreement <= 1e-6  # SCIP's feasibility tolerance; its lower bounds are claims


def test_defaults_are_written_down():
    for norm in map(as_norm, NORMS):
        assert default_solvers(1, norm) == EXACT_ROADS
        assert default_solvers(3, norm) == ("search", "scip" if norm.order == 2 else "highs")


# --- the rest -------------------------------------------------------------------------------------------------------


def test_unreachable_points_hold(norm):
    model = NearestNeighbors().fit([[0.0], [4.0]], [0, 1])
    report = crosscheck(model, [[0.0]], [0], norms=[norm], boxes=[(-1.0, 1.0)])
    assert_counts_add_up(report)
    assert report.violated == 0
    exact = [c for c in report.comparisons if c.below == "certified" and c.above.startswith("exact")]
    assert [c.verdict for c in exact] == [Verdict.HOLDS] * len(exact)
    assert len(exact) == 3
    assert all(c.reason == "no witness" for c in report.comparisons if c.below.startswith("witness"))


def test_the_excess_of_a_comparison():
    def excess(lower, upper):
        return Comparison(Verdict.HOLDS, 0, as_norm(2), 0, "a", "b", lower, upper).excess

    assert excess(1.0, 2.0) == -0.5
    assert excess(3.0, 2.0) == 0.5
    assert excess(0.0, 0.0) == 0.0
    assert excess(1.0, 0.0) == math.inf
    assert excess(math.nan, 1.0) == excess(1.0, math.nan) == excess(1.0, math.inf) == -math.inf


def test_bad_arguments(tight):
    model, Z, y = tight
    for keywords, name in (
        ({"norms": []}, "norms"), ({"boxes": []}, "boxes"), ({"solvers": []}, "solvers"), ({"norms": [3]}, "norm"),
        ({"boxes": [5]}, "box"), ({"boxes": [None, (1, 9)]}, "box"), ({"accuracy": "perfect"}, "accuracy"),
        ({"vote": "unanimity"}, "vote"),
    ):  # fmt: skip
        with pytest.raises(InvalidInputError, match=rf"^{name}: "):
            crosscheck(model, Z, y, **keywords)
    with pytest.raises(InvalidInputError, match=r"^y: "):
        crosscheck(model, Z, ["here", "nowhere"])
    with pytest.raises(InvalidInputError, match=r"^Z: "):
        crosscheck(model, [[0.0]], ["here"])
    with pytest.raises(UnknownSolverError):
        crosscheck(model, Z, y, solvers=["claribel"])
    assert issubclass(UnknownSolverError, SolverError)


@pytest.mark.parametrize("first", ["import convexrml.judge", "from convexrml.judge import Roads", "pass"])
def test_the_public_name_is_the_function_whatever_was_imported_first(first):
    done = subprocess.run(
        [sys.executable, "-c", f"{first}\nimport convexrml\nprint(callable(convexrml.crosscheck))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "True"
    assert callable(importlib.import_module("convexrml.judge").crosscheck)


def test_search_after_another_use_of_highs_in_the_process(ordinary, norm):
    """HiGHS keeps one scheduler for the whole process: whoever comes first must not spoil the others' solves."""
    for solvers in (["highs", "search"], ["search", "highs"]):
        report = crosscheck(*ordinary, norms=[norm], solvers=solvers)
        assert report.notes == ()
        assert report.skipped == 0
        assert report.violated == 0
