"""A graph for padded batches → one for clips of one length, which says the same of them in less time.

In a padded batch every tensor has to be masked, and each clip's frames have to be counted and slowed by themselves,
which takes a tenth of what a network of this size costs. On a processor padded batches gain nothing: clips of several
lengths are no slower one after the other (docs/LOG.md). So what ships has no `lengths`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, helper

from speakerdb.encoder.runtime import LENGTHS
from training.graph_parts import Step, add_constants, copied, drop_input, nodes_of, replace
from training.simplify import Graph
from training.slowing import Slowing

PREFIX = "alike."


def of_one_length(model: ModelProto, slowing: Slowing) -> ModelProto:
    """The graph of a network without the input `lengths`: every sample counts. One that has none as it is.

    Args: model: it is not changed. slowing: of the network.
    Raises: ValueError for the graph of another network than `narrow-campplus`.
    """
    if LENGTHS not in {value.name for value in model.graph.input}:
        return model
    changed = copied(model)
    add_constants(changed, PREFIX, {**_CONSTANTS, **_of_slowing(slowing)})
    mel, slowed = _slowed(Graph(changed))
    replace(changed, slowed, PREFIX, _slowing(mel, slowed))
    graph = Graph(changed)
    for node in list(graph.nodes):
        _plain_mean(graph, node)
    _drop_masks(graph)
    found = graph.model()
    drop_input(found, LENGTHS)
    return found


_CONSTANTS = {
    "one": np.array([1], np.int64),
    "half": np.array([0.0, 0.5, 0.0], np.float32),
    "no_region": np.zeros(0, np.float32),
    "no_scales": np.zeros(0, np.float32),
}


def _of_slowing(slowing: Slowing) -> dict[str, npt.NDArray[np.float32]]:
    """Of clips, frames and bins: how many there may be for each, and in how many a short clip is heard."""
    return {
        "slowest": np.array([1.0, slowing.slowest, 1.0], np.float32),
        "least": np.array([1.0, slowing.least_frames, 1.0], np.float32),
    }


def _slowed(graph: Graph) -> tuple[str, str]:
    """The names of the mel frames, and of those that are heard: sums of shares of two of them.

    Raises: ValueError for a graph that has none.
    """
    mel = next((node.output[0] for node in graph.nodes if node.op_type == "Log"), "")
    flat = [node.output[0] for node in graph.readers.get(mel, ()) if node.op_type == "Reshape"]
    taken = [node for rows in flat for node in graph.readers[rows] if node.op_type == "Gather"]
    shares = [share for node in taken if (share := graph.reader(node, "Mul")) is not None]
    for share in shares:
        if (found := graph.reader(share, "Add")) is not None:
            return mel, str(found.output[0])
    raise ValueError("a graph of another network than narrow-campplus, which hears short clips slowly")


def _slowing(mel: str, slowed: str) -> list[Step]:
    """As `training.networks.slowed`, of all clips at once: [batch, frames, bins]. Nothing slowed is a copy."""
    between = {"mode": "linear", "coordinate_transformation_mode": "asymmetric"}
    return [
        ("Shape", [mel], ".shape", {}),
        ("Cast", [".shape"], ".given", {"to": TensorProto.FLOAT}),
        ("Div", [".given", ".slowest"], ".at_most", {}),
        ("Add", [".at_most", ".half"], ".at_most_and_half", {}),
        ("Floor", [".at_most_and_half"], ".most", {}),
        ("Min", [".most", ".least"], ".wanted", {}),
        ("Max", [".given", ".wanted"], ".heard", {}),
        ("Cast", [".heard"], ".sizes", {"to": TensorProto.INT64}),
        ("Resize", [mel, ".no_region", ".no_scales", ".sizes"], f".{slowed}", between),
    ]


def _plain_mean(graph: Graph, node: NodeProto) -> None:
    """The mean of valid frames, by their shares or as a sum over their number → that of all, by one share for each."""
    if node.op_type == "MatMul" and _is_share(graph, node.input[0]):
        frames, share = node.input[1], f"{PREFIX}share"
    elif node.op_type == "Div" and _is_count(graph, node.input[1]) and not _is_mask(graph, node.input[0]):
        [frames, *_] = graph.makers[node.input[0]].input
        share = f"{PREFIX}share_of_heard"
    else:
        return
    made = [] if share in graph.makers else nodes_of(_share(frames, share.removeprefix(PREFIX)), PREFIX)
    graph.replace([node], [*made, helper.make_node("MatMul", [share, frames], node.output, name=node.output[0])])


def _share(frames: str, name: str) -> list[Step]:
    """1 / frames for each, [1, 1, frames], of [batch, frames, channels]: all that are averaged have as many."""
    return [
        ("Shape", [frames], f".frames.{name}", {"start": 1, "end": 2}),
        ("Cast", [f".frames.{name}"], f".count.{name}", {"to": TensorProto.FLOAT}),
        ("Reciprocal", [f".count.{name}"], f".one.{name}", {}),
        ("Concat", [".one", ".one", f".frames.{name}"], f".shape_of.{name}", {"axis": 0}),
        ("Expand", [f".one.{name}", f".shape_of.{name}"], f".{name}", {}),
    ]


def _is_mask(graph: Graph, name: str) -> bool:
    """Whether a tensor is 1 for valid frames and 0 for others, or the other way round."""
    node = graph.makers.get(name)
    while node is not None and node.op_type in ("Slice", "Unsqueeze", "Cast", "Not", "Greater"):
        node = graph.makers.get(node.input[0])
    return node is not None and node.op_type in ("Less", "LessOrEqual")


def _is_count(graph: Graph, name: str) -> bool:
    """Whether it is the number of valid frames, or 1 where there are none."""
    most = graph.makers.get(name)
    total = graph.makers.get(most.input[0]) if most is not None and most.op_type == "Max" else None
    return total is not None and total.op_type == "ReduceSum" and _is_mask(graph, total.input[0])


def _is_share(graph: Graph, name: str) -> bool:
    """Whether it is a mask over its number of valid frames, turned."""
    turned = graph.makers.get(name)
    ratio = graph.makers.get(turned.input[0]) if turned is not None and turned.op_type == "Reshape" else None
    return ratio is not None and ratio.op_type == "Div" and _is_count(graph, ratio.input[1])


def _drop_masks(graph: Graph) -> None:
    """Read past products with a mask, and past sums with a number times one."""

    def masks(name: str) -> bool:
        node = graph.makers.get(name)
        product = graph.operand(node) if node is not None and node.op_type == "Mul" else None
        return _is_mask(graph, name) or (product is not None and _is_mask(graph, product[0]))

    instead: dict[str, str] = {}
    for node in graph.nodes:
        node.input[:] = [instead.get(name, name) for name in node.input]
        others = [name for name in node.input if not masks(name)]
        if node.op_type in ("Mul", "Add") and len(others) == 1 and others[0] not in graph.constants:
            instead[node.output[0]] = others[0]
