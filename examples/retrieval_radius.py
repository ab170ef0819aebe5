"""
Retrieval radius
================

Sometimes it is not the label that matters but *which* training point is the nearest: in a search by example, or where
the nearest case is shown as the reason for an answer.  The retrieval radius is the least perturbation of a query that
makes another training point its nearest (:func:`convexrml.retrieval_radius`).
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import convexrml

# %%
# With one point to keep away from the others the radius is a closed form; no label is needed.


def main(points: int = 200, picture: Path = Path("retrieval_radius.png")) -> None:
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, _ = train_test_split(X / 16, y, test_size=0.3, random_state=0, stratify=y)
    Z = X_test[:points]
    model = convexrml.NearestNeighbors().fit(X_train, y_train)

    retrieval = convexrml.retrieval_radius(model, Z)
    label = convexrml.exact_radius(model, Z, model.predict(Z))
    print("least perturbation that changes ... (ℓ2, pixels in [0, 1])")
    print(f"{'':>27} {'least':>7} {'median':>7} {'largest':>8}")
    for what, radii in (("the nearest training image", retrieval.radius), ("the label", label.radius)):
        print(f"{what:>27} {radii.min():7.3f} {np.median(radii):7.3f} {radii.max():8.3f}")

    figure = Figure(figsize=(7.5, 3.8), dpi=120, layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.05))
    axes = left.subplots()
    axes.axline((0, 0), slope=1, color="0.7", lw=1)
    axes.plot(label.radius, retrieval.radius, ".", color="black", ms=4)
    axes.set(xlabel="exact radius of the label", ylabel="retrieval radius", xlim=(0, None), ylim=(0, None))

    nearest = model.kneighbors(Z)[:, 0]
    order = np.argsort(retrieval.radius)
    grid = right.subplots(3, 3)
    for row, query in zip(grid, order[[0, points // 2, -1]], strict=True):
        row[0].set_ylabel(f"{retrieval.radius[query]:.3f}", fontsize=9)
        for axes, image in zip(
            row, (Z[query], X_train[nearest[query]], X_train[retrieval.negative[query]]), strict=True
        ):
            axes.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
            axes.set(xticks=[], yticks=[])
    for axes, title in zip(grid[0], ("query", "nearest", "next"), strict=True):
        axes.set_title(title, fontsize=9)
    right.supylabel("retrieval radius", fontsize=9)
    figure.savefig(picture)


if __name__ == "__main__":
    main()

# %%
# No point is above the diagonal, most are far below: the label is much firmer than the training image behind it,
# because the next image as a rule shows the same digit.  On the right are the least, a median, and the largest radius:
# the query, the training image that is its nearest, and the one that takes its place.
