"""Records of radii: shares within a radius, and what is shown of them."""

import numpy as np
import pytest
from sklearn.datasets import load_iris

import convexrml
from convexrml.errors import InvalidInputError

X, y = load_iris(return_X_y=True)
MODEL = convexrml.NearestNeighbors().fit(X[::2], y[::2])
Z, LABELS = X[1::2], y[1::2]


def test_errors_at_a_radius_nest():
    bound = convexrml.certified_radius(MODEL, Z, LABELS)
    exact = convexrml.exact_radius(MODEL, Z, LABELS)
    attack = convexrml.attack_radius(MODEL, Z, LABELS)
    at = np.linspace(0, 2, 21)
    assert (bound.certified_error(at) >= exact.certified_error(at)).all()
    assert (exact.certified_error(at) >= exact.empirical_error(at)).all()
    assert (exact.empirical_error(at) >= attack.empirical_error(at)).all()
    wrong = (MODEL.predict(Z) != LABELS).mean()
    assert exact.certified_error(0.0) == exact.empirical_error(0.0) == wrong
    assert bound.certified_error(np.inf) == attack.empirical_error(np.inf) == 1.0
    assert isinstance(exact.certified_error(0.5), float) and exact.certified_error(at).shape == (21,)


def test_a_radius_is_a_number():
    with pytest.raises(InvalidInputError, match="radius: "):
        convexrml.certified_radius(MODEL, Z, LABELS).certified_error("far")


def test_what_is_shown_fits_on_a_line():
    bound = convexrml.certified_radius(MODEL, Z, LABELS, norm="ℓ∞")
    assert repr(bound) == f"CertifiedRadii(n = 75, k = 1, ℓ∞: median {np.median(bound.lower):.4g})"
    exact = convexrml.exact_radius(MODEL, Z, LABELS)
    wrong = int(MODEL.mislabels(Z, LABELS).sum())
    said = f"ExactRadii(n = 75, k = 1, ℓ2: {75 - wrong} EXACT, {wrong} MISCLASSIFIED"
    assert repr(exact).startswith(said)
    assert repr(exact).endswith(f", median {np.median(exact.radius):.4g})")
    assert repr(convexrml.attack_radius(MODEL, Z, LABELS)).startswith("AttackRadii(n = 75, ℓ2: 75 witnesses, median ")
    three = convexrml.NearestNeighbors(3).fit(X[::2], y[::2])
    assert "n = 75, k = 3, ℓ2, majority: " in repr(convexrml.exact_radius(three, Z, LABELS, vote="majority"))
