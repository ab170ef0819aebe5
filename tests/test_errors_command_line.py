"""A user's mistakes on the command line: one line that names the option or the file, exit status 2, no trace."""

import os
import sqlite3
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from convexrml.cli import main

GOOD = ("--data", "good.csv")
QUICK = ("certify", *GOOD, "--solvers", "search", "--check", 1, "--limit", 2)
LEARN = ("learn", *GOOD)
COMPARE = ("compare", "--family", "perturbation-qp", "--sizes", 20, "--seeds", 1, "--solvers", "clarabel")
STUDY = ("study", "run", "good.toml")

# fmt: off
MISTAKES = [  # what is typed, and the words that have to appear in the last line
    (("certify", "--data", "usp"), "usp: no such file, and no data set of this name; did you mean 'usps'?"),
    (("certify", "--data", "folder"), "folder: is not a file"),
    (("certify", "--data", "few.csv"), "--test-size: 2 points cannot be split at 0.3", "give more points"),
    (("certify", "--data", "text.csv"), "text.csv: line 2, column 1: 'red' is not a finite number"),
    (("certify", "--data", "broken.npz"), "broken.npz: is no npz file"),
    (("certify", "--test", "good.csv"), "--test: good.csv was given without training points"),
    (("certify", "--data", "digits", "--test", "good.csv"), "good.csv: has 2 features; digits has 64"),
    (("certify", "--data", "digits", "--label-column", "kind"), "--label-column: only csv files"),
    (("certify", *GOOD, "--test-size", "nan"), "'--test-size': nan is not"),
    ((*QUICK, "--metric", "three.npy"), "--metric: acts on 3 features; the data have 2"),
    ((*QUICK, "--metric", "folder"), "folder: is not a file"),
    ((*QUICK, "-k", 2), "--n-neighbors: must be odd", "found 2; take 1 or 3"),
    ((*QUICK, "-k", 99), "--n-neighbors: must be at most 21", "found 99"),
    ((*QUICK, "--box", "1,0"), "--box: lower exceeds upper"),
    ((*QUICK, "--box", "nan,1"), "--box lower: needs numbers; found nan"),
    ((*QUICK, "--clip"), "--clip: has no effect without --box"),
    ((*QUICK, "--time-limit", 1), "--time-limit: belongs to more than one neighbour"),
    ((*QUICK, "--time-limit", "inf", "-k", 3), "'--time-limit': inf is not a finite number"),
    ((*QUICK, "--node-limit", 1.5), "'--node-limit': '1.5' is not a valid"),
    ((*QUICK, "--radii", -1), "--radii: need to be finite and not negative; found (-1.0,)"),
    ((*QUICK, "-j", 0), "'-j' / '--jobs': needs a number of workers, or -1 for all processors; found 0"),
    ((*QUICK, "--out", "good.csv"), "--out: good.csv cannot be made a folder", "name another one"),
    ((*QUICK, "--certificates", "good.csv"), "--certificates: good.csv cannot be made a folder"),
    (("certify", *GOOD, "--solvers", "clarabell"), "--solvers: no profile is named 'clarabell'; did you mean"),
    (("crosscheck", "--replay", "folder"), "folder: is no .npz file that crosscheck has saved"),
    (("crosscheck", "--replay", "nowhere"), "nowhere: no such file"),
    (("crosscheck", *GOOD, "--norms", "3"), "--norms: perturbations are measured in norm 1, 2 or inf; found '3'"),
    (("check", "nowhere"), "nowhere: No such file"),
    (("check", "folder"), "folder: the folder holds no .cert file"),
    ((*LEARN, "--set", "tau"), "--set: needs NAME=VALUE; found 'tau'"),
    ((*LEARN, "--set", "bogus=1"), "--set: RobustMetricLearner has no 'bogus'; it has norm, tau"),
    ((*LEARN, "--set", "tau=big"), "tau: needs a number that is at least 0; found 'big'"),
    ((*LEARN, "--set", "tau=1", "--set", "tau=2"), "--set: tau is given twice"),
    ((*LEARN, "--out", "metric.png"), "'--out': the file's name has to end in .npz; found 'metric.png'"),
    ((*LEARN, "--out", "folder.npz"), "--out: folder.npz is a folder; name a file"),
    ((*LEARN, "--out", "good.csv/m.npz"), "--out: good.csv cannot be made a folder"),
    (("learn", "--data", "one.csv"), "y: a metric is learnt from two classes", "found one class (0)"),
    (("study", "run", "nowhere.toml"), "nowhere.toml: cannot be read: No such file"),
    (("study", "run", "folder"), "folder: cannot be read: Is a directory"),
    (("study", "run", "broken.toml"), "broken.toml: cannot be read as TOML", "line 1"),
    (("study", "run", "empty.toml"), "empty.toml: format: missing key; write format = 1"),
    ((*STUDY, "--results", "folder"), "--results: folder is a folder; name a file"),
    ((*STUDY, "--results", "good.csv"), "good.csv: cannot be used as a ledger of tasks", "choose another name"),
    ((*STUDY, "--results", "other.db"), "other.db: an SQLite file, but no ledger of tasks; choose another name"),
    (("study", "status", "good.toml"), "good.db: no such file; run the study first"),
    ((*COMPARE, "--family", "lasso"), "--family: unknown name 'lasso' (there are: perturbation-qp"),
    ((*COMPARE, "--sizes", "inf"), "'--sizes': needs whole numbers of at least 10", "found 'inf'"),
    ((*COMPARE, "--accuracy", "best"), "--accuracy: unknown name 'best' (there are: fast, accurate)"),
    ((*COMPARE, "--memory-limit", "nan"), "'--memory-limit': nan is not"),
    ((*COMPARE, "--profiles", "nowhere"), "nowhere: no such folder; name one that holds solver profiles"),
    ((*COMPARE, "--out", "folder"), "--out: folder is a folder; name a file"),
    ((*COMPARE, "--page", "good.csv"), "--page: good.csv cannot be made a folder"),
    (("compare", "--report", "nowhere.db"), "nowhere.db: no such file; name one that compare has written"),
    (("compare", "--report", "folder"), "folder: no such file"),
    (("instances", "--family", "max-min"), "--family: max-min is a bisection"),
    (("instances", "--formats", "lp"), "--formats: unknown name 'lp'"),
    (("instances", "--out", "good.csv"), "--out: good.csv cannot be made a folder"),
    (("certif",), "No such command 'certif'."),
]
# fmt: on


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with good and bad files, which is where the commands run."""
    monkeypatch.chdir(tmp_path)
    rows = [f"{i % 7},{i % 5},{i % 2}" for i in range(30)]
    for name, text in {
        "good.csv": "\n".join(rows),
        "one.csv": "1,2,0\n3,4,0\n5,6,0\n7,8,0\n",
        "few.csv": "1,2,0\n3,4,1\n",
        "text.csv": "1,2,0\n1,red,1\n",
        "broken.npz": "hello",
        "broken.toml": "a = = 1",
        "empty.toml": "",
        "good.toml": 'format = 1\ntitle = "t"\n[[data]]\nname = "wine"\n[[metric]]\nname = "E"\n[[question]]\n',
    }.items():
        (tmp_path / name).write_text(text)
    for name in ("folder", "folder.npz"):
        (tmp_path / name).mkdir()
    np.save(tmp_path / "three.npy", np.eye(3))
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE a (b)")
    other.close()
    return tmp_path


def run(*typed):
    return CliRunner().invoke(main, [str(part) for part in typed], env={"COLUMNS": "200"})


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: " ".join(map(str, mistake[0])))
def test_mistakes_are_one_line_and_exit_status_2(mistake, place):
    typed, *words = mistake
    before = sorted(path.name for path in place.iterdir())
    shown = run(*typed)
    last = shown.output.strip().splitlines()[-1]
    assert isinstance(shown.exception, SystemExit) and shown.exit_code == 2, shown.output
    assert last.startswith("Error: ")
    for word in words:
        assert word in last
    left = {path.name for path in place.iterdir()} - set(before)
    assert left <= {"convexrml-out", "comparison", "instances", "results.db"}  # asked for, made before any work


def test_a_certificate_of_other_points_says_so(place):
    assert run(*QUICK, "--quiet", "--certificates", "certs").exit_code == 0
    shown = run("check", "certs")
    assert shown.exit_code == 1 and "name other training points with --data" in shown.output
    assert run("check", "certs", *GOOD).exit_code == 0
    shown = run("check", "certs", *GOOD, "--metric", "three.npy")
    assert shown.exit_code == 2 and "Error: --metric: acts on 3 features; the data have 2" in shown.output


def test_warnings_are_one_line(place, monkeypatch):
    def learner(*_, **__):
        import warnings

        warnings.warn("half of it is missing", UserWarning, stacklevel=2)
        raise KeyboardInterrupt

    monkeypatch.setattr("convexrml.study.learn.learn", learner)
    shown = run(*LEARN)
    assert shown.exit_code == 130 and "Warning: half of it is missing\n" in shown.stderr
    assert "learn.py" not in shown.stderr
    assert "half" not in run(*LEARN, "--quiet").stderr


def test_unwritable_folders_are_noticed_before_the_work(place, monkeypatch):
    monkeypatch.setattr("os.access", lambda _, mode: mode == os.R_OK)
    for typed, option in ((QUICK, "--out"), (LEARN, "--out"), ((*COMPARE, "--out", "r.db"), "--page")):
        shown = run(*typed)
        assert shown.exit_code == 2 and f"Error: {option}: " in shown.output and "cannot be written to" in shown.output


def test_a_closed_pipe_is_no_error():
    command = f"set -o pipefail; {sys.executable} -m convexrml solvers --json | head -n 1"
    shown = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert shown.stdout == "[\n" and "Error" not in shown.stderr


def test_every_help_text_has_defaults_and_statuses():
    for name, command in main.commands.items():
        group = getattr(command, "commands", {name: command})
        for name, part in group.items():
            for option in part.params:
                told = getattr(option, "help", None) or option.param_type_name == "argument"
                assert told, f"{name}: {option.name} has no help text"
    shown = run("--help").output
    for status in ("0 ", "1 ", "2 ", "130"):
        assert status in shown
