"""Certificates on disk: written for what was certified, and checked against a file of training points."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from convexrml import checker
from convexrml.errors import DataFileError, InvalidInputError
from convexrml.evidence import Prover
from convexrml.metric import MahalanobisMetric, as_metric
from convexrml.study.certify import Certification
from convexrml.study.clock import Clock, Progress
from convexrml.study.data import SCALES, load_data, training_part
from convexrml.study.files import read_metric

SUFFIX = ".cert"
_SHOWN = 10
_HELD_OUT = ("test_size", "seed")


@dataclasses.dataclass(frozen=True)
class Checked:
    """What the checker says of one file: `reason` is empty if it is accepted; `exact` counts what integers decided."""

    path: Path
    reason: str
    claim: Mapping[str, Any]
    exact: int = 0

    @property
    def accepted(self) -> bool:
        """Whether the checker accepts the certificate."""
        return not self.reason

    def __str__(self) -> str:
        """The verdict, with the reason or the claim."""
        if not self.accepted:
            return f"REJECTED: {self.reason}"
        lower, upper = self.claim["lower"], self.claim["upper"]
        return f"accepted: {lower!r} <= radius" + ("" if upper is None else f" <= {upper!r}")


def write_certificates(result: Certification, folder: Path, progress: Progress | None = None) -> list[Path]:
    """Write a certificate for every exact radius of a certification; without an exact road, for every certified one.

    A certificate names the preprocessing, so that `check_certificates` can read the training points from their file.

    Returns
    -------
    list of Path
        The files written, ``point17.cert`` for test point 17; earlier ones are overwritten.
    """
    folder.mkdir(parents=True, exist_ok=True)
    radii, points = (result.certified, np.arange(len(result.data.X_test)))
    if result.exact is not None:
        radii, points = result.exact, result.exact_at  # type: ignore[assignment]
    origin = result.data.origin
    preprocessing: dict[str, Any] = {"scale": origin["scale"], "n_features": result.model.n_features_in_}
    preprocessing |= {key: origin[key] for key in (*_HELD_OUT, "label_column") if key in origin}
    about = [{"preprocessing": preprocessing, "test_point": int(point)} for point in points]
    with Clock(progress).stage("certificates", len(points)) as tick:
        made = Prover(result.model).certificates(
            result.data.X_test[points], result.data.y_test[points], radii, about=about, progress=tick
        )
    paths = []
    for point, certificate in zip(points, made, strict=True):
        paths.append(folder / f"point{point}{SUFFIX}")
        paths[-1].write_bytes(certificate.to_bytes())
    return paths


def check_certificates(
    paths: Sequence[Path],
    data: Path | None,
    metric: Path | None = None,
    *,
    data_dir: Path | None = None,
    use_filter: bool = True,
) -> Iterator[Checked]:
    """Check certificates against the training points in a file, read as the certificate says that they were.

    Parameters
    ----------
    paths : sequence of Path
        Files, or folders of which every ``.cert`` file is checked.
    data : Path or None
        The training points: a file, or the name of a data set; None for the digits that come with scikit-learn.
    metric : Path, optional
    data_dir : Path, optional
        Folder of the data sets by name.
    use_filter : bool, default True
        Settle the easy comparisons in floating point.

    Raises
    ------
    DataFileError, InvalidInputError
        If a file cannot be read, or a folder holds no certificate.
    """
    given = None if metric is None else read_metric(metric)
    known: dict[str, checker.TrainingSet] = {}
    limit = len(checker.MAGIC) + checker.HEADER_LIMIT + checker.SECTIONS_LIMIT
    for path in _files(paths):
        with open(path, "rb") as file:
            content = file.read(limit + 1)
        claim: Mapping[str, Any] = {}
        try:
            checker.require(len(content) <= limit, f"malformed: larger than {limit} bytes")
            header, _ = checker.parse(content)
            claim, about = header["claim"], header["about"]
            preprocessing = _preprocessing(about.get("preprocessing") if isinstance(about, dict) else None)
            key = repr(sorted(preprocessing.items()))
            if key not in known:
                known = {key: _training_set(preprocessing, data, data_dir, given)}
            yield Checked(path, "", claim, checker.check(content, known[key], use_filter=use_filter).exact)
        except checker.Rejected as reason:
            yield Checked(path, str(reason), claim)


def report(results: Iterable[Checked], tell: Callable[[str], object] | None) -> int:
    """Tell of every certificate that is rejected, of the others while they are few, and how many there are of each.

    Returns
    -------
    int
        How many are rejected.
    """
    count = rejected = 0
    for checked in results:
        count, rejected = count + 1, rejected + (not checked.accepted)
        if tell is not None and (not checked.accepted or count <= _SHOWN):
            tell(f"{checked.path}: {checked}")
    if tell is not None:
        tell(f"{count - rejected} accepted, {rejected} rejected")
    return rejected


def _files(paths: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
        if not inside:
            raise InvalidInputError(f"{path}: the folder holds no {SUFFIX} file")
        found += inside
    return found


def _preprocessing(told: object) -> dict[str, Any]:
    """What a certificate tells of the preprocessing, if it makes sense; nothing told means none."""
    told = {"scale": "none"} if told is None else told
    kinds = {"scale": str, "n_features": int, "test_size": float, "seed": int, "label_column": str}
    checker.require(isinstance(told, dict), "malformed: preprocessing")
    assert isinstance(told, dict)
    fits = all(key in kinds and type(value) is kinds[key] for key, value in told.items())
    fits = fits and told.get("scale") in SCALES and 0 <= told.get("seed", 0) < 2**32
    fits = fits and 0 < told.get("test_size", 0.5) < 1 and ("test_size" in told) == ("seed" in told)
    checker.require(fits and 0 < told.get("n_features", 1) < 2**24, "malformed: preprocessing")
    return told


def _training_set(
    preprocessing: Mapping[str, Any], data: Path | None, data_dir: Path | None, metric: MahalanobisMetric | None
) -> checker.TrainingSet:
    from sklearn.preprocessing import MinMaxScaler

    options = {key: preprocessing[key] for key in (*_HELD_OUT, "label_column", "scale") if key in preprocessing}
    if "seed" in preprocessing:
        found = load_data(data, data_dir=data_dir, **options)
        X, y = found.X_train, found.y_train
    elif data is None:
        raise InvalidInputError(
            "data: a certificate is not about the built-in digits; name the file of its training points"
        )
    else:
        X, y = training_part(data, data_dir=data_dir, label_column=preprocessing.get("label_column"))
        missing = preprocessing.get("n_features", X.shape[1]) - X.shape[1]
        X = np.pad(X, ((0, 0), (0, max(0, missing))))  # svmlight files leave out trailing zeros
        X = MinMaxScaler().fit_transform(X) if preprocessing["scale"] == "minmax" else X
    given = as_metric(metric, X.shape[1]).as_given
    try:
        return checker.TrainingSet(X, y, *given)
    except ValueError as error:
        raise DataFileError(f"{data or 'digits'}: {error}") from error
