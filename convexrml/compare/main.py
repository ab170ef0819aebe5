"""Plan, run, report: what ``convexrml compare`` does."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path

from convexrml.compare import runner
from convexrml.compare.measure import measure
from convexrml.compare.plan import plan
from convexrml.compare.report import document
from convexrml.documents.markdown import write_markdown
from convexrml.documents.web_page import write_html
from convexrml.errors import DataFileError
from convexrml.ledger import Ledger
from convexrml.versions import versions

PRELOAD = ("convexrml.compare.preload",)


def compare(
    out: Path,
    families: Sequence[str],
    *,
    sizes: Sequence[int] | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    solvers: Sequence[str] | None = None,
    accuracies: Sequence[str] = ("fast", "accurate"),
    limits: runner.Limits | None = None,
    jobs: int = 1,
    threads: int = 1,
    profiles: Path | None = None,
    retry: bool = False,
    command: str | None = None,
    progress: runner.Progress | None = None,
) -> dict[str, int]:
    """Run a comparison into a ledger; what is there already is not run again.

    Parameters
    ----------
    out : Path
        The ledger's file.
    families, sizes, seeds, solvers, accuracies, profiles
        As in `convexrml.compare.plan.plan`.
    limits, jobs, threads
        As in `convexrml.compare.runner.run_tasks`.
    retry : bool
        Run again what ended without a result (crashes, limits).
    command : str, optional
        What was typed, to be kept with the results.
    progress : callable, optional
        Called with (stage, finished, total).

    Returns
    -------
    dict
        How many rows have which status.
    """
    limits = limits or runner.Limits()
    with Ledger(out) as ledger:
        plan(
            ledger,
            families,
            sizes=sizes,
            seeds=seeds,
            solvers=solvers,
            accuracies=accuracies,
            profiles=profiles,
            progress=progress,
        )
        if retry:
            ledger.reopen(set(runner.OUTCOMES) - {runner.DONE})
        ledger.note(
            {
                "machine": {**machine(), "load_at_start": round(os.getloadavg()[0], 1)},
                "versions": versions(),
                "command": command,
                "limits": {"seconds": limits.seconds, "memory": limits.memory, "threads": threads, "jobs": jobs},
            }
        )
        return runner.run_tasks(
            ledger, measure, limits, jobs=jobs, threads=threads, preload=PRELOAD, progress=progress, stage="solves"
        )


def write_report(results: Path, folder: Path) -> list[Path]:
    """Write ``report.md``, ``report.html`` and the figures into a folder; returns the files in this order.

    Raises
    ------
    DataFileError
        If the results are not there, or no solve is finished.
    """
    if not Path(results).is_file():
        raise DataFileError(f"{results}: no such file of results")
    with Ledger(results) as ledger:
        sections = document(ledger)
    markdown, *figures = write_markdown(sections, folder / "report.md")
    return [markdown, write_html(sections, folder / "report.html"), *figures]


def machine() -> dict[str, str | int | None]:
    """The processor and the system, without names of hosts or folders."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": platform.system(),
    }
