"""A call in a process of its own, which is ended when it has used up its processor time."""

from __future__ import annotations

import dataclasses
import multiprocessing
import resource
import signal
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

_CONTEXT = multiprocessing.get_context("forkserver")
_WALL_PER_CPU = 20  # a call that sleeps, or that never gets a core, is ended too


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a call: its value, or the problem in words; processor seconds of the call itself."""

    value: Any
    seconds: float
    problem: str = ""


def preload(modules: list[str]) -> None:
    """Modules that the server imports before it forks, so that calls do not wait for them."""
    _CONTEXT.set_forkserver_preload(modules)


def in_child(call: Callable[..., Any], *arguments: Any, cap: int | None = None) -> Outcome:
    """``call(*arguments)`` in a child, for at most `cap` seconds of processor time."""
    receiver, sender = _CONTEXT.Pipe(duplex=False)
    child = _CONTEXT.Process(target=_work, args=(sender, call, arguments, cap))
    start = time.perf_counter()
    child.start()
    sender.close()
    try:
        if cap is None or receiver.poll(_WALL_PER_CPU * cap):
            return Outcome(*receiver.recv())
        child.terminate()
        return Outcome(None, float(cap), f"ended after {time.perf_counter() - start:.0f} s on the clock")
    except EOFError:
        child.join()
        if child.exitcode == -signal.SIGXCPU:
            return Outcome(None, float(cap or 0), f"ended after {cap} s of processor time")
        return Outcome(None, 0.0, f"the process ended with exit code {child.exitcode}")
    finally:
        receiver.close()
        child.join()


def _work(sender: Connection, call: Callable[..., Any], arguments: tuple[Any, ...], cap: int | None) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    start = time.process_time()
    if cap is not None:
        resource.setrlimit(resource.RLIMIT_CPU, (int(start) + cap, hard))
    try:
        value, problem = call(*arguments), ""
    except Exception as error:  # whatever a learner raises is one row's result, and the others go on
        traceback.print_exc()
        value, problem = None, f"{type(error).__name__}: {error}"
    seconds = time.process_time() - start
    resource.setrlimit(resource.RLIMIT_CPU, (hard, hard))
    sender.send((value, seconds, problem))
    sender.close()
