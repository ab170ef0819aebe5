"""How every command ends: what was typed, errors as one line, exit codes."""

from __future__ import annotations

import functools
import shlex
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from convexrml.errors import ConvexrmlError

INTERRUPTED = 130  # 128 + SIGINT, as shells have it

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
    """Show what convexrml raises on purpose, and what the disk says, as one line; with --debug, the whole trace."""

    @click.option("--debug", is_flag=True, help="Show the trace of an error.")
    @functools.wraps(command)
    def guarded(*args: Any, debug: bool, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except (ConvexrmlError, OSError) as error:
            if debug:
                raise
            raise Failure(str(error)) from error
        except KeyboardInterrupt:
            if debug:
                raise
            click.echo("Interrupted before anything was finished.", err=True)
            sys.exit(INTERRUPTED)

    return guarded  # type: ignore[return-value]
