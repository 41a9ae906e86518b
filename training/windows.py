"""A second output for a graph: vectors of every two seconds, one a second, of the frames its vector is pooled from.

They cost next to nothing beside the vector, and tell one voice from several (`encoder.change_of_voice`). They are not
what the graph gives for two seconds cut out: every frame has heard the whole clip.
"""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from speakerdb.encoder.runtime import WINDOW_S, WINDOW_STEP_S, WINDOWS
from training.simplify import Graph

FRAMES_A_SECOND = 25
LENGTH, STEP = round(WINDOW_S * FRAMES_A_SECOND), round(WINDOW_STEP_S * FRAMES_A_SECOND)


TURNED = "windows.turned"
"""The first tensor that is added: the frames that the vector is pooled from, [batch, channels, frames]."""


def with_windows(model: ModelProto) -> ModelProto:
    """The graph with the output `windows`, float32 [batch, ⌈frames / 25⌉, dimension]; the model given is not changed.

    Windows that reach beyond a clip's end are of what there is and zeros. A graph that does not end in mean, deviation
    and one product of frames of 40 ms is given back as it is.
    """
    graph = Graph(model)
    found = _pooling(graph, model.graph.output[0].name)
    if found is None:
        return model
    frames, floor, kernel, bias = found
    dimension = graph.constants[kernel].shape[1]
    changed = ModelProto()
    changed.CopyFrom(model)
    for name, numbers in _CONSTANTS.items():
        changed.graph.initializer.append(numpy_helper.from_array(numbers, name))
    changed.graph.node.extend(_nodes(frames, floor, kernel, bias))
    shape = ["batch", "windows", dimension]
    changed.graph.output.append(helper.make_tensor_value_info(WINDOWS, TensorProto.FLOAT, shape))
    return changed


_CONSTANTS = {
    "windows.beyond": np.array([0, 0, 0, 0, 0, LENGTH - 1], np.int64),
    "windows.least": np.zeros((), np.float32),
}


def _nodes(frames: str, floor: str, kernel: str, bias: str) -> list[NodeProto]:
    """From frames [batch, frames, channels] to unit vectors; var = E[x²] − E[x]², which rounding may leave below 0."""
    pooling = {"kernel_shape": [LENGTH], "strides": [STEP]}

    def node(kind: str, inputs: list[str], output: str, **attributes: object) -> NodeProto:
        return helper.make_node(kind, inputs, [output], name=output, **attributes)

    return [
        node("Transpose", [frames], TURNED, perm=[0, 2, 1]),
        node("Pad", [TURNED, "windows.beyond"], "windows.frames"),
        node("Mul", ["windows.frames", "windows.frames"], "windows.squares"),
        node("AveragePool", ["windows.frames"], "windows.mean", **pooling),
        node("AveragePool", ["windows.squares"], "windows.power", **pooling),
        node("Mul", ["windows.mean", "windows.mean"], "windows.mean_squared"),
        node("Sub", ["windows.power", "windows.mean_squared"], "windows.difference"),
        node("Max", ["windows.difference", "windows.least"], "windows.variance"),
        node("Add", ["windows.variance", floor], "windows.floored"),
        node("Sqrt", ["windows.floored"], "windows.deviation"),
        node("Concat", ["windows.mean", "windows.deviation"], "windows.statistics_turned", axis=1),
        node("Transpose", ["windows.statistics_turned"], "windows.statistics", perm=[0, 2, 1]),
        node("MatMul", ["windows.statistics", kernel], "windows.product"),
        node("Add", ["windows.product", bias], "windows.sum"),
        node("LpNormalization", ["windows.sum"], WINDOWS, axis=2, p=2),
    ]


def _pooling(graph: Graph, output: str) -> tuple[str, str, str, str] | None:
    """Names of the frames, the floor under their variance, and the last layer's kernel and bias."""
    product = _back_to("MatMul", graph, output)
    joined = product and _back_to("Concat", graph, product.input[0])
    if product is None or joined is None or len(joined.input) != 2:
        return None
    mean, root = (graph.makers[name] for name in joined.input)
    floored, added = graph.makers[root.input[0]], graph.reader(product, "Add")
    if [node.op_type for node in (mean, root, floored)] != ["MatMul", "Sqrt", "Add"] or added is None:
        return None
    floor, bias = (next((name for name in node.input if name in graph.constants), None) for node in (floored, added))
    return (mean.input[1], floor, product.input[1], bias) if floor and bias else None


def _back_to(kind: str, graph: Graph, name: str) -> NodeProto | None:
    """The first node of this kind on the way back along first inputs."""
    node = graph.makers.get(name)
    while node is not None and node.op_type != kind:
        node = graph.makers.get(node.input[0]) if node.input else None
    return node
