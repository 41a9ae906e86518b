"""The direction between two sets, taken out of a network's vectors."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs TensorFlow (the extra train)")

import keras
from random_networks import randomized

from training.evaluate import embed_cached
from training.features_cache import CachedFeatures
from training.levelling import level
from training.networks.next_tdnn import NextTdnn, build


def heard(offset: float, seed: int) -> CachedFeatures:
    """Twelve clips of 40 frames, their high bins louder by `offset`."""
    frames = np.random.default_rng(seed).standard_normal((12 * 40, 80))
    frames[:, 40:] += offset * frames[:, :40] ** 2
    return CachedFeatures(frames.astype(np.float16), np.arange(13) * 40, [{"path": str(clip)} for clip in range(12)])


def vectors(network, cached: CachedFeatures) -> np.ndarray:
    found = embed_cached(network, cached)
    return np.stack([found[row["path"]] for row in cached.clips]).astype(np.float64)


def test_the_direction_between_two_sets_is_left_out_and_all_others_stay():
    keras.utils.set_random_seed(1)
    network = randomized(build(NextTdnn()))
    sets = heard(0.0, seed=1), heard(2.0, seed=2)
    before = [vectors(network, one) for one in sets]
    apart = level(network, sets)
    between = before[0].mean(axis=0) - before[1].mean(axis=0)
    assert apart == pytest.approx(np.linalg.norm(between), abs=1e-5)
    assert apart > 0.01
    direction = between / np.linalg.norm(between)
    for old, cached in zip(before, sets, strict=True):
        projected = old - np.outer(old @ direction, direction)
        expected = projected / np.linalg.norm(projected, axis=1, keepdims=True)
        assert np.abs(vectors(network, cached) - expected).max() <= 1e-4
