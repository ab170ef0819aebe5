"""
Check a certificate by hand
===========================

A certificate proves a radius to somebody who trusts neither our search nor floating point.  Here is one for 1-NN in ℓ2,
checked with ``fractions.Fraction`` and nothing else.  A perturbation δ that makes a negative j the nearest makes it
nearer than *every* positive i.  With D(x) = ‖z − x‖² and multipliers λ ≥ 0, none with ‖δ‖ < r does if

    gap = Σ λ_i (D(x_j) − D(x_i)) > 0   and   gap ≥ r ‖w‖,   where   w = 2 Σ λ_i (x_i − x_j).
"""

import dataclasses
from fractions import Fraction

import numpy as np
from sklearn.datasets import load_iris

import convexrml
from convexrml import checker


def gap_and_square(z, negative, positives, multipliers):
    """gap and ‖w‖² of one negative, some positives and their multipliers, all in Fractions: no digit is rounded."""
    gap, w = Fraction(0), [Fraction(0)] * len(z)
    for lam, x in zip(multipliers, positives, strict=True):
        gap += lam * sum((a - c) ** 2 - (a - b) ** 2 for a, b, c in zip(z, x, negative, strict=True))
        w = [total + 2 * lam * (b - c) for total, b, c in zip(w, x, negative, strict=True)]
    return gap, sum(value * value for value in w)


# %%
# Most negatives are kept away by one positive, with λ = 1.  The others are *open*: the proof has some positives and
# multipliers for each.  (In ``args`` stand j; how many; 0; j once for each; the positives.)


def evidence_of(proof, negatives):
    swept = np.setdiff1d(negatives, proof.open).tolist()
    evidence = {j: ([i], [1.0]) for j, i in zip(swept, proof.sweep[:, 0].tolist(), strict=True)}
    args, values = iter(proof.args.tolist()), iter(proof.values.tolist())
    for j in args:
        n, _ = next(args), next(args)
        evidence[j] = [next(args) for _ in range(2 * n)][n:], [next(values) for _ in range(n)]
    return evidence


def main() -> None:
    X, y = load_iris(return_X_y=True)
    z, label, X, y = X[101], y[101], X[::2], y[::2]
    model = convexrml.NearestNeighbors().fit(X, y)
    certificate = convexrml.exact_radius(model, [z], [label], certificates=True).certificates[0]

    query, *points = ([Fraction(value) for value in row] for row in [z, *X])
    r = Fraction(certificate.lower)
    evidence, rows = evidence_of(certificate.proof, np.flatnonzero(y != label)), []
    for j, (positives, multipliers) in evidence.items():
        lam = [Fraction(value) for value in multipliers]
        gap, square = gap_and_square(query, points[j], [points[i] for i in positives], lam)
        assert gap > 0 and gap**2 >= r**2 * square, f"negative {j}: not proved"
        rows.append((float(gap) / float(square) ** 0.5, j, positives, [round(value, 3) for value in multipliers]))
    print(f"claimed: r = {certificate.lower!r}; all {len(evidence)} negatives are kept away that far")
    print("negative  gap / ‖w‖  positives, multipliers   (the five nearest)")
    for reach, j, positives, multipliers in sorted(rows)[:5]:
        print(f"{j:8}  {reach:9.6f}  {positives}, {multipliers}")

    training = checker.TrainingSet(X, y)
    checker.check(certificate.to_bytes(), training)
    print("convexrml.checker: accepted")
    forged = dataclasses.replace(certificate, lower=certificate.lower * (1 + 1e-9))
    try:
        checker.check(forged.to_bytes(), training)
    except checker.Rejected as reason:
        print(f"with r larger by a billionth: {reason}")


if __name__ == "__main__":
    main()

# %%
# The least of the proven radii is r itself, up to the rounding that the search has subtracted.
