"""The network: its size, what padding changes (nothing), and what training changes."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs TensorFlow (the extra train)")

from random_networks import features, randomized, run

from training.networks.next_tdnn import NextTdnn, build
from training.recipe import Recipe

SMALL = NextTdnn(width=16, blocks=2, kernel=5, aggregated_blocks=2, pooled=24, attention=8, dimension=12)


@pytest.fixture(scope="module")
def network():
    return randomized(build(SMALL))


def parameters(size: NextTdnn) -> int:
    """Weights counted layer by layer; a normalisation has four a channel."""
    stem = 5 * size.bins * size.width + 4 * size.width
    hidden = size.expansion * size.width
    depthwise = size.kernel * size.width + 4 * size.width
    pointwise = size.width * hidden + hidden + hidden * size.width + size.width
    aggregate = min(size.blocks, size.aggregated_blocks) * size.width * size.pooled + 4 * size.pooled
    attention = (2 * size.pooled + 1) * size.attention + (size.pooled + 1) * size.attention
    attention += (size.attention + 1) * size.pooled
    head = 4 * 2 * size.pooled + (2 * size.pooled + 1) * size.dimension
    return stem + size.blocks * (depthwise + pointwise) + aggregate + attention + head


@pytest.mark.parametrize("size", [SMALL, Recipe.load("first").network], ids=["small", "the shipped recipe's"])
def test_it_has_as_many_parameters_as_its_layers_add_up_to(size):
    assert build(size).count_params() == parameters(size)


def test_the_vectors_have_unit_length_and_the_dimension_asked_for(network):
    vectors = run(network, np.concatenate([features(57, seed) for seed in range(4)]))
    assert vectors.shape == (4, 12)
    assert np.allclose(np.sqrt((vectors.astype(np.float64) ** 2).sum(axis=1)), 1.0, atol=1e-6)


# From 11 frames on, the least that speech detection lets through: the deviation over one or two is mostly rounding.
@pytest.mark.parametrize("frames", [11, 20, 21, 98])
@pytest.mark.parametrize("padding", [1, 2, 33])
def test_padded_frames_change_no_vector_whatever_is_in_them(network, frames, padding):
    crops = features(frames)
    mask = np.concatenate([np.ones((1, frames, 1)), np.zeros((1, padding, 1))], axis=1).astype(np.float32)
    alone = run(network, crops)
    for garbage in (np.zeros((1, padding, 80)), 50.0 * features(padding, seed=9), np.full((1, padding, 80), -16.0)):
        padded = np.concatenate([crops, garbage.astype(np.float32)], axis=1)
        assert np.abs(run(network, padded, mask) - alone).max() <= 1e-5


def test_a_clips_vector_does_not_depend_on_the_batch_it_is_in(network):
    crops = np.concatenate([features(40, seed) for seed in range(5)])
    together = run(network, crops)
    for row in range(5):
        assert np.abs(run(network, crops[row : row + 1])[0] - together[row]).max() <= 1e-5


def test_a_louder_or_quieter_recording_has_the_same_vector(network):
    crops = features(60)
    for gain in (-6.0, 3.0):
        assert np.abs(run(network, crops + np.float32(gain)) - run(network, crops)).max() <= 1e-4


def test_a_microphones_colour_changes_no_vector_of_a_clip_without_silence(network):
    crops = 10.0 + features(60) / 4.0  # all of it within 60 dB of its peak, coloured or not
    colour = np.linspace(-1.0, 1.0, 80, dtype=np.float32)
    assert np.ptp(crops + colour) < 60.0 * np.log(10.0) / 10.0
    assert np.abs(run(network, crops + colour) - run(network, crops)).max() <= 1e-4


def test_whatever_lies_sixty_db_below_the_clips_peak_is_silence(network):
    crops = features(60)
    floor = crops.max() - np.float32(60.0 * np.log(10.0) / 10.0)
    crops[:, 20:30] = floor - 1.0
    silence = crops.copy()
    silence[:, 20:30] = np.log(np.finfo(np.float32).eps)
    barely = crops.copy()
    barely[:, 20:30] = floor + 1.0
    assert np.abs(run(network, silence) - run(network, crops)).max() <= 1e-5
    assert np.abs(run(network, barely) - run(network, crops)).max() > 1e-3


def test_the_order_of_frames_does_matter(network):
    crops = features(60)
    assert np.abs(run(network, crops[:, ::-1].copy()) - run(network, crops)).max() > 1e-3


def test_embedding_changes_no_weight_and_training_moves_the_statistics_alone():
    network = build(SMALL)
    before = [weight.numpy().copy() for weight in network.weights]
    crops = np.concatenate([features(40, seed) for seed in range(5)])
    every_frame = np.ones((5, 40, 1), np.float32)
    network([crops, every_frame], training=False)
    assert all(np.array_equal(weight.numpy(), old) for weight, old in zip(network.weights, before, strict=True))
    network([crops, every_frame], training=True)
    moved = {
        weight.path.split("/")[-1]
        for weight, old in zip(network.weights, before, strict=True)
        if not np.array_equal(weight.numpy(), old)
    }
    assert moved == {"moving_mean", "moving_variance"}
