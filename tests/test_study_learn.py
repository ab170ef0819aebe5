"""`convexrml learn`: a metric that certify can read, and what it changed on the test points."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

import convexrml
from convexrml.cli import main
from convexrml.errors import InvalidInputError
from convexrml.study.data import load_data
from convexrml.study.files import read_metric
from convexrml.study.learn import METHODS, learn, make_learner, read_parameter


@pytest.fixture
def file(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 4)) * [1, 1, 3, 3]  # the last two features are loud and say nothing
    np.savez(tmp_path / "points.npz", X=X, y=(X[:, 0] + X[:, 1] > 0).astype(int))
    return tmp_path / "points.npz"


def test_learning_measures_exact_radii_before_and_after(file):
    data, told = load_data(file, scale="none"), []
    found = learn(data, "robust", {"n_rounds": 2}, progress=lambda *state: told.append(state))
    assert told[0] == ("learning", 0, 1) and told[-1][1] == told[-1][2]
    for radii, metric in ((found.before, None), (found.after, found.learner.get_mahalanobis_matrix())):
        model = convexrml.NearestNeighbors(metric=metric).fit(data.X_train, data.y_train)
        expected = convexrml.exact_radius(model, data.X_test, data.y_test)
        # M from the learner is L'L rounded once more: a handful of roundings in four dimensions
        np.testing.assert_allclose(radii.upper, expected.upper, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.radii, np.median(found.before.lower) * np.array([0.5, 1, 1.5]), rtol=1e-15)
    M = found.learner.get_mahalanobis_matrix()
    assert np.trace(M[:2, :2]) > np.trace(M[2:, 2:])  # what says nothing weighs less
    assert np.mean(found.after.lower > 0) > np.mean(found.before.lower > 0)


def test_the_file_is_what_certify_reads(file, tmp_path):
    found = learn(load_data(file), "robust", {"n_rounds": 1})
    found.save(tmp_path / "metric.npz")
    np.testing.assert_array_equal(read_metric(tmp_path / "metric.npz").components, found.learner.components_)
    with np.load(tmp_path / "metric.npz") as arrays:
        about = json.loads(str(arrays["about"]))
    assert about["method"] == "robust" and about["parameters"]["n_rounds"] == "1"
    assert about["sha256"] == found.data.sha256()


def test_the_command_writes_a_metric_and_a_picture_and_certify_takes_it(file, tmp_path):
    out = tmp_path / "new" / "metric.npz"
    run = CliRunner().invoke(main, ["learn", "--data", str(file), "--set", "n_rounds=1", "--out", str(out)])
    assert run.exit_code == 0, run.output
    assert "RobustMetricLearner" in run.output and "0 (clean error)" in run.output
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    certified = CliRunner().invoke(
        main,
        ["certify", "--data", str(file), "--metric", str(out), "--solvers", "search", "--out", str(tmp_path / "c")],
    )
    assert certified.exit_code == 0, certified.output


def test_what_does_not_exist_is_named(file, tmp_path):
    with pytest.raises(InvalidInputError, match="choose from robust, exact-radius, arml"):
        make_learner("magic", {})
    with pytest.raises(InvalidInputError, match="has no 'tua'; it has norm, tau"):
        make_learner("robust", {"tua": 1})
    with pytest.raises(InvalidInputError, match="NAME=VALUE"):
        read_parameter("tau")
    run = CliRunner().invoke(main, ["learn", "--data", str(file), "--set", "tau=-1", "--out", str(tmp_path / "m.npz")])
    assert run.exit_code == 2 and "tau: needs a number" in run.output


def test_parameters_are_python_literals_or_texts():
    assert [read_parameter(text) for text in ("a=1e-2", "b = (1, 2)", "c=None", "d=fixed_trace")] == [
        ("a", 1e-2), ("b", (1, 2)), ("c", None), ("d", "fixed_trace"),
    ]  # fmt: skip


def test_every_method_is_a_learner_of_the_library():
    for method, name in METHODS.items():
        assert isinstance(make_learner(method, {}), getattr(convexrml, name))
