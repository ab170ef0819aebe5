"""Read points and metrics from files; every complaint names the file, and the line where it is known."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from convexrml.errors import ConvexrmlError, DataFileError, InvalidInputError
from convexrml.metric import MahalanobisMetric
from convexrml.validation import feature_matrix, label_vector

_MATRIX_KEYS = ("M", "mahalanobis_matrix")
_COMPONENTS_KEYS = ("L", "components")

Points = tuple[NDArray[np.float64], NDArray[Any]]
_T = TypeVar("_T")


def read_points(paths: Sequence[Path], *, label_column: str | None = None) -> list[Points]:
    """Read the points and labels of files that belong together.

    Parameters
    ----------
    paths : sequence of Path
        ``.npz`` with arrays X and y; ``.csv`` with an optional header; anything else is read as svmlight, unpacked
        where it ends in ``.gz`` or ``.bz2``, and padded with zeros to the widest of the files.
    label_column : str, optional
        Name or index (negative from the end) of the label column of csv files; the last column if not given.

    Returns
    -------
    list of (X, y)
        Whole floats among the labels have become integers.

    Raises
    ------
    DataFileError
        If a file is missing, empty, or not what its name says.
    """
    for path in paths:
        _require_file(path)
    kinds = [{".npz": "npz", ".csv": "csv"}.get(path.suffix.lower(), "svmlight") for path in paths]
    if label_column is not None and "csv" not in kinds:
        raise InvalidInputError(f"label_column: only csv files have columns; {paths[0]} is read as {kinds[0]}")
    if set(kinds) == {"svmlight"}:
        points = _svmlight(paths)
    else:
        readers: dict[str, Callable[[Path], Points]] = {
            "npz": _npz_points,
            "csv": lambda path: _csv_points(path, label_column),
            "svmlight": lambda path: _svmlight([path])[0],
        }
        points = [readers[kind](path) for kind, path in zip(kinds, paths, strict=True)]
    checked: list[Points] = []
    for path, (X, y) in zip(paths, points, strict=True):
        try:
            features = feature_matrix("X", X)
            checked.append((features, _whole(label_vector("y", y, len(features)))))
        except InvalidInputError as error:
            raise DataFileError(f"{path}: {error}") from error
        if features.shape[1] != checked[0][0].shape[1]:
            raise DataFileError(f"{path}: has {features.shape[1]} features; {paths[0]} has {checked[0][0].shape[1]}")
    return checked


def read_metric(path: Path) -> MahalanobisMetric:
    """Read a Mahalanobis metric.

    Parameters
    ----------
    path : Path
        ``.npy``, ``.csv`` or ``.txt``: a square array is the matrix M, any other the components L.  ``.npz``: arrays
        named ``M`` or ``mahalanobis_matrix`` are M, ``L`` or ``components`` are L whatever their shape.

    Raises
    ------
    DataFileError
        If the file holds no metric.
    """
    _require_file(path)
    if path.suffix.lower() == ".npz":
        arrays = _npz(path)
        named = [key for key in (*_MATRIX_KEYS, *_COMPONENTS_KEYS) if key in arrays]
        if len(named) != 1:
            raise DataFileError(
                f"{path}: needs exactly one of the arrays {', '.join((*_MATRIX_KEYS, *_COMPONENTS_KEYS))}; "
                f"found {', '.join(arrays) or 'none'}"
            )
        array, is_matrix = arrays[named[0]], named[0] in _MATRIX_KEYS
    else:
        if path.suffix.lower() == ".npy":
            _require_magic(path, b"\x93NUMPY", "npy")
            array = _guarded(path, lambda: np.load(path, allow_pickle=False))
        else:
            array = _guarded(path, lambda: _number_table(path))
        is_matrix = array.ndim == 2 and array.shape[0] == array.shape[1]
    try:
        return (MahalanobisMetric.from_matrix if is_matrix else MahalanobisMetric.from_components)(array)
    except InvalidInputError as error:
        raise DataFileError(f"{path}: {error}") from error


def _require_file(path: Path) -> None:
    if not path.exists():
        raise DataFileError(f"{path}: no such file")
    if not path.is_file():
        raise DataFileError(f"{path}: is not a file")
    if path.stat().st_size == 0:
        raise DataFileError(f"{path}: the file is empty")


def _guarded(path: Path, read: Callable[[], _T]) -> _T:
    """Turn whatever a reader raises (each format has its own exceptions) into a DataFileError with the file's name."""
    try:
        return read()
    except ConvexrmlError:
        raise
    except MemoryError as error:
        raise DataFileError(f"{path}: does not fit into memory as a dense array") from error
    except Exception as error:
        reason = str(error).split("\n")[0] or type(error).__name__
        raise DataFileError(f"{path}: cannot be read: {reason}") from error


def _whole(y: NDArray[Any]) -> NDArray[Any]:
    """Labels that are whole floats become integers."""
    return y.astype(np.int64) if y.dtype.kind == "f" and np.all(y == np.rint(y)) and np.abs(y).max() < 2**53 else y


def _number_table(path: Path) -> NDArray[np.float64]:
    text = path.read_text(encoding="utf-8-sig")
    return np.loadtxt(io.StringIO(text), delimiter="," if "," in text else None, ndmin=2)


