"""
Learn a robust metric
=====================

Two learners with scikit-learn's interface.  :class:`convexrml.RobustMetricLearner` minimises a convex surrogate of
robust error, the worst case of the large-margin hinge over perturbations, and stops on a *proven* gap to the optimum.
:class:`convexrml.ExactRadiusLearner` ascends the exact radii of the training points themselves; nothing is proven of
where that ends.  Either metric goes straight back into the classifier, and exact radii on test points tell its worth.
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import MinMaxScaler

import convexrml

# %%
# Perturbations are measured in the scaled features, whatever the metric: nothing is gained by stretching distances.
# (Left alone, the second learner chooses ``n_steps`` and ``dropout`` on a part of the training set: some ten seconds.)


def main(picture: Path = Path("learn_a_metric.png")) -> None:
    X, y = load_breast_cancer(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.4, random_state=0, stratify=y)
    scaler = MinMaxScaler().fit(X_train)
    X_train, X_test = scaler.transform(X_train), scaler.transform(X_test)

    convex = convexrml.RobustMetricLearner().fit(X_train, y_train)
    print(f"robust hinge: {convex.objective_:.5f}, proven to be at most {convex.gap_:.1e} (relative) above the optimum")
    ascent = convexrml.ExactRadiusLearner(n_steps=160, dropout=0.9, random_state=0).fit(X_train, y_train)

    figure = Figure(figsize=(6, 3.6), dpi=120, layout="constrained")
    axes = figure.subplots()
    sizes = (0, 0.1, 0.2, 0.3)
    print(f"{'robust error at ε =':>20} " + " ".join(f"{size:6.1f}" for size in sizes))
    for name, metric, style in (
        ("Euclidean", None, {"color": "black", "ls": "--"}),
        ("robust hinge", convex.get_mahalanobis_matrix(), {"color": "#0072B2"}),
        ("exact radii", ascent.get_mahalanobis_matrix(), {"color": "#009E73"}),
    ):
        model = convexrml.NearestNeighbors(metric=metric).fit(X_train, y_train)
        radii = convexrml.exact_radius(model, X_test, y_test).radius
        print(f"{name:>20} " + " ".join(f"{np.mean(radii <= size):6.1%}" for size in sizes))
        axes.ecdf(radii, label=name, **style)
    axes.set(xlabel="size ε of the perturbation (ℓ2, scaled features)", ylabel="robust error", xlim=(0, None))
    axes.legend(frameon=False)
    figure.savefig(picture)


if __name__ == "__main__":
    main()

# %%
# Clean error (ε = 0) is much the same, robust error is not.  Which learner is better depends on the data: the
# documentation compares them, and others, on four data sets.
