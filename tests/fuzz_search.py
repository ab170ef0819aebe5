"""Random small instances of every degenerate kind: the search against the explicit programs.

``python tests/fuzz_search.py --instances 20000 --seed 0`` draws instances (number i always from the seed and i alone),
asks both roads, and demands of every query what both promise: overlapping intervals, witnesses that the classifier
mislabels, bounds in order, equal radii up to the documented widths.  What fails is made smaller, point by point, and
written as .npz; ``--replay FILE`` looks at one again, ``--only I`` at one instance.
"""

import argparse
import collections
import dataclasses
import functools
import math
import multiprocessing
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np

from convexrml import (
    MahalanobisMetric,
    NearestNeighbors,
    RadiusStatus,
    attack_radius,
    certified_radius,
    exact_radius,
)
from convexrml.norms import as_norm

TOLERANCE = 1e-9  # relative, of a closed interval: `ExactRadii.tolerance` of the search
CLOSED = (RadiusStatus.EXACT, RadiusStatus.MISCLASSIFIED, RadiusStatus.UNREACHABLE)


@dataclasses.dataclass(frozen=True)
class Instance:
    """A training set, a metric (M or L or neither), queries with labels, a norm, and a box or none."""

    X: np.ndarray
    y: np.ndarray
    Z: np.ndarray
    labels: np.ndarray
    norm: float
    M: np.ndarray | None = None
    L: np.ndarray | None = None
    box: tuple | None = None
    kind: str = ""

    def model(self):
        metric = None
        if self.M is not None:
            metric = MahalanobisMetric.from_matrix(self.M)
        elif self.L is not None:
            metric = MahalanobisMetric.from_components(self.L)
        return NearestNeighbors(1, metric).fit(self.X, self.y)

    def save(self, path):
        optional = {name: getattr(self, name) for name in ("M", "L") if getattr(self, name) is not None}
        if self.box is not None:
            optional |= {"box_lower": self.box[0], "box_upper": self.box[1]}
        np.savez(
            path, X=self.X, y=self.y, Z=self.Z, labels=self.labels, norm=self.norm, kind=self.kind, **optional
        )  # fmt: skip

    @classmethod
    def load(cls, path):
        with np.load(path) as file:
            box = (file["box_lower"], file["box_upper"]) if "box_lower" in file else None
            given = {name: file[name] for name in ("X", "y", "Z", "labels", "M", "L") if name in file}
            return cls(**given, norm=float(file["norm"]), box=box, kind=str(file["kind"]))

    def __str__(self):
        parts = [f"X={self.X.tolist()!r}, y={self.y.tolist()!r}, Z={self.Z.tolist()!r}, labels={self.labels.tolist()}"]
        parts += [f"{n}={getattr(self, n).tolist()!r}" for n in ("M", "L") if getattr(self, n) is not None]
        if self.box is not None:
            parts.append(f"box=({self.box[0].tolist()!r}, {self.box[1].tolist()!r})")
        return ", ".join([*parts, f"norm={self.norm:g} [{self.kind}]"])


# --- drawing --------------------------------------------------------------------------------------------------------


def _points(rng, kind, n, d):
    if kind == "integers":
        return rng.integers(-3, 4, (n, d)).astype(float)
    if kind == "thirds":
        return rng.integers(-4, 5, (n, d)) / 3
    if kind == "tenths":
        return rng.integers(-15, 16, (n, d)) * 0.1
    if kind == "line":
        return rng.integers(-4, 5, (n, 1)) * rng.standard_normal((1, d))
    if kind == "two places":
        return rng.standard_normal((2, d))[rng.integers(0, 2, n)]
    if kind == "clusters":
        return rng.standard_normal((3, d))[rng.integers(0, 3, n)] + 1e-7 * rng.standard_normal((n, d))
    return rng.standard_normal((n, d))


