"""Violating instances survive the disk and can be judged again."""

import numpy as np
import pytest

from convexrml.errors import DataFileError
from convexrml.metric import MahalanobisMetric
from convexrml.norms import Box
from convexrml.study.instances import Instance, load_instance, save_violations

METRICS = {
    "euclidean": MahalanobisMetric.euclidean(2),
    "matrix": MahalanobisMetric.from_matrix([[2.0, 1.0], [1.0, 3.0]]),
    "components": MahalanobisMetric.from_components([[1.0, 2.0], [0.0, 1.0]]),
}


def instance(metric="euclidean", box=None, labels=("left", "right", "left", "up")):
    return Instance(
        X=np.array([[0.0, 0.0], [4.0, 0.1], [0.0, 1.0], [1 / 3, 9.0]]),
        y=np.array(labels),
        metric=METRICS[metric],
        n_neighbors=1,
        query=np.array([1.0, 0.1]),
        label=labels[0],
        norm="inf",
        box=box,
        vote="majority",
        below="certified",
        above="exact daqp",
        lower=1.5,
        upper=1.25,
        solvers=("search", "daqp"),
        versions={"convexrml": "0", "daqp": None},
    )


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("labels", [("left", "right", "left", "up"), (3, 1, 3, 2), (0.5, 1.0, 0.5, 2.0)])
def test_round_trip(tmp_path, metric, labels):
    before = instance(metric, Box(np.array([0.0, -np.inf]), np.array([5.0, 9.0])), labels)
    before.save(tmp_path / "one.npz")
    after = load_instance(tmp_path / "one.npz")
    for name in ("X", "y", "query"):
        assert np.array_equal(getattr(before, name), getattr(after, name))
        assert getattr(before, name).dtype == getattr(after, name).dtype
    for name in ("n_neighbors", "label", "norm", "vote", "below", "above", "lower", "upper", "solvers", "versions"):
        assert getattr(before, name) == getattr(after, name)
    assert np.array_equal(before.box.lower, after.box.lower) and np.array_equal(before.box.upper, after.box.upper)
    for kind in ("matrix", "components"):
        one, other = getattr(before.metric, kind), getattr(after.metric, kind)
        assert (one is None) == (other is None) and (one is None or np.array_equal(one, other))
    judged = after.judge()
    assert judged.violated == 0 and judged.solvers == ("search", "daqp")
    assert {(c.below, c.above) for c in judged.comparisons} >= {
        ("certified", "exact search"), ("certified", "exact daqp"), ("exact search", "exact daqp"),
        ("exact daqp", "exact search"), ("witness of attack", "attack"), ("witness of exact search", "exact search"),
    }  # fmt: skip


def test_no_box(tmp_path):
    instance().save(tmp_path / "one.npz")
    assert load_instance(tmp_path / "one.npz").box is None


def test_a_file_of_the_first_version_has_no_vote(tmp_path):
    instance().save(tmp_path / "one.npz")
    with np.load(tmp_path / "one.npz") as archive:
        np.savez(tmp_path / "old.npz", **{name: archive[name] for name in archive.files if name != "vote"})
    assert load_instance(tmp_path / "old.npz").vote == "plurality"


def test_only_the_worst_are_written(tmp_path):
    found = {f"point{i}.npz": instance() for i in range(4)}
    assert [path.name for path in save_violations(found, tmp_path / "a", most=3)] == list(found)[:3]
    assert len(save_violations(found, tmp_path / "b", most=None)) == 4
    assert len(list((tmp_path / "a").iterdir())) == 3


def test_files_that_are_no_instance(tmp_path):
    (tmp_path / "text.npz").write_text("hello")
    np.savez(tmp_path / "other.npz", X=np.eye(2))
    for name, message in (
        ("text.npz", "no .npz file that crosscheck has saved"),
        ("other.npz", "no array 'y'"),
        ("missing.npz", "no such file"),
    ):
        with pytest.raises(DataFileError, match=message) as caught:
            load_instance(tmp_path / name)
        assert name in str(caught.value)
