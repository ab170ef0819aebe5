"""Reading points and metrics, and splitting and scaling them."""

import bz2
import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from convexrml.errors import DataFileError, InvalidInputError
from convexrml.norms import as_box
from convexrml.study.data import load_data
from convexrml.study.files import read_metric, read_points


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def one(path, **options):
    return read_points([path], **options)[0]


def test_digits_are_split_and_scaled_on_the_training_part():
    data = load_data()
    X, y = load_digits(return_X_y=True)
    assert len(data.X_train) + len(data.X_test) == len(X)
    assert data.X_train.min() == 0.0 and data.X_train.max() == 1.0
    assert data.X_test.max() > 1.0  # learnt on the training part only
    assert np.array_equal(np.sort(np.concatenate([data.y_train, data.y_test])), np.sort(y))
    assert data.sha256() == load_data().sha256()
    other = load_data(seed=1).sha256()
    assert all(data.sha256()[name] != other[name] for name in other)
    raw = load_data(scale="none")
    assert raw.X_train.max() == 16.0


@pytest.mark.parametrize("header", ["", "a,b,kind\n"])
def test_csv_with_and_without_a_header(tmp_path, header):
    X, y = one(write(tmp_path / "d.csv", header + "1,2,x\n\n3,4.5,y\n"))
    assert X.tolist() == [[1, 2], [3, 4.5]]
    assert y.tolist() == ["x", "y"]


@pytest.mark.parametrize("column", ["kind", "0", "-3"])
def test_csv_label_column(tmp_path, column):
    X, y = one(write(tmp_path / "d.csv", "kind,a,b\n1.0,2,3\n2.0,4,5\n"), label_column=column)
    assert X.tolist() == [[2, 3], [4, 5]]
    assert y.dtype == np.int64 and y.tolist() == [1, 2]


def test_csv_header_of_numbers_is_seen_by_its_label(tmp_path):
    X, y = one(write(tmp_path / "d.csv", "0,1,label\n5,6,1\n7,8,2\n"))
    assert X.tolist() == [[5, 6], [7, 8]] and y.tolist() == [1, 2]


def test_labels_stay_floats_unless_whole(tmp_path):
    assert one(write(tmp_path / "d.csv", "1,2,0.5\n3,4,1\n"))[1].tolist() == [0.5, 1.0]


def test_npz(tmp_path):
    np.savez(tmp_path / "d.npz", X=np.eye(3, dtype=np.float32), y=np.array(["a", "b", "a"]))
    X, y = one(tmp_path / "d.npz")
    assert X.dtype == np.float64 and X.tolist() == np.eye(3).tolist() and y.tolist() == ["a", "b", "a"]


