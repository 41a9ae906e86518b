"""A second output for a graph: vectors of every two seconds, one a second, of the frames its vector is pooled from.

They cost little beside the vector, and tell one voice from several (`encoder.change_of_voice`). They are not what the
graph gives for two seconds cut out: every frame has heard the whole clip. Only who enrolls asks for them, so that the
graph makes them where the input `windows_wanted`, a bool with the default false, says so; else there are none.
"""

from __future__ import annotations

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from speakerdb.encoder.runtime import WINDOW_S, WINDOW_STEP_S, WINDOWS, WINDOWS_WANTED
from training.graph_parts import Step, add_constants, copied, drop_input, nodes_of, without
from training.simplify import Graph

FRAMES_A_SECOND = 25
LENGTH, STEP = round(WINDOW_S * FRAMES_A_SECOND), round(WINDOW_STEP_S * FRAMES_A_SECOND)
PREFIX = "windows."
MADE, NONE = f"{PREFIX}made", f"{PREFIX}none"
"""What either branch gives."""


def with_windows(model: ModelProto) -> ModelProto:
    """The graph with the output `windows`, float32 [batch, ⌈frames / 25⌉, dimension], or [batch, 0, dimension] where
    nobody wants any; the model given is not changed.

    Windows that reach beyond a clip's end are of what there is and zeros. A graph that does not end in mean, deviation
    and one product of frames of 40 ms is given back as it is.
    """
    graph = Graph(model)
    found = _pooling(graph, model.graph.output[0].name)
    if found is None:
        return model
    frames, floor, kernel, bias = found
    dimension = graph.constants[kernel].shape[1]
    changed = copied(model)
    add_constants(changed, PREFIX, {**_CONSTANTS, "no_shape": np.array([0, dimension], np.int64)})
    changed.graph.input.append(helper.make_tensor_value_info(WINDOWS_WANTED, TensorProto.BOOL, []))
    changed.graph.initializer.append(numpy_helper.from_array(np.array(False), WINDOWS_WANTED))
    changed.graph.node.extend(nodes_of(_BATCH, PREFIX))
    branches = {
        "then_branch": _branch(_steps(frames, floor, kernel, bias), MADE),
        "else_branch": _branch(_NO_WINDOWS, NONE),
    }
    changed.graph.node.append(helper.make_node("If", [WINDOWS_WANTED], [WINDOWS], name=WINDOWS, **branches))
    shape = ["batch", "windows", dimension]
    changed.graph.output.append(helper.make_tensor_value_info(WINDOWS, TensorProto.FLOAT, shape))
    return changed


def without_windows(model: ModelProto) -> ModelProto:
    """The graph, without last steps, with the vector for its only output; the model given is not changed."""
    changed = without(model, PREFIX)
    nodes = [node for node in changed.graph.node if node.output[0] != WINDOWS]
    del changed.graph.node[:], changed.graph.output[1:]
    changed.graph.node.extend(nodes)
    drop_input(changed, WINDOWS_WANTED)
    return changed


def _branch(steps: list[Step], output: str) -> GraphProto:
    given = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    return helper.make_graph(nodes_of(steps, PREFIX), output, [], [given])


_CONSTANTS = {
    "beyond": np.array([0, 0, 0, 0, 0, LENGTH - 1], np.int64),
    "least": np.zeros((), np.float32),
    "zeroth": np.array([0], np.int64),
}
_BATCH: list[Step] = [("Shape", ["waveform"], ".batch", {"end": 1})]
_NO_WINDOWS: list[Step] = [
    ("Concat", [".batch", ".no_shape"], ".nothing", {"axis": 0}),
    ("ConstantOfShape", [".nothing"], NONE, {}),
]


def _steps(frames: str, floor: str, kernel: str, bias: str) -> list[Step]:
    """From frames [batch, frames, channels] to unit vectors; var = E[x²] − E[x]², which rounding may leave below 0.

    Where clips are heard several times (`training.warped_views`), the first rows are the clips as they are.
    """
    pooling: dict[str, int | list[int]] = {"kernel_shape": [LENGTH], "strides": [STEP]}
    return [
        ("Slice", [frames, ".zeroth", ".batch", ".zeroth"], ".as_they_are", {}),
        ("Transpose", [".as_they_are"], ".turned", {"perm": [0, 2, 1]}),
        ("Pad", [".turned", ".beyond"], ".frames", {}),
        ("Mul", [".frames", ".frames"], ".squares", {}),
        ("AveragePool", [".frames"], ".mean", pooling),
        ("AveragePool", [".squares"], ".power", pooling),
        ("Mul", [".mean", ".mean"], ".mean_squared", {}),
        ("Sub", [".power", ".mean_squared"], ".difference", {}),
        ("Max", [".difference", ".least"], ".variance", {}),
        ("Add", [".variance", floor], ".floored", {}),
        ("Sqrt", [".floored"], ".deviation", {}),
        ("Concat", [".mean", ".deviation"], ".statistics_turned", {"axis": 1}),
        ("Transpose", [".statistics_turned"], ".statistics", {"perm": [0, 2, 1]}),
        ("MatMul", [".statistics", kernel], ".product", {}),
        ("Add", [".product", bias], ".sum", {}),
        ("LpNormalization", [".sum"], MADE, {"axis": 2, "p": 2}),
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
