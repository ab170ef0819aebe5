"""Data sets by name: those that come with scikit-learn, LIBSVM's by download, OpenML's by name or number."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import os
import warnings
from pathlib import Path
from typing import Any

from convexrml.errors import DataFileError, DownloadError, InvalidInputError
from convexrml.study.files import Points, read_points
from convexrml.validation import feature_matrix, label_vector

FOLDER_VARIABLE = "CONVEXRML_DATA"
OPENML = "openml:"
SHIPPED = ("breast_cancer", "digits", "iris", "wine")

_LIBSVM = "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets"
_SUFFIXES = ("", ".bz2", ".gz")
_SECONDS = 60


@dataclasses.dataclass(frozen=True)
class Published:
    """A data set of LIBSVM's collection, in two parts.

    Attributes
    ----------
    folder : str
        Of the collection.
    files : pair of str
        Training and test part.
    checksums : pair of str or None
        As pooch writes them (``md5:...``).  LIBSVM publishes none; None is a file of which no sum was found published
        elsewhere either.
    """

    folder: str
    files: tuple[str, str]
    checksums: tuple[str | None, str | None] = (None, None)


PUBLISHED = {
    "dna": Published("multiclass", ("dna.scale", "dna.scale.t")),
    "letter": Published("multiclass", ("letter.scale", "letter.scale.t")),
    "mnist": Published("multiclass", ("mnist.bz2", "mnist.t.bz2")),
    "pendigits": Published("multiclass", ("pendigits", "pendigits.t")),
    "satimage": Published("multiclass", ("satimage.scale", "satimage.scale.t")),
    "splice": Published("binary", ("splice", "splice.t")),
    "usps": Published(
        "multiclass",
        ("usps.bz2", "usps.t.bz2"),
        ("md5:ec16c51db3855ca6c91edd34d0e9b197", "md5:8ea070ee2aca1ac39742fdd1ef5ed118"),  # as torchvision has them
    ),
}
NAMES = (*SHIPPED, *PUBLISHED)


@dataclasses.dataclass(frozen=True, eq=False)
class Named:
    """A data set found by its name.

    Attributes
    ----------
    points : list of (X, y)
        One part, or the training and the test part.
    source : str
        Where it comes from.
    files : dict
        SHA-256 of each file read, by its name.
    """

    points: list[Points]
    source: str
    files: dict[str, str]


def is_name(text: str) -> bool:
    """Whether this is a name of the catalogue, or ``openml:`` and something."""
    return text in NAMES or (text.startswith(OPENML) and len(text) > len(OPENML))


def read_named(name: str, data_dir: Path | None = None) -> Named:
    """Read a data set by its name.

    Parameters
    ----------
    name : str
        ``breast_cancer``, ``digits``, ``iris``, ``wine`` come with scikit-learn.  ``dna``, ``letter``, ``mnist``,
        ``pendigits``, ``satimage``, ``splice``, ``usps`` are LIBSVM's, as published there (some of them scaled).
        ``openml:554``, ``openml:mnist_784`` and ``openml:mnist_784@1`` (its version 1) are OpenML's.
    data_dir : Path, optional
        Folder in which files are looked for, and into which what is missing is downloaded; if not given, the
        environment variable ``CONVEXRML_DATA``, then ``convexrml`` in the user's cache folder.  Without network, put
        both parts there, under their published names or as ``NAME`` and ``NAME.t``, packed (``.bz2``, ``.gz``) or not.

    Returns
    -------
    Named
        A download is checked against a checksum where one is known; for the others pooch tells the SHA-256 of what
        came.  Files that were there are read as they are.  Either way `Named.files` has the SHA-256 of what was read.

    Raises
    ------
    InvalidInputError
        If there is no such name.
    DownloadError
        If a file is missing and cannot be downloaded.
    DataFileError
        If a file is not what it should be, or an OpenML set has features that are no numbers.
    """
    if name in SHIPPED:
        return Named([_shipped(name)], f"{name} (scikit-learn)", {})
    if not is_name(name):
        raise InvalidInputError(f"data: no data set is named {name!r}{near(name)}")
    folder = data_folder(data_dir)
    if name.startswith(OPENML):
        return Named([_openml(name, folder)], f"{name} (OpenML)", {})
    paths = _files(name, folder)
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    return Named(read_points(paths), f"{name} (LIBSVM)", sums)


def data_folder(data_dir: Path | None) -> Path:
    """The folder of data sets: the argument, the environment variable, or the user's cache folder."""
    if data_dir is not None:
        return data_dir
    told = os.environ.get(FOLDER_VARIABLE)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(told) if told else cache / "convexrml"


