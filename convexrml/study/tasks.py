"""The tasks of a study: which there are, which can be done by now, and the work of each.

A task's key holds everything that its result depends on, so that a result never stands for a question that was changed
since.  There are three kinds: ``data`` (read a data set, and note its size and hashes), ``learn`` (a metric), and
``radii`` (of some test points, by one road).  The last ones can be asked for when the first two are there.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from convexrml.attack_tools import tool_attack_radius
from convexrml.attacks import attack_radius
from convexrml.bounds import certified_radius
from convexrml.checker import Rejected, check
from convexrml.errors import DataFileError
from convexrml.exact import exact_radius
from convexrml.ledger import Task, text_of
from convexrml.metric import MahalanobisMetric
from convexrml.neighbors import NearestNeighbors
from convexrml.norms import as_box
from convexrml.study.catalogue import PUBLISHED
from convexrml.study.data import DataSet, load_data, load_dataset
from convexrml.study.files import read_metric
from convexrml.study.learn import make_learner
from convexrml.study.plan import BY_TOOL, AttackPlan, DataPlan, MetricPlan, Plan, Question

DONE, FAILED = "done", "failed"
TOOL = "tool"  # a road in a task's key: an attack of another's tool, by its settings, whatever its name
FRAGILE = 3  # of each task's points, so many perturbations are kept: for the pictures

Key = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Case:
    """One cell of a study: a data set, a metric and a seed, as keys of tasks name them."""

    data: DataPlan
    metric: MetricPlan
    seed: int
    folder: Path
    attacks: tuple[AttackPlan, ...] = ()

    @property
    def data_key(self) -> Key:
        """Of the task that reads the data."""
        comes_split = self.data.test or (not self.data.train and self.data.name in PUBLISHED)
        split = None if comes_split else self.seed
        return {"do": "data", "data": dataclasses.asdict(self.data), "split": split}

    @property
    def learn_key(self) -> Key | None:
        """Of the task that learns the metric; None if nothing is learned."""
        if not self.metric.method:
            return None
        learner = {"method": self.metric.method, "parameters": dict(self.metric.parameters)}
        return {**self.data_key, "do": "learn", **learner, "seed": self.seed}

    @property
    def metric_file(self) -> Path | None:
        """The file that holds the metric, if one does."""
        return self.folder / self.metric.file.format(data=self.data.name) if self.metric.file else None

    @functools.cached_property
    def metric_key(self) -> Key:
        """What names the metric: the task that learns it, or the hash of its file, which is read once."""
        return self.learn_key or {"file": _sha256(self.metric_file)}

    def radii_key(self, question: Question, road: str, start: int, stop: int) -> Key:
        """Of the task that asks about the test points from `start` up to `stop`."""
        asked = dataclasses.asdict(question)
        del asked["roads"]
        key = {
            **self.data_key,
            "do": "radii",
            "metric": self.metric_key,
            "question": asked,
            "road": road,
            "at": [start, stop],
        }
        if not road.startswith(BY_TOOL):
            return key
        (attack,) = (one for one in self.attacks if BY_TOOL + one.name == road)
        return key | {"road": TOOL, "attack": attack.settings(self.seed).terms}


def cases(plan: Plan) -> Iterator[Case]:
    """Every case of a plan, data set by data set."""
    for data in plan.data:
        for metric in plan.metrics:
            for seed in plan.seeds:
                yield Case(data, metric, seed, plan.folder, plan.attacks)


def asked_roads(question: Question) -> Iterator[str]:
    """The roads to take for a question; the closed form knows no box."""
    yield from (road for road in question.roads if not (question.box and road == "certified"))


def chunks(n: int, size: int) -> Iterator[tuple[int, int]]:
    """Ranges of at most `size` that cover 0 to n."""
    yield from ((start, min(start + size, n)) for start in range(0, n, size))


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A task that a study asks for.

    Attributes
    ----------
    stage : str
        What it belongs to, for progress.
    size : int
        What it counts for there: points, or 1.
    key, payload : dict
    """

    stage: str
    size: int
    key: Key
    payload: Key

    @functools.cached_property
    def text(self) -> str:
        """The key as the ledger writes it: asked for at every step of a run."""
        return text_of(self.key)


def wanted(plan: Plan, result_of: Callable[[Key], Mapping[str, Any] | None]) -> Iterator[Wanted]:
    """All tasks of a study that can be named by now, each once: points of a data set that was not read are not known.

    Parameters
    ----------
    plan : Plan
    result_of : callable
        Gives the result of the task with a key; None where it is not done.
    """
    named = set[str]()
    for case in cases(plan):
        for one in _wanted_of(case, plan, result_of):
            if one.text not in named:
                named.add(one.text)
                yield one


