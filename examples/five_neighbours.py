"""
Five neighbours: plurality, majority, intervals
===============================================

With five neighbours and more than two classes there are two ways to lose a vote (:class:`convexrml.Vote`).  The label
loses the *majority* when three of the five carry other labels, whichever these are; it loses the *plurality*, and the
classifier changes its answer, when *one* other label has as many votes.  The second is harder to bring about.
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import convexrml

# %%
# A limit on the work makes intervals of radii: the status of each point says whether its radius is known.


def main(points: int = 60, picture: Path = Path("five_neighbours.png")) -> None:
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X / 16, y, train_size=100, random_state=0, stratify=y)
    Z, t = X_test[:points], y_test[:points]
    model = convexrml.NearestNeighbors(n_neighbors=5).fit(X_train, y_train)

    print(f"{'vote':>10} {'node limit':>11} {'exact':>6} {'mean lower':>11} {'mean upper':>11}")
    found = {}
    for vote in ("majority", "plurality"):
        for limit in (0, 10, 100, None):
            radii = found[vote, limit] = convexrml.exact_radius(model, Z, t, vote=vote, node_limit=limit)
            known = np.mean([status.closed for status in radii.status])
            means = f"{radii.lower.mean():11.4f} {radii.upper.mean():11.4f}"
            print(f"{vote:>10} {'none' if limit is None else limit:>11} {known:6.0%} {means}")

    exact = found["plurality", None].radius
    order = np.argsort(exact)[np.count_nonzero(exact == 0) :]  # those that are right
    place = np.arange(len(order))
    figure = Figure(figsize=(7, 3.8), dpi=120, layout="constrained")
    axes = figure.subplots()
    for limit, colour, width in ((0, "#9ECAE1", 5), (10, "#0072B2", 2.5)):
        some = found["plurality", limit]
        axes.vlines(place, some.lower[order], some.upper[order], color=colour, lw=width, label=f"after {limit} nodes")
    axes.plot(place, exact[order], "o", color="black", ms=3, label="exact, plurality")
    axes.plot(place, found["majority", None].radius[order], "x", color="#009E73", ms=4, label="exact, majority")
    axes.set(
        xlabel="correctly classified test images, by radius", ylabel="radius (ℓ2, pixels in [0, 1])", ylim=(0, None)
    )
    axes.legend(frameon=False, loc="upper left")
    figure.savefig(picture)


if __name__ == "__main__":
    main()

# %%
# Some images lose their majority (the cross) before their plurality (the dot); for most both are one.  A limit of no
# node at all leaves the first bound and the first witness; ten nodes settle more than half of the points here.
# Wherever the search is stopped, the dot lies inside the bar.
