import math
from dataclasses import dataclass

import numpy as np
import pytest

from convexrml import MahalanobisMetric, NearestNeighbors, profiles


@dataclass
class Cloud:
    """A small training set, its queries, and the metric in both forms."""

    X: np.ndarray
    y: np.ndarray
    Z: np.ndarray
    labels: np.ndarray
    L: np.ndarray | None

    @property
    def M(self):  # noqa: N802
        return np.eye(self.X.shape[1]) if self.L is None else self.L.T @ self.L

    def model(self, k=1):
        metric = None if self.L is None else MahalanobisMetric.from_components(self.L)
        return NearestNeighbors(k, metric).fit(self.X, self.y)


@pytest.fixture
def cloud():
    """A factory of seeded data sets; whole numbers where `integers`, so that exact arithmetic stays small."""

    def make(seed=0, n=8, d=2, classes=2, queries=3, integers=True, rank=None, span=6):
        rng = np.random.default_rng(seed)

        def draw(*shape):
            return rng.integers(-span, span + 1, shape).astype(float) if integers else rng.standard_normal(shape)

        X, Z = draw(n, d), draw(queries, d)
        y = np.arange(n) % classes
        L = None if rank is None else (rng.integers(-2, 3, (rank, d)).astype(float) if integers else draw(rank, d))
        D = np.zeros((queries, n)) if L is not None and not L.any() else None
        if D is None:
            root = np.eye(d) if L is None else L
            D = (((Z[:, None] - X[None]) @ root.T) ** 2).sum(-1)
        return Cloud(X, y, Z, y[D.argmin(axis=1)], L)

    return make


@pytest.fixture(params=[1, 2, math.inf], ids=["l1", "l2", "linf"])
def norm(request):
    return request.param


def free_solvers():
    return [
        name for name, profile in profiles.load_profiles().items() if profile.installed and not profile.needs_licence
    ]


@pytest.fixture(params=free_solvers())
def solver(request):
    return request.param


@pytest.fixture
def takes(norm):
    """Whether a solver takes the programs of the norm at hand."""

    def ask(solver):
        return ("QP" if norm == 2 else "LP") in profiles.get_profile(solver).problem_classes

    return ask
