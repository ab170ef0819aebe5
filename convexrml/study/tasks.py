"""The tasks of a study: which there are, and which can be done by now.

A task's key holds everything that its result depends on, so that a result never stands for a question that was changed
since.  There are three kinds: ``data`` (read a data set, and note its size and hashes), ``learn`` (a metric), and
``radii`` (of some test points, by one road).  The last ones can be asked for when the first two are there.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from convexrml.errors import DataFileError
from convexrml.ledger import Ledger, text_of
from convexrml.study.catalogue import PUBLISHED
from convexrml.study.plan import BY_TOOL, AttackPlan, DataPlan, MetricPlan, Plan, Question

DONE, FAILED = "done", "failed"
TOOL = "tool"  # a road in a task's key: an attack of another's tool, by its settings, whatever its name

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
        return {"do": "data", "data": _without(dataclasses.asdict(self.data), "image_shape"), "split": split}

    @property
    def learn_key(self) -> Key | None:
        """Of the task that learns the metric, whatever test points it is for; None if nothing is learned."""
        if not self.metric.method:
            return None
        learner = {"method": self.metric.method, "parameters": dict(self.metric.parameters), "seed": self.seed}
        data = _without(self.data_key["data"], "test_points", "shuffle")
        return {"do": "learn", "data": data, "split": self.data_key["split"], **learner}

    @property
    def metric_file(self) -> Path | None:
        """The file that holds the metric, if one does."""
        return self.folder / self.metric.file.format(data=self.data.name) if self.metric.file else None

    @functools.cached_property
    def metric_key(self) -> Key:
        """What names the metric: the task that learns it, or the hash of its file, which is read once."""
        return self.learn_key or {"file": sha256_of(self.metric_file)}

    def radii_key(self, question: Question, road: str, start: int, stop: int) -> Key:
        """Of the task that asks about the test points from `start` up to `stop`."""
        asked = _without(dataclasses.asdict(question), "roads")
        key = {**self.data_key, "do": "radii", "metric": self.metric_key, "question": asked, "road": road}
        key["at"] = [start, stop]
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


class Known:
    """What finished tasks tell about the ones to come: the number of test points of a data set, read once.

    Parameters
    ----------
    ledger : Ledger
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._sizes, self._statuses = ledger, dict[str, int](), dict[str, str]()

    def look(self) -> None:
        """Look at the ledger again: others may have written, too."""
        self._statuses = self._ledger.statuses()

    def done(self, key: Key) -> bool:
        """Whether the task with this key was finished, and well, by the last look."""
        return self._statuses.get(text_of(key)) == DONE

    def test_points(self, key: Key) -> int | None:
        """How many the data set has that the task with this key reads; None while it is not read."""
        text = text_of(key)
        if text not in self._sizes and self.done(key):
            self._sizes[text] = (self._ledger.result_of(key) or {})["n_test"]
        return self._sizes.get(text)


def wanted(plan: Plan, known: Known) -> Iterator[Wanted]:
    """All tasks of a study that can be named by now, each once: points of a data set that was not read are not known.

    Parameters
    ----------
    plan : Plan
    known : Known
        Of the study's ledger.
    """
    known.look()
    named = set[str]()
    for case in cases(plan):
        for one in _wanted_of(case, plan, known):
            if one.text not in named:
                named.add(one.text)
                yield one


def _wanted_of(case: Case, plan: Plan, known: Known) -> Iterator[Wanted]:
    payload = {"folder": str(case.folder), "metric_file": str(case.metric_file or "")}
    yield Wanted("data sets", 1, case.data_key, payload)
    if case.learn_key is not None:
        yield Wanted("metrics learned", 1, case.learn_key, payload)
        if not known.done(case.learn_key):
            return
    n_test = known.test_points(case.data_key)
    if n_test is None:
        return
    for question in plan.questions:
        for road in asked_roads(question):
            for start, stop in chunks(n_test, plan.chunk):
                key = case.radii_key(question, road, start, stop)
                yield Wanted(f"{road} radii, {question}", stop - start, key, payload)


def _without(table: Key, *names: str) -> Key:
    return {name: value for name, value in table.items() if name not in names}


def sha256_of(path: Path | None) -> str | None:
    """The hash of a file; None for none."""
    if path is None:
        return None
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataFileError(f"{path}: cannot be read: {error.strerror}") from error
