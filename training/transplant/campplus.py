"""CAM++'s upper blocks as NumPy arrays, read from its ONNX file, and what each piece computes.

Tensors in the file bear the names of 3D-Speaker's modules (`/xvector/block2/tdnnd1/linear1/Conv_output_0`); weights are
stored as float16, and batch normalisations behind a convolution are in its weights already. Frames are float32
[clips, frames, channels] here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from training.teacher_encoders import read_graph

Array = npt.NDArray[np.float32]

VARIANCE_FLOOR = 1e-5
"""Of its batch normalisations (PyTorch's default)."""


@dataclass(frozen=True)
class DenseLayer:
    """A dense layer with its context gate.

    Attributes:
        scale, shift: [channels], before the first relu. matrix, bias: [channels, 128], [128], the bottleneck.
        local: [3 · 128, growth], the taps over time, earliest first, 128 rows each.
        squeeze, squeeze_bias, excite, excite_bias: [128, 64], [64], [64, growth], [growth], the gate.
    """

    scale: Array
    shift: Array
    matrix: Array
    bias: Array
    local: Array
    squeeze: Array
    squeeze_bias: Array
    excite: Array
    excite_bias: Array

    def bottleneck(self, x: Array) -> Array:
        """[…, channels] → […, 128]."""
        return relu(relu(x * self.scale + self.shift) @ self.matrix + self.bias)

    def gate_logits(self, hidden: Array) -> Array:
        """Of whole clips of at most 100 frames: [clips, frames, 128] → [clips, growth].

        CAM++ adds the mean over the clip and the mean over a frame's segment of 100 frames; here they are the same.
        """
        context = 2.0 * hidden.mean(axis=1)
        return relu(context @ self.squeeze + self.squeeze_bias) @ self.excite + self.excite_bias


@dataclass(frozen=True)
class Transit:
    """The product that ends a block. scale, shift: [channels]; matrix, bias: [channels, outputs], [outputs]."""

    scale: Array
    shift: Array
    matrix: Array
    bias: Array

    def __call__(self, x: Array) -> Array:
        """[…, channels] → […, outputs]."""
        return relu(x * self.scale + self.shift) @ self.matrix + self.bias


@dataclass(frozen=True)
class Campplus:
    """Blocks 2 and 3, what ends them, and [2 · outputs, dimension] after the pooling of mean and deviation."""

    second: list[DenseLayer]
    second_transit: Transit
    third: list[DenseLayer]
    third_transit: Transit
    embedding: Array


def relu(x: Array) -> Array:
    """max(x, 0)."""
    return np.maximum(x, np.float32(0.0))


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(−x)), without overflow."""
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * x), np.float32)


def taps(x: Array) -> Array:
    """Each frame with its neighbours: [clips, frames, channels] → [clips, frames, 3 · channels], earliest first."""
    padded = np.pad(x, ((0, 0), (1, 1), (0, 0)))
    return np.concatenate([padded[:, :-2], x, padded[:, 2:]], axis=2)


def read_campplus(path: Path) -> Campplus:
    """Read the upper blocks. Raises: ValueError for a file that is damaged, or not CAM++ as 3D-Speaker exports it."""
    file = _File(read_graph(path))
    try:
        return Campplus(
            second=_layers(file, "block2"),
            second_transit=_transit(file, "transit2"),
            third=_layers(file, "block3"),
            third_transit=_transit(file, "transit3"),
            embedding=_embedding(file),
        )
    except KeyError as error:
        raise ValueError(f"{path}: no CAM++ as 3D-Speaker exports it: it has no {error}") from error


class _File:
    """The constants that each tensor is computed with."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._nodes = {name: node for node in model.graph.node for name in node.output}
        self._constants = {value.name: numpy_helper.to_array(value) for value in model.graph.initializer}

    def has(self, tensor: str) -> bool:
        """Whether it is there."""
        return tensor in self._nodes

    def weights(self, tensor: str) -> list[Array]:
        """The constants of the node that makes a tensor, as float32, through the cast from float16."""
        return [self._constant(name) for name in self._nodes[tensor].input[1:]]

    def _constant(self, name: str) -> Array:
        if name in self._constants:
            return self._constants[name].astype(np.float32)
        node = self._nodes[name]
        if node.op_type == "Constant":
            return numpy_helper.to_array(node.attribute[0].t).astype(np.float32)
        return self._constant(node.input[0])


def _layers(file: _File, block: str) -> list[DenseLayer]:
    found: list[DenseLayer] = []
    while file.has(f"/xvector/{block}/tdnnd{len(found) + 1}/linear1/Conv_output_0"):
        found.append(_layer(file, f"/xvector/{block}/tdnnd{len(found) + 1}"))
    if not found:
        raise KeyError(f"/xvector/{block}")
    return found


def _layer(file: _File, at: str) -> DenseLayer:
    matrix, bias = file.weights(f"{at}/linear1/Conv_output_0")
    [local] = file.weights(f"{at}/cam_layer/linear_local/Conv_output_0")  # [growth, 128, 3]
    squeeze, squeeze_bias = file.weights(f"{at}/cam_layer/linear1/Conv_output_0")
    excite, excite_bias = file.weights(f"{at}/cam_layer/linear2/Conv_output_0")
    return DenseLayer(
        *_scale_shift(file, f"{at}/nonlinear1/batchnorm/BatchNormalization_output_0"),
        matrix=_matrix(matrix),
        bias=bias,
        local=np.ascontiguousarray(local.transpose(2, 1, 0).reshape(-1, len(local))),
        squeeze=_matrix(squeeze),
        squeeze_bias=squeeze_bias,
        excite=_matrix(excite),
        excite_bias=excite_bias,
    )


def _transit(file: _File, name: str) -> Transit:
    scale, shift = _scale_shift(file, f"/xvector/{name}/nonlinear/batchnorm/BatchNormalization_output_0")
    kernel, *biases = file.weights(f"/xvector/{name}/linear/Conv_output_0")
    bias = biases[0] if biases else np.zeros(len(kernel), np.float32)
    return Transit(scale, shift, _matrix(kernel), bias)


def _embedding(file: _File) -> Array:
    [kernel] = file.weights("/xvector/dense/linear/Conv_output_0")
    scale, _ = _scale_shift(file, "embedding")
    return _matrix(kernel) * scale


def _scale_shift(file: _File, tensor: str) -> tuple[Array, Array]:
    """A batch normalisation as a factor and an offset a channel."""
    gamma, beta, mean, variance = file.weights(tensor)
    scale = gamma / np.sqrt(variance + VARIANCE_FLOOR)
    return scale, beta - mean * scale


def _matrix(kernel: Array) -> Array:
    """A convolution of one tap, [outputs, inputs, 1], as [inputs, outputs]."""
    return np.ascontiguousarray(kernel[:, :, 0].T)
