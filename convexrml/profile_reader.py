"""Reads one profile file: every key known, every value of its type, or an error that names file and key."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
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


def read_profile(file: Traversable) -> SolverProfile:
    """Read the profile in one TOML file; its name is the file's."""
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ProfileError(f"{file.name}: cannot be read as TOML: {error}") from error
    name = file.name.removesuffix(".toml")
    if name != name.lower():
        raise ProfileError(f"{file.name}: the name of a profile is in lower case")
    fields = _fields(file.name, table, _PROFILE, optional=_OPTIONAL)
    fields["known_issues"] = fields.pop("known_issue", ())
    if fields["needs_licence"] and not fields.get("licence_page"):
        raise ProfileError(f"{file.name}: licence_page: a solver that needs a licence has to say where to get one")
    return SolverProfile(name=name, **fields)


# Readers: each takes where the value stands ("file: key") and the value, and returns it checked and frozen.
_Reader = Callable[[str, Any], Any]


def _fields(file: str, table: Any, readers: Mapping[str, _Reader], *, optional: Iterable[str] = ()) -> dict[str, Any]:
    """Read a table whose keys are known; `file` may already carry the path to the table."""
    if not isinstance(table, dict):
        raise ProfileError(f"{file}: expected a table, found {table!r}")
    separator = "." if ": " in file else ": "
    for key in table:
        if key not in readers:
            closest = difflib.get_close_matches(key, readers, n=1)
            hint = f"; did you mean {closest[0]!r}?" if closest else ""
            raise ProfileError(f"{file}{separator}{key}: unknown key{hint}")
    for key in readers:
        if key not in table and key not in optional:
            raise ProfileError(f"{file}{separator}{key}: missing key")
    return {key: readers[key](f"{file}{separator}{key}", value) for key, value in table.items()}


def _text(where: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ProfileError(f"{where}: expected a text that is not empty, found {value!r}")
    return value


def _flag(where: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ProfileError(f"{where}: expected true or false, found {value!r}")
    return value


def _texts(where: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise ProfileError(f"{where}: expected a list of texts that is not empty, found {value!r}")
    return tuple(_text(where, item) for item in value)


def _modules(where: str, value: Any) -> tuple[str, ...]:
    for module in _texts(where, value):
        if not module.isidentifier():
            raise ProfileError(f"{where}: expected names of top-level modules, found {module!r}")
    return tuple(value)


def _problem_classes(where: str, value: Any) -> tuple[str, ...]:
    for item in _texts(where, value):
        if item not in PROBLEM_CLASSES:
            raise ProfileError(f"{where}: unknown class of programs {item!r} (there are: {', '.join(PROBLEM_CLASSES)})")
    return tuple(value)


def _patterns(where: str, value: Any) -> tuple[str, ...]:
    for pattern in _texts(where, value):
        try:
            re.compile(pattern)
        except re.error as error:
            raise ProfileError(f"{where}: {pattern!r} is no regular expression: {error}") from error
    return tuple(value)


def _tolerance(where: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise ProfileError(f"{where}: expected a number between 0 and 1, found {value!r}")
    return float(value)


def _options(where: str, value: Any) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise ProfileError(f"{where}: expected a table of options, found {value!r}")
    return MappingProxyType({name: _frozen(item) for name, item in value.items()})


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return MappingProxyType({name: _frozen(item) for name, item in value.items()})
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def _accuracies(where: str, value: Any) -> Mapping[str, Accuracy]:
    if not isinstance(value, dict):
        raise ProfileError(f"{where}: expected a table of accuracies, found {value!r}")
    for name in REQUIRED_ACCURACIES:
        if name not in value:
            raise ProfileError(f"{where}.{name}: missing key")
    return MappingProxyType(
        {name: Accuracy(**_fields(f"{where}.{name}", table, _ACCURACY)) for name, table in value.items()}
    )


def _known_issues(where: str, value: Any) -> tuple[KnownIssue, ...]:
    if not isinstance(value, list):
        raise ProfileError(f"{where}: expected tables [[known_issue]], found {value!r}")
    return tuple(KnownIssue(**_fields(where, table, _KNOWN_ISSUE)) for table in value)


def _errors(where: str, value: Any) -> ErrorPatterns:
    return ErrorPatterns(**_fields(where, value, _ERRORS, optional=_ERRORS))


_ACCURACY: Mapping[str, _Reader] = {"tolerance": _tolerance, "options": _options}
_KNOWN_ISSUE: Mapping[str, _Reader] = {"seen_with": _text, "what": _text, "workaround": _text}
_ERRORS: Mapping[str, _Reader] = {"option": _patterns, "licence": _patterns, "ask_again": _text}
_PROFILE: Mapping[str, _Reader] = {
    "title": _text,
    "cvxpy_name": _text,
    "modules": _modules,
    "problem_classes": _problem_classes,
    "method": _text,
    "licence": _text,
    "needs_licence": _flag,
    "install": _text,
    "homepage": _text,
    "warm_start": _flag,
    "accuracies": _accuracies,
    "known_issue": _known_issues,
    "licence_page": _text,
    "option_names": _texts,
    "errors": _errors,
    "time_limit_option": _texts,
}
_OPTIONAL = ("known_issue", "licence_page", "option_names", "errors", "time_limit_option")
