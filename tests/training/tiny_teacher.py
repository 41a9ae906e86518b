"""A made-up teacher with the shape and the names of CAM++, small, as ONNX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from training.networks.narrow_campplus import NarrowCampplus

CHANNELS, GROWTH, HIDDEN, SQUEEZED, LAST, DIMENSION = 16, 4, 10, 5, 12, 10
LAYERS = {"block2": 4, "block3": 2}

HEIR = NarrowCampplus(
    least_frames=0,
    head_channels=4,
    width=12,
    blocks=1,
    kernel=5,
    hidden=16,
    context=4,
    teacher_channels=CHANNELS,
    second_layers=LAYERS["block2"],
    third_layers=LAYERS["block3"],
    growth=GROWTH,
    bottleneck=6,
    rank=8,
    kept=8,
    dimension=8,
)
"""A network that can inherit from it."""


def write_teacher(path: Path, seed: int = 3) -> Path:
    """Write it: features [batch, frames, 80] → embedding [batch, DIMENSION]."""
    made = _Graph(np.random.default_rng(seed))
    made.add("Transpose", ["feats"], "turned", perm=[0, 2, 1])
    x, width = made.convolution("turned", "/xvector/transit1/linear", 80, CHANNELS, 5, strides=[2]), CHANNELS
    for block, transit, outputs in (("block2", "transit2", CHANNELS), ("block3", "transit3", LAST)):
        for layer in range(1, LAYERS[block] + 1):
            added = _dense(made, f"/xvector/{block}/tdnnd{layer}", x, width)
            x, width = made.add("Concat", [x, added], f"{added}_joined", axis=1), width + GROWTH
        x = made.normalized_relu(x, f"/xvector/{transit}/nonlinear", width)
        x, width = made.convolution(x, f"/xvector/{transit}/linear", width, outputs, 1, bias=outputs == LAST), outputs
    x = made.add("Relu", [x], "out")
    mean = made.add("ReduceMean", [x], "mean", axes=[2])
    centred = made.add("Sub", [x, mean], "centred")
    variance = made.add("ReduceMean", [made.add("Mul", [centred, centred], "squared")], "variance", axes=[2])
    joined = made.add("Concat", [mean, made.add("Sqrt", [variance], "deviation")], "statistics", axis=1)
    dense = made.convolution(joined, "/xvector/dense/linear", 2 * LAST, DIMENSION, 1)
    flat = made.add("Squeeze", [dense, made.constant(np.array([2]))], "flat")
    made.normalization(flat, "embedding", DIMENSION)
    onnx.save(made.model(), path)
    return path


def _dense(made: _Graph, at: str, x: str, width: int) -> str:
    x = made.convolution(
        made.normalized_relu(x, f"{at}/nonlinear1", width), f"{at}/linear1", width, HIDDEN, 1, bias=True
    )
    hidden = made.add("Relu", [x], f"{at}/hidden")
    local = made.convolution(hidden, f"{at}/cam_layer/linear_local", HIDDEN, GROWTH, 3)
    mean = made.add("ReduceMean", [hidden], f"{at}/mean", axes=[2])
    context = made.add("Add", [mean, mean], f"{at}/context")
    squeezed = made.convolution(context, f"{at}/cam_layer/linear1", HIDDEN, SQUEEZED, 1, bias=True)
    squeezed = made.add("Relu", [squeezed], f"{at}/squeezed")
    excited = made.convolution(squeezed, f"{at}/cam_layer/linear2", SQUEEZED, GROWTH, 1, bias=True)
    return made.add("Mul", [local, made.add("Sigmoid", [excited], f"{at}/gate")], f"{at}/added")


class _Graph:
    """Nodes and float16 constants, as they come."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng, self._nodes, self._constants = rng, [], []

    def add(self, kind: str, inputs: list[str], output: str, **attributes: object) -> str:
        self._nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, values: np.ndarray) -> str:
        """Floats are stored as float16 with a cast behind, as the real file has them."""
        name = f"constant_{len(self._constants)}"
        if values.dtype.kind != "f":
            self._constants.append(numpy_helper.from_array(values, name))
            return name
        self._constants.append(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        return self.add("Cast", [f"{name}_half"], name, to=TensorProto.FLOAT)

    def convolution(
        self,
        x: str,
        at: str,
        inputs: int,
        outputs: int,
        size: int,
        bias: bool = False,
        strides: list[int] | None = None,
    ) -> str:
        kernel = self._rng.standard_normal((outputs, inputs, size)) / np.sqrt(inputs * size)
        constants = [
            self.constant(kernel),
            *([self.constant(0.1 * self._rng.standard_normal(outputs))] if bias else []),
        ]
        pads = [size // 2, size // 2]
        return self.add("Conv", [x, *constants], f"{at}/Conv_output_0", pads=pads, strides=strides or [1])

    def normalization(self, x: str, output: str, channels: int) -> str:
        gamma, variance = (self._rng.uniform(0.5, 1.5, channels) for _ in range(2))
        beta, mean = (0.3 * self._rng.standard_normal(channels) for _ in range(2))
        return self.add("BatchNormalization", [x, *map(self.constant, (gamma, beta, mean, variance))], output)

    def normalized_relu(self, x: str, at: str, channels: int) -> str:
        normal = self.normalization(x, f"{at}/batchnorm/BatchNormalization_output_0", channels)
        return self.add("Relu", [normal], f"{at}/relu/Relu_output_0")

    def model(self) -> onnx.ModelProto:
        inputs = [helper.make_tensor_value_info("feats", TensorProto.FLOAT, ["B", "T", 80])]
        outputs = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["B", DIMENSION])]
        graph = helper.make_graph(self._nodes, "teacher", inputs, outputs, self._constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)])
        model.ir_version = 8
        onnx.checker.check_model(model)
        return model
