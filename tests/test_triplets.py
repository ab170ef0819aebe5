"""Triplets: margins and radii agree with distances and with the closed form of the classifier's bounds."""

import numpy as np
import pytest

import convexrml
from convexrml.norms import as_norm
from convexrml.triplets import Triplets


def _random(rng, m=12, N=9, d=3):
    X = rng.normal(size=(N, d))
    rows = rng.integers(N, size=(3, m))
    L = rng.normal(size=(d, d))
    return X, rows, L.T @ L


def test_margins_are_differences_of_squared_distances():
    X, (a, p, n), M = _random(np.random.default_rng(0))
    to = [np.einsum("ij,jk,ik->i", X[a] - X[b], M, X[a] - X[b]) for b in (n, p)]
    found = Triplets.from_indices(X, a, p, n).margins(M)
    np.testing.assert_allclose(found, to[0] - to[1], rtol=0, atol=1e-12)  # a dozen roundings of numbers below 100


@pytest.mark.parametrize("norm", [1, 2, "inf"])
def test_radii_are_certified_radii_of_two_points(norm):
    rng = np.random.default_rng(1)
    X, (a, p, n), M = _random(rng)
    metric = convexrml.MahalanobisMetric.from_matrix(M)
    found = Triplets.from_indices(X, a, p, n).radii(M, as_norm(norm))
    for i, radius in enumerate(found):
        if p[i] == n[i]:
            assert radius == 0  # 0/0
            continue
        model = convexrml.NearestNeighbors(metric=metric).fit(X[[p[i], n[i]]], [0, 1])
        lower = convexrml.certified_radius(model, X[[a[i]]], [0], norm=norm).lower[0]
        assert lower == pytest.approx(radius, rel=1e-9, abs=1e-12)  # lower gives up its rounding


def test_what_does_not_fit_is_refused():
    X = np.eye(3)
    for rows, name in (([0], [1], [3]), "negatives"), (([0], [-1], [2]), "positives"), (([], [], []), "anchors"):
        with pytest.raises(convexrml.errors.InvalidInputError, match=name):
            Triplets.from_indices(X, *rows)
    with pytest.raises(convexrml.errors.InvalidInputError, match="as many anchors"):
        Triplets.from_indices(X, [0, 1], [1], [2])
    with pytest.raises(convexrml.errors.InvalidInputError, match="weights"):
        Triplets.from_indices(X, [0], [1], [2], weights=[0.0])
