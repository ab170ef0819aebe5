"""Check certificates of robustness radii in integers: one file, to be audited in one sitting.

``docs/certificates.md`` describes format and claim.  Every float, of data, metric and certificate, is the dyadic
rational that it is.  With ``D_i(p) = (p − x_i)ᵀ M (p − x_i)`` and ``s = (k + 1) / 2``, a majority is lost at p if and
only if there are a set S* of s negatives and a set X* of at most s − 1 positives such that every j of S* is no farther
than every positive outside X*.  (A plurality lost is a majority lost.)  ``radius ≥ r`` says that this holds at no point
p = z + δ of the box with ``‖δ‖_p < r``; it is refuted case by case.  For j of S* and i outside X*, ``D_j(p) − D_i(p) =
D_j(z) − D_i(z) + ⟨2 M (x_i − x_j), δ⟩ ≤ 0``, so with any λ ≥ 0, v (0 without a box) and h = max over the box of ⟨v, δ⟩,

    ``Σ λ (D_j(z) − D_i(z)) − h  ≤  −⟨w, δ⟩  ≤  ‖w‖_q ‖δ‖_p,      w = Σ λ 2 M (x_i − x_j) + v:``

the case is closed if the left side is positive and at least ``r ‖w‖_q``.

*The filter* settles most of this in floating point.  A sum of products is computed within ``γ = n u / (1 − n u)`` times
the sum of the terms' magnitudes, n being the roundings behind a term, ``u = 2⁻⁵³`` (Higham, Accuracy and Stability of
Numerical Algorithms, 2nd ed., ch. 3).  With points centred at m, ``a_i = ‖x_i − m‖₂``, ``ζ = ‖z − m‖₂``, ``α ≥ ‖|M|‖₂``
or ``‖|L|‖₂²``, the score ``⟨u_i, x_i − m⟩ − 2 ⟨u_i, z − m⟩`` of the site ``u_i = M (x_i − m)`` is D_i up to a term that
all share.  It has at most 2 d + r + 8 roundings behind a term (r rows in L), so it is off by ``γ α (a_i² + 2 a_i ζ)``,
and u_i by ``γ α a_i`` in ℓ2 and ℓ∞, √d times that in ℓ1; sums weighted by m multipliers have m more.  The code takes
n = 2 d + r + m + 16 and doubles the bounds, which pays for computing a_i, ζ, α and the bounds themselves.  No entry
exceeds 2¹⁰⁰ and no λ exceeds 1, so underflow stays below 2⁻⁵⁰⁰, which is added.  inf and NaN settle nothing.
"""

from __future__ import annotations

import hashlib
import json
import math
import operator
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAGIC = b"convexrml certificate 1\n"
HEADER_LIMIT, SECTIONS_LIMIT = 2**16, 2**27  # bytes; the second counts unpacked sections
NEG, POS, DUAL, COUNT = range(4)
TWO_U = 2.01 * 2.0**-53  # times n: 2 γ
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
            require(name not in sections and at <= end <= len(data), f"truncated: section {name}")
            require(0 <= size and 0 <= room, f"malformed: size of section {name}")
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


def dot(a: Iterable[int], b: Iterable[int]) -> int:
    """``⟨a, b⟩``."""
    return sum(map(operator.mul, a, b))


