"""Mined triplets: nearest targets and impostors, ties by row, and what has no triplets said so."""

import warnings

import numpy as np
import pytest

import convexrml
from convexrml.learning.mining import mine_triplets
from convexrml.norms import as_norm


def by_hand(X, y, L, n_targets, n_impostors):
    """The same by sorting all distances; whole numbers, so that ties are exact."""
    rows = []
    Y = X if L is None else X @ L.T
    D = ((Y[:, None] - Y[None]) ** 2).sum(-1)
    for x in range(len(X)):
        order = np.argsort(D[x], kind="stable")
        plus = [i for i in order if y[i] == y[x] and i != x][:n_targets]
        minus = [i for i in order if y[i] != y[x]][:n_impostors]
        rows += [(x, p, n) for n in minus for p in plus]
    return np.array(rows)


@pytest.mark.parametrize("seed", range(6))
def test_triplets_are_the_nearest_with_ties_by_row(seed):
    rng = np.random.default_rng(seed)
    X, y = rng.integers(-3, 4, (40, 3)).astype(float), rng.integers(0, 3, 40)
    X -= X.mean(axis=0).round()  # whole numbers: many ties
    L = None if seed % 2 else rng.integers(-2, 3, (2, 3)).astype(float)
    found = mine_triplets(X, y, components=L, n_targets=3, n_impostors=4)
    np.testing.assert_array_equal(np.c_[found.anchors, found.positives, found.negatives], by_hand(X, y, L, 3, 4))
    np.testing.assert_array_equal(found.triplets.V, X[found.positives] - X[found.negatives])


def test_only_the_anchors_that_are_asked_for():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 4)), np.arange(30) % 3
    everything, some = mine_triplets(X, y), mine_triplets(X, y, anchors=np.array([4, 7, 20]))
    chosen = np.isin(everything.anchors, [4, 7, 20])
    np.testing.assert_array_equal(some.negatives, everything.negatives[chosen])
    np.testing.assert_array_equal(some.positives, everything.positives[chosen])


def test_small_batches_change_nothing(monkeypatch):
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(60, 4)), rng.integers(0, 2, 60)
    whole = mine_triplets(X, y)
    monkeypatch.setattr("convexrml.learning.mining._BATCH_BYTES", 1)
    batched = mine_triplets(X, y)
    np.testing.assert_array_equal(batched.negatives, whole.negatives)
    np.testing.assert_array_equal(batched.positives, whole.positives)


@pytest.mark.parametrize("norm", [1, 2, "inf"])
def test_anchor_radii_of_all_points_are_certified_radii_of_the_others(norm):
    rng = np.random.default_rng(2)
    X, y = rng.normal(size=(14, 3)), np.arange(14) % 2
    found = mine_triplets(X, y, n_targets=14, n_impostors=14)
    radii = found.anchor_radii(np.eye(3), as_norm(norm))
    for x in range(14):
        rest = np.arange(14) != x
        model = convexrml.NearestNeighbors().fit(X[rest], y[rest])
        lower = convexrml.certified_radius(model, X[[x]], y[[x]], norm=norm).lower[0]
        correct = model.predict(X[[x]])[0] == y[x]
        assert (lower if correct else 0) == pytest.approx(radii[x], rel=1e-9, abs=1e-12)  # lower gives up its rounding


def test_a_class_with_a_single_point_is_named_and_has_impostors_only():
    X, y = np.arange(5.0)[:, None], ["a", "a", "b", "b", "c"]
    with pytest.warns(UserWarning, match=r"single point.*\('c'\)"):
        found = mine_triplets(X, y)
    assert 4 not in found.anchors and 4 not in found.positives and 4 in found.negatives


def test_a_class_with_few_points_gives_what_it_has():
    X = np.array([0.0, 1, 10, 11, 12, 13])[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = mine_triplets(X, [0, 0, 1, 1, 1, 1], n_targets=3, n_impostors=5)
    assert [int((found.anchors == x).sum()) for x in range(6)] == [
        4,
        4,
        6,
        6,
        6,
        6,
    ]  # 1 target and 4 impostors; 3 and 2


def test_labels_that_make_no_triplets_are_refused():
    X = np.arange(3.0)[:, None]
    with pytest.raises(convexrml.errors.InvalidInputError, match="found one class"):
        mine_triplets(X, [1, 1, 1])
    with pytest.raises(convexrml.errors.InvalidInputError, match="no two of the .* points"):
        mine_triplets(X, [0, 1, 2])
    with pytest.raises(convexrml.errors.InvalidInputError, match="n_targets"):
        mine_triplets(X, [0, 1, 1], n_targets=0)
