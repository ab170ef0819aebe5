import math

import numpy as np
import oracle
import pytest

from convexrml import NearestNeighbors
from convexrml.norms import as_box, as_norm
from convexrml.votes import Vote
from convexrml.witness import first_mislabelled, nudged, sure_witness, witnessed_norm


@pytest.fixture
def line():
    return NearestNeighbors().fit([[0.0], [4.0]], ["left", "right"])


def test_the_norm_is_rounded_up(norm):
    rng = np.random.default_rng(0)
    p = as_norm(norm)
    for scale in (1e-12, 1.0, 1e9):
        for move in (0.0, 1.0, 1e6):
            for _ in range(20):
                delta, z = rng.standard_normal((2, 5))
                delta, z = delta * scale, z + move
                upper = witnessed_norm(z, delta, p)
                exact = oracle.norm_power(oracle.rational(delta), norm)
                reached = oracle.norm_power(oracle.rational(z + delta) - oracle.rational(z), norm)
                assert oracle.Fraction(upper) ** oracle.power(norm) >= max(exact, reached)
                allowance = 1e-14 * upper + 5 * 2.0**-52 * np.abs(z + delta).max()
                assert upper <= p.of(delta) + allowance


def test_no_perturbation_has_norm_zero(norm):
    assert witnessed_norm(np.array([3.0, 4.0]), np.zeros(2), as_norm(norm)) == 0.0


def test_the_first_admissible_and_mislabelled_point(line):
    z = np.array([1.0])
    points = np.array([[1.5], [1.9], [2.0], [2.5], [9.0]])
    assert first_mislabelled(line, z, "left", points, None).tolist() == [1.0]  # the tie at 2 counts
    assert first_mislabelled(line, z, "left", points[:2], None) is None
    assert first_mislabelled(line, z, "right", points, None).tolist() == [0.5]


def test_a_tie_of_whole_numbers_is_met_where_nothing_leads_deeper():
    """Five neighbours, and a vote that is lost at a point where sites tie, and nowhere around it."""
    X = [[3, -2, -3], [3, -1, -2], [2, -1, 3], [-2, 2, -1], [-2, 2, -1], [-2, 0, -2], [-3, 2, 0], [1, 0, 1], [0, 0, 3],
         [3, 2, -1], [0, 0, 1]]  # fmt: skip
    model = NearestNeighbors(5, [[1, -2, -1], [2, -2, 0]]).fit(X, [2, 2, 1, 0, 2, 2, 0, 2, 2, 0, 2])
    z, tie = np.array([1.0, 0.0, 3.0]), np.array([8.75, 6.5, 15.25])
    assert model.exact.lost(z + tie, 2, 5, "majority")
    for off in (-1e-13, -1e-15, 1e-15, 1e-13):
        near = tie * (1 + off)
        assert not model.exact.lost(z + near, 2, 5, "majority")
        assert sure_witness(model, z, 2, near, None, Vote.MAJORITY).tolist() == tie.tolist()


def test_points_are_clipped_to_the_box(line):
    z = np.array([1.0])
    points = np.array([[9.0]])
    assert first_mislabelled(line, z, "left", points, as_box((0, 3), 1)).tolist() == [2.0]
    assert first_mislabelled(line, z, "left", points, as_box((0, 1.9), 1)) is None
    assert first_mislabelled(line, z, "left", points, as_box((-math.inf, math.inf), 1)).tolist() == [8.0]


def test_adding_the_perturbation_gives_the_point_that_was_asked_about():
    rng = np.random.default_rng(0)
    model = NearestNeighbors().fit(rng.standard_normal((20, 3)) + 1e6, np.arange(20) % 2)
    for _ in range(50):
        z = rng.standard_normal(3) + 1e6
        label = model.predict(z[None])[0]
        delta = first_mislabelled(model, z, label, z + rng.standard_normal((30, 3)), None)
        if delta is not None:
            assert model.mislabels((z + delta)[None], [label])[0]


def test_a_point_just_short_of_the_boundary_is_nudged_across_and_no_further(line):
    z, inner = np.array([1.0]), np.array([4.0])
    for short in (0.0, 1e-15, 1e-12, 1e-9, 1e-6, 1e-3, 0.1):
        delta = nudged(line, z, "left", np.array([1.0 - short]), inner, None)
        assert 1.0 <= delta[0] <= 1.0 + 10 * short + 1e-14


def test_from_a_point_far_from_the_cell_only_the_inner_point_is_left(line):
    z, inner = np.array([1.0]), np.array([4.0])
    assert nudged(line, z, "left", np.array([-1e6]), inner, None) == inner - z


def test_a_point_that_is_nowhere_is_given_up(line):
    z, inner = np.array([1.0]), np.array([4.0])
    assert nudged(line, z, "left", np.array([math.nan]), inner, None) is None
    assert nudged(line, z, "left", np.array([math.inf]), inner, None) is None
    assert nudged(line, z, "left", np.array([1.0 - 1e-9]), inner, as_box((0, 2 - 1e-10), 1)) is None
