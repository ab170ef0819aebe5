"""Certificates as a program makes them: a claim, a witness, a proof, and the bytes that `convexrml.checker` reads.

``docs/certificates.md`` describes the format.  The checker knows nothing of what is here; this module asks it to parse.
"""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexrml import checker
from convexrml.norms import Box, Norm, as_norm
from convexrml.votes import Vote

_LEVEL = 6  # of compression


@dataclasses.dataclass(frozen=True, eq=False)
class Proof:
    """Evidence that no point nearer than a radius loses a majority: see `convexrml.checker` for why it is enough.

    Attributes
    ----------
    open : (m,) integer array
        Negatives that the tree deals with, ascending.
    sweep : (n_swept, s) integer array
        For each other negative, in the order of the training set: s positives, distinct, whose triplet bounds against
        it all reach the radius.  One of them is not excused, so the negative cannot take part.
    ops : (n,) uint8 array
    args : (n_args,) int32 array
    values : (n_values,) float64 array
        The tree's records in preorder, as `ProofTree` writes them.
    """

    open: NDArray[np.int32]
    sweep: NDArray[np.int32]
    ops: NDArray[np.uint8]
    args: NDArray[np.int32]
    values: NDArray[np.float64]


class ProofTree:
    """Writes a proof tree, one record after the other, in preorder.

    A case is known by which points are among the k nearest (*inside*) and which are not.  `negative` and `positive`
    split a case in two, of which the first comes first, with all that is below it; `multipliers` and `count` close one.

    Attributes
    ----------
    known : dict
        Of the case that is to be closed next: is a point inside?

    Examples
    --------
    The negatives 3 and 7 are open, one nearest neighbour: 3 is inside, and kept away by the positives 0 and 4; or 7 is
    inside, kept away by 0; or neither, and none is left.

    >>> tree = ProofTree()
    >>> tree.negative(3).multipliers([3, 3], [0, 4], [0.25, 1.0])
    >>> tree.negative(7).multipliers([7], [0], [1.0])
    >>> tree.count()
    >>> tree.proof([3, 7], sweep=[[0], [4]]).ops.tolist()
    [0, 2, 0, 2, 3]
    """

    def __init__(self) -> None:
        self._ops: list[int] = []
        self._args: list[int] = []
        self._values: list[float] = []
        self.known: dict[int, bool] = {}
        self._pending: list[int] = []

    @property
    def depth(self) -> int:
        """Of how many splits the first case is being written."""
        return len(self._pending)

    def __len__(self) -> int:
        """How many records there are."""
        return len(self._ops)

    def negative(self, j: int) -> ProofTree:
        """Split: the negative j is inside; it is not."""
        return self._split(checker.IN, j)

    def positive(self, i: int) -> ProofTree:
        """Split: the positive i is not inside; it is."""
        return self._split(checker.OUT, i)

    def _split(self, op: int, i: int) -> ProofTree:
        self._ops.append(op)
        self._args.append(int(i))
        self._pending.append(int(i))
        self.known[int(i)] = op == checker.IN
        return self

    def _closed(self, op: int) -> None:
        """A case is closed; the next one is the second of the last split whose first one this ends."""
        self._ops.append(op)
        while self._pending:
            i, inside = self.known.popitem()
            if i == self._pending[-1]:
                self.known[self._pending.pop()] = not inside
                return

    def multipliers(
        self, inside: ArrayLike, outside: ArrayLike, multipliers: ArrayLike, box: Mapping[int, float] | None = None
    ) -> None:
        """Close by weak duality.

        Parameters
        ----------
        inside, outside, multipliers : (m,) arrays
            ``λ ≥ 0`` of the pair (j, i): j is inside; i is not, or was swept, or the vote is kept if it is inside too.
        box : mapping, optional
            For features f, the multiplier ``v_f`` of a side of the box in units of ``2 M (x_i − x_j)``: positive for
            the upper, negative for the lower side; inf for the one that makes ``w_f`` vanish.
        """
        lam = np.asarray(multipliers, dtype=np.float64)
        exponent = -np.frexp(lam.max(initial=0.0))[1]  # the largest comes to lie in [1/2, 1)
        sides = {f: np.ldexp(value, exponent) for f, value in (box or {}).items()}
        self._args += [len(lam), len(sides), *np.asarray(inside).tolist(), *np.asarray(outside).tolist(), *sides]
        self._values += [*np.ldexp(lam, exponent).tolist(), *sides.values()]
        self._closed(checker.DUAL)

    def count(self) -> None:
        """Close: no k points lose the vote, whichever of those are inside of which it is not known."""
        self._closed(checker.COUNT)

    def proof(self, open: ArrayLike, sweep: ArrayLike) -> Proof:
        """The tree as arrays, with what is swept before it."""
        return Proof(
            np.asarray(open, dtype=np.int32),
            np.asarray(sweep, dtype=np.int32),
            np.array(self._ops, dtype=np.uint8),
            np.array(self._args, dtype=np.int32),
            np.array(self._values, dtype=np.float64),
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Certificate:
    """A claim on one query's radius, with its evidence.

    Attributes
    ----------
    lower : float
        ``radius ≥ lower``; inf where no point of the box loses the vote.
    upper : float or None
        ``radius ≤ upper``; None where nothing is claimed.
    norm : Norm
        In which the radius is measured.
    n_neighbors : int
        k, odd.
    vote : Vote
        The vote that is to be lost.
    label : str
        As ``checker.label_text`` writes it: ``"i:3"``, ``"f:0x1.8p+0"``, ``"s:left"``.
    query : (d,) array
        z, in the units of the training points.
    witness : (d,) array or None
        The point behind `upper`.
    box : Box or None
        In which perturbed points stay; None if there is none.
    proof : Proof or None
        The evidence for `lower`; None where it is 0.
    sha256 : dict
        Of the training set, the metric and the query.
    about : dict
        Whatever else is worth telling, in JSON: nothing in it is a claim.
    """

    lower: float
    upper: float | None
    norm: Norm
    n_neighbors: int
    vote: Vote
    label: str
    query: NDArray[np.float64]
    witness: NDArray[np.float64] | None
    box: Box | None
    proof: Proof | None
    sha256: Mapping[str, str]
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """The certificate's file.

        Returns
        -------
        bytes
            What `convexrml.checker.check` takes; ``docs/certificates.md`` has the format.
        """
        sections: dict[str, NDArray[Any] | None] = {"query": self.query, "witness": self.witness}
        if self.box is not None:
            sections |= {"box_lower": self.box.lower, "box_upper": self.box.upper}
        if self.proof is not None:
            sections |= {field.name: getattr(self.proof, field.name) for field in dataclasses.fields(self.proof)}
        table: list[tuple[str, int, int]] = []
        body = b""
        for name, array in sections.items():
            if array is not None and array.size:
                raw = np.ascontiguousarray(array, dtype=checker.SECTIONS[name]).tobytes()
                packed = zlib.compress(raw, _LEVEL)
                table.append((name, len(packed), len(raw)))
                body += packed
        claim = {
            "lower": float(self.lower).hex(),
            "upper": None if self.upper is None else float(self.upper).hex(),
            "norm": self.norm.name,
            "n_neighbors": self.n_neighbors,
            "vote": self.vote.value,
            "label": self.label,
        }
        header = {"claim": claim, "sha256": dict(self.sha256), "sections": table, "about": dict(self.about)}
        return checker.MAGIC + json.dumps(header, ensure_ascii=False, allow_nan=False).encode() + b"\n" + body


def read_certificate(data: bytes) -> Certificate:
    """Read a certificate, without checking anything that it claims.

    Parameters
    ----------
    data : bytes
        The file's content.

    Returns
    -------
    Certificate
        What the file says.

    Raises
    ------
    convexrml.checker.Rejected
        If it is malformed.
    """
    header, sections = checker.parse(data)
    claim = header["claim"]
    s = (claim["n_neighbors"] + 1) // 2
    empty = np.zeros(0)
    proof = None
    if "ops" in sections:
        proof = Proof(
            sections.get("open", empty).astype(np.int32),
            sections.get("sweep", empty).astype(np.int32).reshape(-1, s),
            sections["ops"],
            sections.get("args", empty).astype(np.int32),
            sections.get("values", empty),
        )
    query = sections.get("query", empty)
    sides = {
        "box_lower": sections.get("box_lower", np.full(len(query), -np.inf)),
        "box_upper": sections.get("box_upper", np.full(len(query), np.inf)),
    }
    return Certificate(
        lower=claim["lower"],
        upper=claim["upper"],
        norm=as_norm(claim["norm"]),
        n_neighbors=claim["n_neighbors"],
        vote=Vote(claim["vote"]),
        label=claim["label"],
        query=query,
        witness=sections.get("witness"),
        box=Box(*sides.values()) if sections.keys() & sides.keys() else None,
        proof=proof,
        sha256=header["sha256"],
        about=header["about"],
    )
