"""Random tiny instances of every degenerate kind with 3, 5 or 7 neighbours: the search against full enumeration.

``python tests/fuzz_k_nearest.py --instances 20000 --seed 0`` draws as `fuzz_search` does (the same points, metrics,
boxes, queries; fewer training points), and takes the same options.  Of every query it demands: an interval that holds
the enumerated radius, closed unless rounding may decide; bounds in order, certified ≤ exact ≤ attack; a witness that
loses the vote; intervals that only grow tighter with the number of nodes.
"""

import dataclasses
import sys
import warnings

import fuzz_search
import numpy as np
import oracle
from fuzz_search import CLOSED, TOLERANCE, Game, Verdict, judge_witness

from convexrml import NearestNeighbors, RadiusStatus, attack_radius, certified_radius, exact_radius
from convexrml.errors import UnsupportedError
from convexrml.norms import as_norm

SIZES = (3, 12)
CERTAIN = 1e-7  # relative change of the radius, when rounding moves every half-space, up to which it is certain
NODES = (0, 1, 2, 4, 8)


@dataclasses.dataclass(frozen=True)
class Instance(fuzz_search.Instance):
    """An instance of `fuzz_search` with a number of neighbours and a vote."""

    k: int = 3
    vote: str = "plurality"

    def model(self):
        return NearestNeighbors(self.k, super().model().metric_).fit(self.X, self.y)

    def save(self, path):
        super().save(path)
        with np.load(path) as file:
            arrays = dict(file)
        np.savez(path, **arrays, k=self.k, vote=self.vote)

    @classmethod
    def load(cls, path):
        plain = fuzz_search.Instance.load(path)
        with np.load(path) as file:
            return cls(**vars(plain), k=int(file["k"]), vote=str(file["vote"]))

    def __str__(self):
        return f"{super().__str__()}, k={self.k}, {self.vote}"


def drawn(seed, number):
    """Instance `number` of a seed; nine of ten queries carry the label that most of their neighbours have."""
    plain = fuzz_search.drawn(seed, number, SIZES)
    rng = np.random.default_rng([seed, number, 1])
    k = int(rng.choice([k for k in (3, 5, 7) if k <= len(plain.X)]))
    instance = Instance(**vars(plain), k=k, vote=str(rng.choice(["plurality", "majority"])))
    if rng.random() < 0.9:
        instance = dataclasses.replace(instance, labels=instance.model().predict(instance.Z))
    return instance


def smaller(instance):
    """Every instance that is one step simpler."""
    if instance.k > 3:
        yield dataclasses.replace(instance, k=instance.k - 2)
    if instance.vote != "plurality":
        yield dataclasses.replace(instance, vote="plurality")
    yield from fuzz_search._smaller(instance)


def enumerated(instance, model, q):
    """The radius by enumeration, and the two between which it may move with rounding in the classifier's scores."""
    z, norm, everyone = instance.Z[q], as_norm(instance.norm), np.arange(len(instance.X))
    given = (instance.X, instance.y, matrix(instance), z, instance.labels[q].item(), instance.k, instance.norm)
    truth = oracle.float_k_nearest(*given, instance.vote, instance.box)
    z_length, rounding = float(np.linalg.norm(z - model.shift_)), model.rounding(norm)
    reach = z_length + (truth if np.isfinite(truth) else 0.0) * np.sqrt(len(z))
    gaps = np.array([rounding.gap(everyone, t, z_length, reach) for t in everyone])
    apart = 2 * np.linalg.norm(model.sites_[:, None] - model.sites_[None], axis=2)
    margins = gaps / np.where(apart > 0, apart, 1.0)
    least, most = (oracle.float_k_nearest(*given, instance.vote, instance.box, sign * margins) for sign in (-1, 1))
    return truth, least, most


def matrix(instance):
    if instance.M is not None:
        return instance.M
    return np.eye(instance.X.shape[1]) if instance.L is None else instance.L.T @ instance.L


