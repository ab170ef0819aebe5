"""Let the judge loose on a data set."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from convexrml import profiles
from convexrml.judge import SEARCH, crosscheck
from convexrml.metric import MahalanobisMetric
from convexrml.neighbors import NearestNeighbors
from convexrml.norms import as_box
from convexrml.study.certify import Clock, Progress
from convexrml.study.data import DataSet
from convexrml.verdicts import CrossCheckReport


@dataclasses.dataclass(frozen=True, eq=False)
class Check:
    """A run of the judge on a data set.

    Attributes
    ----------
    data : DataSet
        As it was handed to the classifier.
    model : NearestNeighbors
    clipped : int
        Test points that were moved into the box.
    judge : CrossCheckReport
    """

    data: DataSet
    model: NearestNeighbors
    clipped: int
    judge: CrossCheckReport


def check(
    data: DataSet,
    *,
    n_neighbors: int = 1,
    metric: MahalanobisMetric | None = None,
    norms: Sequence[str] = ("1", "2", "inf"),
    box: tuple[float, float] | None = None,
    clip: bool = False,
    solvers: Sequence[str] = (SEARCH, "clarabel", "daqp"),
    progress: Progress | None = None,
) -> Check:
    """Let the judge compare all roads on every test point: without a box, and with it where one is given.

    Parameters
    ----------
    data : DataSet
    n_neighbors, metric, box, clip, progress
        As in `certify`.
    norms : sequence of {"1", "2", "inf"}
    solvers : sequence of str
        ``"search"`` and the names of profiles.

    Returns
    -------
    Check
    """
    for solver in solvers:
        if solver != SEARCH:
            profiles.require_installed(profiles.get_profile(solver))
    model = NearestNeighbors(n_neighbors, metric).fit(data.X_train, data.y_train)
    sides = as_box(box, model.n_features_in_)
    data, clipped = data.inside(sides, clip=clip)
    boxes = (None,) if sides is None else (None, sides)
    total = len(data.X_test) * len(norms) * len(boxes) * len(solvers)
    with Clock(progress).stage("cross-check", total) as tick:
        judge = crosscheck(model, data.X_test, data.y_test, norms=norms, boxes=boxes, solvers=solvers, progress=tick)
    return Check(data, model, clipped, judge)
