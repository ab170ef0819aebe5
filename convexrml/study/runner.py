"""Run a study: results go to one SQLite file, task by task, so that a kill loses no more than the points in flight."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from convexrml.errors import DataFileError
from convexrml.ledger import RUNNING, Ledger, Task, storage
from convexrml.study.clock import Progress
from convexrml.study.plan import Plan, read_plan
from convexrml.study.tasks import DONE, FAILED, TOOL, Key, Known, Wanted, wanted
from convexrml.study.workshop import Failure, Workshop, subject
from convexrml.versions import versions

_BEAT = 20.0  # seconds between signs of life, well below the ledger's patience
_POLL = 0.5  # seconds between looks at what another process is doing


@dataclasses.dataclass(frozen=True)
class Standing:
    """How far a study is.

    Attributes
    ----------
    counts : dict of str to (int, int)
        Of each stage: finished, and all that is known to be asked for.  Points of a data set that was not read yet are
        not known.
    running : int
        Tasks that some process works on.
    failed : tuple of str
        What went wrong, one sentence for each failed task.
    mended : int
        Results that could not be read any more, and were computed again.
    """

    counts: dict[str, tuple[int, int]]
    running: int
    failed: tuple[str, ...]
    mended: int = 0

    @property
    def sentence(self) -> str:
        """How far it is, for a reader."""
        missing = [f"{total - done} of {total} {stage}" for stage, (done, total) in self.counts.items() if done < total]
        if not missing:
            return "Everything is done."
        at_work = f"; {self.running} tasks are being worked on" if self.running else ""
        return f"Not done: {', '.join(missing)}{at_work}."


def run_study(
    plan_file: str | Path,
    results: str | Path,
    *,
    n_jobs: int | None = None,
    data_dir: str | Path | None = None,
    command: str = "",
    progress: Progress = lambda stage, finished, total: None,
) -> Standing:
    """Do what a study asks for and its results do not hold yet.

    May be killed and run again, and run by several processes on one file at once: each task is claimed by one of them,
    and what a killed one had claimed is done again.

    Parameters
    ----------
    plan_file : str or Path
        See `read_plan`.
    results : str or Path
        SQLite file; made if it is not there.
    n_jobs : int, optional
        Workers, as in `convexrml.exact_radius`: threads for the exact search, or what ``joblib.parallel_config`` asks
        for; processes and a cluster's workers take a chunk of points each, whatever the road.
    data_dir : str or Path, optional
        Folder of the data sets by name: see `catalogue.read_named`.
    command : str
        For the record.
    progress : callable, optional
        Called with the stage, what is finished and how much there is.

    Returns
    -------
    Standing
        At the end; failed tasks are listed, and left.

    Raises
    ------
    DataFileError
        If the study file or the results cannot be used, or a file of data or metrics cannot be read.
    ToolMissingError, InvalidInputError
        If a tool whose attacks are asked for is not installed, or has no such attack: before any work is done.
    """
    plan_file, results = Path(plan_file), Path(results)
    folder = None if data_dir is None else Path(data_dir)
    plan = read_plan(plan_file)
    for attack in plan.attacks:
        attack.settings(0).require_installed()
    with storage(results), Ledger(results) as ledger, _pulse(results) as working_on:
        _note(ledger, plan, plan_file, command)
        mended = ledger.mend()
        ledger.recover()
        ledger.reopen([FAILED])
        workshop, known = Workshop(ledger.result_of, n_jobs, folder), Known(ledger)
        tasks = _extended(ledger, plan, known)
        while True:
            standing = how_far(tasks, ledger)
            for stage, (done, total) in standing.counts.items():
                progress(stage, done, total)
            claimed = _claimed(ledger, workshop.at_once)
            if claimed:
                working_on[:] = claimed
                _work(ledger, workshop, claimed)
            elif standing.running:
                time.sleep(_POLL)
                ledger.recover()
            if not claimed or subject(claimed[0]) is None:  # what was read or learned makes more tasks known
                before, tasks = len(tasks), _extended(ledger, plan, known)
                if not claimed and not standing.running and len(tasks) == before:
                    return dataclasses.replace(how_far(tasks, ledger), mended=mended)


def read_standing(plan_file: Path, results: Path) -> Standing:
    """How far a study is, as its results say; it may be running.

    Parameters
    ----------
    plan_file : Path
        The study's file.
    results : Path
        Its results.

    Returns
    -------
    Standing
        Counts of what is finished, and what failed.

    Raises
    ------
    DataFileError
        If the study file or the results cannot be read.
    """
    if not results.exists():
        raise DataFileError(f"{results}: no such file; run the study first")
    plan = read_plan(plan_file)
    with storage(results), Ledger(results) as ledger:
        return how_far(list(wanted(plan, Known(ledger))), ledger)


def how_far(tasks: Sequence[Wanted], ledger: Ledger) -> Standing:
    """Count what is finished of each stage of a study."""
    statuses = ledger.statuses()
    counts = dict[str, tuple[int, int]]()
    failed = []
    for one in tasks:
        done, total = counts.get(one.stage, (0, 0))
        status = statuses.get(one.text)
        counts[one.stage] = done + one.size * (status == DONE), total + one.size
        if status == FAILED:
            task = ledger.find(one.key)
            failed.append(f"{name(one.key)}: {task.error if task else 'not found'}")
    return Standing(counts, sum(status == RUNNING for status in statuses.values()), tuple(failed))


def name(key: Key) -> str:
    """A task, for a reader."""
    if key["do"] == "data":
        return f"data {key['data']['name']}"
    if key["do"] == "learn":
        return f"learning {key['method']} on {key['data']['name']}"
    road = f"attack {key['attack']['tool']}:{key['attack']['attack']}" if key["road"] == TOOL else key["road"]
    return f"{road} radii of {key['data']['name']}, test points {key['at'][0]} to {key['at'][1] - 1}"


def _extended(ledger: Ledger, plan: Plan, known: Known) -> list[Wanted]:
    """All tasks that can be named by now; the ledger has them afterwards."""
    tasks = list(wanted(plan, known))
    ledger.add((one.key, one.payload) for one in tasks)
    return tasks


def _claimed(ledger: Ledger, most: int) -> list[Task]:
    """The next open task, and those after it that are about the same classifier."""
    found: list[Task] = []
    while len(found) < most and (task := ledger.claim()) is not None:
        if found and (subject(task) is None or subject(task) != subject(found[0])):
            ledger.release(task)
            break
        found.append(task)
    return found


def _work(ledger: Ledger, workshop: Workshop, tasks: Sequence[Task]) -> None:
    """Do tasks; what goes wrong with one is written down, and the study goes on, unless a file is at fault."""
    left = list(tasks)
    try:
        for result in workshop.carry_out(tasks):
            if isinstance(result, Failure):
                ledger.finish(left[0], FAILED, error=result.words)
            else:
                ledger.finish(left[0], DONE, result)
            left.pop(0)
    except BaseException:
        for task in left:
            ledger.release(task)
        raise


@contextlib.contextmanager
def _pulse(path: Path) -> Iterator[list[Task]]:
    """Tell the ledger now and then that the tasks in the list are still worked on."""
    over, working_on = threading.Event(), list[Task]()

    def tell() -> None:
        with Ledger(path) as ledger:  # SQLite wants a connection for each thread
            while not over.wait(_BEAT):
                ledger.beat(list(working_on))

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield working_on
    finally:
        over.set()
        thread.join()


def _note(ledger: Ledger, plan: Plan, plan_file: Path, command: str) -> None:
    """Add this run to the record: a study that was continued by another version says so."""
    used = versions() | {attack.tool: attack.settings(0).version for attack in plan.attacks}
    run = {"started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "command": command, "versions": used}
    ledger.note(
        {
            "title": plan.title,
            "plan": plan_file.read_text(encoding="utf-8"),
            "runs": [*ledger.facts.get("runs", []), run],
        }
    )
