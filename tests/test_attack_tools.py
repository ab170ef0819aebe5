"""Attacks by foolbox and ART, held against exact radii."""

import dataclasses
import math
import sys

import numpy as np
import pytest
from click.testing import CliRunner

import convexrml
from convexrml import NearestNeighbors, ToolAttack
from convexrml.attack_tools import tool_attack_radius
from convexrml.cli import main
from convexrml.errors import InvalidInputError, ToolMissingError, UnsupportedError
from convexrml.judge import Roads, crosscheck
from convexrml.study.instances import load_instance
from convexrml.verdicts import Verdict

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


def test_boundary_attack_of_art_is_not_targeted(cloud):
    """It is by default, and then does nothing."""
    pytest.importorskip("art")
    data = cloud(4, n=30, d=3, queries=4, integers=False)
    options = {"max_iter": 20, "num_trial": 5, "init_size": 10}
    attack = tool_attack_radius(
        data.model(), data.Z, data.labels, tool="art", attack="BoundaryAttack", options=options
    )  # fmt: skip
    assert np.isfinite(attack.upper).all()
    assert (attack.upper >= convexrml.exact_radius(data.model(), data.Z, data.labels).lower).all()


@pytest.mark.parametrize("vote", ["plurality", "majority"])
def test_either_vote_is_lost_at_the_witness(cloud, tool, vote):
    data = cloud(6, n=11, d=2, classes=4, queries=8, integers=False)
    model = data.model(5)
    labels = model.predict(data.Z)
    attack = tool_attack_radius(model, data.Z, labels, tool=tool, options=SHORT[tool], vote=vote)
    found = np.isfinite(attack.upper)
    assert found.sum() >= 6 and attack.vote.value == vote
    assert model.mislabels(data.Z[found] + attack.perturbation[found], labels[found], vote=vote).all()
    assert (attack.upper >= convexrml.exact_radius(model, data.Z, labels, vote=vote).lower).all()


def test_a_tool_that_lies_is_not_believed(cloud, monkeypatch):
    data = cloud(5, n=30, d=3, queries=4, integers=False)
    monkeypatch.setattr(convexrml.ToolAttack, "maker", lambda *_: None)
    monkeypatch.setattr(convexrml.attack_tools, "_by_foolbox", lambda make, target: target.Z + 1e-9)
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
        with pytest.raises(ToolMissingError, match=r"foolbox is not installed.*convexrml\[attacks\]"):
            tool_attack_radius(*ask)
        with pytest.raises(ToolMissingError, match="foolbox"):
            crosscheck(*ask, attack_tools=["foolbox"])
    pytest.importorskip("foolbox")
    with pytest.raises(InvalidInputError, match="has no 'Hammer'"):
        tool_attack_radius(*ask, attack="Hammer")
    with pytest.raises(InvalidInputError, match="options: foolbox's HopSkipJumpAttack"):
        tool_attack_radius(*ask, options={"force": 3})
    with pytest.raises(InvalidInputError, match="attack_tools: foolbox:HopSkipJumpAttack is there twice"):
        crosscheck(*ask, attack_tools=["foolbox", ToolAttack(seed=3)])


# --- before the judge -----------------------------------------------------------------------------------------------


def short(tool):
    return ToolAttack(tool, options=SHORT[tool])


def test_the_judge_looks_at_both_tools(cloud):
    pytest.importorskip("foolbox")
    pytest.importorskip("art")
    data = cloud(1, n=30, d=3, classes=2, queries=4, integers=False)
    asked = [short("foolbox"), short("art")]
    report = crosscheck(
        data.model(), data.Z, data.labels, boxes=[None, (-9.0, 9.0)], solvers=["search"], attack_tools=asked
    )
    assert report.violated == 0 and report.attack_tools == tuple(asked)
    for name in ("attack foolbox:HopSkipJumpAttack", "attack art:HopSkipJump"):
        below = [(c.below, c.query, c.norm.name, c.box) for c in report.comparisons if c.above == name]
        assert len(set(below)) == len(below) == 4 * 3 * 2 * 3
        assert {one[0] for one in below} == {"certified", "exact search", f"witness of {name}"}
        decided = [c for c in report.comparisons if c.above == name and c.verdict is Verdict.HOLDS]
        assert len(decided) >= 0.9 * len(below)


