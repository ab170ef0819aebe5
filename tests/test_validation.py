import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse

from convexrml.errors import ConvexrmlError, InvalidInputError
from convexrml.validation import feature_matrix, float_array, label_vector, whole_number


@pytest.mark.parametrize(
    "given",
    [
        [[1, 2], [3, 4]], np.array([[1, 2], [3, 4]], dtype=np.float32), np.array([[1, 2], [3, 4]], order="F"),
        np.array([[1, 2], [3, 4]], dtype=object), np.array([[1, 2], [3, 4]], dtype=np.uint8),
        scipy.sparse.csr_array(np.array([[1, 2], [3, 4]])), [[Fraction(1), 2], [3, 4]],
        np.array([[1, 0, 2], [3, 0, 4]])[:, ::2],
    ],
)  # fmt: skip
def test_features_are_read_as_contiguous_float64(given):
    array = feature_matrix("X", given)
    assert array.dtype == np.float64
    assert array.flags.c_contiguous
    assert array.tolist() == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    "given",
    [
        [1, 2], 5, [[[1]]], [], [[]], np.zeros((0, 3)), np.zeros((3, 0)), None,
        "text", [["a"]], [[None]], [[1], [1, 2]],
        [[1j]], np.array([[1j]], dtype=object), [[math.nan]], [[math.inf]], [[1.0, -math.inf]], [[{}]],
        np.array([["2020-01-01"]], dtype="M8[D]"), np.array([["1"]]),
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_not_a_matrix_of_numbers_is_refused(given):
    with pytest.raises(InvalidInputError, match=r"^X: "):
        feature_matrix("X", given)


def test_where_the_first_bad_value_stands():
    with pytest.raises(
        InvalidInputError,
        match=r"^Z: .*2 value\(s\) that are NaN or infinite, the first at \(1, 0\)",
    ):
        feature_matrix("Z", [[1, 2], [math.nan, 3], [4, math.inf]])


def test_infinities_where_they_are_allowed():
    assert float_array("side", [math.inf, -math.inf], finite=False).tolist() == [math.inf, -math.inf]
    with pytest.raises(InvalidInputError, match=r"^side: "):
        float_array("side", [math.inf, math.nan], finite=False)


def test_the_number_of_features_is_checked():
    assert feature_matrix("Z", [[1, 2]], 2).shape == (1, 2)
    with pytest.raises(InvalidInputError, match=r"^Z: has 2 features; .* 3"):
        feature_matrix("Z", [[1, 2]], 3)


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ([1, 2], "i"), ([1.5, 2.0], "f"), ([True, False], "b"), (["a", "b"], "U"), (np.array(["a",
        "b"], dtype=object), "U"),
        (np.array([1, 2.5], dtype=object), "f"), (np.array([b"a", b"b"]), "S"), (np.array([3, 4], dtype=np.uint8), "u"),
    ],
)  # fmt: skip
def test_labels_are_numbers_or_strings(given, kind):
    labels = label_vector("y", given, 2)
    assert labels.dtype.kind == kind
    assert labels.tolist() == list(given)


@pytest.mark.parametrize(
    "given",
    [
        [1], [1, 2, 3], 5, None, [[1], [2]], [[1, 2]], [None, None], [None, 1], [math.nan, 1], [1, math.inf], [1j, 2],
        np.array([1, "a"], dtype=object), [1, "a"], [{}, {}], [[1], [1, 2]], [(1, 2), 3],
        np.array(["2020-01-01", "2020-01-02"], dtype="M8[D]"),
    ],
    ids=repr,
)  # fmt: skip
def test_other_labels_are_refused(given):
    with pytest.raises(InvalidInputError, match=r"^y: "):
        label_vector("y", given, 2)


@pytest.mark.parametrize("given", [3, np.int64(3), np.uint8(3)])
def test_whole_numbers(given):
    result = whole_number("k", given, minimum=3)
    assert (result, type(result)) == (3, int)


@pytest.mark.parametrize("given", [2, -1, 3.0, "3", None, True, np.bool_(True), math.nan, [3], 3j])
def test_other_numbers_are_refused(given):
    with pytest.raises(InvalidInputError, match=r"^k: "):
        whole_number("k", given, minimum=3)


def test_the_error_can_be_caught_as_what_users_expect():
    assert issubclass(InvalidInputError, ValueError)
    assert issubclass(InvalidInputError, ConvexrmlError)
