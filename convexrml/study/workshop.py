"""The work of a study's tasks: some in this process, radii by its workers, which see arrays and no files."""

from __future__ import annotations

import dataclasses
import functools
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from joblib.parallel import get_active_backend
from numpy.typing import NDArray

from convexrml import parallel
from convexrml.attack_tools import tool_attack_radius
from convexrml.attacks import attack_radius
from convexrml.bounds import certified_radius
from convexrml.checker import Rejected, check
from convexrml.errors import DataFileError
from convexrml.exact import exact_radius
from convexrml.ledger import Task, text_of
from convexrml.metric import MahalanobisMetric
from convexrml.neighbors import NearestNeighbors
from convexrml.norms import Box, as_box
from convexrml.study.data import DataSet, load_data, load_dataset
from convexrml.study.files import read_metric
from convexrml.study.learn import make_learner
from convexrml.study.plan import DataPlan, Question
from convexrml.study.tasks import Key, sha256_of

FRAGILE = 3  # of each task's points, so many perturbations are kept: for the pictures
_ROUND = 4  # tasks for each worker before the ledger is looked at again

_NOT_THE_TASKS = (DataFileError, sqlite3.Error)  # what goes wrong with files ends the run

Result = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Failure:
    """What went wrong with a task, in words."""

    words: str


@dataclasses.dataclass(frozen=True, eq=False)
class _Chunk:
    """Test points of one task and what is asked of them, in one object, so that a cluster's backend sends it along."""

    Z: NDArray[np.float64]
    y: NDArray[Any]
    question: Question
    box: Box | None
    road: str
    start: int
    attack: dict[str, Any] | None


class Workshop:
    """Carries out tasks, and keeps the classifier of the last ones at hand.

    Parameters
    ----------
    result_of : callable
        Gives the result of the task with a key; None where it is not done.
    n_jobs : int or None
        How many workers, as in `convexrml.exact_radius`: threads, or what ``joblib.parallel_config`` asks for.
    data_dir : Path or None
        Folder of the data sets by name.
    """

    def __init__(
        self,
        result_of: Callable[[Key], Mapping[str, Any] | None],
        n_jobs: int | None = None,
        data_dir: Path | None = None,
    ) -> None:
        self._result_of, self._n_jobs, self._data_dir = result_of, n_jobs, data_dir
        self._last: tuple[Key | None, NearestNeighbors] | None = None

    @property
    def at_once(self) -> int:
        """How many tasks about the same classifier to take on together."""
        backend, n_jobs = get_active_backend(prefer="threads")
        if getattr(backend, "supports_sharedmem", False):  # not every backend of joblib's has it
            return 1
        return _ROUND * int(backend.effective_n_jobs(n_jobs if self._n_jobs is None else self._n_jobs))

    def carry_out(self, tasks: Sequence[Task]) -> Iterator[Result | Failure]:
        """Do the work of tasks about the same classifier (see `subject`), and give their results in their order.

        Threads share the points of one task, as far as the exact search goes.  Workers that are processes, here or on
        a cluster, take a task each, whatever the road.

        Raises
        ------
        DataFileError
            If a file cannot be read, or does not hold any more what it held when the study began.
        """
        if subject(tasks[0]) is None:
            yield from (_tried(self._prepare, task) for task in tasks)
            return
        try:
            model, chunks = self._model(tasks[0]), [self._chunk(task) for task in tasks]
        except _NOT_THE_TASKS:
            raise
        except Exception as error:
            yield from [_failure(error)] * len(tasks)
            return
        if len(tasks) == 1:
            yield _tried(_radii, model, chunks[0], self._n_jobs)
        else:
            yield from parallel.results([joblib.delayed(_alone)(model, chunk) for chunk in chunks], self._n_jobs, model)

    def _prepare(self, task: Task) -> Result:
        data = self._data(task)
        return describe(data) if task.key["do"] == "data" else _learn(data, task.key)

    def _data(self, task: Task) -> DataSet:
        plan = DataPlan(**_tuples(task.key["data"]))
        return read_data(plan, task.key["split"], Path(task.payload["folder"]), self._data_dir)

    def _chunk(self, task: Task) -> _Chunk:
        data, question, (start, stop) = self._data(task), Question(**_tuples(task.key["question"])), task.key["at"]
        box = as_box((question.box[0], question.box[1]), data.X_test.shape[1]) if question.box else None
        Z, y = data.inside(box, clip=True)[0].X_test[start:stop], data.y_test[start:stop]
        return _Chunk(Z, y, question, box, task.key["road"], start, task.key.get("attack"))

    def _model(self, task: Task) -> NearestNeighbors:
        means, metric = subject(task), task.key["metric"]
        if self._last is None or self._last[0] != means:
            read = self._result({"do": "data", "data": task.key["data"], "split": task.key["split"]})
            data = self._data(task)
            if data.sha256() != read["sha256"]:
                raise DataFileError(f"{data.name}: the data changed since the study began; start with new results")
            chosen = None
            if "method" in metric:
                chosen = MahalanobisMetric.from_components(np.asarray(self._result(metric)["components"]))
            elif metric["file"] is not None:
                chosen = _metric_in(task.payload["metric_file"], metric["file"])
            model = NearestNeighbors(task.key["question"]["n_neighbors"], chosen).fit(data.X_train, data.y_train)
            self._last = means, model
        return self._last[1]

    def _result(self, key: Key) -> Mapping[str, Any]:
        found = self._result_of(key)
        if found is None:
            raise DataFileError(f"the results lack a task that others rest on: {text_of(key)}")
        return found


