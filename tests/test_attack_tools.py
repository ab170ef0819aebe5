"""Attacks by foolbox and ART, held against exact radii."""

import math
import sys

import numpy as np
import pytest

import convexrml
from convexrml import NearestNeighbors
from convexrml.attack_tools import tool_attack_radius
from convexrml.errors import InvalidInputError, ToolMissingError, UnsupportedError

SHORT = {
    "foolbox": {"steps": 8, "max_gradient_eval_steps": 200, "initial_gradient_eval_steps": 20},
    "art": {"max_iter": 4, "max_eval": 200, "init_eval": 20},
}


@pytest.fixture(params=["foolbox", "art"])
def tool(request):
    pytest.importorskip(request.param)
    return request.param


@pytest.mark.parametrize("box", [None, (-3.5, 3.5)], ids=["free", "box"])
@pytest.mark.parametrize("k", [1, 3])
def test_an_attack_is_never_below_the_exact_radius(cloud, tool, k, box):
    data = cloud(1, n=60, d=3, classes=2, queries=12, integers=False)
    model, Z = data.model(k), np.clip(data.Z, -3, 3)
    labels = model.predict(Z)
    labels[:2] = 1 - labels[:2]  # mislabelled as they stand
    attack = tool_attack_radius(model, Z, labels, tool=tool, options=SHORT[tool], box=box)
    exact = convexrml.exact_radius(model, Z, labels, box=box)
    assert (attack.upper >= exact.lower).all()
    reached = np.isfinite(attack.upper)
    assert reached.sum() >= 10
    witness = Z + attack.perturbation
    assert model.mislabels(witness[reached], labels[reached]).all()
    assert (np.linalg.norm(attack.perturbation[reached], axis=1) <= attack.upper[reached]).all()
    if box is not None:
        assert (np.abs(witness[reached]) <= 3.5).all()
    assert (attack.upper[:2] == 0).all()
    assert np.median(attack.upper[2:] / exact.upper[2:]) < 4.0  # few steps, and still an attack


def test_other_norms(cloud, tool, norm):
    data = cloud(2, n=40, d=4, queries=6, integers=False)
    attack = tool_attack_radius(data.model(), data.Z, data.labels, tool=tool, options=SHORT[tool], norm=norm)
    exact = convexrml.exact_radius(data.model(), data.Z, data.labels, norm=norm)
    assert (attack.upper >= exact.lower).all() and np.isfinite(attack.upper).all()
    assert attack.norm.order == norm


def test_a_seed_gives_the_same_attack_and_numpy_keeps_its_own(cloud, tool):
    data = cloud(3, n=30, d=3, queries=4, integers=False)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    ask = {"tool": tool, "options": SHORT[tool]}
    first, again = (tool_attack_radius(data.model(), data.Z, data.labels, seed=5, **ask) for _ in range(2))
    assert np.array_equal(first.perturbation, again.perturbation)
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_another_attack_of_foolbox(cloud):
    pytest.importorskip("foolbox")
    data = cloud(4, n=30, d=3, queries=4, integers=False)
    attack = tool_attack_radius(data.model(), data.Z, data.labels, attack="BoundaryAttack", options={"steps": 50})
    assert (attack.upper >= convexrml.exact_radius(data.model(), data.Z, data.labels).lower).all()


def test_a_tool_that_lies_is_not_believed(cloud, monkeypatch):
    data = cloud(5, n=30, d=3, queries=4, integers=False)
    monkeypatch.setattr(convexrml.attack_tools, "_maker", lambda *_: None)
    monkeypatch.setattr(convexrml.attack_tools, "_by_foolbox", lambda make, decide, n, labels, Z, starts: Z + 1e-9)
    attack = tool_attack_radius(data.model(), data.Z, data.labels)
    wrong = data.model().mislabels(data.Z, data.labels)
    assert (attack.upper == np.where(wrong, 0, math.inf)).all()


def test_nothing_to_start_from(tool):
    alone = NearestNeighbors().fit([[0.0], [1.0]], ["a", "a"])
    assert tool_attack_radius(alone, [[0.5]], ["a"], tool=tool).upper[0] == math.inf
    outside = NearestNeighbors().fit([[0.0], [9.0]], ["a", "b"])
    assert tool_attack_radius(outside, [[0.5]], ["a"], tool=tool, box=(0, 1)).upper[0] == math.inf


def test_what_cannot_be_used(cloud, monkeypatch):
    data = cloud(6, n=10, d=2)
    ask = (data.model(), data.Z, data.labels)
    with pytest.raises(InvalidInputError, match="tool: choose from foolbox, art"):
        tool_attack_radius(*ask, tool="hammer")
    with pytest.raises(UnsupportedError, match="one finite interval"):
        tool_attack_radius(*ask, box=([-9, -8], [9, 9]))
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "foolbox.attacks", None)
        with pytest.raises(ToolMissingError, match=r"convexrml\[attacks\]"):
            tool_attack_radius(*ask)
    pytest.importorskip("foolbox")
    with pytest.raises(InvalidInputError, match="has no 'Hammer'"):
        tool_attack_radius(*ask, attack="Hammer")
    with pytest.raises(InvalidInputError, match="options: foolbox's HopSkipJumpAttack"):
        tool_attack_radius(*ask, options={"force": 3})
