"""Instances on which the judge found a violation: one file each, complete enough to be judged again anywhere."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convexrml.attack_settings import ToolAttack
from convexrml.errors import ConvexrmlError, DataFileError
from convexrml.judge import Roads, crosscheck
from convexrml.metric import MahalanobisMetric
from convexrml.neighbors import NearestNeighbors
from convexrml.norms import Box
from convexrml.study.data import DataSet
from convexrml.verdicts import CrossCheckReport

MOST_INSTANCES = 20


@dataclasses.dataclass(frozen=True, eq=False)
class Instance:
    """One query at which one road contradicted another.

    Attributes
    ----------
    X, y : arrays
        The training set.
    metric : MahalanobisMetric
    n_neighbors : int
    query : (d,) array
    label : scalar
        The query's true label.
    norm : {"1", "2", "inf"}
    box : Box or None
    vote : {"plurality", "majority"}
    below, above : str
        The two roads.
    lower, upper : float
        What `below` claimed as a lower bound, and what `above` claimed as an upper bound.
    solvers : tuple of str
        Exact roads that were compared.
    attack_tools : tuple of ToolAttack
        Attacks of tools that were, too.
    versions : dict
        With which it was seen.
    """

    X: NDArray[np.float64]
    y: NDArray[Any]
    metric: MahalanobisMetric
    n_neighbors: int
    query: NDArray[np.float64]
    label: Any
    norm: str
    box: Box | None
    vote: str
    below: str
    above: str
    lower: float
    upper: float
    solvers: tuple[str, ...]
    versions: dict[str, str | None]
    attack_tools: tuple[ToolAttack, ...] = ()

    def judge(
        self, roads: Roads | None = None, *, time_limit: float | None = None, node_limit: int | None = None
    ) -> CrossCheckReport:
        """Let the judge look at this instance alone, with the roads as they are now."""
        model = NearestNeighbors(self.n_neighbors, self.metric).fit(self.X, self.y)
        return crosscheck(
            model, self.query[None], [self.label], norms=(self.norm,), boxes=(self.box,), vote=self.vote,
            solvers=self.solvers, time_limit=time_limit, node_limit=node_limit, attack_tools=self.attack_tools,
            roads=roads,
        )  # fmt: skip

    def save(self, path: Path) -> None:
        """Write the instance as an ``.npz`` that needs no pickle."""
        arrays: dict[str, Any] = {"X": self.X, "y": self.y, "query": self.query, "label": np.asarray(self.label)}
        if self.metric.matrix is not None:
            arrays["M"] = self.metric.matrix
        elif self.metric.components is not None:
            arrays["L"] = self.metric.components
        if self.box is not None:
            arrays |= {"box_lower": self.box.lower, "box_upper": self.box.upper}
        arrays["values"] = np.array([self.lower, self.upper])
        arrays["roads"] = np.array([self.below, self.above])
        arrays["solvers"] = np.array(self.solvers, dtype=np.str_)
        arrays["norm"], arrays["n_neighbors"] = np.array(self.norm), np.array(self.n_neighbors)
        arrays["vote"] = np.array(self.vote)
        arrays["versions"] = np.array(json.dumps(self.versions))
        arrays["attack_tools"] = np.array(json.dumps([one.terms for one in self.attack_tools]))
        np.savez_compressed(path, **arrays)


def load_instance(path: Path) -> Instance:
    """Read an instance that `Instance.save` wrote.

    Raises
    ------
    DataFileError
        If the file is missing or no such instance.
    """
    if not zipfile.is_zipfile(path):
        what = "is no .npz file that crosscheck has saved" if path.exists() else "no such file"
        raise DataFileError(f"{path}: {what}")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
        X = arrays["X"]
        metric = MahalanobisMetric.euclidean(X.shape[1])
        if "M" in arrays:
            metric = MahalanobisMetric.from_matrix(arrays["M"])
        elif "L" in arrays:
            metric = MahalanobisMetric.from_components(arrays["L"])
        return Instance(
            X=X,
            y=arrays["y"],
            metric=metric,
            n_neighbors=int(arrays["n_neighbors"]),
            query=arrays["query"],
            label=arrays["label"].item(),
            norm=str(arrays["norm"]),
            box=Box(arrays["box_lower"], arrays["box_upper"]) if "box_lower" in arrays else None,
            vote=str(arrays.get("vote", "plurality")),  # version 0.1 knew no other
            below=str(arrays["roads"][0]),
            above=str(arrays["roads"][1]),
            lower=float(arrays["values"][0]),
            upper=float(arrays["values"][1]),
            solvers=tuple(str(solver) for solver in arrays["solvers"]),
            versions=json.loads(str(arrays["versions"])),
            attack_tools=tuple(ToolAttack(**terms) for terms in json.loads(str(arrays.get("attack_tools", "[]")))),
        )
    except KeyError as error:
        raise DataFileError(f"{path}: is no saved instance: it has no array {error}") from error
    except ConvexrmlError as error:
        raise DataFileError(f"{path}: is no saved instance: {error}") from error
    except Exception as error:  # zipfile, zlib, numpy: each has its own
        raise DataFileError(f"{path}: cannot be read as a saved instance: {error}") from error


def violating_instances(
    report: CrossCheckReport,
    model: NearestNeighbors,
    data: DataSet,
    points: Sequence[int],
    versions: dict[str, str | None],
) -> dict[str, Instance]:
    """Gather the instance behind each violation, worst first, by a file name.

    One for each point, norm and box: the worst of the comparisons that were violated there.

    Parameters
    ----------
    report : CrossCheckReport
    model : NearestNeighbors
    data : DataSet
        Whose test points were judged.
    points : sequence of int
        Index into the test points for each query of the report.
    versions : dict
        To be kept with each instance.
    """
    found: dict[str, Instance] = {}
    for violation in report.violations:
        point = points[violation.query]
        name = f"point{point}-norm{violation.norm.name}-box{violation.box}.npz"
        if name not in found:
            found[name] = Instance(
                X=model.training_points_,
                y=model.classes_[model.labels_],
                metric=model.metric_,
                n_neighbors=model.n_neighbors,
                query=data.X_test[point],
                label=data.y_test[point].item(),
                norm=violation.norm.name,
                box=report.boxes[violation.box],
                vote=report.vote.value,
                below=violation.below,
                above=violation.above,
                lower=violation.lower,
                upper=violation.upper,
                solvers=report.solvers_at(violation.norm, violation.box),
                versions=versions,
                attack_tools=report.attack_tools,
            )
    return found


def save_violations(instances: dict[str, Instance], folder: Path, *, most: int | None = MOST_INSTANCES) -> list[Path]:
    """Write instances into a folder, the first `most` of them (each holds the training set; None: all).

    Returns
    -------
    list of Path
        The files written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in instances][:most]
    for path in paths:
        instances[path.name].save(path)
    return paths
