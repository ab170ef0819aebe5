import math

import numpy as np
import pytest

from convexrml.compare.rows import Row
from convexrml.compare.statistics import growth, performance_profile, shifted_geometric_mean, summarise
from convexrml.compare.verdict import TOLERANCES, Verdict, distance, judge
from convexrml.errors import InvalidInputError

TRUTH = (1.0, 1.0 + 1e-12)
GOOD = {"claimed": "OPTIMAL", "value": 1.0, "primal": 1e-12, "dual": 0.0, "cone": None, "gap": 1e-12}


@pytest.mark.parametrize(
    ("changed", "verdict", "correct"),
    [
        ({}, Verdict.SUCCESS, True),
        ({"value": 1.0 - 1e-5}, Verdict.WRONG_OPTIMAL, False),
        ({"primal": 1e-5}, Verdict.WRONG_OPTIMAL, False),
        ({"gap": -1e-5}, Verdict.WRONG_OPTIMAL, False),
        ({"gap": math.nan}, Verdict.WRONG_OPTIMAL, False),
        ({"dual": 1e-2}, Verdict.WRONG_OPTIMAL, False),
        ({"cone": 1e-3}, Verdict.WRONG_OPTIMAL, False),
        ({"value": math.nan}, Verdict.WRONG_OPTIMAL, False),
        ({"claimed": "OPTIMAL_INACCURATE"}, Verdict.MODEST, False),
        ({"claimed": "USER_LIMIT", "value": 2.0}, Verdict.HONEST, True),
        ({"claimed": "INFEASIBLE"}, Verdict.WRONG_INFEASIBLE, False),
        ({"claimed": "UNBOUNDED"}, Verdict.WRONG_INFEASIBLE, False),
        ({"claimed": "INFEASIBLE_INACCURATE"}, Verdict.HONEST, True),
        ({"claimed": None}, Verdict.NOTHING, None),
    ],
    ids=str,
)
def test_claim_and_truth(changed, verdict, correct):
    found = judge(GOOD | changed, TRUTH, "accurate")
    assert found is verdict
    assert found.correct is correct


def test_a_program_without_solution_is_rightly_called_infeasible():
    assert judge({"claimed": "INFEASIBLE"}, (math.inf, math.inf), "fast") is Verdict.SUCCESS
    assert judge({"claimed": "UNBOUNDED"}, (math.inf, math.inf), "fast") is Verdict.WRONG_INFEASIBLE


def test_the_same_answer_may_be_valid_at_one_accuracy_only():
    answer = GOOD | {"value": 1.0 + 1e-5}
    assert judge(answer, TRUTH, "fast") is Verdict.SUCCESS
    assert judge(answer, TRUTH, "accurate") is Verdict.WRONG_OPTIMAL
    with pytest.raises(InvalidInputError, match=r"^accuracy: .*'best' \(there are: fast, accurate\)"):
        judge(answer, TRUTH, "best")


def test_distance_is_relative_and_zero_inside_the_interval():
    assert distance(1.5, (1.0, 2.0)) == 0
    assert distance(3.0, (1.0, 2.0)) == pytest.approx(1 / 3)
    assert distance(0.5, (1.0, 2.0)) == pytest.approx(1 / 2)
    assert distance(math.inf, (1.0, 2.0)) == math.inf
    assert distance(math.inf, (math.inf, math.inf)) == 0
    assert math.isnan(distance(None, TRUTH))


def test_a_dual_residual_up_to_the_root_of_twice_the_gap_is_what_a_closed_gap_allows():
    assert all(t.dual == pytest.approx(math.sqrt(2 * t.gap)) for t in TOLERANCES.values())


def test_shifted_geometric_means():
    assert shifted_geometric_mean([4.0, 9.0], 0.0) == pytest.approx(6.0)
    assert shifted_geometric_mean([1.0, 1.0, 1.0], 10.0) == pytest.approx(1.0)
    assert shifted_geometric_mean([0.0, 0.0], 1e-2) == 0.0
    assert math.isnan(shifted_geometric_mean([], 1.0))


def row(solver, size, seconds, verdict=Verdict.SUCCESS, outcome="answered"):
    measured = {"value": 1.0, "seconds": seconds, "compile_seconds": seconds / 2, "solve_seconds": seconds / 2}
    measured |= {"peak_memory": 3 * 2**20, "base_memory": 2**20}
    if outcome != "answered":
        measured, verdict = {}, Verdict.NOTHING
    return Row("perturbation-qp", size, 0, solver, "fast", {}, outcome, "", measured, TRUTH, verdict)


def test_performance_profiles_count_success_within_multiples_of_the_best():
    rows = [row("a", 10, 1.0), row("a", 20, 4.0), row("b", 10, 2.0), row("b", 20, 1.0, Verdict.WRONG_OPTIMAL)]
    rows += [row("c", 10, 0, outcome="no licence"), row("c", 20, 0, outcome="no licence")]
    profiles = performance_profile(rows)
    assert set(profiles) == {"a", "b"}
    assert profiles["a"][0].tolist() == [1.0, 1.0] and profiles["a"][1].tolist() == [0.5, 1.0]
    assert profiles["b"][0].tolist() == [2.0] and profiles["b"][1].tolist() == [0.5]


def test_an_instance_that_only_one_solver_was_given_a_chance_at_counts_for_all():
    profiles = performance_profile([row("a", 10, 1.0), row("b", 10, 0, outcome="time limit")])
    assert profiles["b"][0].tolist() == []


def test_summaries_charge_the_limit_for_what_failed_and_show_what_is_wrong():
    rows = [row("a", 10, 1.0), row("a", 20, 1.0, Verdict.WRONG_OPTIMAL), row("b", 10, 0, outcome="no licence")]
    rows += [row("d", 10, 2.0, Verdict.MODEST), row("d", 20, 0, outcome="time limit")]
    a, d, b = summarise(rows, 100.0)
    assert (a.solver, a.success, a.correct, a.wrong) == ("a", 0.5, 0.5, 1)
    assert a.seconds == pytest.approx(math.sqrt(1.01 * 100.01) - 0.01)
    assert a.compile_seconds == a.solve_seconds == pytest.approx(0.5)
    assert a.memory == 2 * 2**20
    assert d.remarks == {"time limit": 1, "modest": 1} and d.correct == 0
    assert (b.solver, b.unavailable) == ("b", "no licence")
    assert math.isnan(b.memory)


def test_growth_is_the_exponent_of_a_power_law():
    rows = [row("a", n, 1e-6 * n**1.5) for n in (10, 20, 40, 80)] + [row("b", 10, 1.0), row("b", 20, 1.0)]
    curves = growth(rows)
    assert curves["a"].exponent == pytest.approx(1.5)
    assert np.array_equal(curves["a"].sizes, [10, 20, 40, 80])
    assert math.isnan(curves["b"].exponent)
    failing = growth([*rows, row("a", 80, 1.0, Verdict.WRONG_OPTIMAL)])
    assert np.array_equal(failing["a"].sizes, [10, 20, 40])
