"""Exact radii: one function, several roads to the same answer."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

from numpy.typing import ArrayLike

from convexrml.errors import InvalidInputError, UnsupportedError
from convexrml.neighbors import NearestNeighbors, require_model
from convexrml.norms import Box, Norm, as_box, as_norm, require_inside
from convexrml.results import ExactRadii
from convexrml.validation import number_from, positive_number, require_workers, whole_number
from convexrml.votes import Vote, as_vote

METHODS = ("auto", "search", "program")
DEFAULT_MEMORY = 2**30


def exact_radius(
    model: NearestNeighbors,
    Z: ArrayLike,
    y: ArrayLike,
    *,
    norm: float | str | Norm = 2,
    box: tuple[ArrayLike, ArrayLike] | Box | None = None,
    vote: str | Vote = Vote.PLURALITY,
    method: str = "auto",
    solver: str | None = None,
    accuracy: str | None = None,
    time_limit: float | None = None,
    node_limit: int | None = None,
    max_memory: float | None = None,
    n_jobs: int | None = None,
    progress: Callable[[int], object] | None = None,
    certificates: bool = False,
) -> ExactRadii:
    """Exact radius of the k-nearest-neighbour classifier at each query: the minimal adversarial perturbation.

    The least ``‖δ‖_p`` for which the label of the query loses the vote at ``z + δ``, ties counting against it
    (`convexrml.Vote`); a misclassified query has radius 0.  For k = 1 it is

    ``min over negatives j of  min ‖δ‖_p  s.t.  score_j(z + δ) ≤ score_i(z + δ)  for all positives i``.

    For more neighbours a majority is lost where s = (k + 1)/2 negatives are each no farther than all but s − 1 of the
    positives: a minimum over which negatives and which positives, found by branch and bound.

    **Guarantee**: an interval proved from both sides, ``lower ≤ radius ≤ upper``.  `lower` comes from multipliers by
    weak duality, evaluated here with rounding subtracted; what was not visited counts with a bound.  `upper` comes from
    a perturbed point that is mislabelled, by the classifier's own scores and in exact arithmetic.  Neither is a
    solver's word (but for a mixed-integer program's lower bound, status CLAIMED); where something stops early or errs
    the interval is wider, and the status says why.

    Parameters
    ----------
    model : NearestNeighbors
        Fitted; any odd number of neighbours.
    Z : (n, d) array
        Queries.
    y : (n,) array
        Their true labels.
    norm : {1, 2, inf}, default 2
        Norm in which perturbations are measured.
    box : pair (lower, upper) of numbers or (d,) arrays, optional
        Perturbed points have to stay inside; it has to contain every query.
    vote : {"plurality", "majority"}, default "plurality"
        The vote that has to be lost: what the classifier says, or the majority that `certified_radius` bounds.  They
        are one for k ≤ 3 and for two classes.
    method : {"auto", "search", "program"}, default "auto"
        The road.  ``"search"``: for k = 1 a dual active-set method in numba behind bounds that drop nearly all
        negatives and positives unseen (norm 2), or small linear programs to which half-spaces are added as they are
        violated (norms 1 and ∞, HiGHS); for more neighbours best-first branch and bound (norm 2).  ``"program"``:
        `formulations.MinimalPerturbation` in cvxpy for each negative that can matter, or one mixed-integer
        `formulations.KNearestPerturbation`.  ``"auto"``: ``"program"`` if a solver is named, else ``"search"``.
    solver : str, optional
        For ``"program"``: a profile's name (``convexrml solvers`` lists them; default ``"clarabel"`` for k = 1, else
        ``"scip"`` for norm 2 and ``"highs"`` for norms 1 and ∞).  Never replaced by another.
    accuracy : str, optional
        For ``"program"``: accuracy of the profile (default ``"accurate"``); it sets the relative width up to which an
        interval counts as exact.  The search's is 1e-9.
    time_limit : float, optional
        For more than one neighbour: seconds for each query, after which the interval known by then is returned.
    node_limit : int, optional
        For the branch and bound: how many nodes it evaluates for each query.
    max_memory : float, optional
        For the branch and bound: bytes that the tree of one query may take; default 2³⁰.  (Each worker has one tree.)
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
        `lower`, `upper` and `radius` (n,), in the units of the input features; `perturbation` (n, d), the witness of
        each upper bound; `status` (n,), what is known of each query.

    Raises
    ------
    InvalidInputError
        If an argument does not fit the training set, the box leaves a query out, or an option has no effect on the road
        that is taken.
    NotFittedError
        If the model is not fitted.
    UnsupportedError
        By the search, for more than one neighbour in norm 1 or ∞: name a solver.
    SolverError
        If the solver is unknown, missing, without licence or cannot solve this class of programs.
    SearchInterrupted
        On Ctrl-C during the search: a KeyboardInterrupt whose `radii` hold what was finished.

    Notes
    -----
    For k = 1 the programs are those of L. Wang, X. Liu, J. Yi, Y. Jiang, C.-J. Hsieh, Provably Robust Metric Learning,
    NeurIPS 2020, section 3.  The projection within the search is D. Goldfarb, A. Idnani, A numerically stable dual
    method for solving strictly convex quadratic programs, Mathematical Programming 27 (1983).  The radius of more
    neighbours, its programs and the branch and bound are ours.

    Examples
    --------
    >>> import convexrml
    >>> model = convexrml.NearestNeighbors().fit([[0.0], [4.0]], ["left", "right"])
    >>> convexrml.exact_radius(model, [[1.0]], ["left"]).radius.round(6).tolist()
    [1.0]
    """
    p = as_norm(norm)
    points = require_model(model).require_queries(Z)
    labels = model.encode(y, len(points))
    limits = as_box(box, model.n_features_in_)
    require_inside(limits, points)
    lost = as_vote(vote)
    if method not in METHODS:
        raise InvalidInputError(f"method: unknown road {method!r}; choose from {', '.join(METHODS)}")
    by_program = method == "program" or (method == "auto" and solver is not None)
    several = model.n_neighbors > 1
    _require_effect(
        by_program, several, solver=solver, accuracy=accuracy, n_jobs=n_jobs, time_limit=time_limit,
        node_limit=node_limit, max_memory=max_memory,
    )  # fmt: skip
    accuracy = "accurate" if accuracy is None else accuracy
    if by_program and several:
        from convexrml.integer_program import exact_radius_by_integer_program
        from convexrml.settling import settled_votes

        solver = ("scip" if p.order == 2 else "highs") if solver is None else solver
        found = exact_radius_by_integer_program(
            model, points, labels, p, limits, lost, solver, accuracy, time_limit, progress
        )
        found = settled_votes(found, model, points, labels)
    elif by_program:
        from convexrml.program import exact_radius_by_program  # cvxpy is loaded only when a program is built

        solver = "clarabel" if solver is None else solver
        found = exact_radius_by_program(model, points, labels, p, limits, solver, accuracy, progress)
    else:
        if several and p.order != 2:
            raise UnsupportedError(
                f"norm: the search takes norm 2 for more than one neighbour, found {p.name}; "
                'method="program" solves a mixed-integer program (solver="highs" takes norms 1 and inf)'
            )
        from convexrml.findings import Limits
        from convexrml.search import exact_radius_by_search

        ends = Limits(
            math.inf if time_limit is None else time_limit,
            math.inf if node_limit is None else node_limit,
            DEFAULT_MEMORY if max_memory is None else max_memory,
        )
        found = exact_radius_by_search(model, points, labels, p, limits, lost, ends, n_jobs, progress)
    if not certificates:
        return found
    from convexrml.evidence import Prover

    return dataclasses.replace(found, certificates=tuple(Prover(model).certificates(points, y, found)))


def _require_effect(
    by_program: bool,
    several: bool,
    *,
    solver: object,
    accuracy: object,
    n_jobs: object,
    time_limit: float | None,
    node_limit: float | None,
    max_memory: float | None,
) -> None:
    """Refuse options that would have no effect on the road that is taken, and limits that are none."""
    if by_program and n_jobs is not None:
        raise InvalidInputError('n_jobs: belongs to method="search"; programs are solved one after the other')
    require_workers(n_jobs)
    for name, value in (("solver", solver), ("accuracy", accuracy)):
        if value is not None and not by_program:
            raise InvalidInputError(f'{name}: belongs to method="program", and the search has none; found {value!r}')
    if time_limit is not None:
        if not several:
            raise InvalidInputError("time_limit: belongs to more than one neighbour; leave it out for n_neighbors=1")
        if by_program or time_limit != 0:  # the search has bounds to give even then, a solver has not
            positive_number("time_limit", time_limit)
    for name, limit in (("node_limit", node_limit), ("max_memory", max_memory)):
        if limit is None:
            continue
        if by_program or not several:
            raise InvalidInputError(
                f'{name}: belongs to the branch and bound (method="search", more than one neighbour); leave it out'
            )
        whole_number(name, limit, minimum=0) if name == "node_limit" else number_from(name, limit, 0)