@functools.lru_cache(maxsize=2)
def read_data(data: DataPlan, split: int | None, folder: Path, data_dir: Path | None = None) -> DataSet:
    """The data set of a plan, its test points shuffled and cut as the plan has it."""
    seed, size, scale = split or 0, data.test_size, data.scale
    if data.train:
        test = folder / data.test if data.test else None
        found = load_data(folder / data.train, test, test_size=size, seed=seed, scale=scale)
    else:
        found = load_dataset(data.name, data_dir=data_dir, test_size=size, seed=seed, scale=scale)
    if data.shuffle is not None:
        order = np.random.RandomState(data.shuffle).permutation(len(found.X_test))
        found = dataclasses.replace(found, X_test=found.X_test[order], y_test=found.y_test[order])
    return dataclasses.replace(found, name=data.name).head(data.test_points)


def describe(data: DataSet) -> Result:
    """Sizes and hashes of a data set."""
    return {
        "n_train": len(data.X_train),
        "n_test": len(data.X_test),
        "n_features": data.X_train.shape[1],
        "labels": data.y_test.tolist(),
        "sha256": data.sha256(),
    }


def _learn(data: DataSet, key: Key) -> Result:
    parameters = dict(key["parameters"])
    learner = make_learner(key["method"], parameters)
    if "random_state" in learner.get_params() and "random_state" not in parameters:
        learner.set_params(random_state=key["seed"])
    learner.fit(data.X_train, data.y_train)
    return {"components": learner.components_.tolist()}


def subject(task: Task) -> Key | None:
    """What names the classifier that a task is about; None for a task that reads data or learns."""
    if task.key["do"] != "radii":
        return None
    about = {name: task.key[name] for name in ("data", "split", "metric")}
    return about | {"n_neighbors": task.key["question"]["n_neighbors"]}


def _tried(work: Callable[..., Result], *arguments: Any) -> Result | Failure:
    try:
        return work(*arguments)
    except _NOT_THE_TASKS:
        raise
    except Exception as error:
        return _failure(error)


def _failure(error: Exception) -> Failure:
    return Failure(f"{type(error).__name__}: {error}")


def _alone(model: NearestNeighbors, chunk: _Chunk) -> Result | Failure:
    """One task in a worker, which asks for no others."""
    with joblib.parallel_config(backend="sequential"):
        return _tried(_radii, model, chunk, None)


def _radii(model: NearestNeighbors, chunk: _Chunk, n_jobs: int | None) -> Result:
    road, Z, y, question, box = chunk.road, chunk.Z, chunk.y, chunk.question, chunk.box
    if road == "certified":
        return {"lower": certified_radius(model, Z, y, norm=question.norm).lower.tolist()}
    if road == "attack":
        attack = attack_radius(model, Z, y, norm=question.norm, box=box, vote=question.vote)
        fragile = _fragile(attack.upper, attack.upper > 0, attack.perturbation, chunk)
        return {"upper": attack.upper.tolist()} | fragile
    if chunk.attack is not None:
        by_tool = tool_attack_radius(model, Z, y, **chunk.attack, norm=question.norm, box=box, vote=question.vote)
        return {"upper": by_tool.upper.tolist()}
    exact = exact_radius(
        model, Z, y, norm=question.norm, box=box, vote=question.vote, time_limit=question.time_limit,
        node_limit=question.node_limit, n_jobs=n_jobs, certificates=question.certificates,
    )  # fmt: skip
    result = {
        "lower": exact.lower.tolist(),
        "upper": exact.upper.tolist(),
        "status": [status.name for status in exact.status],
    }
    if question.certificates:
        result["accepted"] = [_accepted(made.to_bytes(), model) for made in exact.certificates]
    return result | _fragile(exact.upper, exact.lower > 0, exact.perturbation, chunk)


def _accepted(certificate: bytes, model: NearestNeighbors) -> bool:
    try:
        check(certificate, model.exact)
    except Rejected:
        return False
    return True


def _fragile(
    upper: NDArray[np.float64], robust: NDArray[np.bool_], perturbation: NDArray[np.float64], chunk: _Chunk
) -> Result:
    """Of the points that are robust at all, those with the smallest upper bounds, with their perturbations."""
    order = np.argsort(np.where(robust, upper, np.inf), kind="stable")[:FRAGILE]
    kept = [int(a) for a in order if robust[a] and upper[a] < np.inf]
    points = [{"query": chunk.start + a, "z": chunk.Z[a].tolist(), "delta": perturbation[a].tolist()} for a in kept]
    return {"fragile": points}


def _metric_in(name: str, sha256: str) -> MahalanobisMetric:
    path = Path(name)
    if sha256_of(path) != sha256:
        raise DataFileError(f"{path}: changed while the study was running; run the study again")
    return read_metric(path)


def _tuples(table: Mapping[str, Any]) -> Result:
    """JSON knows lists only; records have tuples, which can be hashed."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in table.items()}
