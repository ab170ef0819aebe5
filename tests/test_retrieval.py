"""Retrieval radii against the closed form, the roads for classifiers, the judge and brute force."""

import math

import numpy as np
import pytest

import convexrml
from convexrml import NearestNeighbors, RadiusStatus, checker
from convexrml.errors import InvalidInputError, NotFittedError
from convexrml.retrieval import identities, retrieval_radius


def closed_form(cloud, norm):
    """``min_j t_ij`` written out, one line per equation."""
    U, scores = (
        cloud.X @ cloud.M,
        np.einsum("ij,jk,ik->i", cloud.X, cloud.M, cloud.X) - 2 * cloud.Z @ cloud.M @ cloud.X.T,
    )
    radii = []
    for row in scores:
        i = int(row.argmin())
        others = np.arange(len(row)) != i
        apart = np.linalg.norm(U[others] - U[i], ord={1: math.inf, 2: 2, math.inf: 1}[norm], axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(row[others] > row[i], (row[others] - row[i]) / (2 * apart), 0.0)
        radii.append(t.min())
    return np.array(radii)


@pytest.mark.parametrize("rank", [None, 3, 1])
@pytest.mark.parametrize("seed", range(3))
def test_closed_form(cloud, norm, rank, seed):
    data = cloud(seed, n=40, d=3, classes=4, queries=12, integers=False, rank=rank)
    for k in (1, 5):  # the number of neighbours does not matter
        found = retrieval_radius(data.model(k), data.Z, norm=norm)
        assert all(status.closed for status in found.status)
        radii, off = closed_form(data, norm), 1e-12  # rounding in the formula: scores near 10, sites 1e-2 apart
        assert (found.lower - off <= radii).all() and (radii <= found.upper + off).all()
        if rank is None:
            np.testing.assert_allclose(found.radius, radii, rtol=1e-9)
        assert found.n_neighbors == 1


def test_it_is_the_exact_radius_of_points_that_are_their_own_classes(cloud, norm):
    data = cloud(5, n=30, d=4, queries=8, integers=False, rank=4)
    model = data.model(3)
    twin = NearestNeighbors(1, model.metric_).fit(data.X, np.arange(30))
    nearest = model.kneighbors(data.Z)[:, 0]
    found, other = retrieval_radius(model, data.Z, norm=norm), convexrml.exact_radius(twin, data.Z, nearest, norm=norm)
    assert np.array_equal(found.lower, other.lower) and np.array_equal(found.upper, other.upper)
    bound = convexrml.certified_radius(twin, data.Z, nearest, norm=norm)
    assert (bound.lower <= found.upper).all()
    np.testing.assert_allclose(bound.lower, found.radius, rtol=1e-9)
    label = np.asarray(data.y)[nearest]  # a change of label is a change of point
    of_label = convexrml.exact_radius(data.model(), data.Z, label, norm=norm)
    assert (found.lower <= of_label.upper * (1 + 1e-9)).all()


def test_witnesses_and_the_ball_below(cloud, norm):
    data = cloud(8, n=60, d=3, queries=20, integers=False)
    model = data.model()
    found = retrieval_radius(model, data.Z, norm=norm)
    nearest = model.kneighbors(data.Z)[:, 0]
    scores, rows = model.scores(data.Z + found.perturbation), np.arange(20)
    assert (scores[rows, found.negative] <= scores[rows, nearest]).all()
    assert (np.linalg.norm(found.perturbation, ord=norm, axis=1) <= found.upper).all()
    directions = np.random.default_rng(0).standard_normal((500, 20, 3))
    directions /= np.linalg.norm(directions, ord=norm, axis=2)[..., None]
    moved = data.Z + directions * (found.lower * (1 - 1e-9))[:, None]
    assert (model.kneighbors(moved.reshape(-1, 3))[:, 0].reshape(500, 20) == nearest).all()


@pytest.mark.parametrize("solver", ["clarabel", "daqp"])
def test_programs(cloud, solver):
    data = cloud(2, n=8, d=2, queries=2, integers=False)
    for box in (None, (data.Z.min(axis=0) - 0.05, data.Z.max(axis=0) + 0.05)):
        found = retrieval_radius(data.model(), data.Z, box=box)
        program = retrieval_radius(data.model(), data.Z, box=box, solver=solver)
        assert program.solver == solver
        np.testing.assert_allclose(found.radius, program.radius, rtol=1e-6, atol=1e-9)


def test_the_judge_in_a_box(cloud, norm):
    data = cloud(4, n=8, d=2, queries=3, integers=False)
    twin, nearest = identities(data.model()), data.model().kneighbors(data.Z)[:, 0]
    sides = (data.Z.min(axis=0) - 0.1, data.Z.max(axis=0) + 0.1)
    solvers = ["search", "daqp" if norm == 2 else "highs"]
    report = convexrml.crosscheck(twin, data.Z, nearest, norms=[norm], boxes=[None, sides], solvers=solvers)
    assert report.checked and not report.violated
    inside, free = (retrieval_radius(data.model(), data.Z, norm=norm, box=box) for box in (sides, None))
    assert (inside.upper >= free.lower).all()
    assert all(status.closed for status in inside.status)


def test_ties_count_against_the_nearest(norm):
    model = NearestNeighbors(3).fit([[0.0, 0.0], [0.0, 0.0], [4.0, 0.0], [4.0, 4.0]], ["a", "a", "b", "b"])
    found = retrieval_radius(model, [[1.0, 0.0], [4.0, 2.0], [4.0, 1.0]], norm=norm)
    assert found.upper[:2].tolist() == [0.0, 0.0]  # a duplicate; between two points
    assert found.status[:2].tolist() == [RadiusStatus.MISCLASSIFIED] * 2
    assert found.radius[2] == pytest.approx(1.0, rel=1e-9)


def test_one_point_and_a_box_that_no_other_point_reaches(norm):
    alone = retrieval_radius(NearestNeighbors().fit([[1.0]], ["a"]), [[5.0]], norm=norm)
    assert alone.lower[0] == math.inf and alone.status[0] is RadiusStatus.UNREACHABLE
    far = retrieval_radius(NearestNeighbors().fit([[0.0], [9.0]], ["a", "a"]), [[1.0]], norm=norm, box=(0, 2))
    assert far.lower[0] == math.inf and far.status[0] is RadiusStatus.UNREACHABLE


def test_certificates(cloud):
    data = cloud(3, n=20, d=3, queries=6)
    found = retrieval_radius(data.model(), data.Z, certificates=True)
    for certificate in found.certificates:
        checker.check(certificate.to_bytes(), identities(data.model()).exact)


def test_what_cannot_be_used(cloud):
    with pytest.raises(NotFittedError):
        retrieval_radius(NearestNeighbors(), [[0.0]])
    data = cloud()
    with pytest.raises(InvalidInputError, match="3 features"):
        retrieval_radius(data.model(), np.zeros((2, 3)))
    with pytest.raises(InvalidInputError, match="box"):
        retrieval_radius(data.model(), data.Z, box=(100, 101))


@pytest.mark.slow
def test_many_points():
    rng = np.random.default_rng(0)
    X, Z = rng.standard_normal((20_000, 16)), rng.standard_normal((50, 16))
    model = NearestNeighbors().fit(X, np.arange(20_000) % 10)
    found = retrieval_radius(model, Z)
    distances = np.sort(((Z[:, None] - X) ** 2).sum(-1), axis=1)
    assert all(status.closed for status in found.status)
    assert (found.upper <= (np.sqrt(distances[:, 1]) + np.sqrt(distances[:, 0]))).all()  # at the second nearest itself
