"""Every message as its reader sees it: what was wrong, by name; what was found; what to do."""

import inspect
import math
import re
import socket
import sys

import numpy as np
import pytest
import scipy.sparse
from sklearn.neighbors import KNeighborsClassifier

from convexrml import (
    ARML,
    ExactRadiusLearner,
    MahalanobisMetric,
    NearestNeighbors,
    RobustMetricLearner,
    attack_radius,
    certified_radius,
    crosscheck,
    errors,
    exact_radius,
    formulations,
    from_estimator,
    nearest_psd,
    retrieval_radius,
    tool_attack_radius,
)
from convexrml.profiles import get_profile, load_profiles
from convexrml.study.data import load_data
from convexrml.triplets import Triplets

RNG = np.random.default_rng(5)
X, Y = RNG.normal(size=(24, 3)), np.arange(24) % 2
Z, T = X[:4] + 0.01, Y[:4]
ONE, THREE = NearestNeighbors().fit(X, Y), NearestNeighbors(3).fit(X, Y)
NAMED = NearestNeighbors().fit(X, np.array(["cat", "dog"])[Y])
OTHER = int(np.flatnonzero(Y != Y[0])[0])


def fit(points=X, labels=Y, k=1, metric=None):
    return lambda: NearestNeighbors(k, metric).fit(points, labels)


def ask(road, model=ONE, points=Z, labels=T, **options):
    return lambda: road(model, points, labels, **options)


def program(**options):
    return lambda: formulations.MinimalPerturbation(ONE, X[0], Y[0], **{"negative": OTHER} | options)


def solved(solver="clarabel", accuracy="accurate", **options):
    return lambda: program()().solve(solver, accuracy, **options)


def learn(learner, points=X, labels=Y):
    return lambda: learner.fit(points, labels)


class Frame:
    """What a data frame of text and numbers looks like to numpy."""

    columns = ("length", "colour")

    def __array__(self, dtype=None, copy=None):
        return np.array([[1.0, "red"], [2.0, "blue"]], dtype=object)