def _wanted_of(case: Case, plan: Plan, result_of: Callable[[Key], Mapping[str, Any] | None]) -> Iterator[Wanted]:
    payload = {"folder": str(case.folder), "metric_file": str(case.metric_file or "")}
    yield Wanted("data sets", 1, case.data_key, payload)
    if case.learn_key is not None:
        yield Wanted("metrics learned", 1, case.learn_key, payload)
        if result_of(case.learn_key) is None:
            return
    data = result_of(case.data_key)
    if data is None:
        return
    for question in plan.questions:
        for road in asked_roads(question):
            for start, stop in chunks(data["n_test"], plan.chunk):
                key = case.radii_key(question, road, start, stop)
                yield Wanted(f"{road} radii, {question}", stop - start, key, payload)


class Workshop:
    """Carries out tasks, and keeps the classifier of the last one at hand.

    Parameters
    ----------
    result_of : callable
        Gives the result of the task with a key; None where it is not done.
    n_jobs : int or None
        Workers of the exact search.
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
        self._last: tuple[Key, NearestNeighbors] | None = None

    def carry_out(self, task: Task) -> dict[str, Any]:
        """Do the work of one task, and return its result.

        Raises
        ------
        DataFileError
            If a file cannot be read, or does not hold any more what it held when the study began.
        """
        key, folder = task.key, Path(task.payload["folder"])
        data = read_data(DataPlan(**_tuples(key["data"])), key["split"], folder, self._data_dir)
        if key["do"] == "data":
            return describe(data)
        if key["do"] == "learn":
            return _learn(data, key)
        question = Question(**_tuples(key["question"]))
        return _radii(self._model(task, data, question), data, question, key, self._n_jobs)

    def _model(self, task: Task, data: DataSet, question: Question) -> NearestNeighbors:
        metric = task.key["metric"]
        means = {"data": task.key["data"], "split": task.key["split"], "metric": metric, "k": question.n_neighbors}
        if self._last is None or self._last[0] != means:
            read = self._result({"do": "data", "data": task.key["data"], "split": task.key["split"]})
            if data.sha256() != read["sha256"]:
                raise DataFileError(f"{data.name}: the data changed since the study began; start with new results")
            chosen = None
            if "method" in metric:
                chosen = MahalanobisMetric.from_components(np.asarray(self._result(metric)["components"]))
            elif metric["file"] is not None:
                chosen = _metric_in(task.payload["metric_file"], metric["file"])
            model = NearestNeighbors(question.n_neighbors, chosen).fit(data.X_train, data.y_train)
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


def describe(data: DataSet) -> dict[str, Any]:
    """Sizes and hashes of a data set."""
    return {
        "n_train": len(data.X_train),
        "n_test": len(data.X_test),
        "n_features": data.X_train.shape[1],
        "labels": data.y_test.tolist(),
        "sha256": data.sha256(),
    }


def _learn(data: DataSet, key: Key) -> dict[str, Any]:
    parameters = dict(key["parameters"])
    learner = make_learner(key["method"], parameters)
    if "random_state" in learner.get_params() and "random_state" not in parameters:
        learner.set_params(random_state=key["seed"])
    learner.fit(data.X_train, data.y_train)
    return {"components": learner.components_.tolist()}


def _radii(model: NearestNeighbors, data: DataSet, question: Question, key: Key, n_jobs: int | None) -> dict[str, Any]:
    road, (start, stop) = key["road"], key["at"]
    box = as_box((question.box[0], question.box[1]), model.n_features_in_) if question.box else None
    Z, y = data.inside(box, clip=True)[0].X_test[start:stop], data.y_test[start:stop]
    if road == "certified":
        return {"lower": certified_radius(model, Z, y, norm=question.norm).lower.tolist()}
    if road == "attack":
        attack = attack_radius(model, Z, y, norm=question.norm, box=box, vote=question.vote)
        return {"upper": attack.upper.tolist()} | _fragile(
            attack.upper, attack.upper > 0, attack.perturbation, Z, start
        )
    if road == TOOL:
        by_tool = tool_attack_radius(model, Z, y, **key["attack"], norm=question.norm, box=box, vote=question.vote)
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
    return result | _fragile(exact.upper, exact.lower > 0, exact.perturbation, Z, start)


def _accepted(certificate: bytes, model: NearestNeighbors) -> bool:
    try:
        check(certificate, model.exact)
    except Rejected:
        return False
    return True


def _fragile(upper: Any, robust: Any, perturbation: Any, Z: Any, start: int) -> dict[str, Any]:
    """Of the points that are robust at all, those with the smallest upper bounds, with their perturbations."""
    order = np.argsort(np.where(robust, upper, np.inf), kind="stable")[:FRAGILE]
    kept = [int(a) for a in order if robust[a] and upper[a] < np.inf]
    return {"fragile": [{"query": start + a, "z": Z[a].tolist(), "delta": perturbation[a].tolist()} for a in kept]}


def _metric_in(name: str, sha256: str) -> MahalanobisMetric:
    path = Path(name)
    if _sha256(path) != sha256:
        raise DataFileError(f"{path}: changed while the study was running; run the study again")
    return read_metric(path)


def _sha256(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataFileError(f"{path}: cannot be read: {error.strerror}") from error


def _tuples(table: Mapping[str, Any]) -> dict[str, Any]:
    """JSON knows lists only; records have tuples, which can be hashed."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in table.items()}
