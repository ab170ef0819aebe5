"""Exact radii of k-NN by integer programs: against enumeration, against the search, and with solvers that lie."""

import dataclasses
import itertools
import math

import numpy as np
import oracle
import pytest
from sklearn import datasets
from sklearn.preprocessing import MinMaxScaler
from test_k_nearest import VOTES, drawn

from convexrml import NearestNeighbors, RadiusStatus, certified_radius, exact_radius
from convexrml.errors import (
    InvalidInputError,
    SolverCapabilityError,
    SolverFailedError,
    SolverLicenceError,
    UnsupportedError,
)
from convexrml.formulations import KNearestPerturbation
from convexrml.integer_program import can_lose, exact_radius_by_integer_program
from convexrml.norms import as_box, as_norm
from convexrml.profiles import get_profile
from convexrml.votes import Vote

pytest.importorskip("pyscipopt")

OPEN = (RadiusStatus.INTERVAL,)
CLOSED = 1e-9


def by_program(case, norm, vote, **arguments):
    return exact_radius(
        case.model(), case.z[None], [case.label], norm=norm, box=case.box, vote=vote, method="program", **arguments
    )


@pytest.mark.parametrize("chunk", range(4))
@pytest.mark.parametrize("vote", VOTES)
def test_against_enumeration(norm, vote, chunk):
    closed = 0
    for seed in range(25 * chunk, 25 * chunk + 25):
        case = drawn(seed, n_max=10, boxes=True)
        found, model = by_program(case, norm, vote), case.model()
        least, radius, most = (case.truth(norm, vote, margin) for margin in (-1e-11, 0.0, 1e-11))
        lower, upper, status = found.lower[0], found.upper[0], found.status[0]
        assert lower <= upper
        assert lower <= most * (1 + CLOSED) + 1e-12 and upper >= least * (1 - CLOSED) - 1e-12
        if math.isfinite(upper):
            moved = case.z + found.perturbation[0]
            assert model.mislabels(moved[None], [case.label], vote=vote)[0]
            assert case.box is None or ((case.box[0] <= moved) & (moved <= case.box[1])).all()
            assert np.linalg.norm(found.perturbation[0], norm) <= upper
        if most <= least * (1 + 1e-7):  # the radius is as certain as rounding lets it be
            bounded = case.box is not None and np.isfinite(case.box).all()
            assert status.closed or (math.isinf(radius) and not bounded)
            closed += status is RadiusStatus.CLAIMED
        if status.closed:
            assert math.isinf(upper) == math.isinf(lower)
            assert upper - lower <= 2 * found.tolerance * max(upper, 1e-9) if math.isfinite(upper) else True
        else:
            assert status in OPEN and found.notes
    assert closed >= 1


def test_what_the_record_says():
    case = drawn(4, n_max=9)
    found = by_program(case, 2, "majority")
    assert (found.solver, found.n_neighbors, found.vote) == ("scip", case.k, Vote.MAJORITY)
    assert found.tolerance == get_profile("scip").at("accurate").tolerance + CLOSED
    assert found.negative.tolist() == [-1] and len(found.positives[0]) == len(found.multipliers[0]) == 0
    assert found.status[0] is RadiusStatus.CLAIMED and found.solves[0] >= 1
    assert found.lower[0] <= found.radius[0] <= found.upper[0]
    assert by_program(case, 1, "majority").solver == "highs"
    fast = by_program(case, 2, "majority", solver="scip", accuracy="fast")
    assert fast.tolerance == get_profile("scip").at("fast").tolerance + CLOSED
    assert fast.lower[0] <= found.upper[0] and found.lower[0] <= fast.upper[0]


def test_many_queries_and_progress():
    cases = [drawn(seed, n_max=9) for seed in (4, 9)]
    model, seen = cases[0].model(), []
    rng = np.random.default_rng(0)
    Z = np.vstack([cases[0].z, rng.standard_normal((3, len(cases[0].z)))])
    y = model.predict(Z)
    found = exact_radius(model, Z, y, solver="scip", progress=seen.append)
    assert sum(seen) == len(found) == 4
    for at in range(4):
        alone = exact_radius(model, Z[at : at + 1], y[at : at + 1], solver="scip")
        assert (found.lower[at], found.upper[at]) == (alone.lower[0], alone.upper[0])