# fmt: off
INVALID = {  # call, and the words that have to appear, in this order
    "fit vector": (fit(X[0]), "X: ", "shape (n, d)", "found shape (3,)", "[None, :]"),
    "fit no points": (fit(X[:0], Y[:0]), "X: ", "one point", "found shape (0, 3)"),
    "fit NaN": (fit([[1, math.nan]], [0]), "X: ", "finite numbers", "1 value(s)", "(0, 1)"),
    "fit text": (fit([["1", "2"]], [0]), "X: ", "real numbers", "'1'", "(0, 0)", "encode"),
    "fit frame": (fit(Frame(), [0, 1]), "X: ", "'red' (str)", "(0, 1)", "column 'colour'", "encode"),
    "fit complex": (fit(X + 1j), "X: ", "real numbers", "complex128"),
    "fit ragged": (fit([[1, 2], [3]]), "X: ", "array of numbers"),
    "fit huge": (fit(X * 1e200), "X: ", "too large", "rescale"),
    "labels short": (fit(X, Y[:5]), "y: ", "24 points", "found shape (5,)"),
    "labels column": (fit(X, Y[:, None]), "y: ", "24 points", "found shape (24, 1)"),
    "labels mixed": (fit(X, [1] * 23 + ["a"]), "y: ", "all numbers or all strings", "['int', 'str']"),
    "labels NaN": (fit(X, [math.nan, *Y[1:]]), "y: ", "finite labels", "nan at 0", "drop"),
    "k even": (fit(k=2), "n_neighbors: ", "odd", "found 2", "take 1 or 3"),
    "k 0": (fit(k=0), "n_neighbors: ", "at least 1", "found 0"),
    "k float": (fit(k=3.0), "n_neighbors: ", "whole number", "found 3.0"),
    "k > n": (fit(k=25), "n_neighbors: ", "at most 24", "training points", "found 25"),
    "not PSD": (fit(metric=np.diag([1.0, 1, -1])), "metric: ", "not positive semidefinite", "-1", "nearest_psd"),
    "not symmetric": (fit(metric=np.triu(np.ones((3, 3)))), "metric: ", "reaches 1", "from_components"),
    "wrong size": (fit(metric=np.eye(4)), "metric: ", "4 features", "3"),
    "vector metric": (fit(metric=np.ones(3)), "metric: ", "M (d, d)", "L (r, d)", "found shape (3,)"),
    "metric by name": (fit(metric="euclidean"), "metric: ", "None for the Euclidean", "found 'euclidean'"),
    "metric learner": (fit(metric=ARML()), "metric: ", "found ARML()", "get_mahalanobis_matrix()"),
    "M not square": (lambda: MahalanobisMetric.from_matrix(np.ones((2, 3))), "metric: ", "found shape (2, 3)"),
    "nearest_psd": (lambda: nearest_psd(np.ones((2, 3))), "matrix: ", "square", "found shape (2, 3)"),
    "no model": (ask(exact_radius, "model"), "model: ", "NearestNeighbors", "found str", "from_estimator"),
    "sklearn's": (ask(certified_radius, KNeighborsClassifier(1)), "model: ", "found KNeighborsClassifier",
                  "from_estimator"),
    "retrieval": (lambda: retrieval_radius(5, Z), "model: ", "found int"),
    "one query": (ask(attack_radius, points=Z[0]), "Z: ", "found shape (3,)", "[None, :]"),
    "features": (ask(exact_radius, points=Z[:, :2]), "Z: ", "2 features", "fitted with 3", "same features"),
    "no query": (ask(exact_radius, points=Z[:0], labels=[]), "Z: ", "found shape (0, 3)"),
    "far query": (ask(exact_radius, points=Z * 1e200), "Z: ", "too far", "scaled alike"),
    "unknown label": (ask(exact_radius, labels=[0, 7, 1, 1]), "y: ", "7 at 1", "training set", "0, 1"),
    "kind of label": (ask(exact_radius, NAMED), "y: ", "such as 0", "such as 'cat'", "same kind"),
    "norm": (ask(certified_radius, norm=3), "norm: ", "1, 2 or inf", "found 3"),
    "box inverted": (ask(exact_radius, box=(1, 0)), "box: ", "feature 0", "1.0 > 0.0", "(lower, upper)"),
    "box outside": (ask(exact_radius, box=(9, 10)), "box: ", "query 0", "feature 0", "widen the box or clip"),
    "box NaN": (ask(exact_radius, box=(math.nan, 1)), "box lower: ", "needs numbers", "found nan"),
    "box of three": (ask(exact_radius, box=(0, 1, 2)), "box: ", "pair (lower, upper)", "found tuple of 3"),
    "box length": (ask(exact_radius, box=([0, 0], 1)), "box lower: ", "one number or 3", "found shape (2,)"),
    "box text": (ask(exact_radius, box={"lower": 0, "upper": 1}), "box: ", "pair (lower, upper)", "'lower'"),
    "vote": (ask(exact_radius, vote="unanimity"), "vote: ", "'majority', 'plurality'", "found 'unanimity'"),
    "method": (ask(exact_radius, method="milp"), "method: ", "'milp'", "auto, search, program"),
    "solver, search": (ask(exact_radius, method="search", solver="daqp"), "solver: ", 'method="program"', "'daqp'"),
    "accuracy alone": (ask(exact_radius, accuracy="fast"), "accuracy: ", 'method="program"', "'fast'"),
    "accuracy": (ask(exact_radius, solver="daqp", accuracy="best"), "accuracy: ", "'best'", "there are: "),
    "solver 5": (ask(exact_radius, solver=5), "solver: ", "name of a profile", "found 5"),
    "jobs 0": (ask(exact_radius, n_jobs=0), "n_jobs: ", "-1 for all processors", "found 0"),
    "jobs text": (ask(exact_radius, n_jobs="2"), "n_jobs: ", "number of workers", "found '2'"),
    "jobs, program": (ask(exact_radius, n_jobs=2, method="program"), "n_jobs: ", 'method="search"'),
    "time, k = 1": (ask(exact_radius, time_limit=1), "time_limit: ", "more than one neighbour", "leave it out"),
    "time < 0": (ask(exact_radius, THREE, time_limit=-1), "time_limit: ", "positive", "found -1"),
    "time text": (ask(exact_radius, THREE, time_limit="1"), "time_limit: ", "positive", "found '1'"),
    "no time": (ask(exact_radius, THREE, time_limit=0, method="program"), "time_limit: ", "positive", "found 0"),
    "half a node": (ask(exact_radius, THREE, node_limit=1.5), "node_limit: ", "whole number", "found 1.5"),
    "nodes, program": (ask(exact_radius, THREE, node_limit=1, solver="scip"), "node_limit: ", "branch and bound"),
    "memory": (ask(exact_radius, THREE, max_memory="1GB"), "max_memory: ", "at least 0", "found '1GB'"),
    "targets": (ask(attack_radius, n_targets=0), "n_targets: ", "at least 1", "found 0"),
    "no norms": (ask(crosscheck, norms=[]), "norms: ", "at least one"),
    "bare norm": (ask(crosscheck, norms=2), "norms: ", "found 2", "[2]"),
    "bare solver": (ask(crosscheck, solvers="daqp"), "solvers: ", "found 'daqp'", "['daqp']"),
    "tool": (ask(tool_attack_radius, tool="hammer"), "tool: ", "foolbox", "'hammer'"),
    "negative": (program(negative=99), "negative: ", "0 to 23", "found 99"),
    "own negative": (program(negative=0), "negative: ", "own label 0", "another label"),
    "program box": (program(box=(7, 8)), "box: ", "widen"),
    "path": (lambda: program()().write("p.lp"), "path: ", "'p.lp'", ".mps"),
    "no folder": (lambda: program()().write("nowhere/p.mps"), "path: ", "no folder nowhere"),
    "no triplets": (lambda: formulations.RobustHinge(X, tau=1.0), "triplets: ", "found ndarray", "from_indices"),
    "rows": (lambda: Triplets.from_indices(X, [0], [99], [1]), "positives: ", "0 to 23", "rows from 99 to 99"),
    "weights": (lambda: Triplets.from_indices(X, [0], [2], [1], weights=[-1]), "weights: ", "positive", "-1"),
    "one class": (learn(ARML(), labels=Y * 0), "y: ", "two classes", "found one class (0)"),
    "alone": (learn(RobustMetricLearner(), labels=[str(i) for i in range(24)]), "y: ", "no two of the 24"),
    "learn NaN": (learn(ARML(), X * math.nan), "X, y: ", "NaN"),
    "learn lengths": (learn(ExactRadiusLearner(), X[:4]), "X, y: ", "[4, 24]"),
    "learn None": (learn(RobustMetricLearner(), labels=["a"] * 12 + [None] * 12), "y: ", "NoneType"),
    "tau": (learn(RobustMetricLearner(tau="big")), "tau: ", "at least 0", "found 'big'"),
    "damping": (learn(RobustMetricLearner(damping=3)), "damping: ", "less than 1", "found 3"),
    "huge features": (learn(RobustMetricLearner(), X * 1e200), "X: ", "too large", "scale"),
    "transform": (lambda: ARML(n_epochs=1).fit(X, Y).transform(X[:, :2]), "X: ", "2 features", "3"),
}

