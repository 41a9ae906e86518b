"""An exported graph as a PyTorch module, from its features to its vector: its weights can be learnt further.

It runs the graph's own operations one by one on clips of one length. What the export folded (normalisations, factors,
offsets) stays folded.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import onnx
import torch
from onnx import ModelProto, NodeProto, numpy_helper
from torch.nn import functional

from training.graph_parts import copied, floor
from training.simplify import Graph

LEARNT = ("Conv", "MatMul", "Add")
"""Operations whose constants are weights."""
PREFIX = "weight_"
"""PyTorch takes no names of digits alone."""


class GraphNetwork(torch.nn.Module):
    """features float32 [batch, frames, bins] → unit vectors float32 [batch, dimension].

    Attributes: features: the graph's tensor that they stand for: slowed, before their floor.
    Raises: ValueError for a graph without a floor under its features.
    """

    def __init__(self, model: ModelProto) -> None:
        super().__init__()
        graph = Graph(model)
        self._model, self.features, self._output = model, str(floor(model)[0].input[0]), model.graph.output[0].name
        self._nodes = _needed(graph, self._output, self.features)
        self._options = [{a.name: onnx.helper.get_attribute_value(a) for a in n.attribute} for n in self._nodes]
        self.weights, self._constants = torch.nn.ParameterDict(), dict[str, Any]()
        for node in self._nodes:
            for name in node.input:
                if name in graph.constants:
                    self._take(node, name, graph.constants[name])

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Vectors of clips of one length."""
        values: dict[str, Any] = {**self._constants, "": None}
        values.update((name.removeprefix(PREFIX), weight) for name, weight in self.weights.items())
        values[self.features] = features
        for node, options in zip(self._nodes, self._options, strict=True):
            values[node.output[0]] = OPERATIONS[node.op_type]([values[name] for name in node.input], options)
        found: torch.Tensor = values[self._output]
        return found

    def mean_with(self, share: float) -> ModelProto:
        """The graph with this share of these weights, and the rest of those that it came with."""
        changed = copied(self._model)
        for constant in changed.graph.initializer:
            if (learnt := self.weights.get(PREFIX + constant.name)) is not None:
                before = numpy_helper.to_array(constant)
                mean = before + np.float32(share) * (learnt.detach().numpy() - before)
                constant.CopyFrom(numpy_helper.from_array(mean, constant.name))
        return changed

    def of_front(self, name: str) -> bool:
        """Whether a weight lies before the first block that is inherited."""
        return name.removeprefix(PREFIX) in self.front

    @cached_property
    def front(self) -> set[str]:
        """The names of the weights before the first block that is inherited, which begins with an offset of channels
        (`training.in_blocks`).

        Raises: ValueError for a graph without such a block.
        """
        found, ones = set[str](), {node.output[0] for node in self._nodes if node.op_type == "ConstantOfShape"}
        for node in self._nodes:
            if node.op_type == "Conv" and node.input[1] in ones:
                return found
            found |= {name for name in node.input if PREFIX + name in self.weights}
        raise ValueError("a graph without inherited blocks, or exported by an earlier version; export it anew")

    def _take(self, node: NodeProto, name: str, value: np.ndarray[Any, Any]) -> None:
        if value.dtype == np.float32 and value.size > 1 and node.op_type in LEARNT:
            self.weights[PREFIX + name] = torch.nn.Parameter(torch.tensor(value))
        else:
            self._constants[name] = value if value.dtype == np.int64 else torch.tensor(value)


def _needed(graph: Graph, output: str, given: str) -> list[NodeProto]:
    """The nodes between what is given and the output, in the graph's order."""
    wanted, found = {output}, list[NodeProto]()
    for node in reversed(graph.nodes):
        if wanted.intersection(node.output) and given not in node.output:
            found.append(node)
            wanted.update(node.input)
    return found[::-1]


def _slice(inputs: list[Any], _: dict[str, Any]) -> Any:
    value, starts, ends, *others = inputs
    if not torch.is_tensor(value):
        return value[int(np.ravel(starts)[0]) : int(np.ravel(ends)[0])]
    axes, *steps = others
    chosen = [slice(None)] * value.dim()
    for start, end, axis, step in zip(starts, ends, axes, steps[0] if steps else np.ones(len(starts)), strict=True):
        chosen[int(axis)] = slice(int(start), int(end), int(step))
    return value[tuple(chosen)]


