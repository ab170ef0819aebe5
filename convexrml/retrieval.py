"""Retrieval: how far a query may be moved before another training point is its nearest."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from convexrml.exact import exact_radius
from convexrml.neighbors import NearestNeighbors, require_model
from convexrml.norms import Box, Norm
from convexrml.results import ExactRadii


def retrieval_radius(
    model: NearestNeighbors,
    Z: ArrayLike,
    *,
    norm: float | str | Norm = 2,
    box: tuple[ArrayLike, ArrayLike] | Box | None = None,
    method: str = "auto",
    solver: str | None = None,
    accuracy: str | None = None,
    n_jobs: int | None = None,
    progress: Callable[[int], object] | None = None,
    certificates: bool = False,
) -> ExactRadii:
    """Exact radius within which the identity of the nearest training point cannot change, at each query.

    The least ``‖δ‖_p`` for which some other training point j is at least as near to ``z + δ`` as the point i that is
    nearest to z.  Labels and the number of neighbours do not matter: it is the exact radius of 1-NN with every
    training point a class of its own, and is computed as that, on the same roads.  With one positive i nothing is left
    of the programs but a half-space for each j (in a box: and the box), so without a box the radius has the closed form

        ``min over j ≠ i of  (score_j(z) − score_i(z)) / (2 ‖u_i − u_j‖_q)``,

    and the certified radius equals it up to rounding.

    **Guarantee**: as of `exact_radius`, ``lower ≤ radius ≤ upper``, and at ``z + perturbation`` the training point
    `negative` is at least as near as i, by the classifier's scores and in exact arithmetic.  Ties count against i:
    where z is as near to another training point, a duplicate of i for one, the radius is 0 (status MISCLASSIFIED).  A
    single training point has infinite radii (UNREACHABLE).

    Parameters
    ----------
    model : NearestNeighbors
        Fitted.
    Z : (n, d) array
        Queries; their nearest training points are those of `NearestNeighbors.kneighbors`, the first of equals.
    norm : {1, 2, inf}, default 2
        Norm in which perturbations are measured.
    box : pair (lower, upper) of numbers or (d,) arrays, optional
        Perturbed points have to stay inside; it has to contain every query.
    method : {"auto", "search", "program"}, default "auto"
        The road, as in `exact_radius`.
    solver, accuracy : str, optional
        For ``"program"``: a profile's name, and an accuracy of it, as in `exact_radius`.
    n_jobs : int, optional
        For ``"search"``: how many workers, as in `exact_radius`.
    progress : callable, optional
        Called with the number of queries finished since the last call.
    certificates : bool, default False
        Make a certificate for each query.  It is about ``convexrml.retrieval.identities(model)``, whose labels are
        indices of training points.

    Returns
    -------
    ExactRadii
        `lower`, `upper` and `radius` (n,), in the units of the input features; `perturbation` (n, d); `negative` (n,),
        the training point that is then as near.

    Raises
    ------
    InvalidInputError
        If an argument does not fit the training set or the method, or the box leaves a query out.
    NotFittedError
        If the model is not fitted.
    SolverError
        If the solver is unknown, missing, without licence or cannot solve this class of programs.
    SearchInterrupted
        On Ctrl-C during the search: a KeyboardInterrupt whose `radii` hold what was finished.

    Examples
    --------
    >>> import convexrml
    >>> model = convexrml.NearestNeighbors().fit([[0.0], [4.0], [5.0]], ["a", "b", "b"])
    >>> convexrml.retrieval_radius(model, [[1.0], [4.1]]).radius.round(6).tolist()
    [1.0, 0.4]
    """
    twin = identities(require_model(model))
    nearest = twin.kneighbors(Z)[:, 0]
    return exact_radius(
        twin, Z, nearest, norm=norm, box=box, method=method, solver=solver, accuracy=accuracy, n_jobs=n_jobs,
        progress=progress, certificates=certificates,
    )  # fmt: skip


def identities(model: NearestNeighbors) -> NearestNeighbors:
    """The 1-NN classifier over a fitted model's training points in which each is a class of its own, its index."""
    X = model.exact.X
    return NearestNeighbors(1, model.metric_).fit(X, np.arange(len(X)))
