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
from convexrml.ledger import Ledger, storage
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
    families : sequence of str
        ``"perturbation-qp"``, ``"robust-hinge"`` ...: ``convexrml compare --help`` lists them.
    sizes : sequence of int, optional
        Sizes of the instances; each family's own if not given.
    seeds : sequence of int, default (0, 1, 2)
        One instance for each size and seed.
    solvers : sequence of str, optional
        Names of profiles, ``"search"``, ``"qpsolvers:NAME"``; all that take the family's class if not given.  A solver
        that does not take it has no row; one that is not installed has rows that say so.
    accuracies : sequence of str, default ("fast", "accurate")
        Accuracies of the profiles.
    limits : Limits, optional
        Seconds and bytes that one solve may take.
    jobs : int, default 1
        How many processes at a time.
    threads : int, default 1
        How many threads BLAS, OpenMP and numba may use in each.
    profiles : Path, optional
        A folder of profiles besides the shipped ones.
    retry : bool, default False
        Run again what ended without a result (crashes, limits).
    command : str, optional
        What was typed, to be kept with the results.
    progress : callable, optional
        Called with (stage, finished, total).

    Returns
    -------
    dict of str to int
        How many rows have which status.

    Raises
    ------
    InvalidInputError
        If a family or an accuracy is unknown, or no solver takes the families.
    SolverError
        If a solver or profile is unknown or malformed.
    """
    limits = limits or runner.Limits()
    with storage(out), Ledger(out) as ledger:
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
    """Write ``report.md``, ``report.html`` and the figures into a folder.

    Parameters
    ----------
    results : Path
        The ledger of `compare`.
    folder : Path
        Made if it is not there.

    Returns
    -------
    list of Path
        The files, in this order.

    Raises
    ------
    DataFileError
        If the results are not there, or no solve is finished.
    """
    if not Path(results).is_file():
        raise DataFileError(f"{results}: no such file; name one that compare has written")
    with storage(results), Ledger(results) as ledger:
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