def _reshape(inputs: list[Any], _: dict[str, Any]) -> Any:
    value, shape = inputs
    return value.reshape([value.shape[axis] if size == 0 else int(size) for axis, size in enumerate(shape)])


def _axes(change: Callable[[torch.Tensor, int], torch.Tensor]) -> Callable[[list[Any], dict[str, Any]], Any]:
    def changed(inputs: list[Any], _: dict[str, Any]) -> Any:
        value = inputs[0]
        for axis in np.ravel(inputs[1]):
            value = change(value, int(axis))
        return value

    return changed


def _concat(inputs: list[Any], options: dict[str, Any]) -> Any:
    if torch.is_tensor(inputs[0]):
        return torch.cat(inputs, dim=options["axis"])
    return np.concatenate([np.atleast_1d(one) for one in inputs])


def _convolution(inputs: list[Any], options: dict[str, Any]) -> torch.Tensor:
    value, kernel, *bias = inputs
    axes = kernel.dim() - 2
    dilations = options.get("dilations", [1] * axes)
    pads = options.get("pads", [0] * (2 * axes))
    if options.get("auto_pad", b"NOTSET").startswith(b"SAME"):
        reach = [(size - 1) * dilation for size, dilation in zip(kernel.shape[2:], dilations, strict=True)]
        pads = [one // 2 for one in reach] + [one - one // 2 for one in reach]
    around = [pads[axis + side * axes] for axis in reversed(range(axes)) for side in (0, 1)]
    convolve = functional.conv2d if axes == 2 else functional.conv1d
    strides = tuple(options.get("strides", [1] * axes))
    padded, groups = functional.pad(value, around), options.get("group", 1)
    return convolve(padded, kernel, bias[0] if bias else None, strides, 0, tuple(dilations), groups)


def _reduced(change: Callable[..., torch.Tensor]) -> Callable[[list[Any], dict[str, Any]], Any]:
    def changed(inputs: list[Any], options: dict[str, Any]) -> Any:
        axes = inputs[1] if len(inputs) > 1 else options["axes"]
        return change(inputs[0], dim=[int(axis) for axis in axes], keepdim=bool(options.get("keepdims", 1)))

    return changed


def _product(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """With all digits where no weight is: means over frames would lose what they are taken for."""
    if isinstance(second, torch.nn.Parameter):
        return first @ second
    with torch.autocast("cpu", enabled=False):
        return first.float() @ second.float()


OPERATIONS: dict[str, Callable[[list[Any], dict[str, Any]], Any]] = {
    "Add": lambda inputs, _: inputs[0] + inputs[1],
    "Cast": lambda inputs, _: inputs[0].float() if torch.is_tensor(inputs[0]) else inputs[0],
    "Concat": _concat,
    "ConstantOfShape": lambda inputs, options: torch.full(
        [int(size) for size in inputs[0]], float(numpy_helper.to_array(options["value"])[0])
    ),
    "Conv": _convolution,
    "Expand": lambda inputs, _: torch.tensor(np.broadcast_to(inputs[0], inputs[1]), dtype=torch.float32),
    "Gather": lambda inputs, _: inputs[0][inputs[1]],
    "GlobalAveragePool": lambda inputs, _: inputs[0].mean(dim=(2, 3), keepdim=True),
    "MatMul": lambda inputs, _: _product(*inputs),
    "Max": lambda inputs, _: torch.maximum(inputs[0], inputs[1]),
    "Min": lambda inputs, _: torch.minimum(inputs[0], inputs[1]),
    "Mul": lambda inputs, _: inputs[0] * inputs[1],
    "Reciprocal": lambda inputs, _: 1.0 / inputs[0],
    "ReduceMax": _reduced(torch.amax),
    "ReduceMean": _reduced(torch.mean),
    "ReduceSum": _reduced(torch.sum),
    "Relu": lambda inputs, _: torch.relu(inputs[0]),
    "Reshape": _reshape,
    "Shape": lambda inputs, options: np.array(inputs[0].shape)[options.get("start", 0) : options.get("end")],
    "Sigmoid": lambda inputs, _: torch.sigmoid(inputs[0]),
    "Slice": _slice,
    "Sqrt": lambda inputs, _: torch.sqrt(inputs[0]),
    "Squeeze": _axes(torch.squeeze),
    "Sub": lambda inputs, _: inputs[0] - inputs[1],
    "Transpose": lambda inputs, options: inputs[0].permute(*options["perm"]),
    "Unsqueeze": _axes(torch.unsqueeze),
}
"""What a `narrow-campplus` is made of."""
