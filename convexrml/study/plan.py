"""The plan of a study: what is measured, of which data, under which metrics, read from one TOML file."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from convexrml.attack_settings import TOOLS, ToolAttack
from convexrml.errors import DataFileError, InvalidInputError
from convexrml.norms import as_norm
from convexrml.toml_tables import (
    Malformed,
    Reader,
    among,
    fields,
    flag,
    list_of,
    number,
    read_toml,
    settings_table,
    share,
    signed,
    tables_of,
    text,
    texts,
    whole,
)
from convexrml.votes import as_vote

FORMAT = 1
ROADS = ("certified", "exact", "attack")
BY_TOOL = "attack:"  # a road begins with it that is an attack of the plan, by its name


@dataclasses.dataclass(frozen=True)
class DataPlan:
    """One data set of a study.

    Attributes
    ----------
    name : str
        For headings; without `train`, the name of a data set: see `convexrml.study.catalogue.read_named`.
    train, test : str
        Files, relative to the plan's folder; "" where there is none.  Without `test` a part is held out.
    test_size : float
        The share held out where there are no test points.
    test_points : int or None
        The first so many test points after the shuffle; None for all.
    shuffle : int or None
        Seed of a shuffle of the test points; None leaves their order.
    scale : {"minmax", "none"}
    image_shape : tuple of int
        Height and width where the features are pixels, for the pictures; empty otherwise.
    """

    name: str
    train: str = ""
    test: str = ""
    test_size: float = 0.3
    test_points: int | None = None
    shuffle: int | None = None
    scale: str = "minmax"
    image_shape: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class MetricPlan:
    """One metric of a study: the Euclidean one, one to be learned, or one in a file.

    Attributes
    ----------
    name : str
    method : str
        Of `convexrml.study.learn.METHODS`; "" for none.
    parameters : mapping
        Of the learner.
    file : str
        Relative to the plan's folder, with ``{data}`` for the name of the data set; "" for none.
    """

    name: str
    method: str = ""
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=lambda: MappingProxyType({}))
    file: str = ""


@dataclasses.dataclass(frozen=True)
class AttackPlan:
    """An attack of another's tool: the road ``attack:NAME`` of questions.

    Attributes
    ----------
    name : str
    tool, attack : str
        See `convexrml.ToolAttack`.
    options : mapping
        Of the attack.
    seed : int or None
        None takes the seed of each run.
    """

    name: str
    tool: str
    attack: str = ""
    options: Mapping[str, Any] = dataclasses.field(default_factory=lambda: MappingProxyType({}))
    seed: int | None = None

    def settings(self, seed: int) -> ToolAttack:
        """The attack in the run with this seed."""
        return ToolAttack(self.tool, self.attack, self.options, seed if self.seed is None else self.seed)


@dataclasses.dataclass(frozen=True)
class Question:
    """What is asked of every test point.

    Attributes
    ----------
    n_neighbors : int
    norm : {"1", "2", "inf"}
    vote : {"plurality", "majority"}
    box : tuple of float
        Lower and upper side for every feature; empty for none.  Test points are clipped into it.
    roads : tuple of str
        Among `ROADS`, or ``attack:NAME`` with the name of an `AttackPlan`.
    certificates : bool
        Whether exact radii are also made into certificates, and these checked in exact arithmetic.
    time_limit : float or None
        Seconds for each exact radius of more than one neighbour.
    node_limit : int or None
    """

    n_neighbors: int = 1
    norm: str = "2"
    vote: str = "plurality"
    box: tuple[float, ...] = ()
    roads: tuple[str, ...] = ("certified", "exact")
    certificates: bool = False
    time_limit: float | None = None
    node_limit: int | None = None

    @property
    def attacks(self) -> tuple[str, ...]:
        """Names of the attacks to be shown one by one: where tools attack, theirs and the library's own."""
        found = tuple(road.removeprefix(BY_TOOL) for road in self.roads if "attack" in road)
        return () if found == ("attack",) else found

    def __str__(self) -> str:
        """As headings have it: ``11-NN, ℓ2, majority``."""
        parts = [f"{self.n_neighbors}-NN", str(as_norm(self.norm))]
        parts += [self.vote] if self.n_neighbors > 1 else []
        return ", ".join(parts + ([f"box [{self.box[0]:g}, {self.box[1]:g}]"] if self.box else []))


@dataclasses.dataclass(frozen=True)
class Plan:
    """A study, as its file describes it.

    Attributes
    ----------
    title : str
    data : tuple of DataPlan
    metrics : tuple of MetricPlan
    questions : tuple of Question
    attacks : tuple of AttackPlan
    seeds : tuple of int
        One run for each: of the learners and, where test points are held out, of the split.
    radii : tuple of float
        At which robust errors are stated.
    relative : bool
        Whether `radii` are multiples of the median radius under the first metric (exact, else certified).
    chunk : int
        Test points that are worked on, written down, and lost to a kill, at a time.
    folder : Path
        Where the file lies; its relative paths start there.
    sha256 : str
        Of the file.
    """

    title: str
    data: tuple[DataPlan, ...]
    metrics: tuple[MetricPlan, ...]
    questions: tuple[Question, ...]
    attacks: tuple[AttackPlan, ...]
    seeds: tuple[int, ...]
    radii: tuple[float, ...]
    relative: bool
    chunk: int
    folder: Path
    sha256: str


