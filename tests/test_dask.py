"""The search on a cluster of two worker processes."""

import functools
import os
import signal

import joblib
import numpy as np
import pytest

from convexrml import NearestNeighbors, exact_radius
from convexrml.search import GroupedSites
from convexrml.study.outcome import read_outcome
from convexrml.study.runner import run_study

distributed = pytest.importorskip("distributed")


@pytest.fixture
def client():
    with (
        distributed.LocalCluster(
            n_workers=2, processes=True, threads_per_worker=1, dashboard_address=None, memory_limit=0
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@functools.cache
def a_task(norm):
    """A model, queries, labels, and their radii as this process finds them."""
    rng = np.random.default_rng(0)
    N, d, n = (12000, 12, 1600) if norm == 2 else (1500, 8, 320)
    X, y, Z = rng.standard_normal((N, d)), rng.integers(0, 3, N), rng.standard_normal((n, d))
    model = NearestNeighbors().fit(X, y)
    labels = model.predict(Z)
    return model, Z, labels, exact_radius(model, Z, labels, norm=norm, method="search")


def on_the_cluster(norm, progress=None):
    model, Z, labels, here = a_task(norm)
    with joblib.parallel_config(backend="dask", wait_for_workers_timeout=60):
        there = exact_radius(model, Z, labels, norm=norm, method="search", progress=progress)
    assert there.status.tolist() == here.status.tolist()
    if norm == 2:  # bit by bit
        for name in ("lower", "upper", "perturbation", "negative"):
            np.testing.assert_array_equal(getattr(there, name), getattr(here, name))
    else:  # HiGHS starts from the basis that the query before has left, and batches differ: last bits
        np.testing.assert_allclose(there.lower, here.lower, rtol=1e-12)
        np.testing.assert_allclose(there.upper, here.upper, rtol=1e-12)


def test_two_worker_processes_find_what_one_process_finds(client, norm):
    seen = []
    on_the_cluster(norm, seen.append)
    assert sum(seen) == len(a_task(norm)[1])
    assert len(seen) > 4


def count_arrivals():
    """In a worker: from now on, count how often a training set is unpickled."""

    def arrived(self, state):
        GroupedSites.arrivals += 1
        self.__dict__.update(state)

    GroupedSites.arrivals, GroupedSites.__setstate__ = 0, arrived


def test_the_training_set_reaches_each_worker_once(client, monkeypatch):
    """It leaves this process once, and arrives at a worker once, however many tasks there are.

    On a busy machine Dask sometimes lets a worker unpack a copy a second time; it does not do so task by task.
    """
    pickles = []

    def reduced(self, protocol):
        pickles.append(protocol)
        return object.__reduce_ex__(self, protocol)

    monkeypatch.setattr(GroupedSites, "__reduce_ex__", reduced, raising=False)
    client.run(count_arrivals)
    seen = []
    on_the_cluster(2, seen.append)
    arrivals = client.run(lambda: GroupedSites.arrivals)
    assert len(seen) >= 8
    assert len(pickles) == 1
    assert 1 <= max(arrivals.values()) <= 2 < len(seen), arrivals


@pytest.mark.parametrize("which", [0, 1], ids=["first", "second"])
def test_a_killed_worker_loses_nothing(client, norm, which):
    """Half-way one of the two processes dies; whatever it held or was at is done again."""
    pids = list(client.run(os.getpid).values())
    total, seen = len(a_task(norm)[1]), []

    def progress(count):
        before = sum(seen)
        seen.append(count)
        if before < total / 2 <= sum(seen):
            os.kill(pids[which], signal.SIGKILL)

    on_the_cluster(norm, progress)
    assert sum(seen) == total


STUDY = """
format = 1
title = "On a cluster"
chunk = 10

[[data]]
name = "cloud"
train = "train.npz"
test = "test.npz"

[[metric]]
name = "Euclidean"

[[metric]]
name = "given"
file = "metric.npy"

[[question]]
roads = ["certified", "exact", "attack"]
certificates = true

[[question]]
n_neighbors = 3
roads = ["exact"]
"""


@pytest.fixture
def study(tmp_path):
    rng = np.random.default_rng(0)
    for name, n in (("train", 100), ("test", 60)):
        X = rng.normal(size=(n, 4))
        np.savez(tmp_path / f"{name}.npz", X=X, y=(X[:, 0] + 0.3 * rng.normal(size=n) > 0).astype(int))
    np.save(tmp_path / "metric.npy", np.diag([3.0, 1.0, 1.0, 0.5]))
    path = tmp_path / "study.toml"
    path.write_text(STUDY)
    return path


def same(one, other):
    """Whether two records of a point are the same, NaN being itself."""
    return all(a == b or (a != a and b != b) for a, b in zip(one.values(), other.values(), strict=True))


@pytest.mark.parametrize("killed", [False, True], ids=["whole", "one killed"])
def test_a_study_on_a_cluster_has_the_same_table(client, study, killed):
    """Workers take a chunk of points each, whatever the road; the one process that runs the study writes them down."""
    run_study(study, study.parent / "here.db")
    pids, struck = list(client.run(os.getpid).values()), []

    def progress(stage, finished, total):
        if killed and not struck and stage.startswith("exact radii, 3-NN") and 0 < finished < total:
            struck.append(finished)
            os.kill(pids[0], signal.SIGKILL)

    with joblib.parallel_config(backend="dask", wait_for_workers_timeout=60):
        standing = run_study(study, study.parent / "there.db", progress=progress)
    assert standing.sentence == "Everything is done." and not standing.failed
    assert len(struck) == killed
    here, there = (list(read_outcome(study, study.parent / name).records()) for name in ("here.db", "there.db"))
    assert len(here) == 60 * 2 * 2
    assert all(same(one, other) for one, other in zip(here, there, strict=True))
    assert all(record["certificate_accepted"] for record in there if record["n_neighbors"] == 1)
