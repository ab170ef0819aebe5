"""Exact radii: one function, several roads to the same answer."""

from __future__ import annotations

from collections.abc import Callable

from numpy.typing import ArrayLike

from convexrml.errors import InvalidInputError, UnsupportedError
from convexrml.neighbors import NearestNeighbors
from convexrml.norms import Box, Norm, as_box, as_norm, require_inside
from convexrml.results import ExactRadii

METHODS = ("program",)


def exact_radius(
    model: NearestNeighbors,
    Z: ArrayLike,
    y: ArrayLike,
    *,
    norm: float | str | Norm = 2,
    box: tuple[ArrayLike, ArrayLike] | Box | None = None,
    method: str = "program",
    solver: str = "clarabel",
    accuracy: str = "accurate",
    progress: Callable[[int], object] | None = None,
) -> ExactRadii:
    """Exact radius of the 1-nearest-neighbour classifier at each query: the minimal adversarial perturbation.

    ``min over negatives j of  min ‖δ‖_p  s.t.  score_j(z + δ) ≤ score_i(z + δ)  for all positives i``; a distance tie
    counts as adversarial, a misclassified query has radius 0.

    **Guarantee**: an interval proved from both sides, ``lower ≤ radius ≤ upper``.  `lower` comes from multipliers by
    weak duality, evaluated here with rounding subtracted; negatives that were not visited count with their triplet
    bound.  `upper` comes from a perturbed point that the classifier itself mislabels.  Neither is a solver's word; a
    solver that stops early or errs leaves a wider interval, with status INTERVAL.

    Parameters
    ----------
    model : NearestNeighbors
        Fitted, with one neighbour.
    Z : (n, d) array
        Queries.
    y : (n,) array
        Their true labels.
    norm : {1, 2, inf}, default 2
        Norm in which perturbations are measured.
    box : pair (lower, upper) of numbers or (d,) arrays, optional
        Perturbed points have to stay inside; it has to contain every query.
    method : {"program"}, default "program"
        The road: ``"program"`` solves `formulations.MinimalPerturbation` for each negative that can matter.
    solver : str, default "clarabel"
        Profile name (``convexrml solvers`` lists them).  Never replaced by another.
    accuracy : str, default "accurate"
        Accuracy of the profile; it sets the relative width up to which an interval counts as exact.
    progress : callable, optional
        Called with the number of queries finished since the last call.

    Returns
    -------
    ExactRadii

    Raises
    ------
    InvalidInputError
        If an argument does not fit the training set or the box leaves a query out.
    UnsupportedError
        If the classifier has more than one neighbour.
    SolverError
        If the solver is unknown, missing, without licence or cannot solve this class of programs.

    Examples
    --------
    >>> import convexrml
    >>> model = convexrml.NearestNeighbors().fit([[0.0], [4.0]], ["left", "right"])
    >>> convexrml.exact_radius(model, [[1.0]], ["left"]).radius.round(6).tolist()
    [1.0]
    """
    p = as_norm(norm)
    points = model.require_queries(Z)
    labels = model.encode(y, len(points))
    limits = as_box(box, model.n_features_in_)
    require_inside(limits, points)
    if method not in METHODS:
        raise InvalidInputError(f"method: unknown road {method!r}; choose from {', '.join(METHODS)}")
    if model.n_neighbors != 1:
        raise UnsupportedError(
            f"n_neighbors: exact radii are computed for 1 neighbour; this classifier has {model.n_neighbors}. "
            "certified_radius (a lower bound) and attack_radius (an upper bound) take any odd number"
        )
    from convexrml.program import exact_radius_by_program  # cvxpy is loaded only when a program is built

    return exact_radius_by_program(model, points, labels, p, limits, solver, accuracy, progress)
