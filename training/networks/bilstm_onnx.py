"""The seed's network with its front end as an ONNX graph, written node by node from the Keras weights.

ONNX has the LSTM as one operator that knows each clip's length; converting the Keras model would give a loop over
frames. The front end is one convolution (window and Fourier transform) and one product (mel filters).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from training.front_ends import SEED_OFFSET, SeedBank
from training.networks.bilstm import LEAST_DEVIATION

OPSET = 17
IR_VERSION = 8
EVERY_SAMPLE = np.iinfo(np.int64).max
TINY = 1e-12
"""Least length of a vector before it is brought to unit length, as Keras has it (squared)."""

Array = npt.NDArray[Any]


class Graph:
    """Nodes and constants in the order in which they are added."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, operator: str, *inputs: str, outputs: Iterable[str] = (), **attributes: Any) -> str:
        """A node; the name of its (first) output."""
        names = list(outputs) or [f"{operator.lower()}_{len(self.nodes)}"]
        self.nodes.append(helper.make_node(operator, list(inputs), names, name=names[0] or names[1], **attributes))
        return names[0]

    def constant(self, name: str, value: npt.ArrayLike, dtype: type = np.float32) -> str:
        """A constant; its name."""
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name


def write_bilstm(network: keras.Model, bank: SeedBank, path: Path) -> None:
    """Write the graph of `training.networks.bilstm` behind a front end of the seed's kind.

    Inputs and output as `training.export` has them: `waveform`, `lengths` (with a default), `embedding`.
    """
    graph = Graph()
    lengths = graph.constant("lengths", [EVERY_SAMPLE], np.int64)
    graph.constant("zero", 0, np.int64)
    graph.constant("one", 1, np.int64)
    features, mask = _front_end(graph, bank, lengths)
    frames = _frame_counts(graph, mask)
    x = _normalized(graph, features, mask, bank.bins)
    x = graph.add("Transpose", x, perm=[1, 0, 2])  # ONNX's LSTM wants time first
    x = _every_frame(graph, x, frames, network, "first")
    x = _last(graph, x, frames, network, "second")
    kernel, bias = (np.asarray(weight) for weight in network.get_layer("embedding").weights)
    x = graph.add("MatMul", x, graph.constant("embedding_kernel", kernel))
    x = graph.add("Add", x, graph.constant("embedding_bias", bias))
    squared = graph.add("ReduceSum", graph.add("Mul", x, x), graph.constant("last_axis", [-1], np.int64), keepdims=1)
    length = graph.add("Sqrt", graph.add("Max", squared, graph.constant("tiny", TINY)))
    graph.add("Div", x, length, outputs=["embedding"])
    onnx.save(_model(graph, kernel.shape[1]), path)


