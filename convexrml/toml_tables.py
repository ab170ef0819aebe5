"""Reads tables of TOML strictly: every key known, every value of its type, or an error that names the place."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Iterable, Mapping
from importlib.resources.abc import Traversable
from pathlib import Path
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
