"""Certify a fitted scikit-learn pipeline in the units of its raw input, and ask how firm its nearest neighbours are."""

import numpy as np
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import convexrml
from convexrml.study.data import load_dataset


def main(points: int = 30) -> None:
    data = load_dataset("digits", scale="none")  # pixels from 0 to 16
    Z, t = data.X_test[:points], data.y_test[:points]
    pipe = make_pipeline(StandardScaler(), PCA(20), KNeighborsClassifier(3)).fit(data.X_train, data.y_train)

    model = convexrml.from_estimator(pipe, data.X_train)
    assert np.array_equal(model.predict(data.X_test), pipe.predict(data.X_test))
    label = convexrml.exact_radius(model, Z, t)
    nearest = convexrml.retrieval_radius(model, Z)

    print("ℓ2 perturbation of the raw pixels that changes ...")
    for what, radii in (("the label", label.radius), ("the nearest training point", nearest.radius)):
        print(f"{what:>28}: least {radii.min():.3f}, median {np.median(radii):.3f}, largest {radii.max():.3f}")
    fragile = int(np.argmin(np.where(label.radius > 0, label.radius, np.inf)))
    other = model.training_points_[nearest.negative[fragile]]
    far = np.linalg.norm(other - Z[fragile])
    print(f"most fragile: test point {fragile}, {far:.1f} from what would then be nearest")


if __name__ == "__main__":
    main()
