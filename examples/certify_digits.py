"""Certify a nearest-neighbour classifier of handwritten digits in a few lines: bound, exact radius, attack."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import convexrml


def main(points: int = 50) -> None:
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X / 16, y, test_size=0.3, random_state=0, stratify=y)
    Z, t = X_test[:points], y_test[:points]

    model = convexrml.NearestNeighbors().fit(X_train, y_train)
    bound = convexrml.certified_radius(model, Z, t)
    exact = convexrml.exact_radius(model, Z, t)
    attack = convexrml.attack_radius(model, Z, t)

    print("perturbation in ℓ2 that changes the prediction, pixels in [0, 1]")
    print(f"{'':>10} {'certified':>10} {'exact':>10} {'attack':>10}")
    for name, q in (("least", 0.0), ("median", 0.5), ("largest", 1.0)):
        row = [np.quantile(radii, q) for radii in (bound.lower, exact.radius, attack.upper)]
        print(f"{name:>10} " + " ".join(f"{value:10.4f}" for value in row))

    fragile = int(np.argmin(np.where(exact.radius > 0, exact.radius, np.inf)))
    moved = Z[fragile] + exact.perturbation[fragile]
    before, after = model.predict(np.stack([Z[fragile], moved]))
    print(f"most fragile: test point {fragile}, a {before} that becomes a {after} at {exact.radius[fragile]:.6f}")


if __name__ == "__main__":
    main()
