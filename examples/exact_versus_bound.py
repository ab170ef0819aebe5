"""
Exact radius versus bound
=========================

The certified radius of k-NN has a closed form.  It looks at one pair of training points at a time: where is this
negative no farther than this positive?  The exact radius looks at all of them at once.  How much does the bound give
away, and how far from the truth is an attack?
"""

from pathlib import Path

from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import convexrml

# %%
# The closed form bounds the radius within which the label keeps the *majority* of the k votes (see
# :class:`convexrml.Vote`), so that is what the other two are asked about as well.  Test points that are misclassified
# have radius 0, and are left out of the ratios.


def main(points: int = 150, picture: Path = Path("exact_versus_bound.png")) -> None:
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X / 16, y, test_size=0.3, random_state=0, stratify=y)
    Z, t = X_test[:points], y_test[:points]

    figure = Figure(figsize=(8, 3), dpi=120, layout="constrained")
    row = figure.subplots(1, 3, sharex=True, sharey=True)
    print("    certified / exact   attack / exact")
    print(f"{'k':>3} {'least':>8} {'mean':>8} {'mean':>8} {'largest':>8}")
    for k, axes in zip((1, 3, 5), row, strict=True):
        model = convexrml.NearestNeighbors(n_neighbors=k).fit(X_train, y_train)
        exact = convexrml.exact_radius(model, Z, t, vote="majority").radius
        right = exact > 0
        bound = convexrml.certified_radius(model, Z, t).lower[right] / exact[right]
        attack = convexrml.attack_radius(model, Z, t, vote="majority").upper[right] / exact[right]
        print(f"{k:3} {bound.min():8.3f} {bound.mean():8.3f} {attack.mean():8.3f} {attack.max():8.3f}")

        axes.plot(exact[right], attack, "^", color="#D55E00", ms=3, label="attack")
        axes.axhline(1, color="black", lw=1.2, ls="--", label="exact")
        axes.plot(exact[right], bound, "o", color="#0072B2", ms=3, label="certified")
        axes.set_title(f"k = {k}", loc="left", fontsize=10)
        axes.set_xlabel("exact radius (ℓ2, pixels in [0, 1])")
    row[0].set_ylabel("bound / exact radius")
    row[2].legend(frameon=False)
    figure.savefig(picture)


if __name__ == "__main__":
    main()

# %%
# No blue point lies above the line, and no orange one below it.  With one neighbour the bound gives away three percent
# on average, and is exact wherever a single pair decides.  With more neighbours it gives away more: it does not ask
# whether *one* perturbation can do to all pairs what some perturbation can do to each.
