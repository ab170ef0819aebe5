"""Exact radii in ℓ1, ℓ2 and ℓ∞, free and inside a box, with the cross-checker looking on."""

import numpy as np
from sklearn.datasets import load_wine
from sklearn.preprocessing import MinMaxScaler

import convexrml


def main() -> None:
    X, y = load_wine(return_X_y=True)
    X = MinMaxScaler().fit_transform(X)
    model = convexrml.NearestNeighbors().fit(X[::2], y[::2])
    Z, t = X[1:60:4], y[1:60:4]

    print(f"{'norm':>6} {'free':>9} {'in [0, 1]':>10}   (median exact radius)")
    for norm in (1, 2, np.inf):
        free = convexrml.exact_radius(model, Z, t, norm=norm).radius
        boxed = convexrml.exact_radius(model, Z, t, norm=norm, box=(0, 1)).radius
        assert (boxed >= free * (1 - 1e-8)).all()
        print(f"{norm:>6} {np.median(free):9.4f} {np.median(boxed):10.4f}")

    report = convexrml.crosscheck(model, Z, t, boxes=(None, (0, 1)))
    print(report)
    assert report.violated == 0


if __name__ == "__main__":
    main()
