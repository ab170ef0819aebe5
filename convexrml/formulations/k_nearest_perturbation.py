"""The least perturbation after which a label loses the vote of k neighbours: a MIQP (norm 2) or a MILP (norms 1, ∞)."""

from __future__ import annotations

import math

import cvxpy as cp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexrml import solve as solving
from convexrml.errors import InvalidInputError
from convexrml.formulations.contenders import ball, contenders
from convexrml.formulations.half_spaces import power_of_two
from convexrml.formulations.known_radius import known_radius
from convexrml.formulations.sides import returned
from convexrml.formulations.solution import ClaimedSolution
from convexrml.formulations.writing import Writable
from convexrml.neighbors import NearestNeighbors
from convexrml.norms import Box, Norm, as_box, as_norm, require_inside
from convexrml.solve import ClaimedStatus
from convexrml.validation import whole_number
from convexrml.votes import Vote, as_vote, same_vote

_SMALLEST_UNIT = 1e-9  # of the data around the query


class KNearestPerturbation(Writable):
    """Minimal perturbation of one query under which its label loses the vote, as an explicit mixed-integer program.

    *The vote.*  Let T be the k nearest training points of ``z + δ``, ties taken as they serve the other labels best,
    and t the largest of their scores.  With binaries ``x_p = 1`` for p in T, the label y loses a plurality when

        ``score_p ≤ t`` where ``x_p = 1``,   ``score_p ≥ t`` where ``x_p = 0``,   ``Σ x = k``,   and
        ``Σ_{p in c} x_p ≥ Σ_{p in y} x_p``   for some class c ≠ y.

    As ``k = 2 s − 1``, at most s − 1 points of y are in such a T.  Some of these rows can be spared: a point of y with
    ``x = 1`` need not be near, nor a point of c with ``x = 0`` far.  For let ``x = 1`` for a points of c and b ≤ a of
    y.  The rows that are left say that a of c are within t and at most k − a others below it, and that k − b of the
    labels other than y are within t and at most b of y below it.  So the k nearest (c first among equals, y last) hold
    at least a of c and at most b of y.  A majority is lost when ``Σ_y x ≤ s − 1`` and all other
    labels together have ``Σ x = s``; they play the part of c.

    *Big M.*  Scores are affine, ``score_p(z + δ) = score_p(z) − 2 ⟨u_p, δ⟩``.  In the ball ``‖δ‖_p ≤ R``, and in the
    box,

        ``score_q − score_p ≤ D_qp = score_q(z) − score_p(z) + 2 max ⟨u_p − u_q, δ⟩``

    (``2 R ‖u_p − u_q‖_q``, or less in a box).  The threshold may be taken as the k-th smallest score, for a majority as
    the s-th smallest of the other labels.  Where the vote is lost it is at most the s-th smallest score of y, and at
    least the s-th smallest of the others.  So ``t − score_p ≤ below_p`` and ``score_p − t ≤ above_p``, order statistics
    of the ``D_qp`` and ``D_pq`` (`contenders`), and the rows are

        ``score_p ≤ t + above_p (1 − x_p)``  (p not in y),     ``score_p ≥ t − below_p x_p``  (p in y)

    and, for a plurality, ``score_p ≥ t − below_p (x_p + w_c)`` for p in another class c, with ``Σ_c w_c = 1`` choosing
    the class that wins: ``Σ_c x ≥ Σ_y x − (s − 1) (1 − w_c)``.

    *Presolve.*  A point is dropped when s points of y, or (majority) s others, or (plurality) k points are nearer than
    it all over the ball.  Then it is not in T (majority: not among the s nearest others), so no solution is lost.  And
    none is won: take, of the dropped points whose missing row would be violated, the one of least score, p.  All points
    nearer than p are in the program, and below t.  Were s of them of y, each would have ``x = 1``: one too many.  Were
    s of them others, t could be lowered below p (majority).  Were they k, the k nearest are in the program, and the
    vote is lost by the count above.  A point of y that at most s − 1 others can reach has ``x = 1``.

    *Exactness.*  R at least the radius: the optimum is the radius.  R smaller: no point with ``‖δ‖ ≤ R`` is admissible,
    so the program is infeasible or has an optimum above R, which says no more than that the radius exceeds R.

    *Units.*  As in `MinimalPerturbation`: sites count in σ, lengths in ℓ (powers of two near the largest difference of
    sites and near R), ``η = δ/ℓ``; scores count in ``2 σ ℓ`` from that of the nearest training point.  The program:

        ``min ½‖η‖₂²  (or ‖η‖_p)   s.t.  the rows above,  lower ≤ ℓ η ≤ upper,  |ℓ η| ≤ R.``

    Parameters
    ----------
    model : NearestNeighbors
        Fitted; any odd number of neighbours.
    z : (d,) array
        The query.
    y : label
        Its true label.
    norm : {1, 2, inf}, default 2
        Norm in which the perturbation is measured.
    box : pair of (lower, upper), Box or None
        In the units of the input; has to contain z.
    vote : {"plurality", "majority"}, default "plurality"
        See `convexrml.Vote`.
    target : pair (class, count), optional
        For a plurality: ask for at least `count` points of `class` and at most `count` of y among the k nearest.  The
        radius is the least over the classes other than y and the counts from 1 to ``max(1, s − 1)``.
    radius : float, optional
        R, an upper bound on the radius.  Not given, it is the attack radius (but not for a target), or the norm of the
        farthest corner of the box if that is less.
    presolve : bool, default True
        Whether to drop points and fix binaries; the optimum is the same.

    Attributes
    ----------
    problem : cvxpy.Problem
        Its objective counts in ℓ (`length`).
    perturbation : cvxpy.Expression
        δ in the units of the input, shape ``(d,)``.
    length, radius : float
        ℓ and R.
    inside : cvxpy.Variable
        x, one binary for each of `contenders.points`.
    contenders : Contenders
        The training points that the program is about, after presolve.
    constraints : dict of cvxpy constraints
        By name.
    impossible : bool
        Whether too few other points are left in the ball: a proof (rounding included) that the radius exceeds R.

    Raises
    ------
    InvalidInputError
        If an argument does not fit the training set, the box leaves z out, or no R is known.

    Notes
    -----
    The radius of 1-NN is that of L. Wang, X. Liu, J. Yi, Y. Jiang, C.-J. Hsieh, Provably Robust Metric Learning,
    NeurIPS 2020; the mixed-integer form is ours.

    Examples
    --------
    >>> import convexrml
    >>> model = convexrml.NearestNeighbors(3).fit([[0.0], [1.0], [4.0], [5.0]], ["left", "left", "right", "right"])
    >>> program = convexrml.formulations.KNearestPerturbation(model, [1.0], "left", norm="inf")
    >>> round(program.solve("highs").value, 6)
    1.5
    """

    def __init__(
        self,
        model: NearestNeighbors,
        z: ArrayLike,
        y: object,
        *,
        norm: float | str | Norm = 2,
        box: tuple[ArrayLike, ArrayLike] | Box | None = None,
        vote: str | Vote = Vote.PLURALITY,
        target: tuple[object, int] | None = None,
        radius: float | None = None,
        presolve: bool = True,
    ) -> None:
        self.model, self.norm = model, as_norm(norm)
        self.label = int(model.encode(np.asarray([y]), 1)[0])
        self.box = as_box(box, model.n_features_in_)
        points = model.require_queries(np.asarray(z)[None])
        require_inside(self.box, points)
        self.z, self.row = points[0], model.scores(points)[0]
        self.vote = as_vote(vote)
        self.target = None if target is None else self._required_target(target)
        attackable = self.vote if self.target is None else None
        self.radius = known_radius(model, self.z, self.label, self.norm, self.box, attackable, radius)
        s, d = (model.n_neighbors + 1) // 2, model.n_features_in_
        majority = self._majority = self.target is None and (
            self.vote is Vote.MAJORITY or same_vote(model.n_neighbors, len(model.classes_))
        )
        within = ball(self.z, self.norm, self.radius, self.box)
        c = self.contenders = contenders(model, self.z, self.row, self.label, within, majority, presolve)
        self.impossible = (~c.own).sum() < s or (not majority and len(c.points) < model.n_neighbors)

        reference = c.points[0]
        directions = model.sites_[c.points] - model.sites_[reference]
        self._sigma = power_of_two(float(np.abs(directions).max()))
        extent = float(max(np.abs(self.z - p).max() for p in (model.shift_, model.training_points_[reference])))
        self.length = power_of_two(max(self.radius, _SMALLEST_UNIT * extent), extent)
        self._score = 2 * self._sigma * self.length
        gaps = (self.row[c.points] - self.row[reference]) / self._score
        eta = self._eta = cp.Variable(d, bounds=[within.lower / self.length, within.upper / self.length], name="eta")
        x = self.inside = cp.Variable(len(c.points), boolean=True, name="inside")
        self._least, self._most, self._lead, self._lag = (
            cp.Parameter(len(c.points), name=name) for name in ("least", "most", "lead", "lag")
        )
        self._ease = cp.Parameter(nonneg=True, name="ease")  # with margins the threshold may lie beyond all of T
        self.constraints = {"fixed_inside": x >= self._least, "fixed_outside": x <= self._most}
        self.constraints |= self._rows(gaps - directions / self._sigma @ eta)
        size = cp.sum_squares(eta) / 2 if self.norm.order == 2 else cp.norm(eta, self.norm.order)
        self.perturbation = self.length * eta
        self.problem = cp.Problem(cp.Minimize(size), list(self.constraints.values()))
        self._hold(c.inside, np.ones_like(c.inside), np.zeros(len(c.inside)))

    def solve(self, solver: str | None = None, accuracy: str = "accurate", **options: object) -> ClaimedSolution:
        """Solve with the named profile.

        Parameters
        ----------
        solver : str, optional
            A profile's name; not given, ``"scip"`` for norm 2 and ``"highs"`` for norms 1 and ∞.
        accuracy : {"accurate", "fast"} or another accuracy of the profile
        **options
            Native options of the solver, laid over the profile's.

        Returns
        -------
        ClaimedSolution
            That it is optimal is the solver's claim; value and residual are measured here.

        Raises
        ------
        SolverError
            If the solver is unknown, missing, without licence, refuses an option or fails.
        """
        name = default_solver(self.norm) if solver is None else solver
        inside = self.contenders.inside
        return self._solved(name, accuracy, options, inside, np.ones_like(inside), np.zeros(len(inside)))

    def solve_among(
        self, neighbours: NDArray[np.int64], margin: float, solver: str | None = None, accuracy: str = "accurate"
    ) -> ClaimedSolution:
        """Solve with x known: 1 for the training points `neighbours`, 0 for all others; each row held with a margin.

        `margin` counts in the program's units, in which the radius is near 1; points with a twin on the other side of
        the threshold have none.  Where a solver's tolerance leaves rows violated, an answer with a margin is a witness
        all the same.
        """
        c, name = self.contenders, default_solver(self.norm) if solver is None else solver
        x = np.isin(c.points, neighbours)
        margins = np.where(np.isin(c.twin, c.twin[x]) & np.isin(c.twin, c.twin[~x]), 0.0, margin)
        return self._solved(name, accuracy, {}, x, x, margins)

    def neighbours_at(self, perturbation: NDArray[np.float64]) -> NDArray[np.int64]:
        """The training points that decide the vote at ``z + δ``: those that x would be 1 for, the others before y."""
        row = self.model.scores((self.z + perturbation)[None])[0]
        own = self.model.labels_ == self.label
        if self._majority:
            others = np.flatnonzero(~own)[np.argsort(row[~own], kind="stable")[: (self.model.n_neighbors + 1) // 2]]
            return np.concatenate([others, np.flatnonzero(own & (row < row[others].max(initial=-np.inf)))])
        return np.lexsort((own, row))[: self.model.n_neighbors]

    def _rows(self, psi: cp.Expression) -> dict[str, cp.Constraint]:
        """The constraints on x and the scores `psi` (m,), in units."""
        c, x, k, s = self.contenders, self.inside, self.model.n_neighbors, (self.model.n_neighbors + 1) // 2
        if self.impossible:
            return {"impossible": cp.sum(x) >= len(c.points) + 1}
        t = cp.Variable(name="threshold")
        own, other = np.flatnonzero(c.own), np.flatnonzero(~c.own)
        above, below = c.above / self._score, c.below / self._score + self._ease
        members = self._winners()
        wins = cp.Variable(len(members), boolean=True, name="wins") if len(members) > 1 else np.ones(1)
        winning = members.T.astype(float) @ wins
        count, of_label = members.astype(float) @ x, c.own.astype(float) @ x
        rows = {"within": (psi + self._lead)[other] <= t + cp.multiply(above[other], 1 - x[other])}
        if len(own):
            rows["beyond"] = (psi - self._lag)[own] >= t - cp.multiply(below[own], x[own])
        if self._majority:
            return rows | {"own": of_label <= s - 1, "others": cp.sum(x) - of_label == s}
        lag = cp.multiply(self._lag[other], 1 - winning[other])
        rows["rivals"] = psi[other] - lag >= t - cp.multiply(below[other], x[other] + winning[other])
        rows["neighbours"] = cp.sum(x) == k
        if self.target is not None:
            return rows | {"own": of_label <= self.target[1], "winner": count >= self.target[1]}
        rows["one_winner"] = cp.sum(wins) == 1
        return rows | {"own": of_label <= s - 1, "winner": count >= of_label - (s - 1) * (1 - wins)}

    def _winners(self) -> NDArray[np.bool_]:
        """The classes, as sets of contenders, of which one has to win: a row each."""
        c, labels = self.contenders, self.model.labels_[self.contenders.points]
        if self._majority:
            return (~c.own)[None]
        classes = np.unique(labels[~c.own]) if self.target is None else np.array([self.target[0]])
        members: NDArray[np.bool_] = labels == classes[:, None]
        return members

    def _solved(
        self,
        solver: str,
        accuracy: str,
        options: dict[str, object],
        least: NDArray[np.bool_],
        most: NDArray[np.bool_],
        margins: NDArray[np.float64],
    ) -> ClaimedSolution:
        self._hold(least, most, margins)
        report = solving.run(self.problem, solver, accuracy, options=options or None)
        eta = returned(self._eta.value, self.model.n_features_in_)
        inside = self.contenders.points[returned(self.inside.value, len(self.contenders.points)) > 0.5]
        own = self.model.labels_[inside] == self.label
        return ClaimedSolution(
            value=float(self.norm.of(self.length * eta)),
            claimed=self._claimed(report.claimed),
            variables={"perturbation": self.length * eta},
            chosen=inside[~own],
            excused=inside[own],
            primal_residual=self._violation(eta, inside),
            report=report,
        )

    def _hold(self, least: NDArray[np.bool_], most: NDArray[np.bool_], margins: NDArray[np.float64]) -> None:
        """Set the parameters: bounds on x, and by how much the rows of points whose x is known are held."""
        self._least.value, self._most.value = least.astype(float), most.astype(float)
        self._lead.value, self._lag.value, self._ease.value = margins * least, margins * ~most, margins.max(initial=0.0)

    def _claimed(self, claim: ClaimedStatus) -> float:
        if claim is ClaimedStatus.INFEASIBLE:
            return math.inf
        if claim is not ClaimedStatus.OPTIMAL:
            return math.nan
        optimum = max(float(self.problem.value), 0.0)
        return self.length * (math.sqrt(2 * optimum) if self.norm.order == 2 else optimum)

    def _violation(self, eta: NDArray[np.float64], inside: NDArray[np.int64]) -> float:
        """By how much a vote that the points `inside` decide is not lost at η, over all training points, in units."""
        if len(inside) == 0:
            return math.nan
        sites, labels, reference = self.model.sites_, self.model.labels_, self.contenders.points[0]
        psi = (self.row - self.row[reference]) / self._score - (sites - sites[reference]) @ eta / self._sigma
        taken = np.zeros(len(labels), dtype=bool)
        taken[inside] = True
        winner = labels != self.label
        own = ~winner
        if not self._majority:
            votes = np.bincount(labels[inside[~own[inside]]], minlength=len(self.model.classes_))
            winner = labels == (np.argmax(votes) if self.target is None else self.target[0])
        box = np.full((2, len(eta)), -np.inf)
        if self.box is not None:
            box = np.stack([self.z - self.box.upper, self.box.lower - self.z]) / self.length + [eta, -eta]
        late = psi[taken & ~own].max(initial=-np.inf) - psi[~taken & own].min(initial=np.inf)
        beaten = psi[taken & winner].max(initial=-np.inf) - psi[~taken & ~winner].min(initial=np.inf)
        return float(np.max([0.0, late, beaten, box.max()]))  # NaN stays NaN

    def _required_target(self, target: tuple[object, int]) -> tuple[int, int]:
        try:
            name, count = target
        except (TypeError, ValueError) as error:
            raise InvalidInputError(f"target: give a pair (class, count); found {target!r}") from error
        known = np.flatnonzero(self.model.classes_ == name)
        if len(known) != 1:
            raise InvalidInputError(
                f"target: no class is {name!r}; choose from {', '.join(map(repr, self.model.classes_.tolist()))}"
            )
        label = int(known[0])
        most = max(1, (self.model.n_neighbors - 1) // 2)
        if label == self.label:
            raise InvalidInputError(
                f"target: {self.model.classes_[label].item()!r} is the query's own label; name another class"
            )
        if self.vote is Vote.MAJORITY:
            raise InvalidInputError(
                'target: belongs to vote="plurality"; a majority is lost to all other labels at once'
            )
        if whole_number("target: count", count, minimum=1) > most:
            raise InvalidInputError(f"target: count is at most {most} for k = {self.model.n_neighbors}; found {count}")
        return label, int(count)


def default_solver(norm: Norm) -> str:
    """The solver that is asked when none is named: ``"scip"`` for norm 2, ``"highs"`` for the linear norms."""
    return "scip" if norm.order == 2 else "highs"
