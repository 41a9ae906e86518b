"""An exported graph → one that says the same in fewer operations; with small tensors it is their number that costs.

Each rewrite is exact up to rounding, and `training.export` holds the result against Keras:

- A product of frames with a matrix comes out of TensorFlow as reshape, product, reshape, and eight operations more for
  the shapes; ONNX multiplies three axes by two as they are.
- A factor and an offset a channel behind a convolution go into its weights.
- relu(a·x + b)·W is relu(x + b/a)·(a·W) for a > 0: two passes over x instead of three. (One is max(x, −b/a)·(a·W) +
  b·W, but onnxruntime's maximum, which minds what is not a number, takes longer than both.)
- Behind a convolution over time channels come last before its axis of one goes, not after: onnxruntime, which keeps
  channels in blocks, then puts them last as it takes the blocks apart.

Tensors then have numbers for names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, NodeProto, helper, numpy_helper

LEAST_SCALE = 1e-3
"""Below it, b/a may lie beyond what float32 holds well, and the factor stays an operation of its own."""


def simplified(model: ModelProto) -> ModelProto:
    """The same graph with fewer operations; the model given is not changed."""
    for rewrite in (_plain_products, _folded_convolutions, _scaled_products, _channels_last):
        graph = Graph(model)
        for node in list(graph.nodes):
            rewrite(graph, node)
        model = graph.model()  # without the shapes that nobody asks for any more, which else would be readers
    return _briefly_named(model)


def _briefly_named(model: ModelProto) -> ModelProto:
    """Numbers for the names of what is neither input nor output: 120 KB of a graph of 600 operations are paths."""
    kept = {value.name for value in [*model.graph.input, *model.graph.output]} | {""}
    brief: dict[str, str] = {}

    def named(name: str) -> str:
        return name if name in kept else brief.setdefault(name, str(len(brief)))

    for node in model.graph.node:
        rename(node, named)
    for constant in model.graph.initializer:
        constant.name = named(constant.name)
    return model


def rename(node: NodeProto, named: Callable[[str], str], output: bool = True) -> None:
    """Change the names of what a node reads and, unless told otherwise, makes, within its branches too."""
    node.input[:] = [named(name) for name in node.input]
    if output:
        node.output[:] = [named(name) for name in node.output]
        node.name = node.output[0]  # quantization tells nodes apart by it
    for branch in (part.g for part in node.attribute if part.HasField("g")):
        for one in branch.node:
            rename(one, named, output)
        for value in branch.output if output else ():
            value.name = named(value.name)


def read_by(node: NodeProto) -> list[str]:
    """Names of the tensors that a node reads, those within its branches too."""
    inner = [name for part in node.attribute for one in part.g.node for name in read_by(one)]
    return [*node.input, *inner]


class Graph:
    """A graph's nodes, who makes and who reads each tensor, and the constants."""

    def __init__(self, model: ModelProto) -> None:
        self._model = ModelProto()
        self._model.CopyFrom(model)
        self.nodes = list(self._model.graph.node)
        self.constants = {value.name: numpy_helper.to_array(value) for value in self._model.graph.initializer}
        self.makers: dict[str, NodeProto] = {}
        self.readers: dict[str, list[NodeProto]] = {}
        for node in self.nodes:
            self.makers.update(dict.fromkeys(node.output, node))
            for name in read_by(node):
                self.readers.setdefault(name, []).append(node)

    def maker(self, name: str, kind: str) -> NodeProto | None:
        """The node that makes a tensor, where it is of this kind and the tensor has one reader."""
        node = self.makers.get(name)
        return node if node is not None and node.op_type == kind and len(self.readers.get(name, ())) == 1 else None

    def reader(self, node: NodeProto, kind: str) -> NodeProto | None:
        """The only reader of a node's output, where it is of this kind."""
        readers = self.readers.get(node.output[0], [])
        return readers[0] if len(readers) == 1 and readers[0].op_type == kind else None

    def constant(self, name: str, values: npt.NDArray[np.float32] | npt.NDArray[np.int64]) -> str:
        """Add a constant; its name."""
        self.constants[name] = values
        self._model.graph.initializer.append(numpy_helper.from_array(values, name))
        return name

    def operand(self, node: NodeProto) -> tuple[str, npt.NDArray[np.float32]] | None:
        """The tensor and the constant that a node of two inputs takes; None where it is not one of each."""
        first, second = node.input
        if second in self.constants:
            return first, self.constants[second]
        return (second, self.constants[first]) if first in self.constants else None

    def replace(self, old: Iterable[NodeProto], new: list[NodeProto]) -> None:
        """Put nodes in the place of others, of which the last makes the same tensor."""
        gone = list(old)
        at = max(self.nodes.index(node) for node in gone)
        self.nodes[at + 1 : at + 1] = new
        for node in gone:
            self.nodes.remove(node)
            for name in node.input:
                if node in self.readers.get(name, []):
                    self.readers[name].remove(node)
        for node in new:
            self.makers.update(dict.fromkeys(node.output, node))
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def model(self) -> ModelProto:
        """The graph as it now stands, without what nobody reads."""
        wanted = {value.name for value in self._model.graph.output}
        kept = []
        for node in reversed(self.nodes):
            if wanted.intersection(node.output):
                kept.append(node)
                wanted.update(read_by(node))
        graph = self._model.graph
        inputs = {value.name for value in graph.input}
        constants = [value for value in graph.initializer if value.name in wanted | inputs]
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(reversed(kept))
        graph.initializer.extend(constants)
        onnx.checker.check_model(self._model)
        return self._model


