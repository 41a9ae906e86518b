"""The parts of an exported graph that are changed when nothing is trained, and how steps are added to it.

All that a step adds has its prefix before its name, so that it can be taken off again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, helper, numpy_helper

from training.simplify import Graph, read_by, rename

Step = tuple[str, list[str], str, dict[str, Any]]
"""Operation, inputs, output and options. Names that begin with a dot stand for the prefix and what follows the dot."""


def copied(model: ModelProto) -> ModelProto:
    """Another one that may be changed."""
    found = ModelProto()
    found.CopyFrom(model)
    return found


def add_constants(model: ModelProto, prefix: str, constants: Mapping[str, npt.NDArray[Any] | np.generic]) -> None:
    """Under their names behind the prefix."""
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), prefix + name) for name, value in constants.items()
    )


def nodes_of(steps: list[Step], prefix: str) -> list[NodeProto]:
    """Named as what they make."""

    def named(name: str) -> str:
        return prefix + name[1:] if name.startswith(".") else name

    return [
        helper.make_node(kind, list(map(named, inputs)), [named(output)], name=named(output), **options)
        for kind, inputs, output, options in steps
    ]


def put_before(node: NodeProto, model: ModelProto, added: list[NodeProto]) -> None:
    """New nodes, in the order in which they run, before one of the model's."""
    nodes = list(model.graph.node)
    at = next(number for number, one in enumerate(nodes) if one.output == node.output)
    del model.graph.node[:]
    model.graph.node.extend([*nodes[:at], *added, *nodes[at:]])


def replace(model: ModelProto, name: str, prefix: str, steps: list[Step]) -> None:
    """Change a model: whoever reads a tensor reads what the steps make, which has the prefix before its name."""
    readers = [node for node in model.graph.node if name in read_by(node)]
    for node in readers:
        rename(node, lambda read: prefix + name if read == name else read, output=False)
    put_before(readers[0], model, nodes_of(steps, prefix))


def drop_input(model: ModelProto, name: str) -> None:
    """Change a model: it takes no such input any more, nor has it a default for one."""
    graph = model.graph
    inputs = [value for value in graph.input if value.name != name]
    constants = [value for value in graph.initializer if value.name != name]
    del graph.input[:], graph.initializer[:]
    graph.input.extend(inputs)
    graph.initializer.extend(constants)


def without(model: ModelProto, prefix: str) -> ModelProto:
    """A copy without the nodes and constants of this prefix."""
    found = copied(model)
    nodes = [node for node in found.graph.node if not node.output[0].startswith(prefix)]
    constants = [value for value in found.graph.initializer if not value.name.startswith(prefix)]
    del found.graph.node[:], found.graph.initializer[:]
    found.graph.node.extend(nodes)
    found.graph.initializer.extend(constants)
    return found


def restored(model: ModelProto, prefix: str) -> ModelProto:
    """A copy without what has this prefix, in which whoever read what `replace` had put there reads what was before."""
    found = without(model, prefix)
    for node in found.graph.node:
        rename(node, lambda name: name.removeprefix(prefix), output=False)
    return found


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
    """The product of power spectra [batch, frames, lines] with mel filters [lines, bins].

    Raises: ValueError for a graph in which no such product is followed by a floor and ln.
    """
    graph = Graph(model)
    for node in graph.nodes:
        floored = graph.reader(node, "Max") if node.op_type == "MatMul" and node.input[1] in graph.constants else None
        if floored is not None and graph.reader(floored, "Log") is not None:
            return node
    raise ValueError("a graph without a mel filter bank that a floor and ln follow")


def floor(model: ModelProto) -> tuple[NodeProto, NodeProto]:
    """The floor under a clip's features, so far below the largest of them; and the difference that says where it is.

    Raises: ValueError for a graph without one.
    """
    graph = Graph(model)
    for node in graph.nodes:
        lower = graph.makers.get(node.input[1]) if node.op_type == "Max" and len(node.input) == 2 else None
        largest = graph.makers.get(lower.input[0]) if lower is not None and lower.op_type == "Sub" else None
        if lower is not None and largest is not None and largest.op_type == "ReduceMax":
            return node, lower
    raise ValueError("a graph without a floor under its features")


def mean_taken_off(model: ModelProto, floored: str) -> tuple[NodeProto, str]:
    """The product of a share for each frame, [1, 1, frames], with features over their floor, which gives their mean,
    and the name of these features without it.

    Raises: ValueError for a graph without (`training.one_length` makes them).
    """
    graph = Graph(model)
    readers = graph.readers.get(floored, ())
    mean = next((node for node in readers if node.op_type == "MatMul" and node.input[1] == floored), None)
    rest = [node for node in readers if mean is not None and [*node.input] == [floored, mean.output[0]]]
    if mean is None or not rest:
        raise ValueError("a graph whose features keep their mean, or have it taken off in another way")
    return mean, str(rest[0].output[0])
