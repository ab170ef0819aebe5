"""Intervals that rounding keeps apart are narrowed in exact arithmetic: held against rational numbers, no tolerance."""

import collections
import dataclasses
import math
from fractions import Fraction

import numpy as np
import oracle
import pytest

from convexrml import MahalanobisMetric, NearestNeighbors, RadiusStatus, exact_radius
from convexrml.checker import check
from convexrml.findings import Limits
from convexrml.grouped import grouped_sites
from convexrml.k_nearest import KNearestSearch
from convexrml.norms import as_box
from convexrml.queries import each_query, prepared
from convexrml.search import record_of
from convexrml.settling import settled_votes
from convexrml.visits import ROUNDING_WIDTH
from convexrml.votes import as_vote


def searched(seed, vote):
    """A search near the smaller of two crowds, where scores are large and so is their rounding; not settled yet.

    The crowds are so far from each other that the other one has no vote: the truth is that of the near one alone.
    """
    rng, k = np.random.default_rng(seed), 3 + 2 * (seed % 2)
    near, y, z = rng.standard_normal((7, 2)), rng.integers(0, 3, 7), 0.3 * rng.standard_normal((1, 2))
    far = 1e4 + rng.standard_normal((8, 2))
    L = rng.standard_normal((2, 2)) + 2 * np.eye(2) if seed % 3 == 0 else None
    box = (z[0] - rng.uniform(0.2, 2, 2), z[0] + rng.uniform(0.2, 2, 2)) if seed % 4 == 0 else None
    metric = None if L is None else MahalanobisMetric.from_components(L)
    model = NearestNeighbors(k, metric).fit(np.concatenate([near, far]), np.concatenate([y, np.arange(8) % 3]))
    label, data = model.encode(model.predict(z), 1), grouped_sites(model)
    search = KNearestSearch(data, model.metric_, k, as_vote(vote), as_box(box, 2))
    (q,) = each_query(data, prepared(model, data, z, label, search.box))
    finding = search.search(q, Limits())
    truth = oracle.Instance(near, y, L=L).k_nearest(z[0], int(label[0]), k, 2, vote, box)
    return model, z, label, search, finding, truth


@pytest.mark.parametrize("vote", ["majority", "plurality"])
def test_the_ends_meet_around_the_true_radius(vote):
    seen = collections.Counter()
    for seed in range(40):
        model, z, label, search, finding, truth = searched(seed, vote)
        if not finding.meetings or math.isinf(truth):
            continue
        before = record_of([finding], search)
        after = settled_votes(before, model, z, label, [finding])
        lower, upper = float(after.lower[0]), float(after.upper[0])
        assert before.lower[0] < lower <= upper
        assert Fraction(lower) ** 2 <= truth <= Fraction(upper) ** 2
        assert model.exact.lost(z[0] + after.perturbation[0], int(label[0]), model.n_neighbors, vote)
        assert after.status[0].closed or upper - lower > ROUNDING_WIDTH * upper
        seen["narrowed"] += 1
        seen["a hundred times"] += 100 * (upper - lower) < before.upper[0] - before.lower[0]
        seen["in a box"] += search.box is not None
    assert seen["a hundred times"] >= 10 and seen["in a box"] >= 5, seen


@pytest.mark.parametrize("vote", ["majority", "plurality"])
def test_certificates_prove_no_less_than_the_search_alone(vote):
    """A tree whose bounds give up all rounding does not reach a lower end that exact arithmetic has raised."""
    raised = 0
    for seed in range(12):
        model, z, label, search, finding, _ = searched(seed, vote)
        if not finding.meetings:
            continue
        name = model.classes_[label]
        found = exact_radius(model, z, name, box=search.box, vote=vote, certificates=True)
        raised += found.lower[0] > finding.lower
        # 1e-9: a proof is of a little less than the search's bound, and each search nudges its witness anew
        assert found.certificates[0].lower >= finding.lower * (1 - 1e-9)
        check(found.certificates[0].to_bytes(), model.exact)
    assert raised >= 5


def test_nothing_is_proved_by_a_meeting_that_falls_short():
    """One of wrong multipliers; or what is not among them has a bound as low."""
    model, z, label, search, finding, _ = searched(10, "majority")
    before = record_of([finding], search)
    (one,) = finding.meetings
    assert settled_votes(before, model, z, label, [finding]).lower[0] > finding.lower
    short = dataclasses.replace(one, multipliers=one.multipliers * [1.0, 3.0])
    for less in ({"meetings": (one, short)}, {"beyond": finding.lower}):
        known = [dataclasses.replace(finding, **less)]
        assert settled_votes(before, model, z, label, known).lower[0] == finding.lower


def test_a_tie_that_rounding_feigns_is_settled_by_the_negative_that_ties():
    """At z the label loses by the classifier's scores, not in exact arithmetic; the nearest negative takes no part."""
    X = np.array([[-2, -3], [-3, 0], [-1, -2], [4, -3], [-3, 2]]) / 3
    model, z = NearestNeighbors(3).fit(X, [0, 1, 1, 0, 0]), np.array([[-4, -1]]) / 3
    assert model.mislabels(z, [0])[0]
    assert not model.exact.lost(z[0], 0, 3, "plurality")
    found = exact_radius(model, z, [0])
    assert found.lower[0] == 0 < found.upper[0] < 1e-14  # a few units in the last place of the coordinates
    assert found.status[0] is RadiusStatus.EXACT
    assert model.exact.lost(z[0] + found.perturbation[0], 0, 3, "plurality")


def test_a_limit_stays_the_reason_where_exact_arithmetic_opens_an_interval():
    """Rounding closes it in the search; the witness in exact arithmetic is farther, by as much as floats are apart."""
    X = [
        [0.0, 0.0, 0.0, -1.8303883335039066],
        [1.278276683722833, 0.15686362098403855, 0.3801780830459774, -1.8303884123157987],
        [0.0, 0.0, 0.0, -0.5037292057500762],
        [-0.2754767273152631, 1.8685779077927067, -0.9980796644456651, -0.5037294204459193],
    ]
    model = NearestNeighbors(3).fit(X, [3, 3, 4, 4])
    z = [[0.5013999291479031, 1.0127206711516175, -0.30895080385051055, -1.1670588138672526]]
    assert exact_radius(model, z, [4], node_limit=1).status[0] is RadiusStatus.NODE_LIMIT
    assert exact_radius(model, z, [4]).status[0] is RadiusStatus.INTERVAL
