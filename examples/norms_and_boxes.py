"""
ℓ1, ℓ2, ℓ∞, and boxes
=====================

The norm says what a small change is: few pixels by much (ℓ1), all of them by little (ℓ∞), or something in between (ℓ2).
A *box* keeps the perturbed image an image, with pixels from 0 to 1.  It can only make the radius larger.
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import convexrml

SHOWN = 7
NAMES = {1: "ℓ1", 2: "ℓ2", np.inf: "ℓ∞"}

# %%
# For each training image of another digit, the least perturbation that makes it the nearest is a linear program (ℓ1,
# ℓ∞) or a quadratic one (ℓ2); the exact radius is the least of all these.


def main(points: int = 20, picture: Path = Path("norms_and_boxes.png")) -> None:
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X / 16, y, test_size=0.3, random_state=0, stratify=y)
    model = convexrml.NearestNeighbors().fit(X_train, y_train)
    Z, t = X_test[:points], y_test[:points]

    figure = Figure(figsize=(7.5, 4.4), dpi=120, layout="constrained")
    axes = figure.subplot_mosaic("zabc;zdef")
    print(f"{'norm':>5} {'certified':>10} {'exact':>7} {'exact in [0, 1]':>16}   (medians of {points} images)")
    for norm, places in zip((1, 2, np.inf), ("ad", "be", "cf"), strict=True):
        certified = convexrml.certified_radius(model, Z, t, norm=norm)
        free = convexrml.exact_radius(model, Z, t, norm=norm)
        boxed = convexrml.exact_radius(model, Z, t, norm=norm, box=(0, 1))
        medians = [np.median(radii) for radii in (certified.lower, free.radius, boxed.radius)]
        print(f"{NAMES[norm]:>5} {medians[0]:10.3f} {medians[1]:7.3f} {medians[2]:16.3f}")

        for place, found, where in zip(places, (free, boxed), ("", " in [0, 1]"), strict=True):
            delta = found.perturbation[SHOWN].reshape(8, 8)
            most = abs(delta).max()
            drawn = axes[place].imshow(delta, cmap="RdBu_r", vmin=-most, vmax=most)
            axes[place].set_title(f"{NAMES[norm]}{where}: {found.radius[SHOWN]:.3f}", fontsize=10)
            axes[place].set_axis_off()
            figure.colorbar(drawn, ax=axes[place], shrink=0.8, ticks=[-most, 0, most], format="%.2f")
    axes["z"].imshow(Z[SHOWN].reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
    axes["z"].set_title(f"test image {SHOWN}: {t[SHOWN]}", fontsize=10)
    axes["z"].set_axis_off()
    figure.savefig(picture)


if __name__ == "__main__":
    main()

# %%
# Ink that is added is red, ink that is taken away is blue, and above each perturbation stands its norm.  The free ones
# also take ink away where there is none, or add to full black; inside the box (below) they have to find other ways, and
# cost more.  The colours of each picture reach as far as its largest change of a pixel.
