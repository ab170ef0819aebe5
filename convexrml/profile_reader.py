"""Reads one profile file: every key known, every value of its type, or an error that names file and key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources.abc import Traversable
from types import MappingProxyType
from typing import Any

from convexrml.errors import ProfileError
from convexrml.solver_profile import (
    PROBLEM_CLASSES,
    REQUIRED_ACCURACIES,
    Accuracy,
    ErrorPatterns,
    KnownIssue,
    SolverProfile,
)
from convexrml.toml_tables import Malformed, Reader, fields, flag, read_toml, text, texts


def read_profile(file: Traversable) -> SolverProfile:
    """Read the profile in one TOML file; its name is the file's."""
    try:
        return _profile(file)
    except Malformed as error:
        raise ProfileError(str(error)) from error


def _profile(file: Traversable) -> SolverProfile:
    table = read_toml(file)
    name = file.name.removesuffix(".toml")
    if name != name.lower():
        raise Malformed(f"{file.name}: the name of a profile is in lower case")
    found = fields(file.name, table, _PROFILE, optional=_OPTIONAL)
    found["known_issues"] = found.pop("known_issue", ())
    if found["needs_licence"] and not found.get("licence_page"):
        raise Malformed(f"{file.name}: licence_page: a solver that needs a licence has to say where to get one")
    return SolverProfile(name=name, **found)


def _modules(where: str, value: Any) -> tuple[str, ...]:
    for module in texts(where, value):
        if not module.isidentifier():
            raise Malformed(f"{where}: expected names of top-level modules, found {module!r}")
    return tuple(value)


def _problem_classes(where: str, value: Any) -> tuple[str, ...]:
    for item in texts(where, value):
        if item not in PROBLEM_CLASSES:
            raise Malformed(f"{where}: unknown class of programs {item!r} (there are: {', '.join(PROBLEM_CLASSES)})")
    return tuple(value)


def _patterns(where: str, value: Any) -> tuple[str, ...]:
    for pattern in texts(where, value):
        try:
            re.compile(pattern)
        except re.error as error:
            raise Malformed(f"{where}: {pattern!r} is no regular expression: {error}") from error
    return tuple(value)


def _tolerance(where: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise Malformed(f"{where}: expected a number between 0 and 1, found {value!r}")
    return float(value)


def _options(where: str, value: Any) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise Malformed(f"{where}: expected a table of options, found {value!r}")
    return MappingProxyType({name: _frozen(item) for name, item in value.items()})


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return MappingProxyType({name: _frozen(item) for name, item in value.items()})
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def _accuracies(where: str, value: Any) -> Mapping[str, Accuracy]:
    if not isinstance(value, dict):
        raise Malformed(f"{where}: expected a table of accuracies, found {value!r}")
    for name in REQUIRED_ACCURACIES:
        if name not in value:
            raise Malformed(f"{where}.{name}: missing key")
    return MappingProxyType(
        {name: Accuracy(**fields(f"{where}.{name}", table, _ACCURACY)) for name, table in value.items()}
    )


def _known_issues(where: str, value: Any) -> tuple[KnownIssue, ...]:
    if not isinstance(value, list):
        raise Malformed(f"{where}: expected tables [[known_issue]], found {value!r}")
    return tuple(KnownIssue(**fields(where, table, _KNOWN_ISSUE)) for table in value)


def _errors(where: str, value: Any) -> ErrorPatterns:
    return ErrorPatterns(**fields(where, value, _ERRORS, optional=_ERRORS))


_ACCURACY: Mapping[str, Reader] = {"tolerance": _tolerance, "options": _options}
_KNOWN_ISSUE: Mapping[str, Reader] = {"seen_with": text, "what": text, "workaround": text}
_ERRORS: Mapping[str, Reader] = {"option": _patterns, "licence": _patterns, "ask_again": text}
_PROFILE: Mapping[str, Reader] = {
    "title": text,
    "cvxpy_name": text,
    "modules": _modules,
    "problem_classes": _problem_classes,
    "method": text,
    "licence": text,
    "needs_licence": flag,
    "install": text,
    "homepage": text,
    "warm_start": flag,
    "accuracies": _accuracies,
    "known_issue": _known_issues,
    "licence_page": text,
    "option_names": texts,
    "errors": _errors,
    "time_limit_option": texts,
}
_OPTIONAL = ("known_issue", "licence_page", "option_names", "errors", "time_limit_option")
