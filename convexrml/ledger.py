"""A table of tasks in one SQLite file: what is to be done, what is being done and by whom, what came out.

The ledger knows nothing of solvers.  A task is a key (JSON; what it is), a payload (JSON; what the work needs besides)
and, once finished, an outcome and a result.  Several processes may work on one file: a task is claimed in one
transaction, so no two have it at a time, and a result counts only from the one whose claim still stands.  What a killed
process had claimed is open again as soon as the process is gone (on this machine) or has been silent for `SILENCE`
seconds (on another).
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sqlite3
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from convexrml import processes
from convexrml.errors import DataFileError

VERSION = 1
SILENCE = 120.0  # seconds without a beat after which a claim from another machine no longer stands
OPEN, RUNNING = "open", "running"
_APPLICATION = 0x63785231  # tells our files from other SQLite files
_PATIENCE = 60.0  # seconds to wait for another process's transaction
_ADVICE = {  # by what SQLite says
    "unable to open": "see that its folder is there and that you may write to it",
    "readonly": "copy it to a folder where you may write",
    "full": "make room and go on: what was finished is kept there",
    "not a database": "choose another name",
}

_TABLES = """
CREATE TABLE task (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    payload TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'open',
    result TEXT,
    error TEXT,
    started REAL,
    finished REAL,
    claim TEXT,
    host TEXT,
    pid INTEGER,
    born TEXT,
    beat REAL
);
CREATE INDEX task_by_status ON task (status, id);
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


@dataclasses.dataclass(frozen=True)
class Task:
    """One row of the ledger.

    Attributes
    ----------
    key, payload : dict
    status : str
        ``"open"``, ``"running"``, or the outcome that it was finished with.
    result : dict or None
    error : str or None
        What went wrong, for a reader.
    started, finished : float or None
        Seconds since the epoch.
    claim : str or None
        Names one claim; results count only with it.
    """

    id: int
    key: dict[str, Any]
    payload: dict[str, Any]
    status: str
    result: dict[str, Any] | None
    error: str | None
    started: float | None
    finished: float | None
    claim: str | None