@pytest.mark.parametrize("boxed", [False, True])
def test_one_neighbour_as_the_other_program(cloud, norm, boxed):
    data = cloud(seed=5, n=10, d=2, classes=3, queries=3, integers=False)
    model, box = data.model(), (data.Z.min() - 1.0, data.Z.max() + 1.0) if boxed else None
    other = exact_radius(model, data.Z, data.labels, norm=norm, box=box)
    found = exact_radius_by_integer_program(
        model, data.Z, model.encode(data.labels, 3), as_norm(norm), as_box(box, 2), Vote.PLURALITY,
        "scip" if norm == 2 else "highs", "accurate", None, None,
    )  # fmt: skip
    assert all(status.closed for status in found.status)
    assert np.allclose(found.upper, other.upper, rtol=found.tolerance)


@pytest.mark.parametrize("k", [1, 3, 5, 7])
@pytest.mark.parametrize("vote", list(Vote))
def test_who_can_lose_at_all(k, vote):
    """Some set of k training points in which the label loses exists, wherever they may lie."""
    for sizes in itertools.product(range(4), range(4), range(3), range(1, 7)):
        labels = np.repeat(["a", "b", "c", "y"], sizes)
        if len(labels) < k:
            continue
        model = NearestNeighbors(k).fit(np.arange(len(labels), dtype=float)[:, None], labels)
        label = int(model.encode(["y"], 1)[0])
        assert can_lose(model, label, vote) == any(True for _ in oracle.losing_sets(labels, "y", k, vote.value))


def test_statuses_on_a_line(norm):
    X, y = np.array([[0.0], [1.0], [2.0], [3.0], [9.0]]), list("aaaab")
    found = exact_radius(NearestNeighbors(3).fit(X, y), [[0.0], [9.0]], ["a", "b"], norm=norm, method="program")
    assert list(found.status) == [RadiusStatus.UNREACHABLE, RadiusStatus.MISCLASSIFIED]
    assert found.radius.tolist() == [math.inf, 0.0] and found.solves.tolist() == [0, 0]


def test_out_of_reach_everywhere_and_in_a_box(norm):
    """Each negative has positives on both sides: no point of the line is lost, but no ball is all of it."""
    X, y = np.array([[0.0], [1.0], [2.0], [9.0], [10.0], [11.0]]), list("abaaba")
    model = NearestNeighbors(3).fit(X, y)
    found = exact_radius(model, [[1.0]], ["a"], norm=norm, method="program")
    assert found.status[0] is RadiusStatus.INTERVAL and math.isinf(found.upper[0])
    assert all("up to" in note for note in found.notes) and len(found.notes) == 3
    boxed = exact_radius(model, [[1.0]], ["a"], norm=norm, method="program", box=(-5.0, 20.0))
    assert boxed.status[0] in (RadiusStatus.CLAIMED, RadiusStatus.UNREACHABLE)
    assert boxed.lower[0] == boxed.upper[0] == boxed.radius[0] == math.inf


def test_a_radius_that_the_attack_does_not_find(norm):
    """The only lost points lie between two negatives that have positives beside them; the program looks there."""
    X, y = np.array([[0.0], [1.0], [2.0], [20.0], [22.0], [23.0], [24.0]]), list("aaabbaa")
    model = NearestNeighbors(3).fit(X, y)
    found = exact_radius(model, [[0.5]], ["a"], norm=norm, method="program")
    assert found.status[0].closed
    assert found.upper[0] == pytest.approx(oracle.float_k_nearest(X, y, np.eye(1), [0.5], "a", 3, norm), rel=1e-6)


def crowd(k=3, n=150, d=6):
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, n)
    return NearestNeighbors(k).fit(rng.standard_normal((n, d)) + 0.5 * y[:, None], y), rng.standard_normal((1, d))


def test_a_time_limit_leaves_a_certified_interval():
    model, Z = crowd(k=9, n=400, d=10)
    y = model.predict(Z)
    found = exact_radius(model, Z, y, solver="scip", time_limit=1e-6)  # less than reading the program takes
    assert found.status[0] is RadiusStatus.TIME_LIMIT and found.notes
    assert found.lower[0] == certified_radius(model, Z, y).lower[0]
    assert model.mislabels(Z + found.perturbation, y)[0]
    search = exact_radius(model, Z, y, method="search")
    assert found.lower[0] <= search.upper[0] and search.lower[0] <= found.upper[0]


