"""Data sets by name: shipped, downloaded from a server on this machine, found in a folder, or clearly missing."""

import bz2
import functools
import hashlib
import http.server
import os
import socket
import sys
import threading
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
from click.testing import CliRunner
from sklearn.utils import Bunch

from convexrml.cli import main
from convexrml.errors import DataFileError, DownloadError, InvalidInputError
from convexrml.study import catalogue
from convexrml.study.catalogue import Published, data_folder, read_named
from convexrml.study.data import load_data, load_dataset, training_part

TRAIN, TEST = b"1 1:0 2:4\n2 1:1 2:2\n1 1:2\n", b"2 1:1\n1 2:4\n"


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A folder with a published data set of three points, under a name of its own."""
    folder = tmp_path / "published"
    folder.mkdir()
    (folder / "tiny.bz2").write_bytes(bz2.compress(TRAIN))
    (folder / "tiny.t").write_bytes(TEST)
    entry = Published(".", ("tiny.bz2", "tiny.t"), (None, "sha256:" + hashlib.sha256(TEST).hexdigest()))
    monkeypatch.setitem(catalogue.PUBLISHED, "tiny", entry)
    monkeypatch.setattr(catalogue, "NAMES", (*catalogue.NAMES, "tiny"))
    monkeypatch.setattr(catalogue, "_SECONDS", 5)
    return folder


@pytest.fixture
def served(tiny, monkeypatch):
    """The same folder on a server of this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=tiny)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(catalogue, "_LIBSVM", f"http://127.0.0.1:{server.server_port}")
        yield tiny
        server.shutdown()


@pytest.fixture
def no_network(tiny, monkeypatch):
    with socket.socket() as taken:  # bound, not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setattr(catalogue, "_LIBSVM", f"http://127.0.0.1:{taken.getsockname()[1]}")
        yield tiny


@pytest.mark.parametrize(
    ("name", "shape"), [("digits", (1797, 64)), ("wine", (178, 13)), ("breast_cancer", (569, 30)), ("iris", (150, 4))]
)
def test_data_that_come_with_scikit_learn(name, shape):
    data = load_dataset(name)
    assert (len(data.X_train) + len(data.X_test), data.X_train.shape[1]) == shape
    assert data.name == name and data.origin["train"] == f"{name} (scikit-learn)" and data.origin["test"] == "held out"
    assert data.sha256() == load_data(name).sha256() == load_data(Path(name)).sha256()
    assert load_dataset(name, seed=1).sha256() != data.sha256()


def test_nothing_named_is_digits():
    assert load_data().sha256() == load_dataset("digits").sha256()


def test_a_download_is_kept_and_told(served, tmp_path):
    folder = tmp_path / "kept" / "here"
    data = load_dataset("tiny", data_dir=folder, scale="none")
    assert data.X_train.tolist() == [[0, 4], [1, 2], [2, 0]] and data.y_train.tolist() == [1, 2, 1]
    assert data.X_test.tolist() == [[1, 0], [0, 4]] and data.origin["test"] == "as published"
    kept = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
    assert data.origin["files"] == kept and set(kept) == {"tiny.bz2", "tiny.t"}
    for file in served.iterdir():
        file.unlink()  # from now on the folder has to do
    assert load_data("tiny", data_dir=folder, scale="none").sha256() == data.sha256()


def test_a_download_with_another_checksum_is_refused(served, tmp_path):
    (served / "tiny.t").write_bytes(TEST + b"1 1:9\n")
    with pytest.raises(DownloadError, match="tiny.t cannot be downloaded.*hash"):
        load_dataset("tiny", data_dir=tmp_path / "kept")
    assert not (tmp_path / "kept" / "tiny.t").exists()


def test_a_file_that_the_server_does_not_have(served, tmp_path):
    (served / "tiny.t").unlink()
    with pytest.raises(DownloadError, match="404"):
        load_dataset("tiny", data_dir=tmp_path / "kept")


