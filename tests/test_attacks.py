import math

import numpy as np
import oracle
import pytest
from sklearn.datasets import load_digits
from sklearn.preprocessing import StandardScaler

from convexrml import NearestNeighbors, attack_radius, certified_radius, exact_radius
from convexrml.attacks import steepest
from convexrml.errors import InvalidInputError, NotFittedError
from convexrml.norms import as_norm

ROUND_UP = 1e-12  # relative: outward rounding of a witness's norm, and the bisection's 48 halvings


def assert_witnessed(result, data, k, box=None):
    p = result.norm
    D = oracle.direct_distances(data.X, data.M, data.Z + np.nan_to_num(result.perturbation))
    for q, upper in enumerate(result.upper):
        delta = result.perturbation[q]
        assert math.isinf(upper) == np.isnan(delta).any()
        if math.isinf(upper):
            continue
        assert p.of(delta) <= upper <= p.of(delta) * (1 + ROUND_UP) + 1e-14
        if box is not None:
            moved = data.Z[q] + delta
            assert ((box[0] <= moved) & (moved <= box[1])).all()
        row = D[q].copy()  # ties within rounding count against the label
        row[data.y == data.labels[q]] += 1e-12 * row.max()
        assert oracle.vote_lost(row, data.y, data.labels[q], k)


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("rank", [None, 2])
@pytest.mark.parametrize("box", [None, (-6.0, 6.0), (-math.inf, 6.0)], ids=["free", "box", "half open"])
def test_every_attack_has_a_witness_and_none_beats_the_bound(cloud, norm, k, classes, rank, box):
    found = 0
    for seed in range(3):
        data = cloud(seed=seed, n=20, d=3, classes=classes, rank=rank, queries=6)
        result = attack_radius(data.model(k), data.Z, data.labels, norm=norm, box=box)
        assert_witnessed(result, data, k, box)
        assert (certified_radius(data.model(k), data.Z, data.labels, norm=norm).lower <= result.upper).all()
        found += np.isfinite(result.upper).sum()
    assert found >= (12 if rank is None or box is None else 9)


@pytest.mark.parametrize("box", [None, (-6.0, 6.0)], ids=["free", "box"])
def test_attacks_are_never_below_the_exact_value(cloud, norm, box):
    for seed in range(5):
        data = cloud(seed=seed, n=7, d=2, rank=2)
        instance = oracle.Instance(data.X, data.y, L=data.L)
        upper = attack_radius(data.model(), data.Z, data.labels, norm=norm, box=box).upper
        for z, label, value in zip(data.Z, data.labels, upper, strict=True):
            assert value >= oracle.as_float(instance.exact(z, label, norm, box), norm) * (1 - 1e-12)


def test_one_point_per_class_is_met_exactly(norm):
    """The steepest ray to the only bisector, 3a + 4b = 12.5, is the best one."""
    model = NearestNeighbors().fit([[0.0, 0.0], [3.0, 4.0]], [0, 1])
    result = attack_radius(model, [[0.0, 0.0]], [0], norm=norm)
    assert result.upper[0] == pytest.approx({1: 25 / 8, 2: 2.5, math.inf: 25 / 14}[norm], rel=ROUND_UP)
    assert len(result) == 1


def test_misclassified_and_tied_queries_need_no_perturbation(norm):
    model = NearestNeighbors().fit([[0.0], [4.0]], [0, 1])
    result = attack_radius(model, [[3.0], [2.0], [0.0]], [0, 0, 0], norm=norm)
    assert result.upper[:2].tolist() == [0.0, 0.0]
    assert result.perturbation[:2].tolist() == [[0.0], [0.0]]
    assert result.upper[2] == pytest.approx(2.0, rel=ROUND_UP)


def test_one_class_and_boxes_without_a_way_out(norm):
    alone = attack_radius(NearestNeighbors().fit([[0.0], [4.0]], [0, 0]), [[0.0]], [0], norm=norm)
    assert alone.upper.tolist() == [math.inf]
    assert np.isnan(alone.perturbation).all()
    model = NearestNeighbors().fit([[0.0], [4.0]], [0, 1])
    for box in ((-1.0, 1.9), (0.0, 0.0), (-math.inf, 0.0)):
        assert attack_radius(model, [[0.0]], [0], norm=norm, box=box).upper.tolist() == [math.inf]
    assert attack_radius(model, [[0.0]], [0], norm=norm, box=(0.0, 2.0)).upper[0] == pytest.approx(2.0, rel=ROUND_UP)


def test_the_zero_metric_is_one_great_tie(norm):
    model = NearestNeighbors(metric=np.zeros((2, 2))).fit([[0.0, 0.0], [3.0, 4.0]], [0, 1])
    assert attack_radius(model, [[1.0, 1.0]], [0], norm=norm).upper.tolist() == [0.0]


