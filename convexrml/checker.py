"""Check certificates of robustness radii in integers: one file, to be audited in one sitting.

``docs/certificates.md`` has format, claim and derivation.  Every float, of data, metric and certificate, is the dyadic
rational that it is.  ``D_i(p) = (p − x_i)ᵀ M (p − x_i)``.  K is a set of k training points none of which is farther
from p than any outside K; the vote is lost at p if it is lost in such a set.  ``radius ≥ r`` says that it is lost at no
point p = z + δ of the box with ``‖δ‖_p < r``.  This is refuted case by case, by what is in K.  For j in K, i outside,
``D_j(p) − D_i(p) = D_j(z) − D_i(z) + ⟨2 M (x_i − x_j), δ⟩ ≤ 0``, so for λ ≥ 0, any v and h = max_box ⟨v, δ⟩,

    ``Σ λ (D_j(z) − D_i(z)) − h  ≤  −⟨w, δ⟩  ≤  ‖w‖_q ‖δ‖_p,      w = Σ λ 2 M (x_i − x_j) + v:``

the case is closed if the left side is positive and at least ``r ‖w‖_q``.  A lost vote leaves at most (k − 1) / 2
positives in K: a negative that more of them keep away, each by itself, is outside K.  This file is complete without
`checker_filter`, which settles most comparisons in floating point.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import operator
import zlib
from collections import Counter
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAGIC = b"convexrml certificate 1\n"
HEADER_LIMIT, SECTIONS_LIMIT = 2**16, 2**27  # bytes; the second counts unpacked sections
IN, OUT, DUAL, COUNT = range(4)
SECTIONS = dict.fromkeys(("query", "witness", "box_lower", "box_upper", "values"), "<f8")
SECTIONS |= dict.fromkeys(("open", "sweep", "args"), "<i4") | {"ops": "<u1"}
CLAIM = {"lower": str, "upper": str | None, "norm": str, "n_neighbors": int, "vote": str, "label": str}
Floats: TypeAlias = NDArray[np.float64]


class Rejected(Exception):  # noqa: N818 - not an error of this program
    """Why a certificate is not accepted."""


def require(condition: object, reason: str) -> None:
    """Reject unless the condition holds."""
    if not condition:
        raise Rejected(reason)


def parse(data: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Header and sections of a certificate; no more than SECTIONS_LIMIT is unpacked, whatever the file says."""
    require(data.startswith(MAGIC), f"not a certificate of version 1: the first line is not {MAGIC.decode()[:-1]!r}")
    at = data.find(b"\n", len(MAGIC), len(MAGIC) + HEADER_LIMIT) + 1
    require(at > 0, f"malformed: no header of at most {HEADER_LIMIT} bytes")
    sections, room = dict[str, NDArray[Any]](), SECTIONS_LIMIT
    try:
        header = json.loads(data[len(MAGIC) : at].decode("utf-8"))
        require(set(header) == {"claim", "sha256", "sections", "about"}, "malformed: keys of the header")
        claim, header["sha256"] = header["claim"], dict(header["sha256"])
        typed = all(isinstance(claim[key], kind) and type(claim[key]) is not bool for key, kind in CLAIM.items())
        require(typed and len(claim) == len(CLAIM), "malformed: claim")
        for key in ("lower", "upper") if claim["upper"] is not None else ("lower",):
            value, written = float.fromhex(claim[key]), claim[key]
            require(value >= 0 and value.hex() == written, f"malformed: {key} {written!r}")
            claim[key] = value
        for name, packed, size in header["sections"]:
            end, room = at + operator.index(packed), room - operator.index(size)
            fits = name not in sections and at <= end <= len(data) and 0 <= size and 0 <= room
            require(fits, f"truncated or malformed: section {name}")
            unpacker = zlib.decompressobj()
            raw = unpacker.decompress(data[at:end], size + 1)
            require(len(raw) == size and unpacker.eof and not unpacker.unused_data, f"malformed: section {name}")
            sections[name], at = np.frombuffer(raw, SECTIONS[name]), end
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError, zlib.error) as error:
        raise Rejected(f"malformed: {type(error).__name__}: {error}") from None
    require(at == len(data), "malformed: bytes after the last section")
    return header, sections


def label_text(label: Any) -> str:
    """A label as certificates write it: ``"i:3"``, ``"f:0x1.8p+0"`` or ``"s:left"``; whole floats are integers."""
    value = label.item() if isinstance(label, np.generic) else label
    if isinstance(value, str):
        return f"s:{value}"
    return f"i:{int(value)}" if float(value).is_integer() else f"f:{float(value).hex()}"


