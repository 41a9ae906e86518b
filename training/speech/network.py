"""The speech detector's network: log-mel energies → the probability of speech in each frame of 32 ms; as ONNX."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import onnx
from keras import layers, ops
from onnx import TensorProto, helper, numpy_helper

from speakerdb.speech_detector import BINS, FIRST_AFTER, FIRST_BEFORE, REACH_FRAMES

WIDTH = 72
DILATIONS = (1, 2, 4, 8, 16)
"""Their sum is `REACH_FRAMES`: three taps each."""


def build() -> keras.Model:
    """features [batch, frames, 40], two a frame of 32 ms → logits [batch, (frames − 128) / 2], nothing filled up."""
    assert sum(DILATIONS) == REACH_FRAMES
    features = keras.Input((None, BINS), name="features")
    x = layers.Conv1D(WIDTH, FIRST_BEFORE + FIRST_AFTER + 1, strides=2, activation="relu", name="first")(features)
    for dilation in DILATIONS:
        inner = layers.Conv1D(WIDTH, 3, dilation_rate=dilation, activation="relu", name=f"reach_{dilation}")(x)
        x = layers.Cropping1D(dilation)(x) + inner
    x = layers.Conv1D(WIDTH // 2, 1, activation="relu", name="narrow")(x)
    x = layers.Conv1D(1, 1, name="last")(x)
    return keras.Model(features, ops.squeeze(x, axis=-1), name="speech")


def write_onnx(network: keras.Model, file: Path) -> None:
    """The network as a graph: `features` float32 [1, 40, frames] → `speech` float32 [1, (frames − 128) / 2], 0 to 1."""
    nodes: list[onnx.NodeProto] = []
    tensors: list[onnx.TensorProto] = []

    def convolved(name: str, given: str, **options: object) -> str:
        kernel, bias = (ops.convert_to_numpy(value) for value in network.get_layer(name).weights)
        tensors.append(numpy_helper.from_array(np.ascontiguousarray(kernel.transpose(2, 1, 0)), f"{name}.kernel"))
        tensors.append(numpy_helper.from_array(bias, f"{name}.bias"))
        inputs = [given, f"{name}.kernel", f"{name}.bias"]
        nodes.append(helper.make_node("Conv", inputs, [f"{name}.sum"], **options))
        return f"{name}.sum"

    def rectified(given: str) -> str:
        nodes.append(helper.make_node("Relu", [given], [f"{given}.relu"]))
        return f"{given}.relu"

    x = rectified(convolved("first", "features", strides=[2]))
    for dilation in DILATIONS:
        inner = rectified(convolved(f"reach_{dilation}", x, dilations=[dilation]))
        ends = [f"{inner}.from", f"{inner}.to", f"{inner}.axis"]
        for end, value in zip(ends, (dilation, -dilation, 2), strict=True):
            tensors.append(numpy_helper.from_array(np.array([value], np.int64), end))
        nodes.append(helper.make_node("Slice", [x, *ends], [f"{inner}.x"]))
        nodes.append(helper.make_node("Add", [f"{inner}.x", inner], [f"{inner}.added"]))
        x = f"{inner}.added"
    x = convolved("last", rectified(convolved("narrow", x)))
    tensors.append(numpy_helper.from_array(np.array([1], np.int64), "channels"))
    nodes.append(helper.make_node("Sigmoid", [x], ["probability"]))
    nodes.append(helper.make_node("Squeeze", ["probability", "channels"], ["speech"]))
    graph = helper.make_graph(
        nodes,
        "speakerdb_speech",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, BINS, "frames"])],
        [helper.make_tensor_value_info("speech", TensorProto.FLOAT, [1, "spoken"])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, file)
