"""Random triplets and metrics for the tests of programs over a metric, and the solvers that take SDPs."""

import numpy as np

from convexrml import profiles
from convexrml.triplets import Triplets

SDP_SOLVERS = [
    name
    for name, profile in profiles.load_profiles().items()
    if profile.installed and "SDP" in profile.problem_classes and not profile.needs_licence
]


def two_clouds(seed=0, m=30, d=3, apart=1.0, scale=1.0):
    """Triplets of two clouds whose means are `apart` in every feature, with uneven weights."""
    rng = np.random.default_rng(seed)
    y = np.arange(24) % 2
    X = scale * (rng.normal(size=(24, d)) + apart * y[:, None])
    anchors = rng.integers(24, size=m)
    positives = [rng.choice(np.flatnonzero((y == y[i]) & (np.arange(24) != i))) for i in anchors]
    negatives = [rng.choice(np.flatnonzero(y != y[i])) for i in anchors]
    return Triplets.from_indices(X, anchors, positives, negatives, rng.uniform(0.5, 2.0, m) / m)


def random_metric(rng, d=3):
    """A Wishart matrix, rescaled to trace d."""
    L = rng.normal(size=(d, d))
    M = L.T @ L
    return M * (d / np.trace(M))


def twice(T):
    """Every triplet a second time."""
    return Triplets(np.vstack([T.V, T.V]), np.vstack([T.S, T.S]), np.concatenate([T.weights, T.weights]))
