"""Reads tables of TOML strictly: every key known, every value of its type, or an error that names the place."""

from __future__ import annotations

import difflib
import json
import math
import tomllib
from collections.abc import Callable, Iterable, Mapping
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType
from typing import Any

Reader = Callable[[str, Any], Any]
"""Takes where a value stands (``"file: key"``) and the value; returns it checked and frozen."""


class Malformed(Exception):  # noqa: N818 - callers turn it into an error of their own kind
    """A file does not say what it has to say: where, what was found, what was expected."""


def read_toml(file: Traversable | Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    Malformed
        If it cannot be read as TOML.
    """
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise Malformed(f"{file.name}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Malformed(f"{file.name}: cannot be read as TOML: {error}") from error


def fields(where: str, table: Any, readers: Mapping[str, Reader], *, optional: Iterable[str] = ()) -> dict[str, Any]:
    """Read a table whose keys are known; all but the optional ones have to be there.

    Parameters
    ----------
    where : str
        The name of the file, or already a place in it.
    table : object
        As TOML has it.
    readers : mapping of str to Reader
    optional : iterable of str

    Raises
    ------
    Malformed
    """
    if not isinstance(table, dict):
        raise Malformed(f"{where}: expected a table, found {table!r}")
    separator = "." if ": " in where else ": "
    for key in table:
        if key not in readers:
            closest = difflib.get_close_matches(key, readers, n=1)
            hint = f"; did you mean {closest[0]!r}?" if closest else ""
            raise Malformed(f"{where}{separator}{key}: unknown key{hint}")
    for key in readers:
        if key not in table and key not in optional:
            raise Malformed(f"{where}{separator}{key}: missing key")
    return {key: readers[key](f"{where}{separator}{key}", value) for key, value in table.items()}


def text(where: str, value: Any) -> str:
    """Read a text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise Malformed(f"{where}: expected a text that is not empty, found {value!r}")
    return value


def flag(where: str, value: Any) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise Malformed(f"{where}: expected true or false, found {value!r}")
    return value


def texts(where: str, value: Any) -> tuple[str, ...]:
    """Read a list of texts that is not empty."""
    if not isinstance(value, list) or not value:
        raise Malformed(f"{where}: expected a list of texts that is not empty, found {value!r}")
    return tuple(text(where, item) for item in value)


def number(where: str, value: Any) -> float:
    """Read a finite number that is not negative."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise Malformed(f"{where}: expected a number that is not negative, found {value!r}")
    return float(value)


def signed(where: str, value: Any) -> float:
    """Read a number, which may be infinite."""
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise Malformed(f"{where}: expected a number, found {value!r}")
    return float(value)


def share(where: str, value: Any) -> float:
    """Read a number between 0 and 1, neither of them."""
    if not 0 < number(where, value) < 1:
        raise Malformed(f"{where}: expected a number between 0 and 1, found {value!r}")
    return float(value)


def whole(minimum: int) -> Reader:
    """Read a whole number that is at least `minimum`."""

    def read(where: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
            raise Malformed(f"{where}: expected a whole number, at least {minimum}; found {value!r}")
        return value

    return read


def list_of(item: Reader, least: int = 1, most: float = math.inf) -> Reader:
    """Read a list with at least and at most so many items."""

    def read(where: str, value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or not least <= len(value) <= most:
            length = f"{least}" if most == least else f"at least {least}"
            raise Malformed(f"{where}: expected a list of {length}; found {value!r}")
        return tuple(item(where, entry) for entry in value)

    return read


def among(*choices: str) -> Reader:
    """Read one of some texts."""

    def read(where: str, value: Any) -> str:
        if value not in choices:
            raise Malformed(f"{where}: expected one of {', '.join(choices)}; found {value!r}")
        return str(value)

    return read


def settings_table(where: str, value: Any) -> Mapping[str, Any]:
    """Read a table of settings that somebody else will check: numbers, texts, flags, and lists and tables of them."""
    if not isinstance(value, dict):
        raise Malformed(f"{where}: expected a table of parameters, found {value!r}")
    for key, entry in value.items():
        try:
            json.dumps(entry)
        except TypeError as error:  # dates and times
            raise Malformed(f"{where}.{key}: expected numbers, texts or flags, found {entry!r}") from error
    return MappingProxyType(value)


def tables_of(kind: Any, readers: Mapping[str, Reader], needed: tuple[str, ...] = ()) -> Reader:
    """Read tables ``[[...]]``, each into a record; keys that are not needed have defaults in the record."""
    optional = tuple(set(readers) - set(needed))

    def read(where: str, value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or not value:
            raise Malformed(f"{where}: expected at least one table [[{where.split(': ')[-1]}]]; found {value!r}")
        return tuple(
            kind(**fields(f"{where}[{at}]", table, readers, optional=optional)) for at, table in enumerate(value)
        )

    return read