OTHERS = {
    "NotAffineError": (lambda: from_estimator(KNeighborsClassifier(1, weights="distance").fit(X, Y)),
                       "weights='distance'", "weights='uniform' is read"),
    "DataFileError": (lambda: load_data("nowhere.csv"), "nowhere.csv", "no such file"),
    "NotFittedError": (ask(exact_radius, NearestNeighbors()), "NearestNeighbors", "not fitted", "fit(X, y)"),
    "UnsupportedError": (ask(exact_radius, THREE, norm=1), "norm: ", "found 1", 'solver="highs"'),
    "LearningError": (learn(ARML(n_epochs=1), X * 1e200), "overflow", "scale the features"),
    "CollapsedMetricError": (learn(RobustMetricLearner(regulariser="trace_penalty", n_targets=1, n_impostors=1),
                                   [[0.0], [1.0], [0.5], [1.5]], [0, 0, 1, 1]),
                             "tau, strength: ", "M = 0", 'regulariser="fixed_trace"'),
    "UnknownSolverError": (solved("clarabell"), "solver: ", "'clarabell'", "did you mean 'clarabel'?"),
    "SolverOptionError": (solved(max_itr=3), "Clarabel", "'max_itr'"),
    "SolverCapabilityError": (ask(exact_radius, THREE, solver="daqp"), "DAQP", "LP, QP", "MIQP", "installed solvers"),
    "SearchInterrupted": (ask(exact_radius, progress=lambda _: (_ for _ in ()).throw(KeyboardInterrupt)), "`radii`"),
    "CrossCheckInterrupted": (ask(crosscheck, progress=lambda _: (_ for _ in ()).throw(KeyboardInterrupt)), "`report`"),
}
# fmt: on
ELSEWHERE = {  # provoked by a test of its own below, for the machine has to be changed
    "DownloadError",
    "ProfileError",
    "SolverFailedError",
    "SolverLicenceError",
    "SolverMissingError",
    "ToolMissingError",
}


