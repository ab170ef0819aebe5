"""A data set for a study: training and test points, split and scaled."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convexrml.errors import DataFileError, InvalidInputError
from convexrml.norms import Box
from convexrml.study.catalogue import Named, is_name, near, read_named
from convexrml.study.files import Points, read_points

SCALES = ("minmax", "none")


@dataclasses.dataclass(frozen=True, eq=False)
class DataSet:
    """Training and test points, as they are handed to the classifier.

    Attributes
    ----------
    name : str
        For headings.
    X_train, X_test : (n, d) arrays
        Points; one scale for both.
    y_train, y_test : (n,) arrays
        Their labels.
    origin : dict
        Where the points came from: files (SHA-256 of those of a data set by name), split, scaling.
    """

    name: str
    X_train: NDArray[np.float64]
    y_train: NDArray[Any]
    X_test: NDArray[np.float64]
    y_test: NDArray[Any]
    origin: dict[str, Any]

    def head(self, limit: int | None) -> DataSet:
        """The same data with the first `limit` test points only.

        Parameters
        ----------
        limit : int or None
            How many; None keeps all.

        Returns
        -------
        DataSet
            Its `origin` tells the limit.
        """
        if limit is None:
            return self
        return dataclasses.replace(
            self, X_test=self.X_test[:limit], y_test=self.y_test[:limit], origin={**self.origin, "limit": limit}
        )

    def inside(self, box: Box | None, *, clip: bool = False) -> tuple[DataSet, int]:
        """The same data with every test point inside the box, and how many had to be moved.

        Parameters
        ----------
        box : Box or None
            In the units of the points; None moves nothing.
        clip : bool, default False
            Whether points outside may be moved.

        Returns
        -------
        data : DataSet
            With the points as they are asked about.
        moved : int
            How many lay outside.

        Raises
        ------
        InvalidInputError
            If points lie outside and `clip` is not set.
        """
        if box is None:
            return self, 0
        outside = int(np.count_nonzero(~box.contains(self.X_test)))
        if outside and not clip:
            raise InvalidInputError(
                f"box: {outside} of {len(self.X_test)} test points lie outside [{box.lower.min():g}, "
                f"{box.upper.max():g}] (the data reach from {self.X_test.min():g} to {self.X_test.max():g}); widen the "
                "box, or ask for the test points to be clipped into it (--clip, clip=True)"
            )
        return dataclasses.replace(self, X_test=box.clip(self.X_test)), outside

    def sha256(self) -> dict[str, str]:
        """SHA-256 of each array: of its shape, its type and its bytes in C order.

        Returns
        -------
        dict of str to str
            In hexadecimal, by the array's name.
        """
        digests = {}
        for name in ("X_train", "y_train", "X_test", "y_test"):
            array = np.ascontiguousarray(getattr(self, name))
            head = f"{array.shape} {array.dtype.str} ".encode()
            digests[name] = hashlib.sha256(head + array.tobytes()).hexdigest()
        return digests


def load_data(
    train: Path | str | None = None,
    test: Path | str | None = None,
    *,
    data_dir: Path | None = None,
    label_column: str | None = None,
    test_size: float = 0.3,
    seed: int = 0,
    scale: str = "minmax",
) -> DataSet:
    """Read a data set from files or by its name; without either, the digits that come with scikit-learn.

    Parameters
    ----------
    train : Path or str, optional
        ``.npz`` with arrays X and y, ``.csv`` (header optional), anything else is read as svmlight (``.gz`` and
        ``.bz2`` are unpacked).  What is no file may be a name: see `catalogue.read_named`.
    test : Path or str, optional
        Test points; without it, those that a data set by name brings along, or else a seeded, stratified part of the
        points, held out.
    data_dir : Path, optional
        Folder of the data sets by name: see `catalogue.read_named`.
    label_column : str, optional
        Name or index of the label column of csv files; the last column if not given.
    test_size : float, default 0.3
        Share of the points held out.
    seed : int, default 0
        Of the split.
    scale : {"minmax", "none"}, default "minmax"
        ``"minmax"`` maps each feature to [0, 1] as learnt on the training points.

    Returns
    -------
    DataSet
        Training and test points.

    Raises
    ------
    DataFileError
        If a file is missing, or not what its name says.
    DownloadError
        If a data set by name is not on this machine and cannot be downloaded.
    InvalidInputError
        If the points cannot be split, scaled or used.
    """
    test = None if test is None else Path(test)
    if train is None and test is not None:
        raise InvalidInputError(f"test: {test} was given without training points; name them as data")
    if train is None:
        return load_dataset("digits", test_size=test_size, seed=seed, scale=scale)
    if not _is_set(train):
        _require_known(train)
        files = [Path(name) for name in (train, test) if name is not None]
        origin = {"train": str(train)} | ({} if label_column is None else {"label_column": label_column})
        points = read_points(files, label_column=label_column)
        return _prepared(files[0].name, points, test, origin, test_size, seed, scale)
    if label_column is not None:
        raise InvalidInputError(f"label_column: only csv files have columns; {train} is a data set by name")
    if test is None:
        return load_dataset(str(train), data_dir=data_dir, test_size=test_size, seed=seed, scale=scale)
    found = read_named(str(train), data_dir)
    points = [found.points[0], *read_points([test])]
    return _prepared(str(train), points, test, _origin(found), test_size, seed, scale)


def load_dataset(
    name: str, *, data_dir: Path | None = None, test_size: float = 0.3, seed: int = 0, scale: str = "minmax"
) -> DataSet:
    """Read a data set by its name, whatever files are around.

    Parameters
    ----------
    name : str
        ``"digits"``, ``"wine"``, ``"usps"``, ``"openml:61"`` ...: see `catalogue.read_named`.
    data_dir : Path, optional
        Folder in which it is looked for, and kept.
    test_size : float, default 0.3
        Share of the points held out, where the set has no test points of its own.
    seed : int, default 0
        Of the split.
    scale : {"minmax", "none"}, default "minmax"
        ``"minmax"`` maps each feature to [0, 1] as learnt on the training points.

    Returns
    -------
    DataSet
        Training and test points.

    Raises
    ------
    DownloadError
        If the set is not on this machine and cannot be downloaded.
    DataFileError
        If what is on this machine is not what it should be.
    InvalidInputError
        If no set has this name, or the points cannot be split or scaled.

    Examples
    --------
    >>> from convexrml.study.data import load_dataset
    >>> load_dataset("wine").X_train.shape
    (124, 13)
    """
    found = read_named(name, data_dir)
    return _prepared(name, found.points, None, _origin(found), test_size, seed, scale)


def training_part(train: Path | str, *, data_dir: Path | None = None, label_column: str | None = None) -> Points:
    """Points and labels of a file, or of the training part of a data set by name, as `load_data` reads them."""
    if _is_set(train):
        return read_named(str(train), data_dir).points[0]
    _require_known(train)
    return read_points([Path(train)], label_column=label_column)[0]


def _is_set(given: Path | str) -> bool:
    """Whether a data set by name is meant: a file of that name comes first."""
    return is_name(str(given)) and not Path(given).exists()


def _require_known(given: Path | str) -> None:
    """Refuse a bare word that is neither a file nor a name, and say which names there are."""
    if Path(given).name == str(given) and not Path(given).suffix and not Path(given).exists():
        raise DataFileError(f"{given}: no such file, and no data set of this name{near(str(given))}")


def _origin(found: Named) -> dict[str, Any]:
    return {"train": found.source} | ({"files": found.files} if found.files else {})


def _prepared(
    title: str, points: list[Points], test: Path | None, origin: dict[str, Any], test_size: float, seed: int, scale: str
) -> DataSet:
    """Points split, where they are not yet, and scaled."""
    from sklearn.preprocessing import MinMaxScaler

    if scale not in SCALES:
        raise InvalidInputError(f"scale: choose from {', '.join(SCALES)}; found {scale!r}")
    told = origin | {"scale": scale}
    if len(points) == 1:
        points = _split(points[0], test_size, seed)
        told |= {"test": "held out", "test_size": test_size, "seed": seed}
    else:
        told["test"] = "as published" if test is None else str(test)
    (X_train, y_train), (X_test, y_test) = points
    if X_test.shape[1] != X_train.shape[1]:
        raise DataFileError(f"{test}: has {X_test.shape[1]} features; {title} has {X_train.shape[1]}")
    _require_known_labels(y_train, y_test, title if test is None else test)
    if scale == "minmax":
        scaler = MinMaxScaler().fit(X_train)
        X_train, X_test = scaler.transform(X_train), scaler.transform(X_test)
    return DataSet(title, X_train, y_train, X_test, y_test, told)


def _split(points: Points, test_size: float, seed: int) -> list[Points]:
    from sklearn.model_selection import train_test_split

    X, y = points
    try:
        X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=test_size, random_state=seed, stratify=y)
    except ValueError as error:
        raise InvalidInputError(
            f"test_size: {len(X)} points cannot be split at {test_size:g} ({error}); give more points, "
            "another share, or test points of their own"
        ) from error
    return [(X_train, y_train), (X_test, y_test)]


def _require_known_labels(y_train: NDArray[Any], y_test: NDArray[Any], test: Path | str) -> None:
    unknown = ~np.isin(y_test, y_train)
    if (y_train.dtype.kind in "US") != (y_test.dtype.kind in "US"):
        unknown[:] = True
    if unknown.any():
        at = int(np.argmax(unknown))
        known = np.unique(y_train).tolist()
        shown = ", ".join(map(repr, known[:10])) + ", ..." * (len(known) > 10)
        raise DataFileError(
            f"{test}: label {y_test[at].item()!r} (point {at + 1}) does not occur among the training points "
            f"(their labels: {shown}); "
            f"{int(unknown.sum())} of {len(y_test)} labels are unknown"
        )