def judged(instance):
    """A `Verdict`: the search against the enumeration, the closed form, the attack, and itself under limits."""
    verdict = Verdict()
    ask = {"norm": instance.norm, "box": instance.box, "vote": instance.vote}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model = instance.model()
            everything = (model, instance.Z, instance.labels)
            certified = certified_radius(*everything, norm=instance.norm).lower
            attack = attack_radius(*everything, **ask)
            search = exact_radius(*everything, method="search", **ask)
            limited = [exact_radius(*everything, method="search", node_limit=n, **ask) for n in NODES]
        except UnsupportedError:
            verdict.counts["norm not searched"] += 1
            search, limited = None, []
        except Exception as error:
            verdict.fail(f"raised {type(error).__name__}", str(error))
            return verdict
    for q in range(len(instance.Z)):
        verdict.counts["queries"] += 1
        truth, least, most = enumerated(instance, model, q)
        verdict.counts["infinite" if np.isinf(truth) else "zero" if truth == 0 else "finite"] += 1
        judge_witness(verdict, model, instance, attack, q, "attack", instance.vote)
        if not certified[q] <= max(truth * (1 + TOLERANCE), most):
            verdict.fail("certified", f"{certified[q]!r} exceeds {truth!r}")
        if not attack.upper[q] >= least * (1 - TOLERANCE):
            verdict.fail("attack", f"{attack.upper[q]!r} falls below {truth!r}")
        if search is not None:
            judge_search(verdict, model, instance, search, q, (truth, least, most))
            if not search.lower[q] <= attack.upper[q]:
                verdict.fail("attack", f"{search.lower[q]!r} exceeds the attack's {attack.upper[q]!r}")
            judge_limits(verdict, model, instance, search, limited, q, certified[q])
    return verdict


def judge_search(verdict, model, instance, search, q, radii):
    lower, upper, status = float(search.lower[q]), float(search.upper[q]), search.status[q]
    truth, least, most = radii
    said = f"[{lower!r}, {upper!r}] {status.name}, enumerated {truth!r} ({least!r} to {most!r})"
    verdict.counts[f"search {status.name}"] += 1
    judge_witness(verdict, model, instance, search, q, "search", instance.vote)
    if not 0 <= lower <= upper:
        verdict.fail("order", said)
    if not lower <= max(truth * (1 + TOLERANCE), most):
        verdict.fail("lower", said)
    if not upper >= least * (1 - TOLERANCE):
        verdict.fail("upper", said)
    if status is RadiusStatus.EXACT and not np.isfinite(upper):
        verdict.fail("exact without witness", said)
    if status is RadiusStatus.UNREACHABLE and not np.isinf(lower):
        verdict.fail("unreachable", said)
    certain = most <= least * (1 + CERTAIN) or np.isinf(least)
    verdict.counts["certain" if certain else "rounding decides"] += 1
    if certain and status not in CLOSED:
        # a witness is a point of floats: within their spacing of a cell's nearest point is as near as can be asked
        spacing = float(np.linalg.norm(np.spacing(np.abs(instance.Z[q]) + min(truth, 1e300))))
        if upper - lower <= 2 * spacing:
            verdict.counts["between floats"] += 1
        else:
            verdict.weaker.append(("open", said))
    elif certain and status is RadiusStatus.EXACT and truth > 0:
        verdict.disagreement = max(verdict.disagreement, abs(search.radius[q] - truth) / truth - (most / least - 1))
        verdict.width = max(verdict.width, (upper - lower) / upper)
        if not upper - lower <= CERTAIN * upper:
            verdict.weaker.append(("width", said))  # sites so near each other that rounding is all their difference
    elif not certain and not upper <= most * (1 + CERTAIN):
        verdict.weaker.append(("upper", said))


def judge_limits(verdict, model, instance, search, limited, q, certified):
    """Intervals under growing node limits: certified ≤ lower, lower never falling, never past the final upper end."""
    if not search.lower[q] >= certified * (1 - 1e-12):  # no error: rounding that only the search gives up
        verdict.weaker.append(("below the closed form", f"{search.lower[q]!r} after {certified!r}"))
    before = min(certified, search.lower[q]) * (1 - 1e-12)
    for nodes, result in [*zip(NODES, limited, strict=False), (None, search)]:
        lower, upper = result.lower[q], result.upper[q]
        said = f"{nodes} nodes: [{lower!r}, {upper!r}] after {before!r}, in the end {search.upper[q]!r}"
        if not lower >= before * (1 - 1e-12):
            verdict.fail("falls", said)
        if not (lower <= search.upper[q] and search.lower[q] <= upper):
            verdict.fail("limited", said)
        if nodes is not None:
            judge_witness(verdict, model, instance, result, q, f"search of {nodes} nodes", instance.vote)
            if not result.solves[q] <= nodes:
                verdict.fail("nodes", f"{result.solves[q]} nodes with a limit of {nodes}")
            if not (result.status[q].closed or result.status[q] in (RadiusStatus.NODE_LIMIT, search.status[q])):
                verdict.fail("limited", f"{result.status[q].name}, in the end {search.status[q].name}")
        before = max(before, lower)


GAME = Game(drawn, judged, smaller, Instance.load, __doc__)

if __name__ == "__main__":
    sys.exit(fuzz_search.main(game=GAME))
