import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import compare_work
import pytest

from convexrml.compare import runner
from convexrml.compare.runner import Limits, run_tasks
from convexrml.errors import InvalidInputError
from convexrml.ledger import Ledger

LIMITS = Limits(seconds=1.0, memory=400 * 2**20, setup_seconds=20.0)


def run(path, kinds, limits=LIMITS, **options):
    with Ledger(path) as ledger:
        ledger.add(({"kind": kind, "number": i}, {}) for i, kind in enumerate(kinds))
        run_tasks(ledger, compare_work.anything, limits, **options)
        return {task.key["kind"]: task for task in ledger.tasks()}


def test_whatever_happens_to_a_task_is_its_row_and_not_the_end(tmp_path):
    kinds = ["hang", "hang in C", "crash", "exit", "raise", "fine"]
    seen = []
    rows = run(tmp_path / "t.db", kinds, jobs=2, progress=lambda *told: seen.append(told))
    assert {kind: task.status for kind, task in rows.items()} == {
        "hang": "time limit",
        "hang in C": "time limit",
        "crash": "crashed",
        "exit": "crashed",
        "raise": "error",
        "fine": "done",
    }
    assert rows["hang"].error == "killed after 1 s"
    assert "SIGSEGV" in rows["crash"].error and "about to fall" in rows["crash"].error
    assert "exit code 3" in rows["exit"].error
    assert "no such luck" in rows["raise"].error
    assert rows["fine"].result == {"square": 25}
    assert seen[-1] == ("tasks", 6, 6)


def test_a_task_that_eats_memory_is_stopped_near_its_limit(tmp_path):
    limit = 200 * 2**20
    row = run(tmp_path / "t.db", ["eat"], Limits(seconds=60.0, memory=limit))["eat"]
    assert row.status == "memory limit"
    assert "killed at" in row.error and "200 MB allowed" in row.error
    assert limit < row.result["peak_memory"] < 10 * limit  # polled: how far it gets depends on the machine's load


def test_nothing_is_left_of_a_task_that_was_killed(tmp_path):
    before = children()
    run(tmp_path / "t.db", ["hang in C"])
    left = {pid for pid in children() - before if "forkserver" not in command(pid) and "tracker" not in command(pid)}
    assert not left


def children():
    return {int(p.name) for p in Path("/proc").glob("[0-9]*") if f"\nPPid:\t{os.getpid()}\n" in status(p)}


def status(process):
    try:
        return (process / "status").read_text()
    except OSError:
        return ""


def command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return "forkserver"  # gone


def test_the_time_limit_counts_from_the_beginning_of_the_work(tmp_path):
    with Ledger(tmp_path / "t.db") as ledger:
        ledger.add([({"kind": "fine"}, {"seconds": 1.0}), ({"kind": "fine", "slow": 1}, {"seconds": 30.0})])
        run_tasks(ledger, compare_work.anything, Limits(seconds=0.5, setup_seconds=4.0), jobs=2)
        prompt, slow = ledger.tasks()
    assert prompt.status == "done"
    assert (slow.status, slow.error) == ("time limit", "killed after 4 s of preparations")


def test_limits_that_make_no_sense():
    with pytest.raises(InvalidInputError, match="^seconds: "):
        Limits(seconds=0)
    with pytest.raises(InvalidInputError, match="^jobs, threads: "):
        run_tasks(None, compare_work.anything, jobs=0)


def test_threads_are_pinned(tmp_path):
    rows = run(tmp_path / "t.db", ["threads"])
    assert rows["threads"].result["threads"] == 1


def test_an_interrupted_run_gives_its_tasks_back(tmp_path, monkeypatch):
    def interrupt(stage, finished, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "t.db", ["fine", "hang", "raise"], jobs=2, progress=interrupt)
    with Ledger(tmp_path / "t.db") as ledger:
        counts = ledger.counts()
    assert counts["done"] == 1 and counts["open"] == 2


RUN = """
import sys
sys.path.insert(0, {tests!r})
import compare_work
from pathlib import Path
from convexrml.compare.runner import Limits, run_tasks
from convexrml.ledger import Ledger

if __name__ == "__main__":
    with Ledger(Path(sys.argv[1])) as ledger:
        ledger.add(({{"kind": "fine", "number": i}}, {{"seconds": 0.02}}) for i in range({count}))
        run_tasks(ledger, compare_work.anything, Limits(seconds=20), jobs=2)
"""


def killed_and_resumed(folder, kills, count, seed):
    """The results of a run that is killed at random moments, and those of an undisturbed one."""
    script = folder / "run.py"
    script.write_text(RUN.format(tests=str(Path(__file__).parent), count=count))
    rng, results = random.Random(seed), []
    for name, times in (("killed.db", kills), ("whole.db", 0)):
        line = [sys.executable, str(script), str(folder / name)]
        for _ in range(times):
            process = subprocess.Popen(line)
            time.sleep(rng.uniform(0.3, 1.6))
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert subprocess.run(line, timeout=240).returncode == 0
        with Ledger(folder / name) as ledger:
            results.append([(task.key, task.status, task.result) for task in ledger.tasks()])
    return results


def test_a_run_that_is_killed_and_resumed_has_the_rows_of_an_undisturbed_one(tmp_path):
    killed, whole = killed_and_resumed(tmp_path, kills=3, count=30, seed=0)
    assert killed == whole
    assert len(whole) == 30 and all(status == "done" for _, status, _ in whole)


@pytest.mark.slow
def test_twenty_kills_lose_and_repeat_nothing(tmp_path):
    killed, whole = killed_and_resumed(tmp_path, kills=20, count=150, seed=1)
    assert killed == whole
    assert len(whole) == 150 and all(status == "done" for _, status, _ in whole)


def test_memory_of_a_process_that_is_gone_is_none():
    assert runner.resident(2**22 + 1) == 0
    assert runner.resident(os.getpid()) > 2**20
