"""How every command ends: what was typed, errors as one line, exit codes; and where it may write."""

from __future__ import annotations

import functools
import os
import shlex
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from convexrml.errors import ConvexrmlError

INTERRUPTED = 130  # 128 + SIGINT, as shells have it

_ALIASES = {
    "n_jobs": "jobs",
    "parameter": "parameters",
    "solver": "solvers",
    "norm": "norms",
    "family": "families",
    "accuracy": "accuracies",
}

F = TypeVar("F", bound=Callable[..., Any])


class Failure(click.ClickException):
    """What cannot be read or used: one line, exit code 2."""

    exit_code = 2


class Commands(click.Group):
    """Keeps the command line as it was typed, for the records."""

    def make_context(self, info_name: str | None, args: list[str], *more: Any, **extra: Any) -> click.Context:
        """Note what was typed in ``ctx.meta``, and go on as click does."""
        typed = shlex.join(["convexrml", *args])
        ctx = super().make_context(info_name, args, *more, **extra)
        ctx.meta["convexrml.command"] = typed
        return ctx


def reporting_errors(command: F) -> F:
    """Show what convexrml raises on purpose, and what the disk says, as one line; with --debug, the whole trace.

    Arguments of the library go by the names of the command's options.  Warnings are one line too, none with --quiet.
    """

    @click.option("--debug", is_flag=True, help="Show the trace of an error.")
    @functools.wraps(command)
    def guarded(*args: Any, debug: bool, **kwargs: Any) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _nothing if kwargs.get("quiet") else _one_line  # type: ignore[assignment]
                return command(*args, **kwargs)
        except BrokenPipeError:  # `| head`: click ends quietly
            raise
        except (ConvexrmlError, OSError) as error:
            if debug:
                raise
            raise Failure(_said(error)) from error
        except KeyboardInterrupt:
            if debug:
                raise
            click.echo("Interrupted before anything was finished.", err=True)
            sys.exit(INTERRUPTED)

    return guarded  # type: ignore[return-value]


def folder_for(option: str, path: Path) -> Path:
    """Make a folder that an option names, before any work is done for it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = "a file stands in its place" if path.is_file() else error.strerror
        raise Failure(f"{option}: {path} cannot be made a folder ({what}); name another one") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise Failure(f"{option}: the folder {path} cannot be written to; name another one")
    return path


def file_for(option: str, path: Path) -> Path:
    """Make the folder of a file that an option names, before any work is done for it."""
    if path.is_dir():
        raise Failure(f"{option}: {path} is a folder; name a file")
    folder_for(option, path.parent)
    if path.exists() and not os.access(path, os.W_OK):
        raise Failure(f"{option}: the file {path} cannot be written to; name another one")
    return path


def _said(error: Exception) -> str:
    """The message of an error in the words of the command line."""
    if isinstance(error, OSError) and error.filename is not None and not isinstance(error, ConvexrmlError):
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    message = str(error)
    context, name = click.get_current_context(silent=True), message.partition(":")[0].partition(" ")[0]
    options = {} if context is None else {param.name: max(param.opts, key=len) for param in context.command.params}
    for known in (name, _ALIASES.get(name)):
        if known in options and options[known].startswith("-"):
            return options[known] + message.removeprefix(name)
    return message


def _one_line(message: Warning | str, *_: object) -> None:
    click.echo(f"Warning: {message}", err=True)


def _nothing(*_: object) -> None:
    pass