def _shipped(name: str) -> Points:
    from sklearn import datasets

    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return X, y


def _files(name: str, folder: Path) -> list[Path]:
    """Both parts from one hand: the published files, or a pair that somebody put there; else what is missing comes."""
    published = PUBLISHED[name]
    pairs = [published.files, *((f"{name}{suffix}", f"{name}.t{suffix}") for suffix in _SUFFIXES)]
    for pair in pairs:
        if all((folder / file).is_file() for file in pair):
            return [folder / file for file in pair]
    offline = (
        f"without network, put {published.files[0]} and {published.files[1]} into a folder, and name the folder: "
        f"data_dir=, --data-dir, or the environment variable {FOLDER_VARIABLE} (looked in {folder})"
    )
    for file, checksum in zip(published.files, published.checksums, strict=True):
        if not (folder / file).is_file():
            _download(f"{_LIBSVM}/{published.folder}/{file}", checksum, folder / file, offline)
    return [folder / file for file in published.files]


def _download(url: str, checksum: str | None, path: Path, offline: str) -> None:
    try:
        import pooch
    except ImportError as error:
        raise DownloadError(
            f"data: {path} is missing, and downloads need pooch: pip install 'convexrml[data]'; {offline}"
        ) from error
    try:
        downloader = pooch.HTTPDownloader(timeout=_SECONDS)
        pooch.retrieve(url, checksum, fname=path.name, path=path.parent, downloader=downloader)
    except (OSError, ValueError) as error:  # requests' errors are OSErrors; pooch raises ValueError for a wrong sum
        raise DownloadError(f"data: {url} cannot be downloaded ({_first_line(error)}); {offline}") from error


def _openml(name: str, folder: Path) -> Points:
    """An OpenML data set as its numbers are; scikit-learn keeps it in the folder and checks OpenML's checksum."""
    from sklearn.datasets import fetch_openml

    title, at, version = name[len(OPENML) :].rpartition("@")
    if not at or not version.isdecimal():
        title, version = name[len(OPENML) :], "active"
    wanted: dict[str, Any] = {"name": title, "version": int(version) if version.isdecimal() else version}
    if title.isdecimal() and version == "active":
        wanted = {"data_id": int(title)}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "A network error occurred")  # said once, below
            bunch = fetch_openml(**wanted, data_home=folder, as_frame=False, parser="liac-arff", n_retries=1)
    except OSError as error:
        raise DownloadError(
            f"data: {name} cannot be downloaded ({_first_line(error)}); without network, name a folder in which "
            f"scikit-learn has kept it: data_dir=, --data-dir, or {FOLDER_VARIABLE} (looked in {folder})"
        ) from error
    except ValueError as error:  # no such set, a wrong checksum, an unreadable file
        raise DataFileError(f"{name}: {_first_line(error)}") from error
    coded = [feature for feature in bunch.feature_names if feature in (bunch.categories or {})]
    if coded:
        raise DataFileError(
            f"{name}: {len(coded)} of {len(bunch.feature_names)} features are categories, not numbers "
            f"({', '.join(coded[:5])}{', ...' * (len(coded) > 5)}), between which no distance is defined; encode them "
            "as you see fit and hand over a file"
        )
    if bunch.target is None:
        raise DataFileError(f"{name}: has no labels (OpenML names no default target)")
    try:
        X = feature_matrix("X", bunch.data)
        return X, label_vector("y", bunch.target, len(X))
    except InvalidInputError as error:
        raise DataFileError(f"{name}: {error}") from error


def _first_line(error: Exception) -> str:
    cause = getattr(error.args[0], "reason", error) if error.args else error  # what requests and urllib wrap
    return str(cause).strip().split("\n")[0] or type(error).__name__


def near(name: str) -> str:
    """The rest of a message about a name that is not known: the nearest one, and all."""
    closest = difflib.get_close_matches(name.lower(), NAMES, n=1)
    return (f"; did you mean {closest[0]!r}?" if closest else "") + f" (there are: {', '.join(NAMES)}, {OPENML}NAME)"