def _model(graph: Graph, dimension: int) -> onnx.ModelProto:
    def value(name: str, kind: int, *shape: str | int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    made = helper.make_graph(
        graph.nodes,
        "speakerdb_encoder",
        [value("waveform", TensorProto.FLOAT, "batch", "samples"), value("lengths", TensorProto.INT64, "lengths")],
        [value("embedding", TensorProto.FLOAT, "batch", dimension)],
        graph.constants,
    )
    model = helper.make_model(
        made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="speakerdb"
    )
    onnx.checker.check_model(model)
    return model


def _front_end(graph: Graph, bank: SeedBank, lengths: str) -> tuple[str, str]:
    """Features [batch, frames, bins] and mask [batch, frames, 1]; what lies beyond a clip's end counts as zeros."""
    column = graph.add("Unsqueeze", lengths, graph.constant("column_axis", [1], np.int64))
    samples = graph.add("Shape", "waveform", start=1, end=2)
    samples = graph.add("Squeeze", samples)
    at = graph.add("Range", "zero", samples, "one")
    heard = graph.add("Where", graph.add("Less", at, column), "waveform", graph.constant("silence", 0.0))
    channel = graph.add("Unsqueeze", heard, "column_axis")
    kernel = bank.kernel().T[:, None, :]
    spectrum = graph.add(
        "Conv",
        channel,
        graph.constant("fourier", kernel),
        strides=[bank.frame_shift_samples],
        pads=[0, bank.frame_length_samples - 1],
    )
    power = graph.add("Mul", spectrum, spectrum)
    real, imaginary = "power_real", "power_imaginary"
    graph.add("Split", power, outputs=[real, imaginary], axis=1)
    magnitude = graph.add("Sqrt", graph.add("Add", real, imaginary))
    magnitude = graph.add("Transpose", magnitude, perm=[0, 2, 1])
    mel = graph.add("MatMul", magnitude, graph.constant("mel_filters", bank.filters()))
    features = graph.add("Log", graph.add("Add", mel, graph.constant("offset", SEED_OFFSET)))
    frames = graph.add("Squeeze", graph.add("Shape", features, start=1, end=2))
    shift = graph.constant("shift", bank.frame_shift_samples, np.int64)
    starts = graph.add("Mul", graph.add("Range", "zero", frames, "one"), shift)
    within = graph.add("Cast", graph.add("Less", starts, column), to=TensorProto.FLOAT)  # [batch or 1, frames]
    rows = graph.add("Shape", "waveform", start=0, end=1)
    shape = graph.add("Concat", rows, graph.add("Shape", features, start=1, end=2), axis=0)
    mask = graph.add("Expand", within, shape)
    return features, graph.add("Unsqueeze", mask, graph.constant("bin_axis", [2], np.int64))


def _frame_counts(graph: Graph, mask: str) -> str:
    """int32 [batch]: valid frames of each clip."""
    total = graph.add("ReduceSum", mask, graph.constant("frame_axes", [1, 2], np.int64), keepdims=0)
    return graph.add("Cast", total, to=TensorProto.INT32)


def _normalized(graph: Graph, features: str, mask: str, bins: int) -> str:
    axes = "frame_axes"
    count = graph.add("ReduceSum", mask, axes, keepdims=1)
    values = graph.add("Mul", graph.add("Max", count, graph.constant("unit", 1.0)), graph.constant("bins", bins))
    mean = graph.add("Div", graph.add("ReduceSum", graph.add("Mul", features, mask), axes, keepdims=1), values)
    centred = graph.add("Mul", graph.add("Sub", features, mean), mask)
    squared = graph.add("ReduceSum", graph.add("Mul", centred, centred), axes, keepdims=1)
    deviation = graph.add("Sqrt", graph.add("Div", squared, values))
    least = graph.constant("least_deviation", LEAST_DEVIATION)
    return graph.add("Div", centred, graph.add("Max", deviation, least))


def _every_frame(graph: Graph, x: str, frames: str, network: keras.Model, name: str) -> str:
    """[frames, batch, channels] → [frames, batch, 2 · units]."""
    y = _lstm(graph, x, frames, network, name, [f"{name}_y"])  # [frames, 2, batch, units]
    y = graph.add("Transpose", y, perm=[0, 2, 1, 3])
    return graph.add("Reshape", y, graph.constant(f"{name}_shape", [0, 0, -1], np.int64))


def _last(graph: Graph, x: str, frames: str, network: keras.Model, name: str) -> str:
    """[frames, batch, channels] → [batch, 2 · units]: each direction's state once it has read the whole clip."""
    _lstm(graph, x, frames, network, name, ["", f"{name}_h"])  # [2, batch, units]
    h = graph.add("Transpose", f"{name}_h", perm=[1, 0, 2])
    return graph.add("Reshape", h, graph.constant(f"{name}_shape", [0, -1], np.int64))


def _lstm(graph: Graph, x: str, frames: str, network: keras.Model, name: str, outputs: list[str]) -> str:
    directions = [_gates(network.get_layer(f"{name}_{way}")) for way in ("forward", "backward")]
    kernel, recurrent, bias = (np.stack(part) for part in zip(*directions, strict=True))
    return graph.add(
        "LSTM",
        x,
        graph.constant(f"{name}_kernel", kernel),
        graph.constant(f"{name}_recurrent", recurrent),
        graph.constant(f"{name}_bias", np.concatenate([bias, np.zeros_like(bias)], axis=1)),
        frames,
        outputs=outputs,
        direction="bidirectional",
        hidden_size=recurrent.shape[2],
    )


def _gates(layer: keras.layers.Layer) -> list[Array]:
    """A Keras LSTM's three weights in ONNX's form: gates in the order i, o, f, c (Keras: i, f, c, o), transposed."""
    found = []
    for weight in layer.weights:
        i, f, c, o = np.split(np.asarray(weight), 4, axis=-1)
        found.append(np.concatenate([i, o, f, c], axis=-1).T)
    return found