class TrainingSet:
    """Training points, labels and metric (``"euclidean"``, ``"matrix"`` M or ``"components"`` L), for many checks."""

    def __init__(self, X: ArrayLike, y: ArrayLike, metric: ArrayLike | None = None, kind: str = "euclidean") -> None:
        self.X = np.ascontiguousarray(X, dtype=np.float64)
        classes, codes = np.unique(np.asarray(y), return_inverse=True)
        self.codes, self.labels, (N, d) = codes.astype(np.int64), list(map(label_text, classes)), self.X.shape
        L = np.zeros((0, d)) if metric is None else np.ascontiguousarray(metric, dtype=np.float64)
        fits = np.isfinite(self.X).all() and np.isfinite(L).all() and self.codes.shape == (N,) and L.shape[1] == d
        known = kind in ("euclidean", "matrix", "components") and (metric is None) == (kind == "euclidean")
        if not (fits and known and (kind != "matrix" or np.array_equal(L, L.T))):
            raise ValueError("needs finite points, their labels, and a metric that fits, M being symmetric exactly")
        self.sha256 = {"training": digest("\n".join(["training", *self.labels]), self.X, self.codes)}
        self.sha256["metric"] = digest(f"metric {kind}", L)
        self.kind, self.t, places = kind, places_of(self.X), places_of(L)
        self.metric_places = 2 * places if kind == "components" else places
        self._L, self._points = [integers(row, places) for row in L], dict[int, tuple[list[int], list[int]]]()
        self.centre, sizes = self.X.mean(axis=0), np.abs(L)  # this and the rest serve the filter
        centred = self.X - self.centre
        self.sites = centred if kind == "euclidean" else centred @ L if kind == "matrix" else (centred @ L.T) @ L
        self.offsets, self.lengths = np.einsum("ij,ij->i", self.sites, centred), np.linalg.norm(centred, axis=1)
        norms = [float(sizes.sum(axis=axis).max(initial=0)) for axis in (0, 1)]  # of |L|, ℓ1 and ℓ∞; equal for M
        self.alpha = {"euclidean": 1.0, "matrix": norms[0], "components": norms[0] * norms[1]}[kind]
        self.roundings = 2 * d + len(L) * (kind == "components") + 16
        self.small = bool(max(np.abs(self.X).max(), sizes.max(initial=0)) <= 2.0**100)

    def point(self, i: int, t: int) -> tuple[list[int], list[int]]:
        """``x_i`` times 2ᵗ, and its image; t is at least `self.t`."""
        if i not in self._points:
            self._points[i] = (x := integers(self.X[i], self.t)), self.image(x)
        x, image = self._points[i]
        return (x, image) if t == self.t else ([f << (t - self.t) for f in x], [f << (t - self.t) for f in image])

    def image(self, v: list[int]) -> list[int]:
        """``M v`` times ``2^metric_places``."""
        if self.kind == "euclidean":
            return v
        y = [dot(row, v) for row in self._L]
        return y if self.kind == "matrix" else [dot(column, y) for column in zip(*self._L, strict=True)]

    def approximate(self, p: Floats) -> tuple[Floats, Floats]:
        """Floating-point scores of p, and ``α (a_i² + 2 a_i ζ)``, which bounds them and, times γ, their errors."""
        q = p - self.centre
        return self.offsets - 2 * (self.sites @ q), self.alpha * self.lengths * (self.lengths + 2 * np.linalg.norm(q))

    def lost(self, p: Floats, label: int, k: int, vote: str, use_filter: bool = True) -> bool:
        """Whether the label with this code loses the vote of the k nearest at p, ties ordered against it, exactly."""
        near, t = np.arange(len(self.X)), max(self.t, places_of(p))
        if use_filter and self.small and np.abs(p).max() <= 2.0**100:
            scores, blur = self.approximate(p)
            off = TWO_U * (self.roundings + 1) * blur + 2.0**-500
            near = np.flatnonzero(scores - off <= np.partition(scores + off, k - 1)[k - 1])  # k others are nearer else
        double, points = [2 * x for x in integers(p, t)], ((i, *self.point(i, t)) for i in near.tolist())
        scored = [(dot(image, map(operator.sub, x, double)), int(self.codes[i])) for i, x, image in points]
        for rival in {code for _, code in scored} - {label}:  # others have no vote
            ranked = sorted((score, 2 * (code == label) + (code != rival), code) for score, code in scored)[:k]
            own, other = (sum(code == c for _, _, code in ranked) for c in (label, rival))
            if own <= (k // 2 if vote == "majority" else other):
                return True
        return False


class Check:
    """One certificate against one training set; see `check`."""

    def __init__(self, data: bytes, training: TrainingSet, use_filter: bool) -> None:
        header, self.sections = parse(data)
        self.training, self.claim, self.exact, self.use_filter = training, header["claim"], 0, use_filter
        self.r, self.R, self.norm, self.k, self.vote, label = (self.claim[key] for key in CLAIM)
        require(self.norm in ("1", "2", "inf"), f"malformed: norm {self.norm!r}")
        require(0 < self.k <= len(training.X) and self.k % 2 == 1, f"malformed: n_neighbors {self.k}")
        require(self.vote in ("majority", "plurality"), f"malformed: vote {self.vote!r}")
        require(label in training.labels, f"the label {label!r} does not occur in the training set")
        self.s, self.label, self.z = (self.k + 1) // 2, training.labels.index(label), self.floats("query")
        self.own = training.codes == self.label
        for name, value in (training.sha256 | {"query": digest("query", self.z)}).items():
            require(header["sha256"].get(name) == value, f"wrong hash: not the {name} that was certified")
        boxed = self.sections.keys() & {"box_lower", "box_upper"}
        self.box = [self.floats("box_lower", True), self.floats("box_upper", True)] if boxed else None
        require(self.inside(self.z), "malformed: the box does not contain the query")
        self.t = max(training.t, *(places_of(side[np.isfinite(side)]) for side in [self.z, *(self.box or [])]))
        self.zi = integers(self.z, self.t)
        self.filter = use_filter and training.small and np.abs(self.z).max() <= 2.0**100
        if self.filter:
            self.scores, self.blur = training.approximate(self.z)

    def floats(self, name: str, infinite: bool = False) -> Floats:
        """A section of d floats; infinite ones are refused unless allowed, NaN always."""
        values = self.sections.get(name, np.zeros(0)).astype(np.float64)
        require(values.shape == self.training.X.shape[1:], f"malformed: length of section {name}")
        bad = np.isnan(values) | (np.isinf(values) & (not infinite))
        require(not bad.any(), f"malformed: section {name} has NaN or inf")
        return values

    def inside(self, p: Floats) -> bool:
        """Whether p lies in the box."""
        return self.box is None or bool(((self.box[0] <= p) & (p <= self.box[1])).all())

    def closed(self, pairs: Sequence[tuple[int, int, float]], v: dict[int, float]) -> bool:
        """Whether multipliers ``(j, i, λ)`` and ``{feature: v}`` close a case, in integers; inf in v cancels w."""
        T, t, lam = self.training, self.t, np.array([weight for _, _, weight in pairs])
        self.exact += 1
        gap, w, places = 0, [0] * len(self.z), places_of(lam) + t + T.metric_places  # of w; the gap has t more
        for (j, i, _), weight in zip(pairs, integers(lam, places_of(lam)), strict=True):
            (xi, ui), (xj, uj) = T.point(i, t), T.point(j, t)
            half = list(map(operator.sub, ui, uj))
            gap += weight * sum(h * (2 * z - a - b) for h, z, a, b in zip(half, self.zi, xi, xj, strict=True))
            w = [total + 2 * weight * h for total, h in zip(w, half, strict=True)]
        if self.box is not None and (v or math.isinf(self.r)):
            lift = max(0, places_of(np.array([x for x in v.values() if math.isfinite(x)])) - places)
            gap, w, places = gap << lift, [x << lift for x in w], places + lift
            for f, value in v.items() if math.isfinite(self.r) else enumerate([math.inf] * len(w)):
                push = -w[f] if math.isinf(value) else integers(np.array([value]), places)[0]
                side = self.box[int(push > 0)][f : f + 1]
                if push and np.isinf(side[0]):
                    return False
                w[f], gap = w[f] + push, gap - (push * (integers(side, t)[0] - self.zi[f]) if push else 0)
        if gap <= 0 or math.isinf(self.r):
            return gap > 0 and not any(w)
        n, q = self.r.as_integer_ratio()
        if self.norm == "2":
            return (gap * q) ** 2 >= (n << t) ** 2 * dot(w, w)
        return gap * q >= (n << t) * (max if self.norm == "1" else sum)(map(abs, w))

    def surely(self, J: NDArray[Any], I: NDArray[Any], lam: Floats | None = None) -> NDArray[np.bool_]:  # noqa: E741
        """Whether the filter settles that each pair closes a case, or that all do together, weighted by λ."""
        if not self.filter or math.isinf(self.r) or (lam is not None and lam.max(initial=0) > 1):
            return np.zeros(len(J), dtype=bool)
        T, gamma = self.training, TWO_U * (self.training.roundings + (1 if lam is None else len(J)))
        gap, blur, w = self.scores[J] - self.scores[I], self.blur[J] + self.blur[I], T.sites[I] - T.sites[J]
        off = T.alpha * math.sqrt(len(self.z)) * (T.lengths[J] + T.lengths[I])
        if lam is not None:
            gap, blur, w, off = ((lam @ a)[None] for a in (gap, blur, w, off))
        length = np.linalg.norm(w, {"1": np.inf, "2": None, "inf": 1}[self.norm], axis=1)
        gap = gap - gamma * blur - 2.0**-500
        return np.asarray((gap > 0) & (gap >= 2 * self.r * ((1 + gamma) * length + gamma * off + 2.0**-500)))

    def sweep(self) -> list[bool]:
        """Close each negative that is not listed as open by s positives, one of which is outside X*; tell the open."""
        listed, rows = (self.sections.get(name, np.zeros(0)).astype(np.int64) for name in ("open", "sweep"))
        known = ((listed >= 0) & (listed < len(self.own))).all() and not self.own[listed].any()
        require(known, "malformed: an open negative is none")
        left = ~self.own
        left[listed] = False
        swept = np.flatnonzero(left)
        require(len(rows) == len(swept) * self.s, f"not proved: {len(swept)} negatives need {self.s} positives each")
        rows = rows.reshape(len(swept), self.s)
        known = ((rows >= 0) & (rows < len(self.own))).all() and self.own[rows].all()
        require(known, "not proved: a negative is swept by what is no positive")
        require((np.diff(np.sort(rows, axis=1), axis=1) > 0).all(), "not proved: swept by the same positive twice")
        step = max(1, 2**17 // len(self.z))
        for column in rows.T:
            for at in range(0, len(swept), step):
                J, I = swept[at : at + step], column[at : at + step]  # noqa: E741
                doubtful = ~self.surely(J, I)
                for j, i in zip(J[doubtful].tolist(), I[doubtful].tolist(), strict=True):
                    proved = self.closed([(j, i, 1.0)], {})
                    require(proved, f"not proved: positive {i} does not keep negative {j} away as far as claimed")
        return list((~self.own & ~left).tolist())

    def tree(self, left: list[bool]) -> None:
        """Walk the proof tree over the open negatives: every branch has to be closed."""
        ops, args, values = (self.sections.get(name, np.zeros(0)) for name in ("ops", "args", "values"))
        own, n_left, at, pending = self.own.tolist(), sum(left), {"args": 0, "values": 0}, list[int]()
        holds: dict[int, bool] = {}  # of a negative: is in S*; of a positive: is outside X*.  Last in, first out

        def take(name: str, n: int, of: NDArray[Any]) -> NDArray[Any]:
            require(0 <= n <= len(of) - at[name], "malformed: the proof tree ends early")
            at[name] += n
            return of[at[name] - n : at[name]]

        for number, op in enumerate(ops):
            if op in (NEG, POS):
                i = int(take("args", 1, args)[0])
                fits = 0 <= i < len(own) and i not in holds and (left if op == NEG else own)[i]
                require(fits, f"malformed: record {number} branches on {i}")
                pending.append(i)
                holds[i] = True
                continue
            denied = [own[i] for i, value in holds.items() if not value]
            excused, out = sum(denied), len(denied) - sum(denied)
            if op == DUAL:
                n, m = take("args", 2, args).tolist()
                J, I, features = (take("args", count, args) for count in (n, n, m))  # noqa: E741
                lam, sides = take("values", n, values), take("values", m, values)
                v = dict(zip(features.tolist(), sides.tolist(), strict=True))
                require(((lam >= 0) & (lam < np.inf)).all(), f"malformed: record {number} has multipliers not >= 0")
                fits = self.box is not None and all(0 <= f < len(self.z) and x > -math.inf for f, x in v.items())
                require(len(v) == m and (fits or not m), f"malformed: record {number} has multipliers of no box")
                known = [holds.get(j, False) and not own[j] for j in J.tolist()]
                known += [0 <= i < len(own) and own[i] and holds.get(i, excused == self.s - 1) for i in I.tolist()]
                require(all(known), f"not proved: record {number} uses a point of which nothing is known")
                sure = n > 0 and not m and self.surely(J, I, lam).any()
                proved = sure or self.closed(list(zip(J.tolist(), I.tolist(), lam.tolist(), strict=True)), v)
                require(proved, f"not proved: the multipliers of record {number} do not reach as far as claimed")
            else:
                few = excused >= self.s or n_left - out < self.s
                require(op == COUNT and few, f"not proved: record {number} counts nothing out")
            if not pending:
                used = (number + 1, at["args"], at["values"]) == (len(ops), len(args), len(values))
                return require(used, "malformed: records after the end of the proof tree")
            while holds.popitem()[0] != pending[-1]:
                pass
            holds[pending.pop()] = False
        raise Rejected("not proved: the proof tree ends early")

    def witness(self, R: float) -> None:
        """The point of the upper bound: near enough, in the box, and lost."""
        p = self.floats("witness")
        require(R < math.inf and self.inside(p), "the witness is outside the box, or upper is infinite")
        t, (n, q) = max(places_of(p), self.t), R.as_integer_ratio()
        step = [abs(x - (z << (t - self.t))) for x, z in zip(integers(p, t), self.zi, strict=True)]
        length, n = {"1": sum(step), "2": dot(step, step), "inf": max(step)}[self.norm], n << t
        near = length * q**2 <= n**2 if self.norm == "2" else length * q <= n
        require(near, "the witness is farther away than upper")
        require(self.training.lost(p, self.label, self.k, self.vote, self.use_filter), "not lost at the witness")


def check(data: bytes, training: TrainingSet, *, use_filter: bool = True) -> Check:
    """Accept a certificate, or raise Rejected; without the filter, every comparison is made in integers."""
    with np.errstate(all="ignore"):
        case = Check(data, training, use_filter)
        require(("witness" in case.sections) == (case.R is not None), "malformed: upper and witness go together")
        if case.R is not None:
            case.witness(case.R)
        if case.r > 0:
            case.tree(case.sweep())
    return case