def test_more_targets_do_better_on_the_whole(cloud, norm):
    """Not on every point: the ladder of lengths follows the farthest target, so other crossings may be seen first."""
    data = cloud(seed=3, n=40, d=4, classes=3, integers=False, queries=30)
    few, many = (attack_radius(data.model(3), data.Z, data.labels, norm=norm, n_targets=n).upper for n in (1, 20))
    assert (many <= few * (1 + ROUND_UP)).mean() >= 0.9
    assert (many < few * (1 - 1e-6)).mean() >= 0.1
    assert many.sum() < few.sum()


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_scaling(cloud, norm, scale):
    data = cloud(seed=3, n=20, d=3, integers=False, queries=5)
    plain = attack_radius(data.model(), data.Z, data.labels, norm=norm).upper
    scaled = attack_radius(NearestNeighbors().fit(data.X * scale, data.y), data.Z * scale, data.labels, norm=norm).upper
    np.testing.assert_allclose(scaled, plain * scale, rtol=1e-9)


def test_the_witness_is_wrong_by_scikit_learns_count_too(cloud):
    from sklearn.neighbors import KNeighborsClassifier

    data = cloud(seed=5, n=40, d=3, integers=False, queries=20)
    result = attack_radius(data.model(3), data.Z, data.labels)
    other = KNeighborsClassifier(3, algorithm="brute").fit(data.X, data.y)
    beyond = data.Z + result.perturbation * (1 + 1e-7)  # off the tie
    within = data.Z + result.perturbation * (1 - 1e-7)
    assert (other.predict(beyond) != data.labels).mean() > 0.9
    assert (other.predict(within) == data.labels).mean() > 0.5


def test_steepest_directions(norm):
    p = as_norm(norm)
    w = np.random.default_rng(0).standard_normal((50, 4))
    v = steepest(w, p)
    np.testing.assert_allclose(p.of(v), 1.0, rtol=1e-15)
    np.testing.assert_allclose((w * v).sum(axis=1), p.dual_of(w), rtol=1e-14)
    assert not steepest(np.zeros((1, 4)), p).any()


def test_a_feature_that_weighs_more_is_found():
    """The nearest negatives, by the metric, are far in the norm of the perturbation; one that is not is near there."""
    X = [[0.0, 0.0], [3.0, 0.0], [3.01, 0.0], [3.02, 0.0], [3.03, 0.0], [0.0, 0.5]]
    model = NearestNeighbors(metric=np.diag([1.0, 100.0])).fit(X, [0, 1, 1, 1, 1, 1])
    assert attack_radius(model, [[0.0, 0.0]], [0]).upper == pytest.approx([0.25], rel=1e-12)


def test_a_witness_is_one_by_the_own_scores_and_in_exact_arithmetic():
    """Ties in tenths: next to the query, rounding hides a lost vote from the one or from the other."""
    X, y = [[0.0], [0.2], [0.2], [1.0], [-0.4], [0.2]], [2, 1, 0, 1, 2, 2]
    for scale in (1.0, 1e3, 1e-3, 7.3):
        model = NearestNeighbors(5, [[scale]]).fit(X, y)
        for z in np.linspace(0.25, 0.35, 101):
            attack = attack_radius(model, [[z]], [2], vote="majority")
            assert model.mislabels([[z]] + attack.perturbation, [2], vote="majority").all()
            assert model.exact.lost(z + attack.perturbation[0], int(model.encode([2], 1)[0]), 5, "majority")


@pytest.mark.parametrize("k", [1, 3, 5])
def test_attacks_under_a_scaler_are_near_the_exact_radius(k):
    """Pixels that hardly ever carry ink weigh a hundred times more: rays to the nearest negatives were 16 times off."""
    X, y = load_digits(return_X_y=True)
    metric = np.diag(1 / StandardScaler().fit(X[:600]).scale_ ** 2)
    model = NearestNeighbors(k, metric).fit(X[:600], y[:600])
    exact = exact_radius(model, X[600:625], y[600:625], vote="majority").upper
    ratio = attack_radius(model, X[600:625], y[600:625], vote="majority").upper[exact > 0] / exact[exact > 0]
    assert ratio.min() >= 1 - 1e-9 and np.median(ratio) < 1.02 and ratio.mean() < 2


def test_progress(cloud):
    data, steps = cloud(queries=4), []
    attack_radius(data.model(), data.Z, data.labels, progress=steps.append)
    assert steps == [1] * 4


def test_bad_arguments():
    model = NearestNeighbors().fit([[0.0], [4.0]], [0, 1])
    good = ([[1.0]], [0])
    for arguments, keywords, name in (
        (([[0.0, 1.0]], [0]), {}, "Z"), (([[math.inf]], [0]), {}, "Z"), (([[0.0]], [2]), {}, "y"),
        (([[0.0]], [0, 1]), {}, "y"),
        (good, {"norm": 0}, "norm"), (good, {"box": 5}, "box"), (good, {"box": (2, 3)}, "box"),
        (good, {"box": (3, 2)}, "box"),
        (good, {"box": ("a", 3)}, "box lower"), (good, {"n_targets": 0}, "n_targets"), (good, {"n_targets": 2.5},
        "n_targets"),
        (good, {"n_targets": True}, "n_targets"),
    ):  # fmt: skip
        with pytest.raises(InvalidInputError, match=rf"^{name}: "):
            attack_radius(model, *arguments, **keywords)
    with pytest.raises(NotFittedError):
        attack_radius(NearestNeighbors(), *good)
