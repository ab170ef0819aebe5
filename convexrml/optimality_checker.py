"""Check lower bounds on the least robust hinge in integers and fractions: one file, the standard library only.

``docs/learning.md`` describes format and claim.  Every float, of data and certificate, is the dyadic rational that it
is.  For triplets ``(v_i, s_i)`` with weights ``c_i > 0``, margins g_i and radii ``τ_i ≥ 0``, the claim is ``F(M) ≥
lower`` for every ``M ⪰ 0`` (of the stated trace, where one is stated), with

    ``F(M) = Σ c_i [g_i + 2 τ_i ‖M v_i‖_q − v_iᵀ M s_i]₊ + R(M).``

The evidence is multipliers ``0 ≤ a_i ≤ c_i`` and ``‖q_i‖_p ≤ a_i``.  As ``c [h]₊ ≥ a h`` and ``a_i ‖M v_i‖_q ≥ ⟨q_i, M
v_i⟩``, with ``total = Σ g_i a_i`` and ``C = Σ sym((a_i s_i − 2 τ_i q_i) v_iᵀ)``,

    ``F(M) ≥ total − ⟨C, M⟩ + R(M).``

- *fixed trace* t: ``⟨C, M⟩ ≤ t μ`` for a number μ with ``μ I − C`` positive definite;
- *trace penalty*, ``R = λ trace M``: with such a μ ≥ 0, ``⟨C, M⟩ ≤ R(M)`` after all multipliers are scaled by
  ``min(1, λ/μ)``, so ``F(M) ≥ total · min(1, λ/μ)`` where total ≥ 0;
- *Frobenius prior*, ``R = λ/2 ‖M − M₀‖_F²``: with ``G = C + B Bᵀ`` for any matrix B, ``⟨C, M⟩ ≤ ⟨G, M⟩``, and
  ``R(M) − ⟨G, M⟩ ≥ −⟨G, M₀⟩ − ‖G‖_F² / (2 λ)`` for every symmetric M.

0 is always a lower bound.  Positive definite: all leading minors are positive, by Bareiss' elimination in integers.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import operator
import struct
import zlib
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any, TypeAlias

MAGIC = b"convexrml optimality certificate 1\n"
HEADER_LIMIT, SECTIONS_LIMIT = 2**16, 2**27  # bytes; the second counts unpacked sections
SECTIONS = ("tau", "margin", "a", "q", "eigenvalue", "root", "prior")
REGULARISERS = ("fixed trace", "trace penalty", "frobenius prior")
CLAIM = {"lower", "norm", "regulariser", "parameter"}
Rows: TypeAlias = Sequence[Sequence[float]]
Sections: TypeAlias = dict[str, tuple[float, ...]]


class Rejected(Exception):  # noqa: N818 - not an error of this program
    """Why a certificate is not accepted."""


@dataclasses.dataclass(frozen=True)
class Checked:
    """What was proved: `parameter` is λ or the trace, `tau` and `margin` are for all or for each, no `prior` is I."""

    lower: float
    norm: str
    regulariser: str
    parameter: float
    tau: tuple[float, ...]
    margin: tuple[float, ...]
    prior: tuple[float, ...]


def require(condition: object, reason: str) -> None:
    """Reject unless the condition holds."""
    if not condition:
        raise Rejected(reason)


def parse(data: bytes) -> tuple[dict[str, Any], Sections]:
    """Header and sections; no more than SECTIONS_LIMIT bytes are unpacked, whatever the file says."""
    require(data.startswith(MAGIC), f"not a certificate of version 1: the first line is not {MAGIC.decode()[:-1]!r}")
    at = data.find(b"\n", len(MAGIC), len(MAGIC) + HEADER_LIMIT) + 1
    require(at > 0, f"malformed: no header of at most {HEADER_LIMIT} bytes")
    sections, room = Sections(), SECTIONS_LIMIT
    try:
        header = json.loads(data[len(MAGIC) : at].decode("utf-8"))
        require(set(header) == {"claim", "sha256", "sections", "about"}, "malformed: keys of the header")
        claim = header["claim"]
        require(set(claim) == CLAIM and isinstance(header["sha256"], str), "malformed: claim")
        require(claim["norm"] in ("1", "2", "inf"), "malformed: norm")
        require(claim["regulariser"] in REGULARISERS, "malformed: regulariser")
        for key in ("lower", "parameter"):
            value, written = float.fromhex(claim[key]), claim[key]
            require(0 <= value < float("inf") and value.hex() == written, f"malformed: {key} {written!r}")
            claim[key] = value
        for name, packed, size in header["sections"]:
            end, room = at + operator.index(packed), room - operator.index(size)
            require(name in SECTIONS and name not in sections, f"malformed: section {name!r}")
            require(at <= end <= len(data), f"truncated: section {name}")
            require(0 <= size and 0 <= room and size % 8 == 0, f"malformed: size of section {name}")
            unpacker = zlib.decompressobj()
            raw = unpacker.decompress(data[at:end], size + 1)
            require(len(raw) == size and unpacker.eof and not unpacker.unused_data, f"malformed: section {name}")
            sections[name], at = struct.unpack(f"<{size // 8}d", raw), end
            require(all(value - value == 0 for value in sections[name]), f"section {name} has NaN or infinite entries")
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError, zlib.error) as error:
        raise Rejected(f"malformed: {type(error).__name__}: {error}") from None
    require(at == len(data), "malformed: bytes after the last section")
    return header, sections


def digest(V: Rows, S: Rows, weights: Sequence[float]) -> str:
    """SHA-256 of ``triplets``, and of the shape and the little-endian bytes of V, S and the weights."""
    state = hashlib.sha256(b"triplets")
    for rows in (V, S, [weights]):
        state.update(f"\n<f8 ({len(rows)}, {len(rows[0])})\n".encode())
        for row in rows:
            state.update(struct.pack(f"<{len(row)}d", *row))
    return state.hexdigest()


def integers(values: Iterable[float]) -> tuple[list[int], int]:
    """Whole numbers n and a t ≥ 0 with values = n / 2ᵗ."""
    ratios = [value.as_integer_ratio() for value in values]
    t = max((q.bit_length() - 1 for _, q in ratios), default=0)
    return [(n << t) // q for n, q in ratios], t


def positive_definite(A: list[list[int]]) -> bool:
    """Whether a symmetric integer matrix is; only its upper triangle is read."""
    A, previous = [row[:] for row in A], 1
    for k, pivots in enumerate(A):
        if pivots[k] <= 0:
            return False
        for i in range(k + 1, len(A)):
            for j in range(i, len(A)):
                A[i][j] = (pivots[k] * A[i][j] - pivots[i] * pivots[j]) // previous  # exact: a minor
        previous = pivots[k]
    return True


class Case:
    """The multipliers of one certificate in integers: verified admissible, with ``total`` and ``2 C · 2ᵗ``."""

    def __init__(self, V: Rows, S: Rows, weights: Sequence[float], norm: str, sections: Sections) -> None:
        self.m, self.d = m, d = len(V), len(V[0])
        tau, margin, a, q = (sections.get(name, ()) for name in ("tau", "margin", "a", "q"))
        require(len(tau) in (1, m) and len(margin) in (1, m), "malformed: one tau and margin, or one for each triplet")
        tau, margin = (values * m if len(values) == 1 else values for values in (tau, margin))
        require(len(a) == m and len(q) == m * d, "malformed: one multiplier a and one vector q for each triplet")
        require(all(value >= 0 for value in tau), "a radius tau is negative")
        require(all(0 <= a_i <= c_i for a_i, c_i in zip(a, weights, strict=True)), "a multiplier a is outside [0, c]")
        (A, ta), (Q, tq), (T, tt), (G, tg) = map(integers, (a, q, tau, margin))
        rows = [Q[i * d : (i + 1) * d] for i in range(m)]
        up, down = max(0, tq - ta), max(0, ta - tq)  # bring q_i and a_i to one scale
        for row, a_i in zip(rows, A, strict=True):
            size = [abs(x) << down for x in row]
            radius = a_i << up
            inside = {"1": sum(size) <= radius, "2": sum(x * x for x in size) <= radius * radius}
            require(inside.get(norm, max(size) <= radius), "a multiplier q is outside its ball")
        (flat_v, tv), (flat_s, ts) = (integers(x for row in rows_ for x in row) for rows_ in (V, S))
        e = max(ta + ts, tt + tq)
        W = [(A[k // d] * flat_s[k] << e - ta - ts) - (2 * T[k // d] * Q[k] << e - tt - tq) for k in range(m * d)]
        P = [[sum(map(operator.mul, W[i::d], flat_v[j::d])) for j in range(d)] for i in range(d)]
        self.twice_C = [[P[i][j] + P[j][i] for j in range(d)] for i in range(d)]
        self.places = e + tv
        self.total = Fraction(sum(map(operator.mul, G, A)), 1 << (tg + ta))

    def bound(self, regulariser: str, parameter: float, sections: Sections) -> Fraction:
        """The lower bound that the evidence proves."""
        if regulariser == "frobenius prior":
            return self._prior_bound(Fraction(parameter), sections)
        require(len(sections.get("eigenvalue", ())) == 1, "malformed: one eigenvalue")
        mu = Fraction(sections["eigenvalue"][0])
        require(self.below(mu), "the eigenvalue is not above all eigenvalues of C")
        if regulariser == "fixed trace":
            return self.total - Fraction(parameter) * mu
        return self.total * min(Fraction(1), Fraction(parameter) / mu) if mu > 0 else self.total

    def below(self, mu: Fraction) -> bool:
        """Whether ``μ I − C`` is positive definite."""
        scale, diagonal = mu.denominator, 2 * mu.numerator << self.places
        shifted = [[-scale * x for x in row] for row in self.twice_C]
        for k, row in enumerate(shifted):
            row[k] += diagonal
        return positive_definite(shifted)

    def _prior_bound(self, lam: Fraction, sections: Sections) -> Fraction:
        d, B, prior = self.d, sections.get("root", ()), sections.get("prior", ())
        require(len(B) == d * d and len(prior) in (0, d * d) and lam > 0, "malformed: root, prior or parameter")
        roots, t = integers(B)
        M0 = [Fraction(x) for x in prior] or [Fraction(i == j) for i in range(d) for j in range(d)]
        require(all(M0[i * d + j] == M0[j * d + i] for i in range(d) for j in range(i)), "the prior is not symmetric")
        rows = [roots[i * d : (i + 1) * d] for i in range(d)]
        squares = [Fraction(sum(map(operator.mul, x, y)), 1 << 2 * t) for x in rows for y in rows]
        G = [Fraction(x, 2 << self.places) + y for x, y in zip(sum(self.twice_C, []), squares, strict=True)]
        return self.total - sum(map(operator.mul, G, M0)) - sum(x * x for x in G) / (2 * lam)


def check(data: bytes, V: Any, S: Any, weights: Any) -> Checked:
    """Check a certificate's file against its triplets (m rows of d floats, m weights), or raise `Rejected`."""
    V, S = ([[float(x) for x in row] for row in rows] for rows in (V, S))
    weights = [float(x) for x in weights]
    header, sections = parse(bytes(data))
    require(header["sha256"] == digest(V, S, weights), "made for other triplets: their hash differs")
    claim = header["claim"]
    bound = Case(V, S, weights, claim["norm"], sections).bound(claim["regulariser"], claim["parameter"], sections)
    require(Fraction(claim["lower"]) <= max(bound, Fraction(0)), "the evidence proves less than is claimed")
    return Checked(**claim, tau=sections["tau"], margin=sections["margin"], prior=sections.get("prior", ()))