@pytest.mark.parametrize(("suffix", "opened"), [("svm", open), ("gz", gzip.open), ("bz2", bz2.open)])
def test_svmlight_is_unpacked_and_padded_to_the_wider_file(tmp_path, suffix, opened):
    for name, text in (("a", "+1 1:0.5 2:1\n-1 1:2 # far\n"), ("b", "+1 1:0.5 4:3\n")):
        with opened(tmp_path / f"{name}.{suffix}", "wb") as file:
            file.write(text.encode())
    (A, a), (B, b) = read_points([tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"])
    assert A.tolist() == [[0.5, 1, 0, 0], [2, 0, 0, 0]] and B.tolist() == [[0.5, 0, 0, 3]]
    assert a.tolist() == [1, -1] and a.dtype == np.int64 and b.tolist() == [1]


BAD = {
    "empty.csv": ("", "empty"),
    "empty.svm": ("", "empty"),
    "blank.csv": ("\n \n", "empty"),
    "comment.svm": ("# nothing\n", "no data"),
    "text.svm": ("1 1:2\nhello world\n", "line 2"),
    "nan.svm": ("1 1:2\n2 1:nan\n", "line 2.*NaN"),
    "wide.svm": ("1 99999999999:1\n", "line 1"),
    "text.npz": ("hello", "no npz"),
    "text.bz2": ("hello", "cannot be read"),
    "text.csv": ("hello world\nthis is text\n", "two columns"),
    "ragged.csv": ("a,b,y\n1,2,x\n3,4\n", "line 3 has 2 columns; line 1 has 3"),
    "nan.csv": ("a,b,y\n1,nan,x\n", "line 2, column 1.*finite"),
    "gap.csv": ("a,b,y\n1,,x\n", "line 2, column 1.*finite"),
    "word.csv": ("1,2,x\n3,four,y\n", "line 2, column 1: 'four'"),
    "unlabelled.csv": ("a,b,y\n1,2,x\n1,2,\n", "line 3 has no label"),
    "header.csv": ("a,b,y\n", "no data"),
}


@pytest.mark.parametrize("name", BAD)
def test_files_that_are_no_data(tmp_path, name):
    text, message = BAD[name]
    with pytest.raises(DataFileError, match=message) as caught:
        one(write(tmp_path / name, text))
    assert name in str(caught.value)


def test_other_bad_files(tmp_path):
    with pytest.raises(DataFileError, match="no such file"):
        one(tmp_path / "missing.csv")
    with pytest.raises(DataFileError, match="not a file"):
        one(tmp_path)
    np.savez(tmp_path / "keys.npz", X=np.eye(2))
    with pytest.raises(DataFileError, match="arrays X and y; found X"):
        one(tmp_path / "keys.npz")
    np.savez(tmp_path / "nan.npz", X=np.full((2, 2), np.nan), y=[0, 1])
    with pytest.raises(DataFileError, match="NaN"):
        one(tmp_path / "nan.npz")
    np.savez(tmp_path / "object.npz", X=np.array([[1, None]]), y=[0])
    with pytest.raises(DataFileError, match="cannot be read"):
        one(tmp_path / "object.npz")
    good = write(tmp_path / "good.csv", "1,2,0\n")
    with pytest.raises(DataFileError, match="has 1 features; .* has 2"):
        read_points([good, write(tmp_path / "thin.csv", "1,0\n")])
    with pytest.raises(DataFileError, match="no column is named 'kind'"):
        one(good, label_column="kind")
    with pytest.raises(DataFileError, match="no column 3"):
        one(good, label_column="3")
    with pytest.raises(InvalidInputError, match="only csv"):
        one(tmp_path / "nan.npz", label_column="0")


def test_labels_that_were_never_seen_and_splits_that_cannot_be(tmp_path):
    train = write(tmp_path / "train.csv", "1,2,0\n3,4,1\n")
    with pytest.raises(DataFileError, match=r"test.csv: label 7 \(point 2\).*0, 1"):
        load_data(train, write(tmp_path / "test.csv", "1,2,0\n3,4,7\n"))
    with pytest.raises(DataFileError, match="label 'a'"):
        load_data(train, write(tmp_path / "text.csv", "1,2,a\n"))
    with pytest.raises(InvalidInputError, match="cannot be split"):
        load_data(train)
    with pytest.raises(InvalidInputError, match="without training points"):
        load_data(test=train)
    with pytest.raises(InvalidInputError, match="scale"):
        load_data(train, scale="log")


def test_head_and_box():
    data = load_data().head(20)
    assert len(data.X_test) == len(data.y_test) == 20 and data.origin["limit"] == 20
    assert data.inside(None) == (data, 0)
    box = as_box((0.1, 0.9), 64)
    with pytest.raises(InvalidInputError, match="20 of 20 test points lie outside"):
        data.inside(box)
    clipped, moved = data.inside(box, clip=True)
    assert moved == 20 and np.array_equal(clipped.X_test, np.clip(data.X_test, 0.1, 0.9))


def test_metrics(tmp_path):
    M, L = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([[1.0, 2.0], [0.0, 1.0]])
    np.save(tmp_path / "M.npy", M)
    np.save(tmp_path / "L.npy", L[:1])
    np.savez(tmp_path / "M.npz", mahalanobis_matrix=M)
    np.savez(tmp_path / "L.npz", components=L)
    write(tmp_path / "M.csv", "2,1\n1,3\n")
    write(tmp_path / "M.txt", "2 1\n1 3\n")
    for name in ("M.npy", "M.npz", "M.csv", "M.txt"):
        assert read_metric(tmp_path / name).matrix.tolist() == M.tolist()
    assert read_metric(tmp_path / "L.npy").components.tolist() == L[:1].tolist()
    assert read_metric(tmp_path / "L.npz").components.tolist() == L.tolist()
    np.savez(tmp_path / "both.npz", M=M, L=L)
    for name, text, message in (
        ("both.npz", None, "exactly one"),
        ("missing.npy", None, "no such file"),
        ("text.txt", "hello\n", "cannot be read"),
        ("text.npy", "hello\n", "no npy"),
        ("ragged.csv", "1,2\n3\n", "cannot be read"),
        ("asymmetric.csv", "1,2\n0,1\n", "not symmetric"),
        ("indefinite.csv", "1,2\n2,1\n", "not positive semidefinite"),
        ("empty.csv", "", "empty"),
    ):
        if text is not None:
            write(tmp_path / name, text)
        with pytest.raises(DataFileError, match=message) as caught:
            read_metric(tmp_path / name)
        assert name in str(caught.value)


SETS = Path(os.environ.get("CONVEXRML_DATA", Path(__file__).resolve().parents[2] / "shared" / "datasets"))
SHAPES = {"splice": (1000, 60, 2), "pendigits": (7494, 16, 10), "satimage": (4435, 36, 6), "usps": (7291, 256, 10)}


@pytest.mark.parametrize("name", SHAPES)
def test_published_data_sets(name):
    files = SETS / f"{name}.bz2", SETS / f"{name}.t.bz2"
    if not all(file.is_file() for file in files):
        pytest.skip("set CONVEXRML_DATA to a folder with the data sets")
    data = load_data(*files)
    n, d, classes = SHAPES[name]
    assert data.X_train.shape == (n, d) and data.X_test.shape[1] == d
    assert len(np.unique(data.y_train)) == classes and data.y_train.dtype == np.int64
