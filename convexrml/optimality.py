"""Certificates of optimality: a lower bound on the least robust hinge that anyone can check in exact arithmetic."""

from __future__ import annotations

import dataclasses
import json
import math
import zlib
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexrml import optimality_checker as checker
from convexrml.errors import UnsupportedError
from convexrml.hinge import RobustHingeObjective
from convexrml.regularisers import FixedTrace, FrobeniusPrior, TracePenalty
from convexrml.spectral import largest_eigenvalue
from convexrml.triplets import Triplets

_GRID_BITS = 60  # multipliers are cut off this far below the largest, which keeps the integers short


@dataclasses.dataclass(frozen=True, eq=False)
class OptimalityCertificate:
    """A lower bound on the minimum of a robust hinge, with its evidence.

    Attributes
    ----------
    lower : float
        ``F(M) ≥ lower`` for every feasible M, in real numbers.
    norm, regulariser : str
        As `convexrml.optimality_checker` names them.
    parameter : float
        The trace, or λ.
    sections : dict of arrays
        ``tau``, ``margin``, ``a``, ``q``, and ``eigenvalue`` or ``root`` and ``prior``.
    sha256 : str
        Of the triplets.
    about : dict
        Whatever else is worth telling, in JSON: nothing in it is a claim.
    """

    lower: float
    norm: str
    regulariser: str
    parameter: float
    sections: Mapping[str, NDArray[np.float64]]
    sha256: str
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """The certificate's file.

        Returns
        -------
        bytes
            What `check_optimum` takes; ``docs/learning.md`` has the format.
        """
        table: list[tuple[str, int, int]] = []
        body = b""
        for name, array in self.sections.items():
            raw = np.ascontiguousarray(array, dtype="<f8").tobytes()
            packed = zlib.compress(raw)
            table.append((name, len(packed), len(raw)))
            body += packed
        claim = {
            "lower": float(self.lower).hex(),
            "norm": self.norm,
            "regulariser": self.regulariser,
            "parameter": float(self.parameter).hex(),
        }
        header = {"claim": claim, "sha256": self.sha256, "sections": table, "about": dict(self.about)}
        return checker.MAGIC + json.dumps(header, ensure_ascii=False, allow_nan=False).encode() + b"\n" + body


def certify_optimum(objective: RobustHingeObjective, a: ArrayLike, q: ArrayLike) -> OptimalityCertificate:
    """Make a certificate from approximate multipliers: the lower bound that they prove, exactly, rounded down.

    The multipliers are made admissible and cut to a grid, both towards zero; the eigenvalue bound of floating point is
    raised until elimination in integers confirms it.  The claim is then what the checker's own arithmetic finds.

    Parameters
    ----------
    objective : RobustHingeObjective
        F: ``program.objective`` of a `convexrml.formulations.RobustHinge`.
    a : (m,) array
        Multipliers of the hinges, ``Solution.duals["hinge"]``; brought into ``[0, c]``.
    q : (m, d) array
        Those of the lengths, ``Solution.duals["length"]``; brought into their balls.

    Returns
    -------
    OptimalityCertificate
        Of the lower bound that the multipliers prove in exact arithmetic, rounded down; at least 0.

    Raises
    ------
    UnsupportedError
        If the regulariser is none of `convexrml.regularisers`.
    """
    R, T = objective.regulariser, objective.triplets
    a_, Q = objective.admissible(a, q)
    grid = math.ldexp(1.0, math.frexp(float(a_.max()))[1] - _GRID_BITS)
    if grid > 0:
        a_ = np.floor(a_ / grid) * grid
        _, Q = objective.admissible(a_, Q)
        Q = np.trunc(Q / grid) * grid
    sections: dict[str, NDArray[np.float64]] = {
        "tau": _shortest(np.asarray(objective.tau)),
        "margin": _shortest(np.asarray(objective.margin)),
        "a": a_,
        "q": Q,
    }
    V, S, weights = T.V.tolist(), T.S.tolist(), T.weights.tolist()
    norm = objective.norm.name
    case = checker.Case(V, S, weights, norm, _plain(sections))
    C, slack = objective.combine(a_, Q)
    if isinstance(R, FrobeniusPrior):
        kind, parameter = "frobenius prior", R.lam
        eigenvalues, E = np.linalg.eigh(R.prior(T.n_features) + C / R.lam)
        sections["root"] = E * np.sqrt(R.lam * np.maximum(-eigenvalues, 0))
        if R.M0 is not None:
            sections["prior"] = R.M0
    elif isinstance(R, FixedTrace | TracePenalty):
        kind, parameter = ("fixed trace", R.trace) if isinstance(R, FixedTrace) else ("trace penalty", R.lam)
        top, step = largest_eigenvalue(C), slack + float(np.finfo(float).tiny)
        while not case.below(Fraction(top)):
            top, step = max(top + step, math.nextafter(top, math.inf)), 2 * step
        sections["eigenvalue"] = np.array([top])
    else:
        raise UnsupportedError(f"regulariser: no certificate is known for {type(R).__name__}")
    bound = max(case.bound(kind, parameter, _plain(sections)), Fraction(0))
    return OptimalityCertificate(
        lower=_rounded_down(bound),
        norm=norm,
        regulariser=kind,
        parameter=parameter,
        sections=sections,
        sha256=checker.digest(V, S, weights),
    )


def check_optimum(data: bytes, triplets: Triplets) -> checker.Checked:
    """Check a certificate's file against triplets: `convexrml.optimality_checker.check`.

    Parameters
    ----------
    data : bytes
        The file's content.
    triplets : Triplets
        Those that it was made for, to the last bit.

    Returns
    -------
    Checked
        What was proved.

    Raises
    ------
    convexrml.optimality_checker.Rejected
        With the reason.
    """
    return checker.check(data, triplets.V.tolist(), triplets.S.tolist(), triplets.weights.tolist())


def _plain(sections: Mapping[str, NDArray[np.float64]]) -> dict[str, tuple[float, ...]]:
    return {name: tuple(array.ravel().tolist()) for name, array in sections.items()}


def _shortest(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """One entry where all are the same."""
    return values[:1] if (values == values[0]).all() else values


def _rounded_down(value: Fraction) -> float:
    nearest = float(value)
    return nearest if Fraction(nearest) <= value else math.nextafter(nearest, -math.inf)
