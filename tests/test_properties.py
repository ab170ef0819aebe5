"""Random small instances of every kind: what must hold of all roads on all of them."""

import math
import warnings

import numpy as np
import oracle
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from convexrml import MahalanobisMetric, NearestNeighbors, RadiusStatus, attack_radius, certified_radius, exact_radius
from convexrml.errors import InvalidInputError

NORM = st.sampled_from([1, 2, math.inf])
WHOLE = st.integers(-4, 4).map(float)
# Floats of about one magnitude: what a score's rounding is worth against a radius is tested elsewhere.
REAL = st.one_of(WHOLE, st.floats(-4, 4).map(lambda value: round(value, 3)))


@st.composite
def instances(draw, max_points=12, max_features=4):
    d = draw(st.integers(1, max_features))
    n = draw(st.integers(2, max_points))
    number = draw(st.sampled_from([WHOLE, REAL]))
    rows = draw(st.lists(st.lists(number, min_size=d, max_size=d), min_size=n, max_size=n))
    if n > 3 and draw(st.booleans()):
        rows[0], rows[1] = rows[-1], rows[-2]  # duplicates
    y = draw(st.lists(st.integers(0, draw(st.integers(0, 2))), min_size=n, max_size=n))
    queries = draw(
        st.lists(st.one_of(st.lists(number, min_size=d, max_size=d), st.sampled_from(rows)), min_size=1, max_size=2)
    )
    L = None
    if draw(st.booleans()):
        rank = draw(st.integers(1, d))
        L = np.array(
            draw(
                st.lists(st.lists(st.integers(-2, 2).map(float), min_size=d, max_size=d), min_size=rank, max_size=rank)
            )
        )
    box = None
    if draw(st.booleans()):
        room = st.sampled_from([0.0, 0.5, 1.0, 3.0, 10.0, math.inf])
        Z = np.array(queries)
        below, above = (np.array(draw(st.lists(room, min_size=d, max_size=d))) for _ in range(2))
        box = (Z.min(axis=0) - below, Z.max(axis=0) + above)
    return np.array(rows), np.array(y), np.array(queries), L, box


def model_of(X, y, L, k=1):
    return NearestNeighbors(k, None if L is None else MahalanobisMetric.from_components(L)).fit(X, y)


def check_bounds(instance, norm, k):
    X, y, Z, L, box = instance
    if k > len(X):
        with pytest.raises(InvalidInputError, match="^n_neighbors: "):
            model_of(X, y, L, k)
        return
    model = model_of(X, y, L, k)
    exact = oracle.Instance(X, y, L=L)
    labels = y[exact_nearest(exact, Z)]
    lower = certified_radius(model, Z, labels, norm=norm).lower
    attack = attack_radius(model, Z, labels, norm=norm, box=box)
    assert (lower <= attack.upper).all()
    for q, (z, label) in enumerate(zip(Z, labels, strict=True)):
        value = exact.certified(z, label, k, norm)
        assert oracle.at_most(lower[q], value, norm)
        assert lower[q] >= oracle.as_float(value, norm) * (1 - 1e-9) - 1e-9
        if np.isfinite(attack.upper[q]) and len(np.unique(y)) <= 2:
            D = np.array(exact.distances(oracle.rational(Z[q] + attack.perturbation[q])), dtype=float)
            D[y == label] += 1e-12 * (D.max() + 1)
            assert oracle.vote_lost(D, y, label, k)


def exact_nearest(exact, Z):
    return [min(range(len(exact.y)), key=exact.distances(oracle.rational(z)).__getitem__) for z in Z]


def check_exact(instance, norm, solver):
    X, y, Z, L, box = instance
    model = model_of(X, y, L)
    exact = oracle.Instance(X, y, L=L)
    labels = y[exact_nearest(exact, Z)]
    result = exact_radius(model, Z, labels, norm=norm, box=box, solver=solver)
    certified = certified_radius(model, Z, labels, norm=norm).lower
    attack = attack_radius(model, Z, labels, norm=norm, box=box).upper
    assert (result.lower <= result.upper).all()
    assert (certified <= result.upper).all()
    assert (result.lower <= attack).all()
    for q, (z, label) in enumerate(zip(Z, labels, strict=True)):
        status = result.status[q]
        if len(X) * X.shape[1] <= 16 and (norm == 2 or X.shape[1] <= 2):
            value = exact.exact(z, label, norm, box)
            assert oracle.at_most(result.lower[q], value, norm)
            true = oracle.as_float(value, norm)
        else:
            true = oracle.float_exact(X, y, exact.M.astype(float), z, label, norm, box)
            assert result.lower[q] <= true * (1 + 1e-7) + 1e-9
        assert result.upper[q] >= true * (1 - 1e-7) - 1e-9
        if status is RadiusStatus.UNREACHABLE:
            assert math.isinf(true)
        elif status is RadiusStatus.EXACT:
            assert result.radius[q] == pytest.approx(true, rel=1e-7, abs=1e-9)
        elif status is RadiusStatus.MISCLASSIFIED:
            assert true <= 1e-12
        if np.isfinite(result.upper[q]):
            p = z + result.perturbation[q]
            assert exact.margin(p, label) <= oracle.Fraction(1, 10**12) * (1 + max(exact.distances(oracle.rational(p))))
            if box is not None:
                assert ((box[0] <= p) & (p <= box[1])).all()


QUIET = settings(
    deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@settings(QUIET, max_examples=250)
@given(instances(), NORM, st.sampled_from([1, 3, 5]))
def test_certified_radii_and_attacks(instance, norm, k):
    check_bounds(instance, norm, k)


@settings(QUIET, max_examples=60)
@given(instances(max_points=6, max_features=3), NORM, st.sampled_from(["clarabel", "daqp"]))
def test_exact_intervals(instance, norm, solver):
    check_exact(instance, norm, solver)


@settings(QUIET, max_examples=100)
@given(instances(), NORM, st.integers(-20, 20), st.integers(-20, 20))
def test_powers_of_two_in_features_and_metric_change_no_bit(instance, norm, features, metric):
    """Scaling by powers of two is exact, so every rounding is the same."""
    X, y, Z, L, _ = instance
    L = np.eye(X.shape[1]) if L is None else L
    labels = y[:1].repeat(len(Z))
    before = certified_radius(model_of(X, y, L), Z, labels, norm=norm).lower
    after = certified_radius(
        model_of(X * 2.0**features, y, L * 2.0**metric), Z * 2.0**features, labels, norm=norm
    ).lower
    np.testing.assert_allclose(after, before * 2.0**features, rtol=1e-13)


@pytest.mark.slow
@settings(QUIET, max_examples=5000)
@given(instances(), NORM, st.sampled_from([1, 3, 5]))
def test_certified_radii_and_attacks_at_length(instance, norm, k):
    check_bounds(instance, norm, k)


@pytest.mark.slow
@settings(QUIET, max_examples=3000)
@given(instances(max_points=7, max_features=3), NORM, st.sampled_from(["clarabel", "daqp", "highs", "piqp"]))
def test_exact_intervals_at_length(instance, norm, solver):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_exact(instance, norm, solver)
