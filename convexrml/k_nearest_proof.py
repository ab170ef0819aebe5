"""Proof trees for exact k-NN radii in ℓ2: the branch and bound once more, depth first, with the radius in hand."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from convexrml.certificate import Proof, ProofTree
from convexrml.findings import Limits
from convexrml.grouped import grouped_sites
from convexrml.k_nearest import KNearestSearch
from convexrml.kernels import local
from convexrml.kernels.pruning import farthest_in_box
from convexrml.majority_case import MajorityCase, NotProvedError
from convexrml.neighbors import NearestNeighbors
from convexrml.plurality_case import PluralityCase
from convexrml.queries import Query, each_query, prepared
from convexrml.results import ExactRadii
from convexrml.votes import Vote

_LESS = 1e-11  # relative; what rounding subtracts from the same multipliers differs less, found once more
_MOST_NODES = 10**5
_SMALLEST = 1e-15  # of the lengths around: a ball for a box that is a single point


def vote_proofs(
    model: NearestNeighbors,
    Z: NDArray[np.float64],
    y: NDArray[np.int64],
    radii: ExactRadii,
    closed_form: NDArray[np.float64],
) -> tuple[NDArray[np.float64], list[Proof | None]]:
    """Radii that can be proved of exact k-NN radii in ℓ2, and their proofs; None where the closed form has to do.

    Where no proof of a radius is found, that of the search's own lower bound is tried, which no exact arithmetic has
    raised; and of a plurality, then the majority's, which is no larger.

    Parameters
    ----------
    model : NearestNeighbors
    Z : (n, d) array
    y : (n,) integer array
        Encoded labels.
    radii : ExactRadii
    closed_form : (n,) array
        Certified radii of the same queries.
    """
    data = grouped_sites(model)
    search = KNearestSearch(data, model.metric_, model.n_neighbors, radii.vote, radii.box)
    weaker = KNearestSearch(data, model.metric_, model.n_neighbors, Vote.MAJORITY, radii.box)
    lower, proofs = np.minimum(radii.lower, closed_form), list[Proof | None]()
    for a, q in enumerate(each_query(data, prepared(model, data, Z, y, radii.box))):
        proof = None
        for other, known in (
            _in_turn(search, weaker, q, float(radii.lower[a])) if radii.lower[a] > closed_form[a] else ()
        ):
            radius = radius_to_prove(other, q, known)
            proof = vote_proof(other, q, radius) if known > closed_form[a] else None
            if proof is not None:
                lower[a] = math.inf if math.isinf(known) else radius
                break
        proofs.append(proof)
    return lower, proofs


def _in_turn(
    search: KNearestSearch, weaker: KNearestSearch, q: Query, known: float
) -> Iterator[tuple[KNearestSearch, float]]:
    """The lower bounds to prove: the one known, the search's own if it is less, that of the weaker vote."""
    yield search, known
    own = search.search(q, Limits(nodes=_MOST_NODES)).lower
    if own < known:
        yield search, own
    if not search.majority:
        yield weaker, weaker.search(q, Limits(nodes=_MOST_NODES)).lower


def radius_to_prove(search: KNearestSearch, q: Query, lower: float) -> float:
    """The radius to prove for a search's lower bound: a little less, or beyond all of a closed box."""
    if math.isfinite(lower):
        return lower * (1 - _LESS)
    if search.box is None:
        return math.inf
    around = float(np.linalg.norm(q.centred) + search.data.rounding.lengths.max())
    return max(float(farthest_in_box(q.box_lower - q.z, q.box_upper - q.z)), _SMALLEST * around)


def vote_proof(search: KNearestSearch, q: Query, radius: float) -> Proof | None:
    """A proof that no point nearer than `radius` loses the vote; None if none was found.

    Negatives that s triplet bounds keep away are swept; the others are the tree's.  The radius has to be one that the
    search has proved, less a little: each case is closed by its own multipliers, found once more, and what rounding
    subtracts from them differs in the last places.

    Parameters
    ----------
    search : KNearestSearch
    q : Query
    radius : float
        In a closed box, a radius beyond all of its points proves that none loses the vote.
    """
    data, s = search.data, (search.k + 1) // 2
    start, stop = data.class_start[q.label], data.class_start[q.label + 1]
    negatives = np.concatenate([np.arange(start), np.arange(stop, len(data.sites))])
    if len(negatives) < s:  # whatever the radius
        tree = ProofTree()
        tree.count()
        return tree.proof(np.sort(data.order[negatives]), np.zeros((0, s)))
    if stop - start < s or math.isinf(radius) or radius == 0:  # 0: a box of one point on which all points coincide
        return None
    near = search.around(q, radius, radius)
    m = near.n_negatives
    apart = local.separations(near, m, len(near.halves))
    nearest = data.order[start + np.argsort(q.row[start:stop], kind="stable")[:s]]
    swept = dict.fromkeys(data.order[np.setdiff1d(negatives, near.rows[:m])].tolist(), nearest)
    case = (MajorityCase if search.majority else PluralityCase)(search, q, near, apart, radius)
    candidates = []
    for j, bound in enumerate(local.largest_bounds(near, apart, s)[:, s - 1]):
        if bound >= radius:
            swept[int(data.order[near.rows[j]])] = case.farthest(j, s)
        else:
            candidates.append((bound, j))
    try:
        if len(candidates) < s:
            case.tree.count()
        else:
            case.open = [j for _, j in sorted(candidates)]
            case.close([], [], [], case.open)
    except NotProvedError:
        return None
    open_ones = np.sort(data.order[near.rows[np.array([j for _, j in candidates], dtype=np.int64)]])
    rows = [swept[j] for j in sorted(swept)]
    return case.tree.proof(open_ones, np.array(rows, dtype=np.int64).reshape(len(rows), s))
