"""Unit vectors: every function against its formula written out, and the properties that must hold for any input."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from speakerdb.embedding import average, cosine_to_distance, distance_to_cosine, distances, normalize

VALUES = st.floats(-1e6, 1e6, allow_nan=False).filter(lambda value: value == 0.0 or abs(value) > 1e-6)


def has_directions(rows: np.ndarray) -> bool:
    return bool(np.all(np.abs(rows).max(axis=-1) > 1e-6))


matrices = arrays.arrays(np.float64, st.tuples(st.integers(1, 8), st.integers(2, 6)), elements=VALUES).filter(
    has_directions
)


def units(count: int, dimension: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, dimension))
    return (rows / np.sqrt((rows**2).sum(axis=1, keepdims=True))).astype(np.float32)


def test_three_and_four_become_three_and_four_fifths():
    assert np.allclose(normalize([3.0, 4.0]), [0.6, 0.8], atol=1e-7)
    assert normalize([3, 4]).dtype == np.float32


def test_every_vector_of_a_stack_is_normalised_by_itself():
    stack = np.array([[[3.0, 4.0], [0.0, -2.0]], [[1.0, 1.0], [5.0, 12.0]]])
    half = math.sqrt(0.5)
    assert np.allclose(normalize(stack), [[[0.6, 0.8], [0.0, -1.0]], [[half, half], [5 / 13, 12 / 13]]], atol=1e-7)


@settings(deadline=None)
@given(matrices)
def test_normalised_vectors_have_unit_length_and_the_same_direction(rows):
    found = normalize(rows).astype(np.float64)
    for unit, row in zip(found, rows, strict=True):
        length = math.sqrt(math.fsum(value * value for value in row))
        assert math.isclose(math.sqrt(math.fsum(unit**2)), 1.0, abs_tol=1e-6)
        assert np.allclose(unit * length, row, rtol=0, atol=1e-6 * length)


@settings(deadline=None)
@given(matrices, st.floats(1e-3, 1e3))
def test_length_does_not_matter(rows, factor):
    assert np.allclose(normalize(factor * rows), normalize(rows), atol=1e-6)


def test_normalising_leaves_its_input_alone():
    rows = np.array([[3.0, 4.0]])
    normalize(rows)
    assert rows.tolist() == [[3.0, 4.0]]


@pytest.mark.parametrize(
    "vector", [[0.0, 0.0], [1e-13, 0.0], [math.nan, 1.0], [math.inf, 1.0], [-math.inf, math.nan], [1e300, 1e300]]
)
def test_what_has_no_direction_is_a_value_error(vector):
    with pytest.raises(ValueError, match="no direction"):
        normalize(vector)
    with pytest.raises(ValueError, match="no direction"):
        normalize([[1.0, 0.0], vector])
    with pytest.raises(ValueError, match="no direction"):
        average([[1.0, 0.0], vector])


def test_the_average_is_the_normalised_sum_of_the_units():
    rows = np.array([[2.0, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, -7.0]])
    assert np.allclose(average(rows), np.array([1.0, 1.0, -1.0]) / math.sqrt(3.0), atol=1e-7)
    assert average(rows).dtype == np.float32


def test_weights_count_as_repetitions():
    rows = units(3, 5)
    repeated = np.concatenate([rows[:1]] * 2 + [rows[1:2]] * 3 + [rows[2:]])
    assert np.allclose(average(rows, weights=[2, 3, 1]), average(repeated), atol=1e-6)
    assert np.allclose(average(rows, weights=[20, 30, 10]), average(repeated), atol=1e-6)


def test_one_heavy_weight_decides():
    rows = units(3, 5)
    assert np.allclose(average(rows, weights=[1e-9, 1.0, 1e-9]), rows[1], atol=1e-6)


def test_the_average_of_one_vector_is_the_vector():
    row = units(1, 192)
    assert np.allclose(average(row), row[0], atol=1e-7)


@settings(deadline=None)
@given(matrices, st.randoms(use_true_random=False))
def test_the_average_has_unit_length_and_knows_no_order(rows, random):
    directions = rows / np.sqrt((rows**2).sum(axis=1, keepdims=True))
    length = float(np.sqrt((directions.mean(axis=0) ** 2).sum()))
    if length < 1e-3:
        return  # they nearly cancel out: the direction is all rounding
    order = random.sample(range(len(rows)), len(rows))
    found = average(rows)
    assert math.isclose(float(np.sqrt((found.astype(np.float64) ** 2).sum())), 1.0, abs_tol=1e-6)
    assert np.allclose(average(rows[order]), found, atol=1e-6)
    assert np.allclose(found, directions.mean(axis=0) / length, atol=1e-6 / length)


def test_vectors_that_cancel_out_have_no_average():
    with pytest.raises(ValueError, match="cancel out"):
        average([[1.0, 2.0], [-1.0, -2.0]])
    turns = 2 * np.pi * np.arange(3) / 3
    with pytest.raises(ValueError, match="cancel out"):
        average(np.stack([np.cos(turns), np.sin(turns)], axis=1))


def test_no_vectors_have_no_average():
    for nothing in ([], np.zeros((0, 192), np.float32), [1.0, 2.0]):
        with pytest.raises(ValueError, match="at least one"):
            average(nothing)


@pytest.mark.parametrize("weights", [[1.0], [1.0, 2.0, 3.0], [1.0, 0.0], [1.0, -1.0], [1.0, math.nan], [[1.0], [1.0]]])
def test_weights_must_be_positive_and_one_a_vector(weights):
    with pytest.raises(ValueError, match="one positive weight"):
        average(units(2, 4), weights=weights)


def test_distances_are_euclidean():
    query = [1.0, 0.0]
    half = math.sqrt(0.5)
    others = [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [half, half]]
    assert np.allclose(distances(query, others), [0.0, math.sqrt(2), 2.0, math.sqrt(2 - 2 * half)], atol=1e-12)
    assert distances(query, others).dtype == np.float64


@settings(deadline=None)
@given(matrices)
def test_the_squared_distance_is_two_minus_two_cosines(rows):
    vectors = normalize(rows)
    exact = vectors.astype(np.float64)
    exact /= np.sqrt((exact**2).sum(axis=1, keepdims=True))
    found = distances(vectors[0], vectors)
    for distance, other in zip(found, exact, strict=True):
        cosine = math.fsum(exact[0] * other)
        assert 0.0 <= distance <= 2.0
        assert math.isclose(distance**2, 2.0 - 2.0 * cosine, abs_tol=1e-6)
        assert math.isclose(distance, float(cosine_to_distance(cosine)), abs_tol=1e-3)


def test_small_distances_keep_their_digits():
    angle = 1e-5
    found = distances([1.0, 0.0], [[math.cos(angle), math.sin(angle)]])[0]
    assert math.isclose(found, 2.0 * math.sin(angle / 2.0), rel_tol=1e-6)


def test_opposite_float32_vectors_are_never_farther_than_two():
    rows = units(200, 192)
    assert max(distances(row, [-row])[0] for row in rows) <= 2.0


def test_a_vector_is_at_distance_zero_from_itself():
    for row in units(20, 192):
        assert distances(row, [row])[0] == 0.0


def test_known_cosines_and_distances_answer_to_each_other():
    cosines = np.array([1.0, 0.5, 0.0, -0.5, -1.0])
    expected = np.array([0.0, 1.0, math.sqrt(2.0), math.sqrt(3.0), 2.0])
    assert np.allclose(cosine_to_distance(cosines), expected, atol=1e-12)
    assert np.allclose(distance_to_cosine(expected), cosines, atol=1e-12)


@settings(deadline=None)
@given(st.floats(-1.0, 1.0))
def test_a_cosine_comes_back_from_its_distance(cosine):
    assert math.isclose(float(distance_to_cosine(cosine_to_distance(cosine))), cosine, abs_tol=1e-12)


def test_a_cosine_beyond_its_range_by_rounding_is_clipped():
    assert cosine_to_distance([1.0 + 1e-7, -1.0 - 1e-7]).tolist() == [0.0, 2.0]


@settings(deadline=None)
@given(st.lists(st.floats(-1.0, 1.0), min_size=2, max_size=10))
def test_a_higher_cosine_is_never_a_larger_distance(cosines):
    found = cosine_to_distance(sorted(cosines))
    assert np.all(np.diff(found) <= 0.0)