@pytest.mark.parametrize("how", ["argument", "variable", "home"])
def test_without_network_the_message_says_what_to_do(no_network, tmp_path, monkeypatch, how):
    monkeypatch.delenv("CONVEXRML_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "convexrml"
    if how == "variable":
        folder = tmp_path / "told"
        monkeypatch.setenv("CONVEXRML_DATA", str(folder))
    told = tmp_path / "argument" if how == "argument" else None
    with pytest.raises(DownloadError, match="put tiny.bz2 and tiny.t into a folder.*--data-dir") as caught:
        load_dataset("tiny", data_dir=told)
    assert isinstance(caught.value, OSError) and str(told or folder) in str(caught.value)
    assert data_folder(told) == (told or folder)


def test_downloads_without_pooch(no_network, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(DownloadError, match=r"pip install 'convexrml\[data\]'"):
        load_dataset("tiny", data_dir=tmp_path)
    assert load_dataset("tiny", data_dir=no_network).origin["train"] == "tiny (LIBSVM)"


@pytest.mark.parametrize("suffix", ["", ".bz2", ".gz"])
def test_pairs_that_somebody_put_there(no_network, tmp_path, suffix):
    import gzip

    pack = {"": bytes, ".bz2": bz2.compress, ".gz": gzip.compress}[suffix]
    (tmp_path / f"tiny{suffix}").write_bytes(pack(TRAIN))
    if suffix != ".bz2":  # which is the published name
        with pytest.raises(DownloadError, match="tiny.bz2"):
            load_dataset("tiny", data_dir=tmp_path)  # half a pair is not mixed with what is published
    (tmp_path / f"tiny.t{suffix}").write_bytes(pack(TEST))
    assert load_dataset("tiny", data_dir=tmp_path, scale="none").X_test.tolist() == [[1, 0], [0, 4]]


def test_a_file_comes_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("wine").write_bytes(TRAIN + TEST)
    assert load_data("wine", test_size=0.4).X_train.shape[1] == 2
    assert training_part("wine")[0].shape == (5, 2) and training_part("iris")[0].shape == (150, 4)
    assert load_dataset("wine").X_train.shape[1] == 13


def test_test_points_of_ones_own(tiny, tmp_path):
    own = tmp_path / "own.csv"
    own.write_text("9,9,1\n", encoding="utf-8")
    data = load_data("tiny", own, data_dir=tiny, scale="none")
    assert data.X_test.tolist() == [[9, 9]] and len(data.X_train) == 3 and data.origin["test"] == str(own)


def test_names_that_are_none():
    with pytest.raises(InvalidInputError, match="'irises'; did you mean 'iris'.*: .*iris, .*usps, openml:NAME"):
        load_dataset("irises")
    with pytest.raises(DataFileError, match="irises: no such file, and no data set of this name"):
        load_data("irises")
    with pytest.raises(DataFileError, match="no such file$"):
        load_data("irises.csv")
    with pytest.raises(InvalidInputError, match="openml:"):
        read_named("openml:")
    with pytest.raises(InvalidInputError, match="label_column"):
        load_data("wine", label_column="0")


def bunch(**other):
    X = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]])
    given = {"data": X, "target": np.array(["a", "b", "a", "b"], dtype=object), "feature_names": ["u", "v"]}
    return Bunch(**{**given, "categories": {"class": ["a", "b"]}, **other})


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("openml:61", {"data_id": 61}),
        ("openml:iris", {"name": "iris", "version": "active"}),
        ("openml:iris@2", {"name": "iris", "version": 2}),
    ],
)
def test_openml(monkeypatch, tmp_path, name, asked):
    seen = {}
    monkeypatch.setattr(sklearn.datasets, "fetch_openml", lambda **options: seen.update(options) or bunch())
    data = load_dataset(name, data_dir=tmp_path, test_size=0.5, scale="none")
    assert asked.items() <= seen.items() and seen["data_home"] == tmp_path and not seen["as_frame"]
    assert len({"data_id", "name"} & set(seen)) == 1
    assert data.X_train.shape == (2, 2) and set(data.y_train) == {"a", "b"} and data.name == name


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (urllib.error.URLError("no route"), DownloadError, "openml:x cannot be downloaded .*no route.*--data-dir"),
        (ValueError("No known dataset"), DataFileError, "openml:x: No known dataset"),
        (bunch(categories={"u": ["0", "1"]}), DataFileError, "1 of 2 features are categories.*u"),
        (bunch(data=np.full((4, 2), np.nan)), DataFileError, "NaN"),
        (bunch(target=None), DataFileError, "no labels"),
    ],
)
def test_openml_that_cannot_be_used(monkeypatch, tmp_path, answer, error, message):
    def fetch(**_):
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    with pytest.raises(error, match=message):
        load_dataset("openml:x", data_dir=tmp_path)


def test_commands(no_network, tmp_path):
    run = functools.partial(CliRunner().invoke, main)
    certify = ["certify", "--limit", "2", "--check", "1", "--solvers", "search", "--quiet", "--out", str(tmp_path)]
    done = run([*certify, "--data", "tiny", "--data-dir", str(no_network), "--certificates", str(tmp_path / "certs")])
    assert done.exit_code == 0, done.output
    done = run(["check", str(tmp_path / "certs"), "--data", "tiny", "--data-dir", str(no_network)])
    assert done.exit_code == 0 and "2 accepted, 0 rejected" in done.output
    failed = run([*certify, "--data", "tiny", "--data-dir", str(tmp_path / "empty")])
    assert failed.exit_code == 2 and "without network" in failed.output and "Traceback" not in failed.output


SETS = Path(os.environ.get("CONVEXRML_DATA", Path(__file__).resolve().parents[2] / "shared" / "datasets"))
SHAPES = {"splice": (1000, 60, 2), "pendigits": (7494, 16, 10), "satimage": (4435, 36, 6), "usps": (7291, 256, 10)}


@pytest.mark.parametrize("name", SHAPES)
def test_published_data_sets_in_a_folder(name):
    if not all((SETS / f"{name}{part}.bz2").is_file() for part in ("", ".t")):
        pytest.skip("set CONVEXRML_DATA to a folder with the data sets")
    data = load_dataset(name, data_dir=SETS)
    n, d, classes = SHAPES[name]
    assert data.X_train.shape == (n, d) and len(np.unique(data.y_train)) == classes
    assert len(data.origin["files"]) == 2