class Ledger:
    """A file of tasks; a context manager.

    Parameters
    ----------
    path : Path
        Made if it is not there.  (SQLite's write-ahead log needs a local disk.)

    Raises
    ------
    DataFileError
        If the file is no ledger, was written by a newer version, or cannot be written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        with storage(self.path), contextlib.ExitStack() as stack:
            self._db = sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None)
            stack.callback(self._db.close)
            self._prepare()
            stack.pop_all()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def add(self, tasks: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> int:
        """Add tasks (key, payload); those whose key is there stay as they are.  Returns how many were new."""
        rows = [(text_of(key), text_of(payload)) for key, payload in tasks]
        with self._transaction():
            before = self._db.total_changes
            self._db.executemany("INSERT INTO task (key, payload) VALUES (?, ?) ON CONFLICT (key) DO NOTHING", rows)
            return self._db.total_changes - before

    def claim(self) -> Task | None:
        """Take the first open task; None if there is none."""
        claim, (host, pid, born) = uuid.uuid4().hex, processes.myself()
        now = time.time()
        with self._transaction():
            row = self._db.execute(
                "UPDATE task SET status = ?, claim = ?, host = ?, pid = ?, born = ?, started = ?, beat = ? "
                "WHERE id = (SELECT id FROM task WHERE status = ? ORDER BY id LIMIT 1) RETURNING *",
                (RUNNING, claim, host, pid, born, now, now, OPEN),
            ).fetchone()
        return None if row is None else _task(row)

    def finish(
        self, task: Task, status: str, result: Mapping[str, Any] | None = None, error: str | None = None
    ) -> bool:
        """Write down what came of a claimed task; False (and nothing is written) if the claim no longer stands."""
        text = None if result is None else text_of(result)
        with self._transaction():
            changed = self._db.execute(
                "UPDATE task SET status = ?, result = ?, error = ?, finished = ? "
                "WHERE id = ? AND claim = ? AND status = ?",
                (status, text, error, time.time(), task.id, task.claim, RUNNING),
            )
            return changed.rowcount == 1

    def release(self, task: Task) -> None:
        """Give a claimed task back."""
        with self._transaction():
            self._db.execute(
                "UPDATE task SET status = ?, claim = NULL WHERE id = ? AND claim = ?", (OPEN, task.id, task.claim)
            )

    def beat(self, tasks: Iterable[Task]) -> None:
        """Say that the claims on these tasks still stand."""
        with self._transaction():
            now = time.time()
            self._db.executemany(
                "UPDATE task SET beat = ? WHERE id = ? AND claim = ?", [(now, task.id, task.claim) for task in tasks]
            )

    def recover(self) -> int:
        """Open again what was claimed by processes that are gone.  Returns how many tasks that were."""
        with self._transaction():
            running = self._db.execute(
                "SELECT id, host, pid, born, beat FROM task WHERE status = ?", (RUNNING,)
            ).fetchall()
            gone = [row["id"] for row in running if not processes.stands(row, SILENCE)]
            self._db.executemany("UPDATE task SET status = 'open', claim = NULL WHERE id = ?", [(i,) for i in gone])
        return len(gone)

    def mend(self) -> int:
        """Open tasks whose result is no JSON any more again, and forget those whose key is none; returns how many."""
        with self._transaction():
            rows = self._db.execute("SELECT id, key, payload, result FROM task").fetchall()
            lost = [row["id"] for row in rows if not (_is_json(row["key"]) and _is_json(row["payload"]))]
            torn = [row["id"] for row in rows if row["result"] is not None and not _is_json(row["result"])]
            self._db.executemany("DELETE FROM task WHERE id = ?", [(i,) for i in lost])
            self._db.executemany(
                "UPDATE task SET status = 'open', claim = NULL, result = NULL, finished = NULL WHERE id = ?",
                [(i,) for i in torn],
            )
        return len({*lost, *torn})

    def reopen(self, statuses: Iterable[str]) -> int:
        """Open finished tasks with one of these outcomes again.  Returns how many tasks that were."""
        with self._transaction():
            return sum(
                self._db.execute(
                    "UPDATE task SET status = 'open', claim = NULL, result = NULL, error = NULL, finished = NULL "
                    "WHERE status = ?",
                    (status,),
                ).rowcount
                for status in set(statuses) - {OPEN, RUNNING}
            )

    def tasks(self) -> list[Task]:
        """Every task, in the order in which they were added."""
        return [_task(row) for row in self._db.execute("SELECT * FROM task ORDER BY id")]

    def find(self, key: Mapping[str, Any]) -> Task | None:
        """The task with this key; None if there is none."""
        row = self._db.execute("SELECT * FROM task WHERE key = ?", (text_of(key),)).fetchone()
        return None if row is None else _task(row)

    def result_of(self, key: Mapping[str, Any]) -> dict[str, Any] | None:
        """The result of the task with this key; None if it has none (yet)."""
        task = self.find(key)
        return None if task is None else task.result

    def statuses(self) -> dict[str, str]:
        """The status of every task, by the text of its key."""
        return {row["key"]: row["status"] for row in self._db.execute("SELECT key, status FROM task")}

    def counts(self) -> dict[str, int]:
        """How many tasks have each status."""
        rows = self._db.execute("SELECT status, count(*) FROM task GROUP BY status ORDER BY status")
        return {status: count for status, count in rows}

    @property
    def facts(self) -> dict[str, Any]:
        """What was noted beside the tasks: machine, versions, settings."""
        return {name: json.loads(value) for name, value in self._db.execute("SELECT name, value FROM fact")}

    def note(self, facts: Mapping[str, Any]) -> None:
        """Note facts by name, over those that are there."""
        with self._transaction():
            self._db.executemany(
                "INSERT INTO fact VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                [(name, text_of(value)) for name, value in facts.items()],
            )

    def compact(self) -> None:
        """Fold the log into the file, give back unused space, forget who worked: one file that can be handed on.

        No other process may have it open.
        """
        self._db.execute(
            "UPDATE task SET claim = NULL, host = NULL, pid = NULL, born = NULL, beat = NULL WHERE status != ?",
            (RUNNING,),
        )
        self._db.execute("VACUUM")
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.execute("PRAGMA journal_mode = DELETE")

    def _prepare(self) -> None:
        self._db.row_factory = sqlite3.Row
        self._refuse_foreign()
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")  # with WAL a crash of the machine may cost the last rows only
        with self._transaction():
            if not self._number("user_version"):  # asked again inside the transaction: another process may be first
                for statement in filter(str.strip, _TABLES.split(";")):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA application_id = {_APPLICATION}")
                self._db.execute(f"PRAGMA user_version = {VERSION}")

    def _refuse_foreign(self) -> None:
        empty = not self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if not empty and self._number("application_id") != _APPLICATION:
            raise DataFileError(f"{self.path}: an SQLite file, but no ledger of tasks; choose another name")
        found = self._number("user_version")
        if found > VERSION:
            raise DataFileError(
                f"{self.path}: written by a newer convexrml (schema {found}; this one reads up to {VERSION}); "
                "upgrade convexrml or choose another file"
            )

    def _number(self, pragma: str) -> int:
        return int(self._db.execute(f"PRAGMA {pragma}").fetchone()[0])

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._db.in_transaction:  # a full disk has rolled back already
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def text_of(value: object) -> str:
    """JSON in one spelling, so that equal keys are equal texts; infinities and NaN as Python's json writes them."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _is_json(text: object) -> bool:
    try:
        json.loads(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return True


def _task(row: sqlite3.Row) -> Task:
    if not all(_is_json(row[name]) for name in ("key", "payload", "result") if row[name] is not None):
        raise DataFileError(f"task {row['id']} of the results is damaged; running it all again computes it anew")
    return Task(
        id=row["id"],
        key=json.loads(row["key"]),
        payload=json.loads(row["payload"]),
        status=row["status"],
        result=None if row["result"] is None else json.loads(row["result"]),
        error=row["error"],
        started=row["started"],
        finished=row["finished"],
        claim=row["claim"],
    )


@contextlib.contextmanager
def storage(results: Path) -> Iterator[None]:
    """Say in words what is wrong with the file or the disk, and what to do; what was written before stays.

    Raises
    ------
    DataFileError
    """
    try:
        yield
    except sqlite3.Error as error:
        to_do = next(
            (advice for said, advice in _ADVICE.items() if said in str(error)), "what was finished is kept there"
        )
        raise DataFileError(f"{results}: cannot be used as a ledger of tasks ({error}); {to_do}") from error