def claims(change):
    """A road by a tool whose record is changed after the fact."""

    def road(model, Z, y, *, tool, attack, options, seed, norm, box, vote):
        radii = convexrml.attack_radius(model, Z, y, norm=norm, box=box, vote=vote)
        return dataclasses.replace(radii, **change(radii))

    return Roads(tool=road)


@pytest.mark.parametrize(
    ("change", "below"),
    [
        (lambda r: {"upper": r.upper * 0.5}, {"certified", "exact search", "witness of attack foolbox:Hammer"}),
        (lambda r: {"upper": r.upper * (1 - 1e-6)}, {"witness of attack foolbox:Hammer"}),
        (lambda r: {"perturbation": -0.9 * r.perturbation}, {"witness of attack foolbox:Hammer"}),
        (lambda r: {"perturbation": r.perturbation * math.nan}, {"witness of attack foolbox:Hammer"}),
        (
            lambda r: {"perturbation": 0.5 * r.perturbation, "upper": 0.5 * r.upper},
            {"certified", "exact search", "witness of attack foolbox:Hammer"},
        ),
    ],
    ids=["half", "a millionth less", "the wrong way", "no number", "half-way"],
)
def test_a_tool_that_claims_too_little_or_shows_no_witness_is_convicted(monkeypatch, change, below):
    """On one point for each class all radii are the same, and every road but the tool's is honest."""
    monkeypatch.setattr(ToolAttack, "require_installed", lambda self: type)
    model = NearestNeighbors().fit([[0.0, 0.0], [3.0, 4.0]], ["here", "there"])
    ask = (model, [[0.0, 0.0], [2.0, 4.0]], ["here", "there"])
    keywords = {"norms": [2], "solvers": ["search"], "attack_tools": ["foolbox:Hammer"]}
    report = crosscheck(*ask, roads=claims(change), **keywords)
    assert {c.above for c in report.violations} == {"attack foolbox:Hammer"}
    assert {c.below for c in report.violations} >= below
    assert {c.query for c in report.violations} == {0, 1}
    assert crosscheck(*ask, roads=claims(lambda r: {}), **keywords).violated == 0


def test_a_box_that_the_tools_do_not_take_is_skipped_with_the_reason(cloud):
    pytest.importorskip("foolbox")
    data = cloud(6, n=10, d=2)
    report = crosscheck(
        data.model(), data.Z, data.labels, norms=[2], boxes=[([-9, -8], [9, 9])], solvers=["search"],
        attack_tools=["foolbox"],
    )  # fmt: skip
    assert report.violated == 0
    reasons = {c.reason for c in report.comparisons if c.above.startswith("attack foolbox")}
    assert len(reasons) == 1 and "one finite interval" in reasons.pop()


def test_from_the_command_line_and_again_from_a_saved_instance(cloud, tmp_path, monkeypatch):
    pytest.importorskip("foolbox")
    data = cloud(1, n=30, d=3, classes=2, queries=6, integers=False)
    np.savetxt(tmp_path / "train.csv", np.c_[data.X, data.y], delimiter=",")
    np.savetxt(tmp_path / "test.csv", np.c_[data.Z, data.labels], delimiter=",")
    command = ["crosscheck", "--data", str(tmp_path / "train.csv"), "--test", str(tmp_path / "test.csv")]
    command += ["--norms", "2", "--points", "3", "--solvers", "search", "--attack-tools", "foolbox:BoundaryAttack"]
    command += ["--scale", "none", "--out", str(tmp_path / "v")]
    with monkeypatch.context() as patch:
        patch.setattr(convexrml.judge, "Roads", lambda: claims(lambda r: {"upper": r.upper * 0.3}))
        shown = CliRunner().invoke(main, command)
    assert shown.exit_code == 1, shown.output
    assert "search, attack foolbox:BoundaryAttack" in shown.output and "VIOLATED" in shown.output
    instance = load_instance(next((tmp_path / "v").iterdir()))
    assert instance.attack_tools == (ToolAttack("foolbox", "BoundaryAttack"),)
    assert instance.versions["foolbox"] == instance.attack_tools[0].version
    monkeypatch.setattr(convexrml.attack_tools, "_by_foolbox", lambda make, target: target.starts)
    assert instance.judge().violated == 0
    assert "choose from foolbox, art" in CliRunner().invoke(main, [*command[:-6], "--attack-tools", "hammer"]).output
