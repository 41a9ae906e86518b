"""Rewrites of an exported graph: fewer operations, the same outputs, and nothing where a rewrite would not be exact."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

pytest.importorskip("tensorflow", reason="training needs TensorFlow (the extra train)")

from training.simplify import Graph, simplified

RNG = np.random.default_rng(4)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def model(nodes, constants: dict[str, np.ndarray], channels: int) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "frames", channels])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 3)],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)])
    made.ir_version = 8
    return made


def run(graph: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def kinds(graph: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in graph.graph.node]


def scaled_and_shifted(scale: np.ndarray) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Mul", ["x", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "shift"], ["shifted"]),
        helper.make_node("Relu", ["shifted"], ["relu"]),
        helper.make_node("MatMul", ["relu", "matrix"], ["y"]),
    ]
    constants = {"scale": scale, "shift": normal(len(scale)), "matrix": normal(len(scale), 3)}
    return model(nodes, constants, len(scale))


def test_factors_before_a_relu_go_into_the_product_behind_it():
    graph, x = scaled_and_shifted(np.array([0.5, 2.0, 0.1, 1.0], np.float32)), normal(2, 5, 4)
    found = simplified(graph)
    assert kinds(found) == ["Add", "Relu", "MatMul"]
    assert np.abs(run(found, x) - run(graph, x)).max() <= 1e-5


@pytest.mark.parametrize("least", [-0.5, 0.0, 1e-5])
def test_factors_stay_where_one_is_not_positive_or_next_to_nothing(least):
    graph, x = scaled_and_shifted(np.array([0.5, least, 1.0], np.float32)), normal(2, 5, 3)
    found = simplified(graph)
    assert kinds(found) == ["Mul", "Add", "Relu", "MatMul"]
    assert np.abs(run(found, x) - run(graph, x)).max() <= 1e-5


def test_factors_and_offsets_behind_a_convolution_go_into_its_weights():
    nodes = [
        helper.make_node("Transpose", ["x"], ["turned"], perm=[0, 2, 1]),
        helper.make_node("Unsqueeze", ["turned", "axis"], ["flat"]),
        helper.make_node("Conv", ["flat", "kernel"], ["convolved"], pads=[0, 1, 0, 1]),
        helper.make_node("Squeeze", ["convolved", "axis"], ["squeezed"]),
        helper.make_node("Mul", ["squeezed", "factor"], ["multiplied"]),
        helper.make_node("Add", ["multiplied", "offset"], ["y"]),
    ]
    constants = {"kernel": normal(6, 4, 1, 3), "factor": normal(1, 6, 1), "offset": normal(1, 6, 1)}
    graph = model(nodes, {**constants, "axis": np.array([2])}, 4)
    found, x = simplified(graph), normal(2, 5, 4)
    assert kinds(found) == ["Transpose", "Unsqueeze", "Conv", "Squeeze"]
    assert np.abs(run(found, x) - run(graph, x)).max() <= 1e-5


@pytest.mark.parametrize(("axis", "perm", "turned_before"), [(2, [0, 2, 1], True), (3, [0, 2, 1], False)])
def test_channels_behind_a_convolution_come_last_before_its_axis_of_one_goes(axis, perm, turned_before):
    nodes = [
        helper.make_node("Transpose", ["x"], ["turned"], perm=[0, 2, 1]),
        helper.make_node("Unsqueeze", ["turned", "axis"], ["flat"]),
        helper.make_node("Conv", ["flat", "kernel"], ["convolved"]),
        helper.make_node("Squeeze", ["convolved", "axis"], ["squeezed"]),
        helper.make_node("Transpose", ["squeezed"], ["y"], perm=perm),
    ]
    graph = model(nodes, {"kernel": normal(6, 4, 1, 1), "axis": np.array([axis])}, 4)
    found, x = simplified(graph), normal(2, 5, 4)
    behind = ["Transpose", "Squeeze"] if turned_before else ["Squeeze", "Transpose"]
    assert kinds(found) == ["Transpose", "Unsqueeze", "Conv", *behind]
    assert np.array_equal(run(found, x), run(graph, x))


def test_what_a_branch_reads_stays():
    branch = {
        name: helper.make_graph(
            [helper.make_node(kind, ["doubled"], [name])],
            name,
            [],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)],
        )
        for name, kind in (("then", "Relu"), ("else", "Neg"))
    }
    nodes = [
        helper.make_node("Add", ["x", "x"], ["doubled"]),
        helper.make_node("Sub", ["x", "x"], ["of_no_use"]),
        helper.make_node("If", ["yes"], ["y"], then_branch=branch["then"], else_branch=branch["else"]),
    ]
    graph, x = Graph(model(nodes, {"yes": np.array(True)}, 4)), normal(2, 5, 4)
    assert {node.op_type for node in graph.readers["doubled"]} == {"If"}
    assert kinds(graph.model()) == ["Add", "If"]
    assert np.array_equal(run(simplified(graph.model()), x), 2 * np.maximum(x, 0.0))


def test_a_product_loses_the_reshapes_and_shapes_around_it():
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "first_two"], ["kept"]),
        helper.make_node("Concat", ["kept", "columns"], ["back"], axis=0),
        helper.make_node("Reshape", ["x", "flat"], ["rows"]),
        helper.make_node("MatMul", ["rows", "matrix"], ["product"]),
        helper.make_node("Reshape", ["product", "back"], ["dense/Tensordot"]),
        helper.make_node("Relu", ["dense/Tensordot"], ["y"]),
    ]
    constants = {"first_two": np.array([0, 1]), "columns": np.array([3]), "flat": np.array([-1, 4])}
    graph = model(nodes, {**constants, "matrix": normal(4, 3)}, 4)
    found, x = simplified(graph), normal(2, 5, 4)
    assert kinds(found) == ["MatMul", "Relu"]
    assert len(found.graph.initializer) == 1
    assert np.array_equal(run(found, x), run(graph, x))


def test_what_is_neither_input_nor_output_has_a_number_for_a_name():
    graph = scaled_and_shifted(np.array([0.5, 2.0, 0.1, 1.0], np.float32))
    found = simplified(graph).graph
    inner = {name for node in found.node for name in [*node.input, *node.output]} - {"x", "y"}
    assert inner == {str(number) for number in range(len(inner))}
    assert [node.name for node in found.node] == [node.output[0] for node in found.node]
    assert {constant.name for constant in found.initializer} <= inner
