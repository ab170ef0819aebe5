"""
Put a bound of your own on trial
================================

Somebody has a new lower bound on the radius of 1-NN.  Is it one?  :func:`convexrml.crosscheck` puts it beside the exact
radii of three roads and an attack, on every point it is shown, and convicts wherever a lower bound exceeds an upper
bound that a witness proves.  Here are three candidates, of which one is wrong.
"""

import dataclasses
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_wine
from sklearn.preprocessing import MinMaxScaler

import convexrml

# %%
# A road to certified radii is a function that is called as :func:`convexrml.certified_radius` is.  Let a be the
# distance to the nearest point of the own class, b that to the nearest of another.  By the triangle inequality
# (b − a) / 2 is a certified radius.  Is b / 2?  (An attacker has to go half of the way there ...)


def distances(model, Z, y):
    to_all = np.linalg.norm(Z[:, None] - model.training_points_, axis=2)
    own = model.classes_[model.labels_] == y[:, None]
    return np.where(own, to_all, np.inf).min(axis=1), np.where(own, np.inf, to_all).min(axis=1)


def half_the_difference(model, Z, y, *, norm):
    a, b = distances(model, Z, y)
    return dataclasses.replace(convexrml.certified_radius(model, Z, y, norm=norm), lower=np.maximum(0, b - a) / 2)


def half_the_way(model, Z, y, *, norm):
    _, b = distances(model, Z, y)
    return dataclasses.replace(convexrml.certified_radius(model, Z, y, norm=norm), lower=b / 2)


# %%
# The judge takes all roads from a :class:`convexrml.Roads`; we replace one.


def main(picture: Path = Path("bring_your_own_bound.png")) -> None:
    X, y = load_wine(return_X_y=True)
    X = MinMaxScaler().fit_transform(X)
    model = convexrml.NearestNeighbors().fit(X[::2], y[::2])
    Z, t = X[1::6], y[1::6]

    exact = convexrml.exact_radius(model, Z, t).radius
    figure = Figure(figsize=(6, 3.6), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.axline((0, 0), slope=1, color="black", lw=1.2, ls="--")
    print(f"{'bound':>20} {'mean':>7} {'checked':>8} {'violated':>9}   closest call, or worst violation")
    bounds = (convexrml.certified_radius, half_the_difference, half_the_way)
    for bound, marker, colour in zip(bounds, "osx", ("#0072B2", "#009E73", "#D55E00"), strict=True):
        report = convexrml.crosscheck(model, Z, t, norms=(2,), roads=convexrml.Roads(certified=bound))
        lower, worst = bound(model, Z, t, norm=2).lower, report.worst
        pair = f"{worst.below} {worst.lower:.4f}, {worst.above} {worst.upper:.4f}"
        print(f"{bound.__name__:>20} {lower.mean():7.4f} {report.checked:8} {report.violated:9}   {pair}")
        axes.plot(exact, lower, marker, color=colour, ms=4, label=bound.__name__)
    axes.set(xlabel="exact radius (ℓ2, scaled features)", ylabel="claimed to be a bound")
    axes.legend(frameon=False)
    figure.savefig(picture)


if __name__ == "__main__":
    main()

# %%
# Half the difference is a bound, though a weak one: it knows nothing of the direction in which the points lie.  Half
# the way is none: where the own class is far as well, the boundary is nearer than that.  Its crosses lie above the
# dashed line; the judge shows the worst, a point that is misclassified as it stands and has a "bound" nevertheless.