POINT_KINDS = (
    "floats",
    "floats",
    "floats",
    "integers",
    "integers",
    "thirds",
    "thirds",
    "tenths",
    "tenths",
    "line",
    "two places",
    "clusters",
)
METRIC_KINDS = (
    "none",
    "none",
    "none",
    "full L",
    "full M",
    "full L",
    "low rank L",
    "full M",
    "singular M",
    "diagonal M",
    "ill M",
    "zero L",
)


def _metric(rng, kind, d, whole):
    def draw(*shape):
        return rng.integers(-2, 3, shape).astype(float) if whole else rng.standard_normal(shape)

    scale = 10.0 ** rng.integers(-3, 4) if rng.random() < 0.3 else 1.0
    if kind == "full L":
        return None, scale * draw(d, d)
    if kind == "low rank L":
        return None, scale * draw(rng.integers(1, d + 1), d)
    if kind in ("full M", "singular M"):
        root = draw(d + 1 if kind == "full M" else max(1, d // 2), d)
        return scale * (root.T @ root), None
    if kind == "diagonal M":
        return np.diag(scale * rng.integers(0, 3, d).astype(float)), None
    if kind == "ill M":
        V, _ = np.linalg.qr(rng.standard_normal((d, d)))
        M = (V * 10.0 ** -rng.uniform(0, 10, d)) @ V.T
        return (M + M.T) / 2, None
    return None, np.zeros((1, d)) if kind == "zero L" else None


def _box(rng, X, Z):
    """A box that holds every query; None half of the time."""
    kind = rng.choice(
        ["none", "none", "none", "room", "room", "data", "data", "touching", "open", "point", "thin", "tiny"]
    )
    low, high = Z.min(axis=0), Z.max(axis=0)
    size = max(float(np.ptp(X)), float(np.abs(X).max()) * 1e-3, 1e-300)
    d = X.shape[1]
    if kind == "none":
        return None, kind
    if kind == "data":
        return (np.minimum(low, X.min(axis=0)), np.maximum(high, X.max(axis=0))), kind
    if kind == "point":
        return (low, high), kind
    below, above = (size * rng.choice([0.1, 0.3, 1.0], d) for _ in range(2))
    if kind == "touching":
        below[rng.random(d) < 0.5], above[rng.random(d) < 0.5] = 0.0, 0.0
    if kind == "open":
        below[rng.random(d) < 0.5], above[rng.random(d) < 0.5] = np.inf, np.inf
    if kind == "thin":
        flat = rng.random(d) < 0.5
        below[flat], above[flat] = 0.0, 0.0
    if kind == "tiny":
        below, above = below * 1e-9, above * 1e-9
    return (low - below, high + above), kind


def drawn(seed, number, sizes=None):
    """Instance `number` of a seed; with training points of a number between two `sizes` where these are given."""
    rng = np.random.default_rng([seed, number])
    d = int(rng.integers(1, 9)) if rng.random() < 0.7 else int(rng.integers(1, 3))
    n = int(rng.integers(2, 61)) if rng.random() < 0.3 else int(rng.integers(2, 14))
    if sizes is not None:
        n = int(rng.integers(*sizes))
    kind = rng.choice(POINT_KINDS)
    X = _points(rng, kind, n, d)
    notes = [str(kind)]
    if rng.random() < 0.2:
        X[:, rng.integers(0, d)] = X[0, 0]
        notes.append("constant feature")
    y = rng.integers(0, rng.integers(2, 6) if rng.random() < 0.95 else 1, n)
    if rng.random() < 0.25:
        some = rng.integers(0, n, max(1, n // 3))
        X[some] = X[rng.integers(0, n)]
        notes.append("duplicates")
        if rng.random() < 0.5:
            y[some] = y[some[0]]
    queries = 1 if rng.random() < 0.8 else 2
    where = rng.choice(["anywhere", "anywhere", "on a point", "between", "next to a point"])
    i, j = rng.integers(0, n, (2, queries))
    Z = {
        "anywhere": _points(rng, kind, queries, d),
        "on a point": X[i].copy(),
        "between": (X[i] + X[j]) / 2,
        "next to a point": X[i] + 10.0 ** rng.integers(-12, -2) * rng.standard_normal((queries, d)),
    }[str(where)]
    notes.append(str(where))
    if rng.random() < 0.3:
        scale = 10.0 ** rng.integers(-6, 7)
        X, Z = X * scale, Z * scale
        notes.append(f"times {scale:g}")
    if rng.random() < 0.12:
        offset = rng.choice([1e3, 1e6, 1e8, -1e8])
        X, Z = X + offset, Z + offset
        notes.append(f"plus {offset:g}")
    metric = rng.choice(METRIC_KINDS)
    M, L = _metric(rng, metric, d, kind in ("integers", "thirds"))
    box, box_kind = _box(rng, X, Z)
    norm = float(rng.choice([1, 2, 2, 2, math.inf]))
    notes += [f"metric {metric}", f"box {box_kind}"]
    instance = Instance(X, y, Z, y[:1].repeat(queries), norm, M, L, box, ", ".join(notes))
    labels = instance.model().predict(Z) if rng.random() < 0.9 else y[rng.integers(0, n, queries)]
    return dataclasses.replace(instance, labels=labels)


# --- judging --------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Verdict:
    """What was seen of an instance: `failures` break a promise, `weaker` are intervals that only the program closed."""

    failures: list = dataclasses.field(default_factory=list)
    weaker: list = dataclasses.field(default_factory=list)
    counts: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    disagreement: float = 0.0  # relative, beyond rounding widths
    raw: float = 0.0  # relative, where rounding widths are below 1e-12 of the radius
    width: float = 0.0  # largest relative width of an interval that the search closed, beyond rounding widths

    def fail(self, kind, text):
        self.failures.append((kind, text))


def rounding_width(model, instance, result, q):
    """How far rounding may move the boundary, as documented for radii near 0: ``gap_ij / min_i ‖u_i − u_j‖_q``."""
    i, j = result.positives[q], result.negative[q]
    if j < 0 or len(i) == 0:
        return 0.0
    norm = as_norm(instance.norm)
    z_length = float(np.linalg.norm(instance.Z[q] - model.shift_))
    gap, apart = model.rounding(norm).gap(i, j, z_length), norm.dual_of(model.sites_[i] - model.sites_[j])
    return float((gap[apart > 0] / apart[apart > 0]).max(initial=0.0))


def in_reach(model, z, delta):
    """Whether a witness lies where `convexrml.rounding.Rounding` says that its deductions hold: near any negative."""
    z_length, lengths = np.linalg.norm(z - model.shift_), np.linalg.norm(model.training_points_ - model.shift_, axis=1)
    return np.linalg.norm(z + delta - model.shift_) <= 2 * z_length + lengths.min()


def judge_witness(verdict, model, instance, result, q, road, vote="plurality"):
    delta, upper = result.perturbation[q], result.upper[q]
    if np.isfinite(delta).all() != np.isfinite(upper):
        verdict.fail("witness", f"{road}: upper {upper!r} with witness {delta}")
    if not np.isfinite(upper):
        return
    p = instance.Z[q] + delta
    if not model.mislabels(p[None], instance.labels[q : q + 1], vote=vote)[0]:
        verdict.fail("witness", f"{road}: the classifier does not mislabel {p.tolist()}")
    if instance.box is not None and not ((instance.box[0] <= p) & (p <= instance.box[1])).all():
        verdict.fail("witness", f"{road}: {p.tolist()} is outside the box")
    if not as_norm(instance.norm).of(delta) <= upper:
        verdict.fail("witness", f"{road}: the witness is longer than {upper!r}")


def judge_evidence(verdict, instance, result, q):
    positives, multipliers, j = result.positives[q], result.multipliers[q], result.negative[q]
    if len(positives) != len(multipliers) or (instance.y[positives] != instance.labels[q]).any():
        verdict.fail("evidence", f"positives {positives} with multipliers {multipliers}")
    if j >= 0 and instance.y[j] == instance.labels[q]:
        verdict.fail("evidence", f"negative {j} has the label of the query")
    if len(multipliers) and not ((multipliers >= 0).all() and abs(multipliers.sum() - 1) < 1e-12):
        verdict.fail("evidence", f"multipliers {multipliers}")


def judged(instance, second="clarabel"):
    """A `Verdict`: the search against the program by daqp, and by `second` where daqp leaves a gap."""
    verdict = Verdict()
    ask = {"norm": instance.norm, "box": instance.box}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model = instance.model()
            search = exact_radius(model, instance.Z, instance.labels, method="search", **ask)
        except Exception as error:
            verdict.fail("raised", f"{type(error).__name__}: {error}")
            return verdict
        programs = [("daqp", exact_radius(model, instance.Z, instance.labels, solver="daqp", **ask))]
        if any(status not in CLOSED for status in programs[0][1].status):
            programs.append((second, exact_radius(model, instance.Z, instance.labels, solver=second, **ask)))
            verdict.counts[f"asked {second}"] += 1
        certified = certified_radius(model, instance.Z, instance.labels, norm=instance.norm).lower
        attack = attack_radius(model, instance.Z, instance.labels, **ask)
    for q in range(len(instance.Z)):
        lower, upper, status = search.lower[q], search.upper[q], search.status[q]
        verdict.counts["queries"] += 1
        verdict.counts[f"search {status.name}"] += 1
        if not 0 <= lower <= upper:
            verdict.fail("order", f"[{lower!r}, {upper!r}]")
        judge_witness(verdict, model, instance, search, q, "search")
        judge_evidence(verdict, instance, search, q)
        if not certified[q] <= upper:
            verdict.fail("certified", f"certified {certified[q]!r} exceeds {upper!r}")
        if not lower <= attack.upper[q]:
            far = not in_reach(model, instance.Z[q], attack.perturbation[q])
            verdict.fail("attack far" if far else "attack", f"{lower!r} exceeds the attack's {attack.upper[q]!r}")
        mine = rounding_width(model, instance, search, q)
        if status is RadiusStatus.EXACT and not np.isfinite(upper):
            verdict.fail("exact without witness", f"search: EXACT with [{lower!r}, {upper!r}]")
        elif status is RadiusStatus.EXACT:
            if not upper - lower <= max(TOLERANCE * upper, mine * (1 + 1e-9)):
                verdict.fail("width", f"EXACT with [{lower!r}, {upper!r}], rounding width {mine!r}")
            if upper > 0:
                verdict.width = max(verdict.width, (upper - lower - mine) / upper)
        for solver, program in programs:
            its_lower, its_upper, its_status = program.lower[q], program.upper[q], program.status[q]
            verdict.counts[f"{solver} {its_status.name}"] += 1
            judge_witness(verdict, model, instance, program, q, solver)
            if its_status is RadiusStatus.EXACT and not np.isfinite(its_upper):
                verdict.fail("program exact without witness", f"{solver}: EXACT with [{its_lower!r}, {its_upper!r}]")
                continue
            for below, above, of, record in (
                (lower, its_upper, "search exceeds " + solver, program),
                (its_lower, upper, solver + " exceeds search", search),
            ):
                if not below <= above:
                    far = not in_reach(model, instance.Z[q], record.perturbation[q])
                    verdict.fail("overlap far" if far else "overlap", f"{of}: {below!r} > {above!r}")
            misclassified = RadiusStatus.MISCLASSIFIED
            if (status is misclassified) != (its_status is misclassified):
                verdict.fail("status", f"search {status.name}, {solver} {its_status.name}")
            its_width = rounding_width(model, instance, program, q)
            closed = its_status in CLOSED and (
                np.isinf(its_lower) or its_upper - its_lower <= max(TOLERANCE * its_upper, its_width)
            )
            if status is RadiusStatus.INTERVAL and closed:  # in the search's own terms
                if np.isinf(upper):
                    kind = "unproven" if np.isinf(its_lower) else "no witness" if lower > 0 else "tie without witness"
                else:
                    kind = "loose upper" if upper - its_upper > its_lower - lower else "loose lower"
                text = f"[{lower!r}, {upper!r}], {solver} {its_status.name} [{its_lower!r}, {its_upper!r}]"
                verdict.weaker.append((kind, text))
            if its_status is RadiusStatus.INTERVAL and status in CLOSED:
                verdict.counts[f"{solver} open, search closed"] += 1
            both_exact = status is its_status is RadiusStatus.EXACT and np.isfinite(upper)
            if both_exact and program.radius[q] > 0:
                apart, radius = abs(search.radius[q] - program.radius[q]), program.radius[q]
                widths = mine + its_width
                excess = (apart - widths) / radius
                if program.tolerance <= 2 * TOLERANCE:
                    verdict.disagreement = max(verdict.disagreement, excess)
                    if widths <= 1e-12 * radius:
                        verdict.raw = max(verdict.raw, apart / radius)
                # middles of intervals that meet are half their widths apart, TOLERANCE where the program is daqp
                if not excess <= max(TOLERANCE, (TOLERANCE + program.tolerance) / 2):
                    verdict.fail("disagree", f"search {search.radius[q]!r}, {solver} {radius!r}, widths {widths!r}")
    return verdict


# --- making smaller -------------------------------------------------------------------------------------------------


def _smaller(instance):
    """Every instance that is one step simpler."""
    n, d = instance.X.shape
    replace = functools.partial(dataclasses.replace, instance)
    if len(instance.Z) > 1:
        for q in range(len(instance.Z)):
            yield replace(Z=instance.Z[q : q + 1], labels=instance.labels[q : q + 1])
    for size in (n // 2, n // 4, 1):
        for start in range(0, n, size) if size else ():
            keep = np.r_[0:start, start + size : n]
            if len(keep) and np.isin(instance.labels, instance.y[keep]).all():
                yield replace(X=instance.X[keep], y=instance.y[keep])
    if instance.box is not None:
        yield replace(box=None)
    if instance.M is not None or instance.L is not None:
        yield replace(M=None, L=None)
    for f in range(d) if d > 1 else ():
        keep = np.r_[0:f, f + 1 : d]
        yield replace(
            X=instance.X[:, keep],
            Z=instance.Z[:, keep],
            M=None if instance.M is None else instance.M[np.ix_(keep, keep)],
            L=None if instance.L is None else instance.L[:, keep],
            box=None if instance.box is None else tuple(side[keep] for side in instance.box),
        )
    for digits in (0, 1, 3):
        for name in ("X", "Z", "M", "L"):
            value = getattr(instance, name)
            if value is not None and not np.array_equal(value, np.round(value, digits)):
                yield replace(**{name: np.round(value, digits)})
    for f, side in ((f, side) for f in range(d) for side in (0, 1)) if instance.box is not None else ():
        if np.isfinite(instance.box[side][f]):
            sides = [instance.box[0].copy(), instance.box[1].copy()]
            sides[side][f] = np.inf if side else -np.inf
            yield replace(box=tuple(sides))
    for row, f in np.argwhere(instance.X != 0):
        X = instance.X.copy()
        X[row, f] = 0.0
        yield replace(X=X)


def shrunk(instance, fails, seconds=60.0, smaller=_smaller):
    """A smaller instance on which `fails` is still true; greedy, until no step helps or the time is up."""
    end = time.monotonic() + seconds
    progress = True
    while progress and time.monotonic() < end:
        progress = False
        for candidate in smaller(instance):
            if time.monotonic() > end:
                break
            try:
                good = fails(candidate)
            except Exception:
                good = False
            if good:
                instance, progress = candidate, True
                break
    return instance


def still(kind, judged=judged):
    """The test that `shrunk` asks: does this kind of failure, or of weakness, remain?"""

    def ask(instance):
        verdict = judged(instance)
        return any(name == kind for name, _ in verdict.failures + verdict.weaker)

    return ask


# --- running --------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Game:
    """What is drawn, how it is judged, made smaller and read again: functions of modules, to be sent to workers."""

    drawn: Callable = drawn
    judged: Callable = judged
    smaller: Callable = _smaller
    load: Callable = Instance.load
    about: str = __doc__


def look(game, numbered):
    seed, number = numbered
    drawn, judged = game.drawn, game.judged
    try:
        return number, judged(drawn(seed, number))
    except Exception as error:
        verdict = Verdict()
        verdict.fail("harness", f"{type(error).__name__}: {error}")
        return number, verdict


def run(instances, seed, *, first=0, jobs=1, report=None, game=None):
    """Look at the instances from `first` on; yields (number, verdict) as they are done."""
    numbers = [(seed, number) for number in range(first, first + instances)]
    start = time.monotonic()
    done = 0
    with multiprocessing.get_context("spawn").Pool(jobs, numba.set_num_threads, (1,)) if jobs > 1 else _Alone() as pool:
        for number, verdict in pool.imap_unordered(functools.partial(look, game or Game()), numbers, 20):
            done += 1
            if report is not None and (done % max(1, instances // 50) == 0 or done == instances):
                report(f"{done}/{instances} in {time.monotonic() - start:.0f} s")
            yield number, verdict


class _Alone:
    """A pool of nobody but this process."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def imap_unordered(self, function, items, _chunk):
        return map(function, items)


def main(argv=None, game=None):
    game = game or Game()
    drawn, judged = game.drawn, game.judged
    parser = argparse.ArgumentParser(description=game.about.splitlines()[0])
    parser.add_argument("--instances", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first instance")
    parser.add_argument("--only", type=int, help="look at this one instance, and print it")
    parser.add_argument("--replay", type=Path, help="look at an instance that was written before")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("fuzz-failures"), help="folder for instances that fail")
    parser.add_argument("--shrink", type=float, default=60.0, help="seconds to spend on making one smaller")
    given = parser.parse_args(argv)
    if given.only is not None or given.replay is not None:
        instance = game.load(given.replay) if given.replay else drawn(given.seed, given.only)
        verdict = judged(instance)
        print(instance, *verdict.failures, *verdict.weaker, dict(verdict.counts), sep="\n")
        return int(bool(verdict.failures))
    counts, failed, weaker = collections.Counter(), collections.defaultdict(list), collections.defaultdict(list)
    worst = [(0.0, None)] * 3
    for number, verdict in run(
        given.instances, given.seed, first=given.first, jobs=given.jobs, report=lambda text: print(text, flush=True),
        game=game,
    ):  # fmt: skip
        counts += verdict.counts
        for place, value in enumerate((verdict.disagreement, verdict.raw, verdict.width)):
            worst[place] = max(worst[place], (value, number), key=lambda pair: pair[0])
        for kind, text in verdict.failures:
            failed[kind].append(number)
            print(f"FAILED {kind}, instance {number}: {text}", flush=True)
        for kind, text in verdict.weaker:
            weaker[kind].append(number)
            print(f"weaker, {kind}, instance {number}: {text}", flush=True)
    for name, value in sorted(counts.items()):
        print(f"{name}: {value}")
    what = ("disagreement beyond rounding widths", "disagreement where these are negligible", "width of a closed one")
    for name, (value, number) in zip(what, worst, strict=True):
        print(f"worst relative {name}: {value:.3g} (instance {number})")
    for name, found in (("failures", failed), ("weaker than the program", weaker)):
        print(f"{name}: {sum(map(len, found.values()))} { {kind: len(numbers) for kind, numbers in found.items()} }")
    for kind, numbers in [*failed.items(), *weaker.items()]:
        for number in numbers[:3]:
            small = shrunk(drawn(given.seed, number), still(kind, judged), given.shrink, game.smaller)
            given.out.mkdir(parents=True, exist_ok=True)
            path = given.out / f"{kind.replace(' ', '-')}-{given.seed}-{number}.npz"
            small.save(path)
            verdict = judged(small)
            print(f"\n{path}: {small}", *verdict.failures, *verdict.weaker, sep="\n  ", flush=True)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
