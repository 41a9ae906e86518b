"""Where an exported graph does what: the parts that are changed in it when nothing is trained."""

from __future__ import annotations

from onnx import ModelProto, NodeProto

from training.simplify import Graph


def unit_vector(model: ModelProto) -> tuple[str, str]:
    """What the vector is the product of: itself before, [batch, dimension], and one by its norm, [batch, 1].

    Raises: ValueError where the graph's last operation is not to make a unit vector.
    """
    graph = Graph(model)
    last = graph.makers[model.graph.output[0].name]
    scale = graph.makers.get(last.input[-1]) if last.op_type == "Mul" else None
    if scale is None or scale.op_type not in ("Min", "Reciprocal"):
        raise ValueError("a graph whose last operation is not to make a unit vector")
    return str(last.input[0]), str(scale.output[0])


def mel_product(model: ModelProto) -> NodeProto:
    """The product of power spectra [batch, frames, lines] with mel filters [lines, bins]; a floor and ln follow it.

    Raises: ValueError for a graph without one.
    """
    graph = Graph(model)
    for node in graph.nodes:
        floored = graph.reader(node, "Max") if node.op_type == "MatMul" and node.input[1] in graph.constants else None
        if floored is not None and graph.reader(floored, "Log") is not None:
            return node
    raise ValueError("a graph without a mel filter bank")
