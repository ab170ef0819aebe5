import math

import numpy as np
import pytest

from convexrml.errors import InvalidInputError
from convexrml.norms import Box, Norm, as_box, as_norm, require_inside


@pytest.mark.parametrize(
    ("given", "order"),
    [
        (1, 1.0), (2, 2.0), (2.0, 2.0), (math.inf, math.inf), (np.int64(1), 1.0), (np.float32(2), 2.0),
        (np.inf, math.inf),
        ("1", 1.0), ("l1", 1.0), ("L2", 2.0), (" 2 ", 2.0), ("inf", math.inf), ("Linf", math.inf), (Norm(1.0), 1.0),
    ],
)  # fmt: skip
def test_a_norm_is_read_from_all_its_names(given, order):
    assert as_norm(given) == Norm(order)


@pytest.mark.parametrize(
    "given", [0, 3, -1, 1.5, math.nan, -math.inf, "l3", "", "two", None, True, False, [2], (1,), 2j, b"2", Norm(3.0)]
)
def test_other_norms_are_refused(given):
    with pytest.raises(InvalidInputError, match=r"^norm: "):
        as_norm(given)


def test_dual_orders_names_and_text():
    assert [Norm(p).dual_order for p in (1.0, 2.0, math.inf)] == [math.inf, 2.0, 1.0]
    assert [Norm(p).name for p in (1.0, 2.0, math.inf)] == ["1", "2", "inf"]
    assert [str(Norm(p)) for p in (1.0, 2.0, math.inf)] == ["ℓ1", "ℓ2", "ℓ∞"]
    assert [as_norm(Norm(p).name).order for p in (1.0, 2.0, math.inf)] == [1.0, 2.0, math.inf]


def test_norms_by_hand():
    v = np.array([[3.0, -4.0], [0.0, 0.0]])
    assert Norm(1.0).of(v).tolist() == [7.0, 0.0]
    assert Norm(2.0).of(v).tolist() == [5.0, 0.0]
    assert Norm(math.inf).of(v).tolist() == [4.0, 0.0]
    assert Norm(1.0).dual_of(v).tolist() == [4.0, 0.0]
    assert Norm(2.0).dual_of(v).tolist() == [5.0, 0.0]
    assert Norm(math.inf).dual_of(v).tolist() == [7.0, 0.0]
    assert Norm(2.0).of(v[0]) == 5.0


def test_holders_inequality_is_tight_in_every_norm(norm):
    rng = np.random.default_rng(0)
    p = as_norm(norm)
    w, v = rng.standard_normal((2, 2000, 3))
    ratio = (w * v).sum(axis=1) / (p.of(v) * p.dual_of(w))
    assert ratio.max() <= 1 + 8 * 2.0**-53
    aligned = {1: np.eye(3)[np.abs(w).argmax(axis=1)] * np.sign(w), 2: w, math.inf: np.sign(w)}[norm]
    np.testing.assert_allclose((w * aligned).sum(axis=1), p.of(aligned) * p.dual_of(w), rtol=1e-14)


@pytest.mark.parametrize(
    "given",
    [(0, 1), (0.0, [1, 1, 1]), ([0, 0, 0], 1), [0, 1], np.array([[0, 0, 0], [1, 1, 1]]), (np.zeros(3), np.ones(3))],
)
def test_a_box_is_read_from_numbers_and_vectors(given):
    box = as_box(given, 3)
    assert box.lower.tolist() == [0.0] * 3
    assert box.upper.tolist() == [1.0] * 3
    again = as_box(box, 3)
    assert (again.lower.tolist(), again.upper.tolist()) == (box.lower.tolist(), box.upper.tolist())


def test_no_box():
    assert as_box(None, 3) is None
    require_inside(None, np.zeros((1, 3)))


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (5, "box"), ((1, 2, 3), "box"), ((1,), "box"), (math.nan, "box"),
        ("ab", "box"), (("a", 1), "box lower"), ((0, "b"), "box upper"), ((None, 1), "box lower"),
        (([0, 0], 1), "box lower"), ((0, [1, 1]), "box upper"), (([[0, 0, 0]], 1), "box lower"),
        ((math.nan, 1), "box lower"), ((0, [1, math.nan, 1]), "box upper"), ((0, 1j), "box upper"),
        ((1, 0), "box"), (([0, 2, 0], 1), "box"), ((math.inf, -math.inf), "box"),
        (Box(np.zeros(2), np.ones(2)), "box lower"), (Box(np.ones(3), np.zeros(3)), "box"),
        (([[0], [0, 0]], 1), "box lower"),
    ],
)  # fmt: skip
def test_bad_boxes_are_refused(given, name):
    with pytest.raises(InvalidInputError, match=rf"^{name}: "):
        as_box(given, 3)


def test_the_first_crossed_side_is_named():
    with pytest.raises(InvalidInputError, match="feature 1"):
        as_box(([0, 2, 3], 1), 3)


def test_open_sides_and_zero_width_are_boxes():
    box = as_box(([-math.inf, 0, 2], [0, math.inf, 2]), 3)
    assert bool(box.contains(np.array([-1e300, 1e300, 2.0])))
    assert not box.contains(np.array([0.0, 0.0, np.nextafter(2.0, 3.0)]))
    assert box.clip(np.array([5.0, -5.0, 7.0])).tolist() == [0.0, 0.0, 2.0]


def test_queries_outside_are_named():
    box = as_box((0, 1), 2)
    require_inside(box, np.array([[0.0, 1.0]]))
    with pytest.raises(InvalidInputError, match=r"^box: does not contain query 1: feature 0 is 1\.5.*2 of 3"):
        require_inside(box, np.array([[0.5, 0.5], [1.5, 0.5], [0.5, -1e-300]]))