def digest(name: str, *arrays: NDArray[Any]) -> str:
    """SHA-256 of a name, and of each array's type, shape and little-endian bytes in C order."""
    state = hashlib.sha256(name.encode())
    for array in arrays:
        kind = "<f8" if array.dtype.kind == "f" else "<i8"
        state.update(f"\n{kind} {array.shape}\n".encode() + np.ascontiguousarray(array, kind).tobytes())
    return state.hexdigest()


def places_of(values: Floats) -> int:
    """The least t ≥ 0 for which all values times 2ᵗ are whole."""
    mantissa, exponent = np.frexp(values[values != 0])
    bits = np.ldexp(mantissa, 53).astype(np.int64)
    trailing = np.frexp((bits & -bits).astype(np.float64))[1] - 1
    return max(0, int((53 - exponent - trailing).max(initial=0)))


def integers(values: Floats, t: int) -> list[int]:
    """The values times 2ᵗ."""
    return [(n << t) // q for n, q in map(float.as_integer_ratio, values.tolist())]


def dot(a: list[int], b: list[int]) -> int:
    """``⟨a, b⟩``."""
    return sum(map(operator.mul, a, b))


def may_lose(low: Counter[int], high: Counter[int], label: int, k: int, vote: str) -> bool:
    """Whether the label can lose the vote of k points, of which each class c has at least low[c], at most high[c]."""
    others = set(high) - {label}
    least, most = (sum(n[c] for c in others) for n in (low, high))
    for own in range(low[label], min(high[label], k // 2) + 1):
        votes = own if vote == "plurality" else 0  # of a rival c, at least
        if any(votes <= high[c] and least + max(0, votes - low[c]) <= k - own <= most for c in others):
            return True
    return False


class TrainingSet:
    """Training points, labels and metric (``"euclidean"``, ``"matrix"`` M or ``"components"`` L), for many checks."""

    def __init__(self, X: ArrayLike, y: ArrayLike, metric: ArrayLike | None = None, kind: str = "euclidean") -> None:
        self.X = np.ascontiguousarray(X, dtype=np.float64)
        classes, codes = np.unique(np.asarray(y), return_inverse=True)
        self.codes, self.labels, (N, d) = codes.astype(np.int64), list(map(label_text, classes)), self.X.shape
        L = np.zeros((0, d)) if metric is None else np.ascontiguousarray(metric, dtype=np.float64)
        fits = np.isfinite(self.X).all() and np.isfinite(L).all() and codes.shape == (N,) and L.shape[1] == d
        known = kind in ("euclidean", "matrix", "components") and (len(L) == 0) == (kind == "euclidean")
        if not (fits and known and (kind != "matrix" or np.array_equal(L, L.T))):
            raise ValueError("needs finite points, their labels, and a metric that fits, M being symmetric exactly")
        self.sha256 = {"training": digest("\n".join(["training", *self.labels]), self.X, self.codes)}
        self.sha256["metric"] = digest(f"metric {kind}", L)
        self.kind, self.metric, self.t, places = kind, L, places_of(self.X), places_of(L)
        rows: list[Any] = [integers(row, places) for row in L]
        self.factors = {"euclidean": [], "matrix": [rows], "components": [rows, list(zip(*rows, strict=True))]}[kind]
        self.metric_places, self._points = places * len(self.factors), dict[int, tuple[list[int], list[int]]]()

    @functools.cached_property
    def filter(self) -> Any:
        """What settles the easy comparisons in floating point; not needed for any of them."""
        from convexrml.checker_filter import Filter

        return Filter(self.X, self.metric, self.kind)

    def point(self, i: int) -> tuple[list[int], list[int]]:
        """``x_i`` times 2ᵗ, and ``M x_i`` times ``2ᵗ 2^metric_places``."""
        if i not in self._points:
            x = image = integers(self.X[i], self.t)
            for factor in self.factors:
                image = [dot(row, image) for row in factor]
            self._points[i] = x, image
        return self._points[i]

    def score(self, i: int, double: list[int], finer: int) -> int:
        """``D_i(p) − pᵀMp = ⟨M x_i, x_i − 2 p⟩`` as an integer; `double` is 2 p times ``2^(t + finer)``."""
        x, image = self.point(i)
        return dot(image, [(a << finer) - b for a, b in zip(x, double, strict=True)])

    def lost(self, p: Floats, label: int, k: int, vote: str, use_filter: bool = True) -> bool:
        """Whether the label with this code loses the vote of the k nearest at p, ties ordered against it, exactly."""
        finer = max(0, places_of(p) - self.t)
        double, near = [2 * x for x in integers(p, self.t + finer)], range(len(self.X))
        near = self.filter.near(p, k) if use_filter else near
        scores = [(self.score(i, double, finer), self.codes[i]) for i in near]
        last = sorted(scores)[k - 1][0]
        low, high = (Counter(c for score, c in scores if score < limit) for limit in (last, last + 1))
        return may_lose(low, high, label, k, vote)


class Check:
    """One certificate against one training set; see `check`."""

    def __init__(self, data: bytes, training: TrainingSet, use_filter: bool) -> None:
        header, self.sections = parse(data)
        self.training, self.claim, self.exact = training, header["claim"], 0
        self.r, self.R, self.norm, self.k, self.vote, label = (self.claim[key] for key in CLAIM)
        sound = self.norm in ("1", "2", "inf") and self.vote in ("majority", "plurality")
        require(sound and 0 < self.k <= len(training.X) and self.k % 2 == 1, "malformed: norm, vote or n_neighbors")
        require(label in training.labels, f"the label {label!r} does not occur in the training set")
        self.label, self.z = training.labels.index(label), self.floats("query")
        self.may_lose = functools.partial(may_lose, label=self.label, k=self.k, vote=self.vote)
        for name, value in (training.sha256 | {"query": digest("query", self.z)}).items():
            require(header["sha256"].get(name) == value, f"wrong hash: not the {name} that was certified")
        lower, upper = self.box = self.floats("box_lower", -math.inf), self.floats("box_upper", math.inf)
        self.p = self.z if self.R is None else self.floats("witness")
        inside = all(((lower <= point) & (point <= upper)).all() for point in (self.z, self.p))
        require(inside and self.R != math.inf, "the query or the witness is outside the box, or upper is infinite")
        self.t = max(training.t, *(places_of(side[np.isfinite(side)]) for side in (self.z, self.p, *self.box)))
        self.zi, finer = integers(self.z, self.t), self.t - training.t
        self.score = functools.cache(functools.partial(training.score, double=[2 * z for z in self.zi], finer=finer))
        self.filter = training.filter.at(self.z, self.norm, self.r) if use_filter else None
        ops, self.args, self.values = (iter(self.sections.get(name, ())) for name in ("ops", "args", "values"))
        self.ops = enumerate(ops)

    def floats(self, name: str, absent: float = 0.0) -> Floats:
        """A section of d floats.  A side of the box may be infinite, or absent."""
        d = self.training.X.shape[1]
        values = self.sections.get(name, np.full(d if absent else 0, absent)).astype(np.float64)
        sound = len(values) == d and (np.isfinite(values) | (values == absent)).all()
        require(sound, f"malformed: section {name} has not {d} numbers, or NaN or inf among them")
        return values

    def closed(self, J: list[int], I: list[int], lam: list[float], v: dict[int, float]) -> bool:  # noqa: E741
        """Whether multipliers λ of pairs (j, i) and v of features close a case; inf in v stands for what cancels w."""
        if self.filter and not v and self.filter.together(J, I, lam):
            return True
        self.exact += 1
        v = v if math.isfinite(self.r) else dict.fromkeys(range(len(self.z)), math.inf)
        weights, finite = np.array(lam), np.array([value for value in v.values() if math.isfinite(value)])
        fixed = self.training.t + self.training.metric_places
        shift = max(places_of(weights), places_of(finite) - fixed)  # of λ
        gap, w, places = 0, [0] * len(self.z), shift + fixed  # of w; the gap has self.t more
        for j, i, weight in zip(J, I, integers(weights, shift), strict=True):
            gap += weight * (self.score(j) - self.score(i))
            images = zip(w, self.training.point(i)[1], self.training.point(j)[1], strict=True)
            w = [total + 2 * weight * (a - b) for total, a, b in images]
        for f, value in v.items():
            push = -w[f] if math.isinf(value) else integers(np.array([value]), places)[0]
            side = self.box[int(push > 0)][f : f + 1]
            if push and np.isinf(side[0]):
                return False
            w[f], gap = w[f] + push, gap - (push * (integers(side, self.t)[0] - self.zi[f]) if push else 0)
        if gap <= 0 or math.isinf(self.r):
            return gap > 0 and not any(w)
        n, q = self.r.as_integer_ratio()
        if self.norm == "2":
            return (gap * q) ** 2 >= (n << self.t) ** 2 * dot(w, w)
        return gap * q >= (n << self.t) * (max if self.norm == "1" else sum)(map(abs, w))

    def sweep(self) -> None:
        """Keep each negative that is not listed as open outside K, by s positives.  The other points are free."""
        own, s = self.training.codes == self.label, (self.k + 1) // 2
        listed, rows = (self.sections.get(name, np.zeros(0)).astype(np.int64) for name in ("open", "sweep"))
        require(((0 <= listed) & (listed < len(own))).all() and not own[listed].any(), "malformed: section open")
        self.free = own | (np.bincount(listed, minlength=len(own)) > 0)
        self.most = Counter(dict(enumerate(np.bincount(self.training.codes[self.free]).tolist())))
        swept = np.repeat(np.flatnonzero(~self.free), s)
        require(len(rows) == len(swept), f"not proved: {len(swept) // s} negatives need {s} positives each")
        sound = ((0 <= rows) & (rows < len(own))).all() and own[rows].all()
        require(sound and np.diff(np.sort(rows.reshape(-1, s))).all(), f"not proved: not swept by {s} positives each")
        doubtful = ~self.filter.pairs(swept, rows) if self.filter else np.ones(len(rows), dtype=bool)
        for j, i in zip(swept[doubtful].tolist(), rows[doubtful].tolist(), strict=True):
            require(self.closed([j], [i], [1.0], {}), f"not proved: {i} does not keep {j} away as far as claimed")

    def case(self, known: dict[int, bool]) -> None:
        """Close a case by the next records of the proof tree; of some free points it is known whether they are in K."""
        codes, number, op = self.training.codes, *next(self.ops)
        while op in (IN, OUT):
            i = next(self.args)
            fits = 0 <= i < len(codes) and self.free[i] and i not in known
            require(fits, f"malformed: record {number} splits on {i}")
            self.case(known | {i: bool(op == IN)})
            known[i] = bool(op == OUT)
            number, op = next(self.ops)
        low = Counter(codes[i] for i, inside in known.items() if inside)
        high = self.most - Counter(codes[i] for i, inside in known.items() if not inside)
        if op == COUNT:
            return require(not self.may_lose(low, high), f"not proved: record {number} counts nothing out")
        require(op == DUAL, f"malformed: record {number} is of no kind")
        n, m = range(next(self.args)), range(next(self.args))
        J, I, features = [[next(self.args) for _ in some] for some in (n, n, m)]  # noqa: E741
        lam, v = [next(self.values) for _ in n], dict(zip(features, [next(self.values) for _ in m], strict=True))
        sound = len(v) == len(m) and all(0 <= f < len(self.z) and x > -math.inf for f, x in v.items())
        require(sound and all(0 <= x < math.inf for x in lam), f"malformed: multipliers of record {number}")
        full = {c: not self.may_lose(low + Counter([c]), high) for c in self.most}  # no more of class c are in K
        sound = all(known.get(j, False) for j in J)
        sound &= all(0 <= i < len(codes) and not known.get(i, self.free[i] and not full[codes[i]]) for i in I)
        require(sound, f"not proved: record {number} uses a point of which nothing is known")
        require(self.closed(J, I, lam, v), f"not proved: record {number} does not reach as far as claimed")

    def witness(self) -> None:
        """The point of the upper bound: near enough, and lost."""
        step = [abs(x - z) for x, z in zip(integers(self.p, self.t), self.zi, strict=True)]
        length, (n, q) = {"1": sum(step), "2": dot(step, step), "inf": max(step)}[self.norm], self.R.as_integer_ratio()
        near = length * q**2 <= (n << self.t) ** 2 if self.norm == "2" else length * q <= n << self.t
        require(near, "the witness is farther away than upper")
        require(self.training.lost(self.p, self.label, self.k, self.vote, bool(self.filter)), "not lost at the witness")


def check(data: bytes, training: TrainingSet, *, use_filter: bool = True) -> Check:
    """Accept a certificate, or raise Rejected; without the filter, every comparison is made in integers."""
    case = Check(data, training, use_filter)
    require(("witness" in case.sections) == (case.R is not None), "malformed: upper and witness go together")
    if case.R is not None:
        case.witness()
    try:
        if case.r > 0:
            case.sweep()
            case.case({})
            rest = any(True for records in (case.ops, case.args, case.values) for _ in records)
            require(not rest, "malformed: records after the end of the proof tree")
    except (StopIteration, RecursionError):
        raise Rejected("not proved: the proof tree ends early, or is too deep") from None
    return case
