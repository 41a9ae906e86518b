"""The second output that a graph gets: vectors of every two seconds, beside a plain reference."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from speakerdb.encoder.registry import find_bundle
from training import graph_parts
from training.last_steps import without_last_steps
from training.windows import with_windows

LEFT_OUT = "windows"


@pytest.fixture(scope="module")
def shipped() -> onnx.ModelProto:
    """The shipped graph before its last steps, which have tests of their own."""
    return without_last_steps(onnx.load(find_bundle() / "encoder.onnx"))


@pytest.fixture(scope="module")
def without(shipped) -> onnx.ModelProto:
    """The shipped graph as it was before it had windows."""
    model = graph_parts.without(shipped, LEFT_OUT)
    del model.graph.output[1:]
    return model


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def test_the_shipped_graph_is_what_the_rewrite_makes(shipped, without):
    assert with_windows(without).SerializeToString() == shipped.SerializeToString()


def test_the_vector_stays_what_it_was_to_the_bit(shipped, without, voice):
    before, after = session(without), session(shipped)
    for samples in (voice[:6_400], voice[:16_000], voice):
        feed = {"waveform": samples[None]}
        assert np.array_equal(before.run(None, feed)[0], after.run(None, feed)[0])


def test_a_window_is_the_last_layer_of_mean_and_deviation_of_its_frames(without, voice):
    model = with_windows(without)
    turned = next(node for node in model.graph.node if node.output[0] == "windows.turned")
    product = next(node for node in model.graph.node if node.output[0] == "windows.product")
    added = next(node for node in model.graph.node if node.output[0] == "windows.sum")
    constants = {value.name: onnx.numpy_helper.to_array(value) for value in model.graph.initializer}
    model.graph.output.append(onnx.helper.make_tensor_value_info(turned.input[0], onnx.TensorProto.FLOAT, None))
    _, windows, frames = session(model).run(None, {"waveform": voice[None]})
    kernel, bias = constants[product.input[1]].astype(np.float64), constants[added.input[1]].astype(np.float64)
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