def _plain_products(graph: Graph, product: NodeProto) -> None:
    """Reshape, product with a matrix, reshape back → the product."""
    if product.op_type != "MatMul" or product.input[1] not in graph.constants:
        return
    before, after = graph.maker(product.input[0], "Reshape"), graph.reader(product, "Reshape")
    if before is None or after is None or "Tensordot" not in after.output[0]:
        return
    new = helper.make_node("MatMul", [before.input[0], product.input[1]], after.output)
    graph.replace([before, product, after], [new])


def _folded_convolutions(graph: Graph, convolution: NodeProto) -> None:
    """Convolution over time, squeeze, then factors and offsets a channel → the convolution with other weights."""
    if convolution.op_type != "Conv" or convolution.input[1] not in graph.constants or len(convolution.input) > 2:
        return
    squeeze = graph.reader(convolution, "Squeeze")
    weights = graph.constants[convolution.input[1]]
    channels, gone, last = len(weights), [convolution], squeeze
    offset = np.zeros(channels, np.float32)
    while squeeze is not None and (node := graph.reader(last, "Mul") or graph.reader(last, "Add")) is not None:
        found = graph.operand(node)
        if found is None or found[1].shape != (1, channels, 1):
            break
        values = found[1].reshape(channels)
        if node.op_type == "Mul":
            weights, offset = weights * values.reshape(-1, *[1] * (weights.ndim - 1)), offset * values
        else:
            offset = offset + values
        gone.append(node)
        last = node
    if len(gone) == 1:
        return
    inner = f"{last.output[0]}_convolved"
    inputs = [
        convolution.input[0],
        graph.constant(f"{inner}_weights", weights),
        graph.constant(f"{inner}_bias", offset),
    ]
    new = helper.make_node("Conv", inputs, [inner])
    new.attribute.extend(convolution.attribute)
    graph.replace([*gone, squeeze], [new, helper.make_node("Squeeze", [inner, *squeeze.input[1:]], last.output)])


def _scaled_products(graph: Graph, product: NodeProto) -> None:
    """relu(a·x + b)·W, with positive factors a by channel → relu(x + b/a)·(a·W)."""
    if product.op_type != "MatMul" or product.input[1] not in graph.constants:
        return
    relu = graph.maker(product.input[0], "Relu")
    shifted = relu and graph.maker(relu.input[0], "Add")
    added = shifted and graph.operand(shifted)
    scaled = added and graph.maker(added[0], "Mul")
    factors = scaled and graph.operand(scaled)
    weights = graph.constants[product.input[1]]
    if not factors or not added[1].shape == factors[1].shape == weights.shape[:1] or factors[1].min() < LEAST_SCALE:
        return
    (x, scale), made = factors, shifted.output[0]
    shift, matrix = graph.constant(f"{made}_shift", added[1] / scale), f"{product.output[0]}_matrix"
    new = [
        helper.make_node("Add", [x, shift], [made]),
        helper.make_node("Relu", [made], relu.output),
        helper.make_node("MatMul", [relu.output[0], graph.constant(matrix, scale[:, None] * weights)], product.output),
    ]
    graph.replace([scaled, shifted, relu, product], new)


def _channels_last(graph: Graph, convolution: NodeProto) -> None:
    """Convolution, squeeze of the third axis, channels last → convolution, channels last, squeeze of the second."""
    if convolution.op_type != "Conv":
        return
    squeeze = graph.reader(convolution, "Squeeze")
    turn = squeeze and graph.reader(squeeze, "Transpose")
    if turn is None or _axes(graph, squeeze) != [2] or helper.get_node_attr_value(turn, "perm") != [0, 2, 1]:
        return
    turned = f"{squeeze.output[0]}_turned"
    axis = graph.constant(f"{squeeze.output[0]}_axis", np.array([1], np.int64))
    new = [
        helper.make_node("Transpose", [convolution.output[0]], [turned], perm=[0, 2, 3, 1]),
        helper.make_node("Squeeze", [turned, axis], turn.output),
    ]
    graph.replace([squeeze, turn], new)


def _axes(graph: Graph, squeeze: NodeProto) -> list[int]:
    return [int(axis) for axis in graph.constants.get(squeeze.input[1] if len(squeeze.input) > 1 else "", [])]
