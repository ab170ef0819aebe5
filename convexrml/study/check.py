"""Let the judge loose on a data set."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from convexrml import profiles
from convexrml.attack_settings import ToolAttack
from convexrml.errors import CrossCheckInterrupted
from convexrml.judge import SEARCH, crosscheck, default_solvers
from convexrml.metric import MahalanobisMetric
from convexrml.neighbors import NearestNeighbors
from convexrml.norms import as_box, as_norm
from convexrml.study.clock import Clock, Progress
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
    interrupted : bool
        Whether Ctrl-C ended it early.
    """

    data: DataSet
    model: NearestNeighbors
    clipped: int
    judge: CrossCheckReport
    interrupted: bool = False


def check(
    data: DataSet,
    *,
    n_neighbors: int = 1,
    metric: MahalanobisMetric | None = None,
    norms: Sequence[str] = ("1", "2", "inf"),
    box: tuple[float, float] | None = None,
    clip: bool = False,
    vote: str = "plurality",
    solvers: Sequence[str] | None = None,
    time_limit: float | None = None,
    node_limit: int | None = None,
    attack_tools: Sequence[str | ToolAttack] = (),
    progress: Progress | None = None,
) -> Check:
    """Let the judge compare all roads on every test point: without a box, and with it where one is given.

    Parameters
    ----------
    data : DataSet
    n_neighbors, metric, box, clip, progress
        As in `certify`.
    norms : sequence of {"1", "2", "inf"}
    vote : {"plurality", "majority"}
    solvers : sequence of str, optional
        ``"search"`` and the names of profiles; default: those of `judge.default_solvers`.
    time_limit, node_limit, attack_tools : optional
        As in `judge.crosscheck`.

    Returns
    -------
    Check
    """
    for solver in solvers or ():
        if solver != SEARCH:
            profiles.require_installed(profiles.get_profile(solver))
    model = NearestNeighbors(n_neighbors, metric).fit(data.X_train, data.y_train)
    sides = as_box(box, model.n_features_in_)
    data, clipped = data.inside(sides, clip=clip)
    boxes = (None,) if sides is None else (None, sides)
    roads = sum(len(solvers or default_solvers(n_neighbors, as_norm(norm))) for norm in norms)
    interrupted = False
    with Clock(progress).stage("cross-check", len(data.X_test) * len(boxes) * roads) as tick:
        try:
            judge = crosscheck(
                model, data.X_test, data.y_test, norms=norms, boxes=boxes, vote=vote, solvers=solvers,
                time_limit=time_limit, node_limit=node_limit, attack_tools=attack_tools, progress=tick,
            )  # fmt: skip
        except CrossCheckInterrupted as stop:
            judge, interrupted = stop.report, True
    return Check(data, model, clipped, judge, interrupted)
