"""A graph whose dense layers see channels first, beside the one in which they see frames."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest

pytest.importorskip("tensorflow", reason="training needs TensorFlow (the extra train)")

from graph_runs import outputs
from random_networks import randomized
from test_training_narrow_campplus import SMALL

from training.export import waveform_model, write_onnx
from training.front_ends import FRONT_ENDS
from training.in_blocks import in_blocks
from training.networks.narrow_campplus import build
from training.one_length import of_one_length


@pytest.fixture(scope="module")
def in_frames(tmp_path_factory) -> onnx.ModelProto:
    """A network as it is exported, for clips of one length."""
    path = tmp_path_factory.mktemp("graph") / "encoder.onnx"
    write_onnx(waveform_model(randomized(build(SMALL)), FRONT_ENDS["kaldi-16k"]), path)
    return of_one_length(onnx.load(path), SMALL.slowing)


@pytest.fixture(scope="module")
def blocks(in_frames) -> onnx.ModelProto:
    return in_blocks(in_frames)


@pytest.mark.parametrize("samples", [2_000, 15_999, 48_000])
def test_clips_have_the_vectors_that_they_had(in_frames, blocks, voice, samples):
    clips = np.stack([voice[at : at + samples] for at in (0, 4_000, 8_000)])
    before, after = (outputs(model, clips)[0] for model in (in_frames, blocks))
    assert np.abs(before - after).max() <= 2e-6


def test_a_norm_of_which_a_factor_became_negative_is_heard_as_before(tmp_path, voice):
    network = randomized(build(SMALL))
    for factors in (weight for weight in network.weights if weight.path.endswith("/scale")):
        values = factors.numpy()
        values[0] = -0.002  # relu(a·x + b)·W keeps its factors a where one of them is not positive
        factors.assign(values)
    write_onnx(waveform_model(network, FRONT_ENDS["kaldi-16k"]), tmp_path / "encoder.onnx")
    before = of_one_length(onnx.load(tmp_path / "encoder.onnx"), SMALL.slowing)
    after, clips = in_blocks(before), voice[None, :16_000]
    assert after is not before
    assert np.abs(outputs(before, clips)[0] - outputs(after, clips)[0]).max() <= 2e-6


def test_dense_layers_are_convolutions_and_nothing_is_turned_between_them(in_frames, blocks):
    onnx.checker.check_model(blocks, full_check=True)
    layers = (SMALL.second_layers + SMALL.third_layers) // SMALL.grouped
    before, after = (Counter(node.op_type for node in model.graph.node) for model in (in_frames, blocks))
    once, transits, into = layers, 2, 1
    assert after["Conv"] - before["Conv"] == 3 * once + 3 * transits + into  # a layer has one over time, too
    assert after["GlobalAveragePool"] == layers
    assert before["Transpose"] - after["Transpose"] == 2 * layers - 2


def test_the_graph_that_was_given_stays_as_it_was_and_one_with_channels_first_is_given_back(in_frames, blocks):
    before = in_frames.SerializeToString()
    in_blocks(in_frames)
    assert in_frames.SerializeToString() == before
    assert in_blocks(blocks) is blocks


def test_a_graph_without_dense_layers_is_given_back(in_frames):
    other = onnx.ModelProto()
    other.CopyFrom(in_frames)
    for node in other.graph.node:
        node.op_type = "Identity" if node.op_type == "Concat" else node.op_type
    assert in_blocks(other) is other
