"""The second output that a graph gets: vectors of every two seconds, beside a plain reference."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from graph_runs import outputs

from speakerdb.encoder.registry import find_bundle
from training.last_steps import without_last_steps
from training.windows import with_windows, without_windows

WANTED = {"windows_wanted": np.array(True)}


@pytest.fixture(scope="module")
def shipped() -> onnx.ModelProto:
    """The shipped graph before its last steps, which have tests of their own."""
    return without_last_steps(onnx.load(find_bundle() / "encoder.onnx"))


@pytest.fixture(scope="module")
def without(shipped) -> onnx.ModelProto:
    """The shipped graph as it was before it had windows."""
    return without_windows(shipped)


def test_the_shipped_graph_is_what_the_rewrite_makes(shipped, without):
    assert [value.name for value in without.graph.output] == ["embedding"]
    assert with_windows(without).SerializeToString() == shipped.SerializeToString()


def test_a_graph_without_windows_has_none_to_lose(without):
    assert without_windows(without).SerializeToString() == without.SerializeToString()


@pytest.mark.parametrize("asked", [{}, WANTED])
def test_the_vector_stays_what_it_was_to_the_bit(shipped, without, voice, asked):
    for samples in (voice[:6_400], voice[:16_000], voice):
        before, after = outputs(without, samples[None])[0], outputs(shipped, samples[None], **asked)[0]
        assert np.array_equal(before, after)


def test_nobody_gets_windows_without_asking(shipped, voice):
    _, windows = outputs(shipped, np.stack([voice[:16_000], voice[16_000:32_000]]))
    assert windows.shape == (2, 0, 192)


def test_a_window_is_the_last_layer_of_mean_and_deviation_of_its_frames(shipped, voice):
    branch = next(node for node in shipped.graph.node if node.output[0] == "windows").attribute
    inner = {node.output[0]: node for part in branch for node in part.g.node}
    constants = {value.name: onnx.numpy_helper.to_array(value) for value in shipped.graph.initializer}
    taken = inner["windows.as_they_are"].input[0]
    _, windows, frames = outputs(shipped, voice[None], [taken], **WANTED)
    kernel = constants[inner["windows.product"].input[1]].astype(np.float64)
    bias = constants[inner["windows.sum"].input[1]].astype(np.float64)
    whole = int(len(voice) / 16_000 - 2.0) + 1
    assert windows.shape[1] >= whole > 3
    for second in range(whole):
        heard = frames[0, 25 * second : 25 * second + 50].astype(np.float64)
        vector = np.concatenate([heard.mean(axis=0), np.sqrt(heard.var(axis=0) + 1e-5)]) @ kernel + bias
        assert np.abs(windows[0, second] - vector / np.linalg.norm(vector)).max() <= 1e-4


def test_a_graph_without_that_pooling_is_given_back_as_it_is():
    value = onnx.helper.make_tensor_value_info("embedding", onnx.TensorProto.FLOAT, [1, 3])
    waveform = onnx.helper.make_tensor_value_info("waveform", onnx.TensorProto.FLOAT, [1, 3])
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["waveform"], ["embedding"])], "g", [waveform], [value]
    )
    model = onnx.helper.make_model(graph)
    assert with_windows(model) is model