def read_plan(path: Path) -> Plan:
    """Read a study file.

    Raises
    ------
    DataFileError
        If it is missing, of a newer format, or does not say what it has to say: file, key, what was found.
    """
    try:
        table = read_toml(path)
        if "format" not in table:
            raise Malformed(f"{path.name}: format: missing key; write format = {FORMAT}")
        written = whole(0)(f"{path.name}: format", table.pop("format"))
        if written != FORMAT:
            raise Malformed(
                f"{path.name}: format {written} is not known here (this version reads {FORMAT}); upgrade convexrml"
            )
        found = fields(path.name, table, _PLAN, optional=("attack", "seeds", "report", "chunk"))
        report = found.pop("report", {"radii": (0.5, 1.0, 1.5), "relative": True})
        plan = Plan(
            data=found.pop("data"),
            metrics=found.pop("metric"),
            questions=found.pop("question"),
            attacks=found.pop("attack", ()),
            **{"seeds": (0,), "chunk": 100, "relative": False} | found | report,
            folder=path.resolve().parent,
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        _require_consistent(path.name, plan)
    except Malformed as error:
        raise DataFileError(str(error)) from error
    return plan


def _require_consistent(name: str, plan: Plan) -> None:
    for what, tables in (("data", plan.data), ("metric", plan.metrics), ("attack", plan.attacks)):
        if len({one.name for one in tables}) < len(tables):
            raise Malformed(f"{name}: {what}: two have the same name")
    for data in plan.data:
        if data.test and not data.train:
            raise Malformed(f"{name}: data {data.name!r}: has a file of test points, but none of training points")
    for metric in plan.metrics:
        if metric.method and metric.file:
            raise Malformed(f"{name}: metric {metric.name!r}: is learned by a method or read from a file, not both")
        if metric.parameters and not metric.method:
            raise Malformed(f"{name}: metric {metric.name!r}: has parameters, but no method to take them")
    for question in plan.questions:
        if question.box and question.box[0] > question.box[1]:
            raise Malformed(f"{name}: question: box: lower exceeds upper: {list(question.box)}")
        if question.certificates and "exact" not in question.roads:
            raise Malformed(f"{name}: question: certificates are of exact radii, and roads leave these out")
        if question.n_neighbors > 1 and question.norm != "2" and "exact" in question.roads:
            raise Malformed(f"{name}: question: exact radii of more than one neighbour are searched in norm 2 only")
    asked = {road for question in plan.questions for road in question.roads if road not in ROADS}
    named = {BY_TOOL + attack.name for attack in plan.attacks}
    for attack in plan.attacks:
        if attack.name in ROADS:
            raise Malformed(
                f"{name}: attack {attack.name!r}: has the name of a road of the library's own; choose another"
            )
    for road in sorted(asked - named):
        raise Malformed(f"{name}: question: roads: {road!r} needs a table [[attack]] of this name")
    for road in sorted(named - asked):
        raise Malformed(f"{name}: attack: no question has the road {road!r}")
    if len(set(plan.questions)) < len(plan.questions):
        raise Malformed(f"{name}: question: two are the same")


def _checked(check: Any) -> Reader:
    def read(where: str, value: Any) -> str:
        try:
            return str(check(value).name).lower()
        except InvalidInputError as error:
            raise Malformed(f"{where}: {error}") from error

    return read


def _odd(where: str, value: Any) -> int:
    if whole(1)(where, value) % 2 == 0:
        raise Malformed(f"{where}: expected an odd number of neighbours, found {value!r}")
    return int(value)


def _road(where: str, value: str) -> str:
    return value if value.startswith(BY_TOOL) else among(*ROADS, f"{BY_TOOL}NAME")(where, value)


def _report(where: str, value: Any) -> dict[str, Any]:
    return fields(where, value, {"radii": list_of(number), "relative": flag}, optional=("relative",))


_PLAN: Mapping[str, Reader] = {
    "title": text,
    "data": tables_of(
        DataPlan,
        {
            "name": text,
            "train": text,
            "test": text,
            "test_size": share,
            "test_points": whole(1),
            "shuffle": whole(0),
            "scale": among("minmax", "none"),
            "image_shape": list_of(whole(1), 2, 2),
        },
        needed=("name",),
    ),
    "metric": tables_of(
        MetricPlan, {"name": text, "method": text, "parameters": settings_table, "file": text}, needed=("name",)
    ),
    "question": tables_of(
        Question,
        {
            "n_neighbors": _odd,
            "norm": _checked(as_norm),
            "vote": _checked(as_vote),
            "box": list_of(signed, 2, 2),
            "roads": lambda where, value: tuple(_road(where, road) for road in texts(where, value)),
            "certificates": flag,
            "time_limit": number,
            "node_limit": whole(0),
        },
    ),
    "attack": tables_of(
        AttackPlan,
        {"name": text, "tool": among(*TOOLS), "attack": text, "options": settings_table, "seed": whole(0)},
        needed=("name", "tool"),
    ),
    "seeds": list_of(whole(0)),
    "chunk": whole(1),
    "report": _report,
}
