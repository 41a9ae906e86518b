"""Vectors as bytes: what their distances say, and that they stay what snapshots hold."""

from __future__ import annotations

import numpy as np
import pytest

from speakerdb.embedding import normalize
from speakerdb.index.byte_codes import STEPS, codes, cosines, reach, turn

DIMENSIONS = [1, 2, 3, 16, 37, 192, 256, 512]


def units(rows: int, dimension: int, seed: int = 0) -> np.ndarray:
    return normalize(np.random.default_rng(seed).normal(size=(rows, dimension)))


def squared(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Squared distances of codes, by plain arithmetic."""
    return ((codes(one).astype(float)[:, None] - codes(other)[None]) ** 2).sum(axis=2).astype(np.float32)


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_a_turn_keeps_lengths_and_angles(dimension):
    turned = turn(dimension).astype(float)
    np.testing.assert_allclose(turned @ turned.T, np.eye(dimension), atol=1e-6)


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_codes_are_bytes_and_their_distances_are_those_of_the_vectors(dimension):
    one, other = units(60, dimension), units(60, dimension, seed=1)
    coded, before = codes(one), one.copy()
    assert coded.dtype == np.float32 and coded.shape == one.shape
    assert (coded == coded.astype(np.uint8)).all()
    np.testing.assert_array_equal(one, before)
    step = 2.0 * reach(dimension) / STEPS
    np.testing.assert_allclose(cosines(squared(one, other), dimension), one @ other.T, atol=2.5 * step)
    np.testing.assert_array_equal(cosines(np.diag(squared(one, one)), dimension), 1.0)
    assert codes(one[:0]).shape == (0, dimension)


def test_a_number_beyond_the_reach_is_cut_and_still_its_own_nearest():
    far = np.ascontiguousarray(turn(192).T)  # turned, each is 1 in one place and 0 in all others
    assert {codes(far).max(), codes(-far).min()} == {255.0, 0.0}
    near = cosines(squared(far, np.concatenate([far, units(500, 192)])), 192)
    assert (near.argmax(axis=1) == np.arange(192)).all()


def test_codes_stay_those_that_snapshots_hold():
    """Another turn, reach or rounding needs another number in `snapshot.FORMAT`."""
    vector = np.full((1, 192), 192**-0.5, np.float32)
    assert codes(vector)[0, :8].astype(int).tolist() == [112, 130, 105, 180, 159, 122, 106, 129]
