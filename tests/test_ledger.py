import multiprocessing
import os
import re
import sqlite3
import tempfile
from pathlib import Path

import pytest

from convexrml import ledger as module
from convexrml import processes
from convexrml.errors import DataFileError
from convexrml.ledger import Ledger


def filled(path, count=5):
    table = Ledger(path)
    table.add(({"number": i}, {"more": i}) for i in range(count))
    return table


def test_keys_are_unique_whatever_the_order_of_their_parts(tmp_path):
    with Ledger(tmp_path / "t.db") as table:
        assert table.add([({"a": 1, "b": 2}, {"x": 0})]) == 1
        assert table.add([({"b": 2, "a": 1}, {"x": 1}), ({"a": 2, "b": 2}, {})]) == 1
        assert [task.payload for task in table.tasks()] == [{"x": 0}, {}]


def test_a_claimed_task_is_nobody_elses_until_it_is_given_back(tmp_path):
    with filled(tmp_path / "t.db", 2) as table, Ledger(tmp_path / "t.db") as other:
        first, second = table.claim(), other.claim()
        assert (first.key, second.key) == ({"number": 0}, {"number": 1})
        assert table.claim() is None
        other.release(second)
        assert table.claim().key == second.key


def test_a_result_counts_only_with_the_claim_that_stands(tmp_path):
    with filled(tmp_path / "t.db", 1) as table:
        stale = table.claim()
        table.release(stale)
        fresh = table.claim()
        assert not table.finish(stale, "done", {"from": "stale"})
        assert table.finish(fresh, "done", {"from": "fresh", "limit": float("inf")})
        assert not table.finish(fresh, "done", {"from": "fresh, twice"})
        (task,) = table.tasks()
        assert (task.status, task.result) == ("done", {"from": "fresh", "limit": float("inf")})
        assert task.started <= task.finished


def _claim_and_vanish(path):
    Ledger(path).claim()


def test_tasks_of_processes_that_are_gone_are_open_again(tmp_path):
    with filled(tmp_path / "t.db", 2) as table:
        process = multiprocessing.get_context("spawn").Process(target=_claim_and_vanish, args=(tmp_path / "t.db",))
        process.start()
        process.join()
        mine = table.claim()
        assert mine.key == {"number": 1}
        assert table.recover() == 1  # not the one that this process holds
        assert table.claim().key == {"number": 0}


def test_tasks_of_another_machine_are_open_again_when_it_is_silent(tmp_path, monkeypatch):
    with filled(tmp_path / "t.db", 1) as table:
        monkeypatch.setattr(processes.socket, "gethostname", lambda: "elsewhere")
        task = table.claim()
        monkeypatch.undo()
        assert table.recover() == 0
        monkeypatch.setattr(module, "SILENCE", -1.0)
        table.beat([task])
        assert table.recover() == 1


def _work_through(path, mine):
    with Ledger(path) as table:
        while (task := table.claim()) is not None:
            table.finish(task, "done", {"by": mine})


def test_processes_on_one_file_share_the_tasks_without_repeating_any(tmp_path):
    filled(tmp_path / "t.db", 300).close()
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_work_through, args=(tmp_path / "t.db", i)) for i in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    with Ledger(tmp_path / "t.db") as table:
        assert table.counts() == {"done": 300}


def test_a_file_of_a_newer_version_is_refused(tmp_path):
    filled(tmp_path / "t.db").close()
    with sqlite3.connect(tmp_path / "t.db") as db:
        db.execute(f"PRAGMA user_version = {module.VERSION + 1}")
    with pytest.raises(DataFileError, match=rf"newer convexrml \(schema {module.VERSION + 1}; .*upgrade"):
        Ledger(tmp_path / "t.db")


def test_files_that_are_no_ledgers_are_refused_and_left_alone(tmp_path):
    with sqlite3.connect(tmp_path / "other.db") as db:
        db.execute("CREATE TABLE task (id INTEGER)")
    with pytest.raises(DataFileError, match="no ledger of tasks"):
        Ledger(tmp_path / "other.db")
    (tmp_path / "text.db").write_text("not a database at all, by far" * 100)
    with pytest.raises(DataFileError, match=r"as a ledger of tasks \(file is not a database\); choose another name"):
        Ledger(tmp_path / "text.db")
    assert (tmp_path / "text.db").read_text().startswith("not a database")


def _open_as_nobody(path, queue):
    os.setuid(65534)
    try:
        Ledger(path)
    except DataFileError as error:
        queue.put(str(error))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody who may not write")
@pytest.mark.parametrize(("name", "words"), [("t.db", "readonly database.*copy it"), ("new.db", "you may write to it")])
def test_a_folder_that_may_not_be_written_to_is_said(name, words):
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are for nobody else to see
        filled(Path(folder) / "t.db").close()
        os.chmod(folder, 0o555)
        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()
        process = context.Process(target=_open_as_nobody, args=(Path(folder) / name, queue))
        process.start()
        process.join()
        assert re.search(words, queue.get())


def test_outcomes_can_be_opened_again(tmp_path):
    with filled(tmp_path / "t.db", 3) as table:
        for outcome in ("done", "crashed", "time limit"):
            table.finish(table.claim(), outcome, {}, "said")
        assert table.reopen(["crashed", "time limit", "running"]) == 2
        assert table.counts() == {"done": 1, "open": 2}
        assert [task.error for task in table.tasks()] == ["said", None, None]


def test_facts_are_noted_over_earlier_ones_and_the_file_can_be_made_one(tmp_path):
    with filled(tmp_path / "t.db") as table:
        table.note({"machine": {"cores": 2}, "command": "first"})
        table.note({"command": "second"})
        assert table.facts == {"machine": {"cores": 2}, "command": "second"}
        table.finish(table.claim(), "done", {})
        table.compact()
    assert [path.name for path in tmp_path.iterdir()] == ["t.db"]
    with Ledger(tmp_path / "t.db") as table:
        assert len(table.tasks()) == 5 and table.tasks()[0].claim is None
    assert processes.socket.gethostname().encode() not in (tmp_path / "t.db").read_bytes()
