"""
Certify a classifier of digits
==============================

How much may an image of a digit be changed before 3-NN takes it for another digit?  Three answers for each test image,
which enclose one another: a *certified radius*, a lower bound in closed form (:func:`convexrml.certified_radius`); the
*exact radius*, the norm of the least perturbation that changes the answer (:func:`convexrml.exact_radius`); and an
*attack radius*, the norm of some perturbation that does (:func:`convexrml.attack_radius`).
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import convexrml

# %%
# The *robust error* at ε is the share of test images with a radius of at most ε.  An image that is misclassified as it
# stands has radius 0, and counts at every ε.


def main(picture: Path = Path("certify_digits.png")) -> None:
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X / 16, y, test_size=0.3, random_state=0, stratify=y)

    model = convexrml.NearestNeighbors(n_neighbors=3).fit(X_train, y_train)
    certified = convexrml.certified_radius(model, X_test, y_test)
    exact = convexrml.exact_radius(model, X_test, y_test)
    attack = convexrml.attack_radius(model, X_test, y_test)

    roads = {"certified": certified.lower, "exact": exact.radius, "attack": attack.upper}
    sizes = (0, 0.4, 0.6, 0.8, 1)
    print(f"{'robust error at ε =':>20} " + " ".join(f"{size:7.1f}" for size in sizes))
    for name, radii in roads.items():
        print(f"{name:>20} " + " ".join(f"{np.mean(radii <= size):7.1%}" for size in sizes))

    figure = Figure(figsize=(7, 3.6), dpi=120, layout="constrained")
    axes = figure.subplot_mosaic("cccz;cccp")
    for (name, radii), colour in zip(roads.items(), ("#0072B2", "black", "#D55E00"), strict=True):
        dashed = name == "exact"
        axes["c"].ecdf(radii, color=colour, ls="--" if dashed else "-", zorder=3 if dashed else 2, label=name)
    axes["c"].set(xlabel="size ε of the perturbation (ℓ2, pixels in [0, 1])", ylabel="robust error", xlim=(0, None))
    axes["c"].legend(frameon=False)

    middle = int(np.argsort(exact.radius)[len(X_test) // 2])
    moved = X_test[middle] + exact.perturbation[middle]
    before, after = model.predict([X_test[middle], moved])
    titles = f"test image {middle}: {before}", f"at distance {exact.radius[middle]:.3f}: {after}"
    for place, image, title in zip("zp", (X_test[middle], moved), titles, strict=True):
        axes[place].imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
        axes[place].set_title(title, fontsize=9)
        axes[place].set_axis_off()
    figure.savefig(picture)


if __name__ == "__main__":
    main()

# %%
# Certified radii are the smallest, so their error is the largest; the attack's is the smallest, and the exact one lies
# between them.  On the right is the image with the median exact radius, and below it the perturbed image that proves
# that the radius is no larger: the classifier itself gives it another label.
