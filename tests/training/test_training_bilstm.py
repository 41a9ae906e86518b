"""The seed's network: its size, that padding changes no vector, and that Keras's own bidirectional layer agrees."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs TensorFlow (the extra train)")

import keras

from training.networks import build as build_any
from training.networks.bilstm import Bilstm, build

SMALL = Bilstm(bins=7, units=6, dimension=5)


@pytest.fixture(scope="module")
def network():
    return build(SMALL)


def clip(frames: int, seed: int = 0) -> np.ndarray:
    return (3.0 * np.random.default_rng(seed).standard_normal((1, frames, 7)) - 5.0).astype(np.float32)


def alone(network, frames: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(network([frames, np.ones((*frames.shape[:2], 1), np.float32)]))


def test_it_has_the_seeds_number_of_parameters():
    assert build_any(Bilstm()).count_params() == 641_152


@pytest.mark.parametrize("filling", [0.0, -13.8, 1e3])
def test_padding_changes_no_vector_whatever_is_in_it(network, filling):
    lengths = (1, 2, 9, 31)
    batch, mask = np.full((4, 40, 7), filling, np.float32), np.zeros((4, 40, 1), np.float32)
    for row, length in enumerate(lengths):
        batch[row, :length], mask[row, :length] = clip(length, row)[0], 1.0
    found = keras.ops.convert_to_numpy(network([batch, mask]))
    for row, length in enumerate(lengths):
        assert np.abs(found[row] - alone(network, clip(length, row))[0]).max() <= 1e-5


def test_keras_s_bidirectional_layers_with_the_same_weights_give_the_same_vectors(network):
    frames = clip(23)
    layers = [network.get_layer(f"{place}_{way}") for place in ("first", "second") for way in ("forward", "backward")]
    x = (frames - frames.mean()) / frames.std()
    for pair, sequences in ((layers[:2], True), (layers[2:], False)):
        both = keras.layers.Bidirectional(keras.layers.LSTM(6, return_sequences=sequences))
        both.build(x.shape)
        both.set_weights([weight for layer in pair for weight in layer.get_weights()])
        x = keras.ops.convert_to_numpy(both(x))
    dense = network.get_layer("embedding").get_weights()
    expected = x @ dense[0] + dense[1]
    expected /= np.linalg.norm(expected)
    assert np.abs(alone(network, frames) - expected).max() <= 1e-5


def test_a_level_and_a_contrast_change_no_vector(network):
    assert np.abs(alone(network, clip(30)) - alone(network, 2.0 * clip(30) + 4.0)).max() <= 1e-5


def test_vectors_have_unit_length_and_silence_gives_one_too(network):
    for frames in (clip(12), np.full((1, 12, 7), -13.8, np.float32)):
        vector = alone(network, frames)[0]
        assert np.isfinite(vector).all()
    assert abs(np.linalg.norm(alone(network, clip(12))[0]) - 1.0) <= 1e-5