def read_aloud(error, call, words):
    with pytest.raises(error) as caught:
        call()
    said = str(caught.value)
    assert type(caught.value) is error, said
    assert re.search(".*".join(map(re.escape, words)), said, re.DOTALL), said
    assert "np." not in said and "object at 0x" not in said, said


@pytest.mark.parametrize("name", INVALID)
def test_arguments(name):
    call, *words = INVALID[name]
    read_aloud(errors.InvalidInputError, call, words)
    with pytest.raises(ValueError, match=f"^{re.escape(words[0])}"):
        call()


@pytest.mark.filterwarnings("ignore:tau, strength")
@pytest.mark.parametrize("name", OTHERS)
def test_other_errors(name):
    call, *words = OTHERS[name]
    read_aloud(getattr(errors, name), call, words)


def test_no_class_is_left_out():
    """Base classes aside, every error of the tree is provoked in this file."""
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__]
    bases = {errors.ConvexrmlError, errors.SolverError}
    assert {kind.__name__ for kind in kinds if kind not in bases} == {"InvalidInputError", *OTHERS} | ELSEWHERE
    assert all(issubclass(kind, (errors.ConvexrmlError, KeyboardInterrupt)) for kind in kinds)
    assert all(kind.__doc__ for kind in kinds)


def test_without_network(monkeypatch, tmp_path):
    def unknown(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    call = lambda: load_data("usps", data_dir=tmp_path)  # noqa: E731
    read_aloud(errors.DownloadError, call, ["data: ", "usps.bz2", "into a folder", "CONVEXRML_DATA", str(tmp_path)])


def test_profiles_that_are_none(tmp_path):
    (tmp_path / "mine.toml").write_text("titel = 'mine'\n")
    read_aloud(errors.ProfileError, lambda: load_profiles(tmp_path), ["mine.toml", "titel", "unknown key", "'title'"])
    read_aloud(errors.ProfileError, lambda: load_profiles(tmp_path / "x"), ["no such folder", "*.toml"])


def test_what_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "foolbox.attacks", None)
    read_aloud(errors.ToolMissingError, ask(tool_attack_radius), ["foolbox", "pip install 'convexrml[attacks]'"])
    kind = type(get_profile("daqp"))
    monkeypatch.setattr(kind, "missing_modules", property(lambda self: ("absent",)))
    read_aloud(errors.SolverMissingError, solved("daqp"), ["DAQP", "'absent'", "pip install"])


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ("out of luck", errors.SolverFailedError, ["Clarabel", "error of its own", "out of luck"]),
        (
            "rescode.err_missing_license_file(1008)",
            errors.SolverLicenceError,
            ["MOSEK", "no licence", "https://"],
        ),
    ],
)
def test_what_a_solver_says(said, kind, words, monkeypatch):
    def failing(self, *_, **__):
        raise RuntimeError(said)

    monkeypatch.setattr("cvxpy.Problem.solve", failing)
    monkeypatch.setattr(type(get_profile("mosek")), "missing_modules", property(lambda self: ()))
    read_aloud(kind, solved(words[0].lower()), words)


def test_a_fraction_of_a_node_is_refused_and_no_nodes_leave_an_interval():
    """A budget of half a node made the search go round for ever."""
    found = exact_radius(THREE, Z, T, node_limit=0)
    assert (found.lower <= found.upper).all()


def test_what_may_be_given():
    """Unusual, and allowed: sparse, float32, whole floats for whole labels, a metric under which all points tie."""
    model = NearestNeighbors().fit(scipy.sparse.csr_array(X), Y.astype(float))
    whole = exact_radius(ONE, Z, T)
    np.testing.assert_array_equal(exact_radius(model, Z, T).lower, whole.lower)
    single = NearestNeighbors().fit(X.astype(np.float32), Y)
    np.testing.assert_array_equal(single.training_points_, X.astype(np.float32).astype(float))
    nothing = NearestNeighbors(metric=np.zeros((3, 3))).fit(X, Y)
    assert (exact_radius(nothing, Z, T).upper == 0).all()
    assert exact_radius(ONE, Z, T, solver="DAQP").solver == "daqp"
