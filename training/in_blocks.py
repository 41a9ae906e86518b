"""Frames of dense layers [batch, frames, channels] → channels first, [batch, channels, 1, frames], in convolutions.

onnxruntime keeps the channels of convolutions that follow one another in blocks of 16, and adds offsets and takes the
relu where it convolves. So the relu of channels and offsets is one pass, a convolution of each channel with one, and
nothing is turned before and behind a convolution over time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

from training.simplify import Graph

PREFIX = "blocks."
AXIS = f"{PREFIX}axis"


def in_blocks(model: ModelProto) -> ModelProto:
    """The graph with channels first from its first dense layer on, up to what is no part of dense layers.

    Args: model: for clips of one length (`training.one_length`); it is not changed. One without dense layers, which
        join channels to those before, is given back as it is.
    """
    graph = Graph(model)
    product = next((found for node in graph.nodes if (found := _product_before(graph, node)) is not None), None)
    if product is None:
        return model
    frames = product.input[0]
    at = graph.nodes.index(graph.makers[frames]) + 1
    rewritten = _Rewritten(graph, frames)
    for node in graph.nodes[at:]:
        rewritten.take(node)
    graph.nodes[at:] = rewritten.nodes
    return graph.model()


def _product_before(graph: Graph, node: NodeProto) -> NodeProto | None:
    """What makes the channels that a dense layer joins its own to."""
    added = graph.makers.get(node.input[0]) if _joins_channels(node) else None
    product = graph.makers.get(added.input[0]) if added is not None and added.op_type == "Add" else None
    return product if product is not None and product.op_type == "MatMul" else None


def _joins_channels(node: NodeProto) -> bool:
    return node.op_type == "Concat" and bool(helper.get_node_attr_value(node, "axis") == 2)


class _Rewritten:
    """The nodes behind some frames. A tensor keeps its name where its channels come first."""

    def __init__(self, graph: Graph, frames: str) -> None:
        self.nodes: list[NodeProto] = []
        self._graph = graph
        self._first: dict[str, str] = {}
        """Names of tensors with channels first, by those that they had."""
        self._convolved: set[str] = set()
        """Former names of tensors that a convolution over time sees: their mean weights what comes out of it."""
        graph.constant(AXIS, np.array([1], np.int64))
        self._add("Unsqueeze", [frames, AXIS], f"{PREFIX}flat")
        self._add("Transpose", [f"{PREFIX}flat"], f"{PREFIX}first", perm=[0, 3, 1, 2])
        self._first[frames] = f"{PREFIX}first"

    def take(self, node: NodeProto) -> None:
        """The next node: what does the same with channels first, or itself."""
        given = next((name for name in node.input if name in self._first), "")
        constants = self._constants(node)
        match node.op_type:
            case "Add" if node.output[0] in self._first:
                pass  # the product before has taken it
            case "MatMul" if given and constants:
                self._multiply(node)
            case "MatMul" if given in self._convolved:
                mean = node.output[0]
                self._keep(helper.make_node("GlobalAveragePool", [given], [mean], name=mean))
            case "Add" if given and constants:
                self._shift(node)
            case "Mul" if given and constants:
                self._scale(node)
            case "Unsqueeze" | "Transpose" | "Squeeze" if given:
                self._first[node.output[0]] = self._first[given]
                self._convolved |= {given} if node.op_type == "Unsqueeze" else set()
            case "Concat" if given and _joins_channels(node):
                node.attribute[0].i = 1
                self._keep(node)
            case "Conv" | "Relu" | "Sigmoid" | "Mul" if given:
                self._keep(node)
            case _:
                node.input[:] = [self._as_frames(name) for name in node.input]
                self.nodes.append(node)

    def _multiply(self, product: NodeProto) -> None:
        """A convolution of one frame, with the offset behind the product where there is one."""
        [matrix] = self._constants(product)
        kernel = self._graph.constant(f"{matrix}_turned", self._graph.constants[matrix].T[:, :, None, None])
        added = self._graph.reader(product, "Add")
        offset = self._constants(added) if added is not None else []
        output = added.output[0] if added is not None and offset else product.output[0]
        self._convolve(self._first[product.input[0]], [kernel, *offset], output)

    def _shift(self, added: NodeProto) -> None:
        """An offset for each channel is a convolution of each with one."""
        [offset] = self._constants(added)
        channels = len(self._graph.constants[offset])
        ones = f"{PREFIX}{channels}"
        if not any(ones in node.output for node in self.nodes):
            sizes = self._graph.constant(f"{ones}.sizes", np.array([channels, 1, 1, 1], np.int64))
            self._add("ConstantOfShape", [sizes], ones, value=numpy_helper.from_array(np.ones(1, np.float32)))
        self._convolve(self._first[added.input[0]], [ones, offset], added.output[0], group=channels)

    def _scale(self, product: NodeProto) -> None:
        """A factor for each channel, where one is not positive and the product behind could not take them all."""
        [factor] = self._constants(product)
        turned = self._graph.constant(f"{factor}_turned", self._graph.constants[factor][:, None, None])
        product.input[:] = [turned if name == factor else name for name in product.input]
        self._keep(product)

    def _constants(self, node: NodeProto) -> list[str]:
        """A matrix, or an offset or a factor for each channel."""
        found = self._graph.constants
        return [name for name in node.input if name in found and found[name].ndim]

    def _convolve(self, given: str, weights: list[str], output: str, **options: int) -> None:
        self._add("Conv", [given, *weights], output, kernel_shape=[1, 1], **options)
        self._first[output] = output

    def _keep(self, node: NodeProto) -> None:
        node.input[:] = [self._first.get(name, name) for name in node.input]
        self.nodes.append(node)
        self._first[node.output[0]] = node.output[0]

    def _as_frames(self, name: str) -> str:
        """A tensor for a node that is no part of dense layers."""
        if name not in self._first:
            return name
        frames = f"{PREFIX}{name}"
        if not any(frames in node.output for node in self.nodes):
            self._add("Transpose", [self._first[name]], f"{frames}.flat", perm=[0, 2, 3, 1])
            self._add("Squeeze", [f"{frames}.flat", AXIS], frames)
        return frames

    def _add(self, kind: str, inputs: list[str], output: str, **options: Any) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **options))
