"""Proofs that no perturbation at all meets some half-spaces: by rationals, for floats cannot tell 0 from nearly 0."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from convexrml.metric import MahalanobisMetric

Rational = NDArray[np.object_]


def prove_empty(
    metric: MahalanobisMetric,
    X: NDArray[np.float64],
    z: NDArray[np.float64],
    pairs: Sequence[tuple[int, int]],
    sides: Sequence[tuple[int, float, float]] = (),
) -> bool:
    """Whether no δ at all brings negative j as near as positive i for every pair (j, i), inside the given sides.

    With exact squared distances D, the half-spaces are ``2 ⟨M (x_i − x_j), δ⟩ ≤ D_i − D_j`` and ``sign · δ_f ≤ sign ·
    (side − z_f)``.  By Farkas' lemma they have no common point if multipliers ``λ ≥ 0`` make ``Σ λ_k a_k = 0`` and
    ``Σ λ_k b_k < 0``.  Here the rows have to be so few that λ is unique up to its scale (an active set that ended in a
    dependent row); otherwise nothing is proved.

    Parameters
    ----------
    metric : MahalanobisMetric
    X : (N, d) array
        Training points.
    z : (d,) array
    pairs : sequence of (negative, positive)
    sides : sequence of (feature, sign, side)

    Returns
    -------
    bool
        True is a proof; all numbers are taken as the rationals that floats are.
    """
    A, b = [], []
    for j, i in pairs:
        x_j, x_i, p = rational(X[j]), rational(X[i]), rational(z)
        A.append(2 * times(metric, x_i - x_j))
        b.append((x_i - p) @ times(metric, x_i - p) - (x_j - p) @ times(metric, x_j - p))
    for feature, sign, side in sides:
        row = rational(np.zeros(len(z)))
        row[feature] = Fraction(sign)
        A.append(row)
        b.append(Fraction(sign) * (Fraction(side) - Fraction(float(z[feature]))))
    lam = _null_vector([list(column) for column in zip(*A, strict=True)]) if A else None
    if lam is None:
        return False
    if all(multiplier <= 0 for multiplier in lam):
        lam = [-multiplier for multiplier in lam]
    value: Fraction = sum((multiplier * bound for multiplier, bound in zip(lam, b, strict=True)), Fraction(0))
    return all(multiplier >= 0 for multiplier in lam) and value < 0


def rational(values: NDArray[np.float64]) -> Rational:
    """The same numbers as fractions."""
    return np.array([Fraction(float(value)) for value in values], dtype=object)


def times(metric: MahalanobisMetric, v: Rational) -> Rational:
    """``M v`` in rational arithmetic."""
    if metric.is_euclidean:
        return v
    if metric.components is not None:
        L = np.array([rational(row) for row in metric.components], dtype=object)
        return L.T @ (L @ v)
    assert metric.matrix is not None
    return np.array([rational(row) for row in metric.matrix], dtype=object) @ v


def _null_vector(rows: list[list[Fraction]]) -> list[Fraction] | None:
    """The vector that all rows map to 0, if there is one up to scale; None if there is none or more than one."""
    n, pivots, rank = len(rows[0]), [], 0
    for column in range(n):
        pivot = next((r for r in range(rank, len(rows)) if rows[r][column] != 0), None)
        if pivot is None:
            continue
        rows[rank], rows[pivot] = rows[pivot], rows[rank]
        rows[rank] = [value / rows[rank][column] for value in rows[rank]]
        for r in range(len(rows)):
            factor = rows[r][column]
            if r != rank and factor != 0:
                rows[r] = [value - factor * own for value, own in zip(rows[r], rows[rank], strict=True)]
        pivots.append(column)
        rank += 1
    free = [column for column in range(n) if column not in pivots]
    if len(free) != 1:
        return None
    null = [Fraction(0)] * n
    null[free[0]] = Fraction(1)
    for row, column in zip(rows, pivots, strict=False):
        null[column] = -row[free[0]]
    return null
