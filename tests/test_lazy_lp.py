"""Linear programs to which half-spaces are added as they are violated."""

import math

import numpy as np
import oracle
import pytest

from convexrml import NearestNeighbors, RadiusStatus, exact_radius
from convexrml.lazy_lp import LazyLinearProgram
from convexrml.norms import as_box, as_norm
from convexrml.visits import Record

ORACLE = 1e-8  # relative: ten times what HiGHS is asked for in the oracle


@pytest.fixture(params=[1, math.inf], ids=["l1", "linf"])
def linear_norm(request):
    return request.param


class Counting(LazyLinearProgram):
    """Counts the half-spaces that are handed to HiGHS."""

    added = 0

    def _add(self, A, b):
        self.added += len(b)
        super()._add(A, b)


def record_of(model, z):
    return Record(z=z, row=model.scores(z[None])[0], perturbation=np.full(len(z), np.nan))


def a_model(seed=0, n=60, d=4, rank=None):
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((n, d)), np.arange(n) % 2
    return NearestNeighbors(1, None if rank is None else rng.standard_normal((rank, d))).fit(X, y), rng


@pytest.mark.parametrize("boxed", [False, True], ids=["free", "box"])
@pytest.mark.parametrize(("d", "rank"), [(1, None), (2, None), (5, None), (5, 2), (12, None), (12, 7)])
def test_every_negative_against_scipy(linear_norm, d, rank, boxed):
    """One program for all queries and negatives of a label: what HiGHS keeps from one must not spoil the next."""
    model, rng = a_model(d, d=d, rank=rank)
    X, y, M = model.training_points_, model.labels_, model.metric_.mahalanobis_matrix
    corners = (np.full(d, -2.5), np.full(d, 2.5)) if boxed else None
    norm = as_norm(linear_norm)
    program = LazyLinearProgram(model, 0, norm, as_box(corners, d))
    infinite = 0
    for z in rng.uniform(-1, 1, (3, d)):
        for j in np.flatnonzero(y == 1)[:8]:
            record = record_of(model, z)
            bound = program(record, int(j))
            point = oracle._float_least_linear(*oracle.float_polyhedron(X, y, M, z, 0, j, corners), linear_norm)
            true = math.inf if point is None else np.linalg.norm(point, linear_norm)
            if math.isinf(true):
                infinite += 1
                assert math.isinf(record.upper)
                continue
            assert bound <= true * (1 + ORACLE)
            assert true * (1 - ORACLE) <= record.upper
            assert record.upper - bound <= 1e-9 * record.upper + 1e-12  # documented, and rounding near 0
            assert record.negative == j
            assert norm.of(record.perturbation) <= record.upper
            assert model.mislabels((z + record.perturbation)[None], [0])[0]
    assert infinite == 0 or boxed


def test_a_used_program_answers_like_a_new_one(linear_norm):
    model, rng = a_model()
    norm = as_norm(linear_norm)
    used = LazyLinearProgram(model, 0, norm, None)
    for z in rng.standard_normal((4, 4)):
        for j in (1, 3, 41):
            one, other = record_of(model, z), record_of(model, z)
            bounds = used(one, j), LazyLinearProgram(model, 0, norm, None)(other, j)
            # another basis to start from: other last bits, or another vertex of the same length
            assert bounds[0] == pytest.approx(bounds[1], rel=1e-12)
            assert one.upper == pytest.approx(other.upper, rel=1e-12)


def test_most_half_spaces_are_never_handed_over(linear_norm):
    model, rng = a_model(n=2000, d=6)
    program = Counting(model, 0, as_norm(linear_norm), None)
    record = record_of(model, rng.standard_normal(6))
    for j in range(1, 41, 2):
        program(record, j)
    assert 0 < program.added < 0.1 * 20 * 1000


def test_what_is_out_of_reach_in_a_box(linear_norm):
    model = NearestNeighbors().fit([[0.0, 0.0], [4.0, 0.0]], [0, 1])
    program = LazyLinearProgram(model, 0, as_norm(linear_norm), as_box(([-1, -1], [1.5, 1]), 2))
    record = record_of(model, np.zeros(2))
    assert program(record, 1) == math.inf
    assert math.isinf(record.upper)


def test_two_positives_together_keep_a_negative_out_of_a_box(linear_norm):
    """Positives (±1, 0), negative (0, 3): of the box |y| ≤ 1.2 neither bisector ±x + 3 y = 4 leaves anything."""
    model = NearestNeighbors().fit([[1.0, 0.0], [-1.0, 0.0], [0.0, 3.0]], [0, 0, 1])
    for side, status in ((1.2, RadiusStatus.UNREACHABLE), (1.4, RadiusStatus.EXACT)):
        result = exact_radius(
            model, [[0.0, 0.0]], [0], norm=linear_norm, method="search", box=([-9.0, -side], [9.0, side])
        )
        assert result.status[0] is status
        if status is RadiusStatus.EXACT:
            assert result.radius[0] == pytest.approx(4 / 3, rel=1e-9)


def test_every_solve_is_counted_and_no_note_is_left(linear_norm):
    model, rng = a_model()
    Z = rng.standard_normal((5, 4))
    result = exact_radius(model, Z, model.predict(Z), norm=linear_norm, method="search")
    assert (result.solves >= 1).all()
    assert result.notes == ()
