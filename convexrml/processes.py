"""Which process it is, on which machine, and whether it is still there: numbers of processes are reused."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def myself() -> tuple[str, int, str]:
    """The machine, the number of this process, and when it was born."""
    return socket.gethostname(), os.getpid(), _born(os.getpid())


def stands(row: Mapping[str, Any], silence: float) -> bool:
    """Whether the process that a row names is there; one on another machine is, unless silent for so many seconds.

    Parameters
    ----------
    row : mapping
        ``host``, ``pid``, ``born`` as `myself` gives them; ``beat``: seconds since the epoch.
    silence : float
    """
    if row["host"] == socket.gethostname():
        return bool(row["born"]) and _born(row["pid"]) == row["born"]
    return bool(time.time() - row["beat"] < silence)


def _born(pid: int) -> str:
    """When a process started, in ticks since the machine's start; "" if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else f"{boot} {fields[19]}"