@pytest.mark.parametrize("factor", [0.9, 1.1, math.inf, math.nan])
def test_a_claim_that_no_witness_supports_is_not_believed(norm, monkeypatch, factor):
    case = drawn(28, n_max=10)
    honest = KNearestPerturbation.solve
    truth = case.truth(norm, "plurality")

    def lying(self, *args, **options):
        solution = honest(self, *args, **options)
        return dataclasses.replace(solution, claimed=solution.claimed * factor)

    monkeypatch.setattr(KNearestPerturbation, "solve", lying)
    found = by_program(case, norm, "plurality")
    assert found.status[0] is RadiusStatus.INTERVAL and "claims an optimum" in found.notes[0]
    bound = certified_radius(case.model(), case.z[None], [case.label], norm=norm).lower[0]
    assert found.lower[0] == bound <= truth <= found.upper[0] * (1 + 1e-12)


def test_a_solver_that_fails_leaves_a_note(norm, monkeypatch):
    def failing(self, *args, **options):
        raise SolverFailedError("out of luck")

    case = drawn(28, n_max=10)
    monkeypatch.setattr(KNearestPerturbation, "solve", failing)
    found = by_program(case, norm, "plurality")
    assert found.status[0] is RadiusStatus.INTERVAL and found.notes == ("query 0: out of luck",)
    assert 0 < found.lower[0] <= case.truth(norm, "plurality") <= found.upper[0] * (1 + 1e-12)


def test_arguments_that_cannot_be_used():
    case = drawn(4, n_max=9)
    with pytest.raises(SolverCapabilityError, match="HiGHS takes LP, QP, MILP, .* MIQP; .*scip"):
        by_program(case, 2, "majority", solver="highs")
    with pytest.raises(SolverCapabilityError, match="Clarabel"):
        by_program(case, 1, "majority", solver="clarabel")
    with pytest.raises(InvalidInputError, match="^accuracy: "):
        by_program(case, 2, "majority", accuracy="best")
    with pytest.raises(InvalidInputError, match="^time_limit: "):
        by_program(case, 2, "majority", time_limit=0.0)


@pytest.mark.slow
@pytest.mark.parametrize(("solver", "n"), [("scip", 4), ("gurobi", 16)])
@pytest.mark.parametrize(("k", "vote"), [(3, "plurality"), (5, "majority"), (5, "plurality")])
def test_digits_against_the_search(solver, n, k, vote):
    pytest.importorskip({"gurobi": "gurobipy", "scip": "pyscipopt"}[solver])
    X, y = datasets.load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    X, y = X[order] / 16, y[order]
    model, Z, labels = NearestNeighbors(k).fit(X[:300], y[:300]), X[1000 : 1000 + n], y[1000 : 1000 + n]
    try:
        search = exact_radius(model, Z, labels, vote=vote, method="search")
    except UnsupportedError as error:
        pytest.skip(str(error))
    compared = 0
    for at in range(len(Z)):
        try:
            found = exact_radius(model, Z[[at]], labels[[at]], vote=vote, solver=solver, time_limit=60)
        except SolverLicenceError:  # the licence that comes with gurobipy is for small programs
            continue
        assert found.lower[0] <= search.upper[at] * (1 + CLOSED)
        assert search.lower[at] <= found.upper[0] * (1 + CLOSED)
        if found.status[0].closed and search.status[at].closed:
            compared += 1
            assert found.upper[0] == pytest.approx(search.upper[at], rel=found.tolerance)
    assert compared >= 3


SLOW = pytest.mark.slow


@pytest.mark.parametrize("name", ["iris", "wine", *(pytest.param(n, marks=SLOW) for n in ("breast_cancer", "digits"))])
@pytest.mark.parametrize(("k", "vote"), [(3, "plurality"), (5, "majority"), (5, "plurality")])
def test_real_data_against_the_search(name, k, vote):
    """The first of a shuffle are the training set: six queries of each, 36 programs in all (and 36 that are slow)."""
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    X, y = MinMaxScaler().fit_transform(X)[order], y[order]
    model, Z = NearestNeighbors(k).fit(X[:60], y[:60]), X[60:66]
    labels = model.predict(Z)
    search = exact_radius(model, Z, labels, vote=vote)
    found = exact_radius(model, Z, labels, vote=vote, solver="scip")
    assert all(status.closed for status in [*search.status, *found.status])
    assert found.upper == pytest.approx(search.upper, rel=found.tolerance, abs=0)
    assert np.count_nonzero(search.lower) >= 4  # a vote that three labels share is lost as it stands