def _require_magic(path: Path, magic: bytes, what: str) -> None:
    with open(path, "rb") as file:
        if file.read(len(magic)) != magic:
            raise DataFileError(f"{path}: is no {what} file")


def _npz(path: Path) -> dict[str, NDArray[Any]]:
    _require_magic(path, b"PK", "npz")

    def read() -> dict[str, NDArray[Any]]:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}

    return _guarded(path, read)


def _npz_points(path: Path) -> Points:
    arrays = _npz(path)
    if "X" not in arrays or "y" not in arrays:
        raise DataFileError(f"{path}: needs arrays X and y; found {', '.join(arrays) or 'none'}")
    return arrays["X"], arrays["y"]


# --- svmlight -------------------------------------------------------------------------------------------------------


def _svmlight(paths: Sequence[Path]) -> list[Points]:
    from sklearn.datasets import load_svmlight_files

    try:
        found = load_svmlight_files([str(path) for path in paths])
    except Exception as error:
        for path in paths:
            _guarded(path, lambda path=path: _require_svmlight_lines(path))  # type: ignore[misc]
        raise DataFileError(f"{' and '.join(map(str, paths))}: cannot be read as svmlight: {error}") from error
    points = []
    for path, X, y in zip(paths, found[::2], found[1::2], strict=True):
        if X.shape[0] == 0:
            raise DataFileError(f"{path}: has no data")
        if not (np.isfinite(X.data).all() and np.isfinite(y).all()):
            _require_svmlight_lines(path)
        points.append((_guarded(path, X.toarray), y))
    return points


def _require_svmlight_lines(path: Path) -> None:
    """Read the file line by line to find the first that is at fault; slow, and only for files known to be bad."""
    from sklearn.datasets import load_svmlight_file

    with _opened(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.split(b"#", 1)[0].strip():
                continue
            shown = line.decode("utf-8", "replace").strip()
            shown = repr(shown if len(shown) <= 60 else shown[:57] + "...")
            try:
                X, y = load_svmlight_file(io.BytesIO(line), zero_based=True)
            except Exception as error:
                raise DataFileError(
                    f"{path}: line {number} is no svmlight line (label index:value ...): {shown} ({error})"
                ) from error
            if not (np.isfinite(X.data).all() and np.isfinite(y).all()):
                raise DataFileError(f"{path}: line {number} has a NaN or infinite value: {shown}")


def _opened(path: Path) -> IO[bytes]:
    """Open as scikit-learn does: unpacked by suffix."""
    openers: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open}
    return openers.get(path.suffix, open)(path, "rb")


# --- csv ------------------------------------------------------------------------------------------------------------


def _csv_points(path: Path, label_column: str | None) -> Points:
    rows = _guarded(path, lambda: _csv_rows(path))
    if not rows:
        raise DataFileError(f"{path}: the file is empty")
    width = len(rows[0][1])
    for line, cells in rows:
        if len(cells) != width:
            raise DataFileError(f"{path}: line {line} has {len(cells)} columns; line {rows[0][0]} has {width}")
    if width < 2:
        raise DataFileError(f"{path}: needs features and a label, two columns at least; found {width}")
    label, has_header = _label_at(path, rows[0][1], label_column)
    others = [cell for column, cell in enumerate(rows[0][1]) if column != label]
    later_labels_are_numbers = len(rows) > 1 and all(_is_number(cells[label]) for _, cells in rows[1:])
    if not any(map(_is_number, others)) or (later_labels_are_numbers and not _is_number(rows[0][1][label])):
        has_header = True
    body = rows[1:] if has_header else rows
    if not body:
        raise DataFileError(f"{path}: has a header but no data")
    X = np.array([[_cell(path, line, c, cells[c]) for c in range(width) if c != label] for line, cells in body])
    for line, cells in body:
        if not cells[label].strip() or cells[label].strip().lower() in ("nan", "+nan", "-nan"):
            raise DataFileError(f"{path}: line {line} has no label ({cells[label]!r} in column {label})")
    labels = [cells[label].strip() for _, cells in body]
    return X, np.array([float(name) for name in labels] if all(map(_is_number, labels)) else labels)


def _csv_rows(path: Path) -> list[tuple[int, list[str]]]:
    """Line number and cells of each row that is not blank."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        return [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]


def _label_at(path: Path, first: list[str], label_column: str | None) -> tuple[int, bool]:
    """Index of the label column, and whether a header is known to be there."""
    names = [cell.strip() for cell in first]
    if label_column is None:
        return len(first) - 1, False
    if label_column in names and not _is_number(label_column):
        return names.index(label_column), True
    try:
        index = int(label_column)
    except ValueError:
        raise DataFileError(
            f"{path}: no column is named {label_column!r}; the first line has {', '.join(names[:10])}"
        ) from None
    if not -len(first) <= index < len(first):
        raise DataFileError(f"{path}: there is no column {index}; columns are counted from 0 to {len(first) - 1}")
    return index % len(first), False


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _cell(path: Path, line: int, column: int, cell: str) -> float:
    if not _is_number(cell) or not np.isfinite(float(cell)):
        raise DataFileError(f"{path}: line {line}, column {column}: {cell!r} is not a finite number")
    return float(cell)
