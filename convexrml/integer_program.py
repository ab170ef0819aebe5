"""Exact radii of k-NN by explicit mixed-integer programs: what the solver claims, and a witness that is ours."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from convexrml import profiles
from convexrml.bounds import certified_radius
from convexrml.errors import SolverFailedError
from convexrml.formulations.k_nearest_perturbation import KNearestPerturbation
from convexrml.formulations.known_radius import attacked, farthest_corner
from convexrml.formulations.solution import ClaimedSolution
from convexrml.neighbors import NearestNeighbors
from convexrml.norms import Box, Norm
from convexrml.results import ExactRadii, RadiusStatus, no_evidence
from convexrml.solve import ClaimedStatus, require_capable
from convexrml.visits import ROUNDING_WIDTH, status_of
from convexrml.votes import Vote
from convexrml.witness import first_mislabelled, witnessed_norm

_ROOM = 1 + 1e-6  # a ball a little larger than the incumbent's, so that rows with a margin have a solution too
_WORTHWHILE = 0.999  # the incumbent's descent goes on while it saves this much
_DESCENTS = 5
_DESCENT_MARGIN = 1e-6
_MARGINS = (1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-3)  # in the program's units, in which the radius is near 1
_HALVINGS = 50
_REACHES = (1.0, 10.0, 100.0)  # of the distance to the farthest training point, where no witness is known


def exact_radius_by_integer_program(
    model: NearestNeighbors,
    Z: NDArray[np.float64],
    y: NDArray[np.int64],
    norm: Norm,
    box: Box | None,
    vote: Vote,
    solver: str,
    accuracy: str,
    time_limit: float | None,
    progress: Callable[[int], object] | None,
) -> ExactRadii:
    """Exact radii for any odd k, the arguments checked already; `y` are encoded labels.  See `exact_radius`.

    **Status.**  CLAIMED: the solver claims the optimum, and a witness is within the tolerance of it.  The upper bound
    is proved by the witness; the lower bound is the claim less the profile's tolerance.  (lower = upper = inf: it
    claims that no perturbation within a closed box changes the prediction.)  EXACT: the certified radius meets a
    witness.  UNREACHABLE: too few training points carry other labels, or too few can matter in a closed box; proved.
    Otherwise INTERVAL, or TIME_LIMIT: the lower bound is then proved (the certified radius, as a rule), and a note says
    what went wrong.

    No other solver is asked: the one that is named also finds the witness, by the same program with its binaries fixed.
    `time_limit` holds for each run on a query's mixed-integer program.
    """
    profile = profiles.get_profile(solver)
    profiles.require_installed(profile)
    require_capable(profile, "MIQP" if norm.order == 2 else "MILP")
    tolerance = profile.at(accuracy).tolerance
    options = {} if time_limit is None else profile.time_limit(time_limit)
    certified = certified_radius(model, Z, model.classes_[y], norm=norm).lower
    road = _Road(model, norm, box, vote, profile.name, accuracy, tolerance, time_limit, options)
    answers = []
    for z, label, bound in zip(Z, y, certified, strict=True):
        answers.append(road.answer(z, int(label), float(bound)))
        if progress is not None:
            progress(1)
    n = len(Z)
    return ExactRadii(
        lower=np.array([answer.lower for answer in answers]),
        upper=np.array([answer.upper for answer in answers]),
        perturbation=np.array([answer.perturbation for answer in answers]),
        status=np.array([answer.status for answer in answers], dtype=object),
        **no_evidence(n),
        solves=np.array([answer.solves for answer in answers], dtype=np.int64),
        tolerance=tolerance + ROUNDING_WIDTH,
        solver=profile.name,
        norm=norm,
        box=box,
        notes=tuple(f"query {number}: {note}" for number, answer in enumerate(answers) for note in answer.notes),
        n_neighbors=model.n_neighbors,
        vote=vote,
    )


@dataclasses.dataclass
class _Answer:
    """What is known of one query."""

    z: NDArray[np.float64]
    lower: float
    proved: float
    perturbation: NDArray[np.float64]
    upper: float = math.inf
    status: RadiusStatus = RadiusStatus.INTERVAL
    solves: int = 0
    notes: list[str] = dataclasses.field(default_factory=list)

    def improve(self, witness: NDArray[np.float64] | None, norm: Norm) -> bool:
        """Keep a witness that is nearer than the incumbent; whether it is worth another look."""
        before = self.upper
        if witness is not None and (upper := witnessed_norm(self.z, witness, norm)) < before:
            self.upper, self.perturbation = upper, witness
        return self.upper < _WORTHWHILE * before

    def settle(self, status: RadiusStatus, lower: float) -> _Answer:
        """The answer, with what is known now."""
        self.status, self.lower = status, lower
        return self


@dataclasses.dataclass(frozen=True)
class _Road:
    """One classifier, one vote, one solver."""

    model: NearestNeighbors
    norm: Norm
    box: Box | None
    vote: Vote
    solver: str
    accuracy: str
    tolerance: float
    time_limit: float | None
    options: dict[str, object]

    def answer(self, z: NDArray[np.float64], label: int, certified: float) -> _Answer:
        """What the attack, the certified radius and the program make of one query."""
        answer = _Answer(z, certified, certified, np.full(len(z), np.nan))
        name = self.model.classes_[[label]]
        if not can_lose(self.model, label, self.vote):
            return answer.settle(RadiusStatus.UNREACHABLE, math.inf)
        if self.model.mislabels(z[None], name, vote=self.vote)[0]:
            answer.perturbation, answer.upper = np.zeros(len(z)), 0.0
            return answer.settle(RadiusStatus.MISCLASSIFIED, 0.0)
        found = attacked(self.model, z, label, self.norm, self.box, self.vote)
        answer.improve(found.perturbation[0] if math.isfinite(found.upper[0]) else None, self.norm)
        if status_of(certified, answer.upper, ROUNDING_WIDTH, 0.0) is RadiusStatus.EXACT:
            return answer.settle(RadiusStatus.EXACT, certified)
        corner = farthest_corner(z, self.norm, self.box)
        radius = min(answer.upper * _ROOM, corner)
        if math.isfinite(radius):
            self._look_within(answer, name[0], radius, everywhere=radius == corner)
        else:
            far = float(self.norm.of(self.model.training_points_ - z).max())
            any(self._look_within(answer, name[0], times * far, everywhere=False) for times in _REACHES)
        return answer

    def _look_within(self, answer: _Answer, name: object, radius: float, everywhere: bool) -> bool:
        """Settle what the program can tell of a ball, which may be all there is; whether something was found in it."""
        program = self._posed(answer, name, radius)
        if answer.upper < radius and answer.improve(self._descended(answer, program, name), self.norm):
            program = self._posed(answer, name, answer.upper * _ROOM)
        if program.impossible and math.isinf(answer.upper):
            if everywhere:
                answer.settle(RadiusStatus.UNREACHABLE, math.inf)
            else:
                answer.lower = answer.proved = max(answer.proved, program.radius)
                answer.notes.append(f"too few training points can matter up to {program.radius:.6g}")
            return False
        started = time.perf_counter()
        solution = self._solution(answer, lambda: program.solve(self.solver, self.accuracy, **self.options))
        if self.time_limit is not None and time.perf_counter() - started >= self.time_limit:
            answer.status = RadiusStatus.TIME_LIMIT
        if solution is None:
            return True
        if solution.claimed == math.inf and math.isinf(answer.upper):
            if everywhere:
                answer.settle(RadiusStatus.CLAIMED, math.inf)
            else:
                answer.notes.append(
                    f"{self.solver} claims that no perturbation up to {program.radius:.6g} loses the vote"
                )
            return False
        if math.isfinite(solution.value):
            self._find_witness(answer, program, solution, name)
        self._judge(answer, program, solution)
        if answer.upper < program.radius / 2:  # a program in the units of its own radius is the more accurate one
            known = answer.status, answer.lower
            answer.settle(RadiusStatus.INTERVAL, answer.proved)
            self._look_within(answer, name, answer.upper * _ROOM, everywhere=False)
            if not answer.status.closed:
                answer.settle(*known)
        return True

    def _posed(self, answer: _Answer, name: object, radius: float) -> KNearestPerturbation:
        return KNearestPerturbation(
            self.model, answer.z, name, norm=self.norm, box=self.box, vote=self.vote, radius=radius
        )

    def _solution(self, answer: _Answer, solve: Callable[[], ClaimedSolution]) -> ClaimedSolution | None:
        answer.solves += 1
        try:
            return solve()
        except SolverFailedError as error:
            answer.notes.append(str(error))
            return None

    def _among(
        self, answer: _Answer, program: KNearestPerturbation, neighbours: NDArray[np.int64], margin: float
    ) -> NDArray[np.float64] | None:
        """A perturbation for which these are the neighbours, with a margin; None if the solver returns none."""
        inner = self._solution(answer, lambda: program.solve_among(neighbours, margin, self.solver, self.accuracy))
        return None if inner is None or not math.isfinite(inner.value) else inner.variables["perturbation"]

    def _descended(self, answer: _Answer, program: KNearestPerturbation, name: object) -> NDArray[np.float64] | None:
        """A nearer witness: the least perturbation for the neighbours at the incumbent, and so on from there.

        The smaller the ball, the fewer the points that can matter in it.
        """
        best: NDArray[np.float64] | None = None
        at, length = answer.perturbation, answer.upper
        for _ in range(_DESCENTS):
            inner = self._among(answer, program, program.neighbours_at(at), _DESCENT_MARGIN)
            found = None if inner is None else self._mislabelled(answer, name, inner)
            if found is None or (reached := witnessed_norm(answer.z, found, self.norm)) >= _WORTHWHILE * length:
                break
            best, at, length = found, found, reached
        return best

    def _find_witness(
        self, answer: _Answer, program: KNearestPerturbation, solution: ClaimedSolution, name: object
    ) -> None:
        """Look for a witness next to the returned δ, which the solver's tolerance may leave on the wrong side.

        On the way to the incumbent there is a boundary, found by bisection.  If it is too far, for the same neighbours
        and a margin there is a point strictly inside: the set of perturbations with these neighbours is convex.  At a
        point that several sets of neighbours share, one may have an inside where another has none.
        """
        delta = solution.variables["perturbation"]
        answer.improve(self._mislabelled(answer, name, delta), self.norm)
        if math.isfinite(answer.upper):
            self._bisect(answer, name, delta, answer.perturbation)
        for neighbours in (np.concatenate([solution.chosen, solution.excused]), program.neighbours_at(delta)):
            for margin in _MARGINS:
                if answer.upper <= solution.value * (1 + self.tolerance):
                    return
                inner = self._among(answer, program, neighbours, margin)
                if inner is None:
                    break  # nor is there one with a larger margin
                if self._mislabelled(answer, name, inner) is not None:
                    self._bisect(answer, name, delta, inner)

    def _bisect(self, answer: _Answer, name: object, outer: NDArray[np.float64], inner: NDArray[np.float64]) -> None:
        """Improve the answer by a witness on the way from `outer` to the witness `inner`."""
        for _ in range(_HALVINGS):
            middle = (outer + inner) / 2
            if self._mislabelled(answer, name, middle) is None:
                outer = middle
            else:
                inner = middle
        answer.improve(self._mislabelled(answer, name, inner), self.norm)

    def _mislabelled(self, answer: _Answer, name: object, delta: NDArray[np.float64]) -> NDArray[np.float64] | None:
        return first_mislabelled(self.model, answer.z, name, (answer.z + delta)[None], self.box, self.vote)

    def _judge(self, answer: _Answer, program: KNearestPerturbation, solution: ClaimedSolution) -> None:
        """Hold the claim against the witness."""
        if solution.report.claimed is not ClaimedStatus.OPTIMAL:
            answer.notes.append(f"{self.solver}: {solution.report.claimed.value}")
            return
        length = max(answer.upper, program.length / 2)  # in which the solver's tolerances count
        if math.isfinite(length) and abs(answer.upper - solution.claimed) <= (self.tolerance + ROUNDING_WIDTH) * length:
            answer.settle(
                RadiusStatus.CLAIMED, max(answer.proved, min(solution.claimed, answer.upper) - self.tolerance * length)
            )
        else:
            answer.notes.append(
                f"{self.solver} claims an optimum of {solution.claimed:.17g}, but the nearest witness found has norm "
                f"{answer.upper:.17g}"
            )


def can_lose(model: NearestNeighbors, label: int, vote: Vote) -> bool:
    """Whether there are enough training points of other labels for the label to lose the vote anywhere at all."""
    count = np.bincount(model.labels_, minlength=len(model.classes_))
    count[label], others = 0, len(model.labels_) - count[label]
    k = model.n_neighbors
    s = (k + 1) // 2
    if vote is Vote.MAJORITY:
        return bool(others >= s)
    votes = min(int(count.max()), max(1, s - 1))
    return votes > 0 and bool(others >= k - votes)
