"""Learn a metric that withstands perturbations, certify it, and draw robust error before and after."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import MinMaxScaler

import convexrml


def main(picture: Path = Path("learned_metric.png")) -> None:
    X, y = load_breast_cancer(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.4, random_state=0, stratify=y)
    scaler = MinMaxScaler().fit(X_train)
    X_train, X_test = scaler.transform(X_train), scaler.transform(X_test)

    learner = convexrml.RobustMetricLearner().fit(X_train, y_train)
    print(f"robust hinge: {learner.objective_:.5g}, at most {learner.gap_:.1e} (relative) above the optimum")

    radii = {}
    for name, metric in (("Euclidean", None), ("learned", learner.get_mahalanobis_matrix())):
        model = convexrml.NearestNeighbors(metric=metric).fit(X_train, y_train)
        radii[name] = convexrml.exact_radius(model, X_test, y_test).lower
        assert (convexrml.certified_radius(model, X_test, y_test).lower <= radii[name] * (1 + 1e-9)).all()

    median = np.median(radii["Euclidean"])
    print(f"{'robust error at':>16} {'0 (clean)':>10} {0.5 * median:10.4f} {median:10.4f} {1.5 * median:10.4f}")
    for name, found in radii.items():
        errors = [np.mean(found <= radius) for radius in (0, 0.5 * median, median, 1.5 * median)]
        print(f"{name:>16} " + " ".join(f"{error:10.1%}" for error in errors))

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for name, found in radii.items():
        axes.step(np.sort(found), np.arange(1, len(found) + 1) / len(found), where="post", label=name)
    axes.set(xlabel="size of the perturbation (ℓ2, scaled features)", ylabel="robust error", xlim=(0, None))
    axes.legend(frameon=False)
    figure.savefig(picture)
    print(f"picture: {picture}")


if __name__ == "__main__":
    main()
