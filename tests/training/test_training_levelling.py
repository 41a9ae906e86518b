"""The direction between two sets, taken out of a network's vectors."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs TensorFlow (the extra train)")

import keras
import onnx
from random_networks import randomized

from speakerdb.encoder.registry import find_bundle
from training import known_voices
from training.evaluate import embed_cached
from training.features_cache import CachedFeatures
from training.graph_vectors import clips_of
from training.last_steps import without_last_steps
from training.levelling import level, levelled
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


def test_a_graph_is_levelled_as_a_network_is(tiny, tmp_path, quiet):
    graph = without_last_steps(onnx.load(find_bundle() / "encoder.onnx"))
    archives = [tiny.corpora / f"common_voice-{split}.tar" for split in ("train", "dev")]
    said = [clips_of(graph, 16_000, archive, tmp_path, quiet) for archive in archives]
    before = [np.concatenate([np.stack(own) for own in one.values()]).astype(np.float64) for one in said]
    changed, apart = levelled(graph, 16_000, archives, tmp_path, quiet)
    between = before[0].mean(axis=0) - before[1].mean(axis=0)
    assert apart == pytest.approx(np.linalg.norm(between), abs=1e-6) and apart > 0.01
    direction = between / np.linalg.norm(between)
    for old, archive in zip(before, archives, strict=True):
        now = clips_of(changed, 16_000, archive, tmp_path, quiet)
        projected = old - np.outer(old @ direction, direction)
        expected = projected / np.linalg.norm(projected, axis=1, keepdims=True)
        assert np.abs(np.concatenate([np.stack(own) for own in now.values()]) - expected).max() <= 1e-4
    assert changed.SerializeToString() != graph.SerializeToString()


def test_a_graph_that_ends_otherwise_is_refused(tiny, tmp_path, quiet):
    graph = onnx.load(find_bundle() / "encoder.onnx")
    archives = [tiny.corpora / f"common_voice-{split}.tar" for split in ("train", "dev")]
    with pytest.raises(ValueError, match="does not end in a product and an offset"):
        levelled(known_voices.without_step(graph), 16_000, archives, tmp_path, quiet)  # ends in what channels add
