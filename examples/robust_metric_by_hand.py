"""
The robust metric's SDP by hand
===============================

A triplet (x, x⁺, x⁻) of training points asks that x stay nearer to x⁺ than to x⁻, by a margin g, wherever x is moved
within a ball of radius τ.  With v = x⁺ − x⁻ and s = 2x − x⁺ − x⁻ the worst case of the hinge is convex in M:

    min  Σ c [g + 2 τ ‖M v‖₂ − vᵀ M s]₊   subject to   M ⪰ 0,  trace M = d.

That is a few lines of cvxpy, and what *you* know about the features is a few more.
"""

from pathlib import Path

import cvxpy as cp
import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import MinMaxScaler

import convexrml

TAU, MARGIN = 0.2, 0.5


def own_constraints(M):
    phenols = np.isin(np.arange(13), (5, 6, 7, 8))  # of the features of wine; 0 is alcohol
    return {
        "none": [],
        "alcohol does not count": [M[0, :] == 0],
        "phenols apart from the rest": [M[np.ix_(phenols, ~phenols)] == 0],
        "a weight for each feature": [M == cp.diag(cp.diag(M))],
    }


# %%
# :class:`convexrml.formulations.RobustHinge` is the same program, with its dual.


def main(picture: Path = Path("robust_metric_by_hand.png")) -> None:
    X, y = load_wine(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, random_state=0, stratify=y)
    X_train, X_test = map(MinMaxScaler().fit(X_train).transform, (X_train, X_test))
    triplets = convexrml.mine_triplets(X_train, y_train, n_targets=1, n_impostors=2).triplets
    V, S, c, d = triplets.V, triplets.S, triplets.weights, triplets.n_features

    M = cp.Variable((d, d), PSD=True)
    products = V @ M
    worst = MARGIN + 2 * TAU * cp.norm(products, axis=1) - cp.sum(cp.multiply(S, products), axis=1)
    hinge = cp.Minimize(c @ cp.pos(worst))

    program = convexrml.formulations.RobustHinge(triplets, tau=TAU, margin=MARGIN)
    bound = program.solve("clarabel").lower_bound
    print(f"no metric of trace {d} has a hinge below {bound:.5f}   (proven by the dual)")
    print(f"{'own constraint':>28} {'hinge':>8} {'clean error':>12} {'median radius':>14} {'error at 0.3':>13}")
    figure = Figure(figsize=(9, 2.5), dpi=120, layout="constrained")
    for axes, (name, own) in zip(figure.subplots(1, 4), own_constraints(M).items(), strict=True):
        cp.Problem(hinge, [cp.trace(M) == d, *own]).solve(solver="CLARABEL")
        matrix = convexrml.nearest_psd(M.value)
        model = convexrml.NearestNeighbors(metric=matrix).fit(X_train, y_train)
        radius = convexrml.exact_radius(model, X_test, y_test).radius
        errors = f"{np.mean(radius == 0):12.1%} {np.median(radius):14.3f} {np.mean(radius <= 0.3):13.1%}"
        print(f"{name:>28} {program.objective.value(matrix):8.5f} {errors}")
        axes.imshow(matrix, cmap="RdBu_r", vmin=-3, vmax=3)
        axes.set(xticks=[0, 4, 8, 12], yticks=[0, 4, 8, 12])
        axes.set_title(name, fontsize=9)
    figure.savefig(picture)


if __name__ == "__main__":
    main()

# %%
# The bound is still one with a constraint added, for that only removes metrics: but it may now be below the least hinge
# by any amount, and a certificate of optimality made from it does not say that the metric is the best *of its kind*.
# Radii on test points are exact whatever the metric is; they need not get worse wherever the hinge does.  The pictures
# are the matrices M: red is positive, blue negative.
