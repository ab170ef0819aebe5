"""Exact radii: one function, several roads to the same answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from numpy.typing import ArrayLike

from convexrml.errors import InvalidInputError, UnsupportedError
from convexrml.neighbors import NearestNeighbors
from convexrml.norms import Box, Norm, as_box, as_norm, require_inside
from convexrml.results import ExactRadii

METHODS = ("auto", "search", "program")


def exact_radius(
    model: NearestNeighbors,
    Z: ArrayLike,
    y: ArrayLike,
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
    """Exact radius of the 1-nearest-neighbour classifier at each query: the minimal adversarial perturbation.

    ``min over negatives j of  min ‖δ‖_p  s.t.  score_j(z + δ) ≤ score_i(z + δ)  for all positives i``; a distance tie
    counts as adversarial, a misclassified query has radius 0.

    **Guarantee**: an interval proved from both sides, ``lower ≤ radius ≤ upper``.  `lower` comes from multipliers by
    weak duality, evaluated here with rounding subtracted; negatives that were not visited count with their triplet
    bound.  `upper` comes from a perturbed point that is mislabelled, by the classifier's own scores and in exact
    arithmetic.  Neither is a solver's word; a solver that stops early or errs leaves a wider interval, with status
    INTERVAL.

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
    method : {"auto", "search", "program"}, default "auto"
        The road.  ``"search"``: a dual active-set method in numba behind bounds that drop nearly all negatives and
        positives unseen (norm 2), or small linear programs to which half-spaces are added as they are violated (norms
        1 and ∞, HiGHS).  ``"program"``: `formulations.MinimalPerturbation` in cvxpy for each negative that can matter.
        ``"auto"``: ``"program"`` if a solver is named, else ``"search"``.
    solver : str, optional
        For ``"program"``: a profile's name (``convexrml solvers`` lists them; default ``"clarabel"``).  Never replaced
        by another.
    accuracy : str, optional
        For ``"program"``: accuracy of the profile (default ``"accurate"``); it sets the relative width up to which an
        interval counts as exact.  The search's is 1e-9.
    n_jobs : int, optional
        For ``"search"``: how many workers; as in scikit-learn None means 1 unless ``joblib.parallel_config`` says
        otherwise, -1 means all processors.
    progress : callable, optional
        Called with the number of queries finished since the last call.
    certificates : bool, default False
        Make a certificate for each query, which `convexrml.checker` accepts: see ``docs/certificates.md``.

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
    if method == "search" and (solver is not None or accuracy is not None):
        raise InvalidInputError('solver, accuracy: belong to method="program"; the search has neither')
    by_program = method == "program" or (method == "auto" and solver is not None)
    if by_program and n_jobs is not None:
        raise InvalidInputError('n_jobs: belongs to method="search"; programs are solved one after the other')
    if n_jobs == 0:
        raise InvalidInputError("n_jobs: needs a number of workers, or -1 for all processors; found 0")
    if model.n_neighbors != 1:
        raise UnsupportedError(
            f"n_neighbors: exact radii are computed for 1 neighbour; this classifier has {model.n_neighbors}. "
            "certified_radius (a lower bound) and attack_radius (an upper bound) take any odd number"
        )
    if by_program:
        from convexrml.program import exact_radius_by_program  # cvxpy is loaded only when a program is built

        found = exact_radius_by_program(
            model, points, labels, p, limits, solver or "clarabel", accuracy or "accurate", progress
        )
    else:
        from convexrml.search import exact_radius_by_search

        found = exact_radius_by_search(model, points, labels, p, limits, n_jobs, progress)
    if not certificates:
        return found
    from convexrml.evidence import Prover

    return dataclasses.replace(found, certificates=tuple(Prover(model).certificates(points, y, found)))
