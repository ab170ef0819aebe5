"""Every public name is on a page of the site's reference, with a docstring that says all that numpydoc asks for."""

import dataclasses
import doctest
import enum
import functools
import importlib
import inspect
import re
from pathlib import Path
from typing import NamedTuple

import pytest
from numpydoc.docscrape import NumpyDocString
from numpydoc.validate import validate

import convexrml
import convexrml.errors
import convexrml.formulations

PAGES = sorted((Path(__file__).resolve().parents[1] / "docs" / "api").glob("*.rst"))
DIRECTIVE = re.compile(r"^\.\. auto(?:class|function|exception):: ([\w.]+)\n((?:   :.*\n)*)", re.MULTILINE)

# Checks of numpydoc's that the house does without, and why.
LEFT_OUT = {
    "ES01": "a summary may be all there is to say",
    "EX01": "examples are asked of the main entry points, below",
    "SA01": "names in backticks lead to what else to see",
    "SS05": "summaries may say what is, not what to do",
    "PR06": "arrays are given by shape and type: (n,) bool array",
    "PR08": "descriptions may begin with a symbol or a lower-case name",
    "PR09": "descriptions may be formulas",
}
# Read as a whole, and kept short for it: the site's page has parameters and results, the file has none.
AUDITED = ("convexrml.checker", "convexrml.optimality_checker")
WITH_EXAMPLES = [
    "ARML",
    "ExactRadiusLearner",
    "NearestNeighbors",
    "RobustMetricLearner",
    "affine_transformer",
    "attack_radius",
    "certified_radius",
    "crosscheck",
    "exact_radius",
    "formulations.KNearestPerturbation",
    "formulations.MaxMinRadius",
    "formulations.MinimalPerturbation",
    "formulations.RobustHinge",
    "from_estimator",
    "nearest_psd",
    "retrieval_radius",
]


class Entry(NamedTuple):
    """A name on a reference page; `hidden` are members that are not shown, "*" stands for all of them."""

    name: str
    hidden: frozenset[str]


def entries():
    """What the reference pages list."""
    for page in PAGES:
        for name, options in DIRECTIVE.findall(page.read_text(encoding="utf-8")):
            hidden = re.findall(r":exclude-members: (.*)", options)
            hidden = ["*"] if ":no-members:" in options else ", ".join(hidden).split(", ")
            yield Entry(name if name.startswith("convexrml.") else f"convexrml.{name}", frozenset(hidden))
    for name, value in vars(convexrml.errors).items():
        if inspect.isclass(value):
            yield Entry(f"convexrml.errors.{name}", frozenset())


def loaded(name):
    """The object behind a dotted name."""
    parts = name.split(".")
    for split in range(len(parts) - 1, 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:split]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[split:]:
            found = getattr(found, attribute)
        return found
    raise AssertionError(f"{name}: not found")


def members(kind):
    """Public methods and properties that a class has from the house."""
    if not inspect.isclass(kind):
        return set()
    fields = {field.name for field in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else set()
    homes = [base for base in kind.__mro__ if base.__module__.startswith("convexrml.")]
    found = {name for base in homes for name, value in vars(base).items() if is_method(value)}
    return {name for name in found - fields if not name.startswith("_")}


def is_method(value):
    return inspect.isfunction(value) or isinstance(value, property | classmethod | staticmethod)


ENTRIES = {entry.name: entry for entry in entries()}
NAMES = sorted(
    set(ENTRIES)
    | {
        f"{name}.{member}"
        for name, entry in ENTRIES.items()
        if "*" not in entry.hidden
        for member in members(loaded(name)) - entry.hidden
    }
)
PUBLIC = [f"convexrml.{name}" for name in convexrml.__all__ if not inspect.ismodule(getattr(convexrml, name))]
PUBLIC += [f"convexrml.formulations.{name}" for name in convexrml.formulations.__all__]


@functools.cache
def found_by_numpydoc(name):
    return dict(validate(name)["errors"])


def faults(name):
    """What numpydoc has against a docstring, and what it does not see."""
    found = loaded(name)
    listed = {code: what for code, what in found_by_numpydoc(name).items() if code not in LEFT_OUT}
    if name.startswith(AUDITED):
        listed = {code: what for code, what in listed.items() if code not in ("PR01", "RT01")}
    if re.search(r"^ *[A-Za-z]\.$", inspect.getdoc(found) or "", re.MULTILINE):
        listed["house"] = "a letter and a full stop alone on a line are a list of one empty item to Sphinx"
    if inspect.isclass(found):
        # What a constructor takes may be listed among the attributes, which is what a reader of a result looks for.
        listed.pop("PR01", None)
        if missing := taken(found) - described(found):
            listed["PR01"] = f"neither a parameter nor an attribute: {sorted(missing)}"
        attributes = NumpyDocString(inspect.getdoc(found))["Attributes"]
        if bare := [row.name for row in attributes if not "".join(row.desc).strip()]:
            listed["PR07"] = f"attributes without a description: {bare}"
    return listed


def taken(kind):
    """The parameters of a class's constructor; enumerations and protocols are not made by calling them."""
    if issubclass(kind, enum.Enum) or getattr(kind, "_is_protocol", False) or kind.__module__ in AUDITED:
        return set()
    if "__init__" not in vars(kind) and not dataclasses.is_dataclass(kind):
        return set()
    return set(inspect.signature(kind).parameters)


def described(kind):
    doc = NumpyDocString(inspect.getdoc(kind) or "")
    rows = [row for section in ("Parameters", "Attributes") for row in doc[section]]
    return {name for row in rows for name in row.name.split(", ")}


def test_every_public_name_is_on_a_reference_page():
    assert not set(PUBLIC) - set(ENTRIES), "list them in docs/api/*.rst"


def test_members_that_a_page_hides_exist():
    for entry in ENTRIES.values():
        assert entry.hidden - {"*", ""} <= members(loaded(entry.name)), entry


@pytest.mark.parametrize("name", NAMES)
def test_a_docstring_is_complete(name):
    assert not faults(name)


@pytest.mark.parametrize("name", NAMES)
def test_a_signature_is_annotated(name):
    found = inspect.unwrap(loaded(name))
    found = found.fget if isinstance(found, property) else found
    if inspect.isclass(found):
        found = None if getattr(found, "_is_protocol", False) else vars(found).get("__init__")
    if not inspect.isfunction(found):
        return  # a class whose constructor is not written out
    signature = inspect.signature(found)
    bare = [key for key, value in signature.parameters.items() if value.annotation is value.empty]
    assert set(bare) <= {"self", "cls"}
    assert signature.return_annotation is not signature.empty


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_an_entry_point_has_an_example(name):
    assert NumpyDocString(inspect.getdoc(loaded(f"convexrml.{name}")))["Examples"]


@pytest.mark.parametrize("module", sorted({inspect.getmodule(loaded(name)).__name__ for name in ENTRIES}))
def test_examples_say_what_happens(module):
    assert doctest.testmod(importlib.import_module(module)).failed == 0


@pytest.mark.parametrize("code", sorted(LEFT_OUT))
def test_a_check_that_is_left_out_would_find_something(code):
    """Otherwise it need not be left out."""
    assert any(code in found_by_numpydoc(name) for name in NAMES)
