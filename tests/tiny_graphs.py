"""Small ONNX graphs with the inputs and outputs of published encoders, so that tests need none of those."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="graphs are made with onnx (the extra train)")

SHERPA = {"framework": "wespeaker", "sample_rate": "16000", "normalize_samples": "0", "output_dim": "16",
          "feature_normalize_type": "global-mean", "language": "English"}  # fmt: skip
"""What sherpa-onnx's model list puts into a WeSpeaker graph."""


def pooling_graph(path: Path, bins: int = 80, frames: int | None = None, **metadata: str) -> Path:
    """float32 [B, T, bins] → [B, 16]: the deviation over time of each bin, mixed by a fixed matrix."""
    from onnx import TensorProto, helper, numpy_helper

    mixed = np.random.default_rng(bins).normal(size=(bins, 16)).astype(np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["feats"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Sub", ["feats", "mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "centred"], ["squared"]),
        helper.make_node("ReduceMean", ["squared"], ["power"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["power", "mixed"], ["embedding"]),
    ]
    graph = helper.make_graph(
        nodes,
        "pooling",
        [helper.make_tensor_value_info("feats", TensorProto.FLOAT, ["B", frames or "T", bins])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["B", 16])],
        [numpy_helper.from_array(mixed, "mixed")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())
    return path


def graph_for_batches() -> bytes:
    """As our own were up to 0.9: `waveform` [B, samples] and `lengths` [B] → [B, 2], the sum of a clip's samples above
    0 and the number of its samples, and as `windows` the same ten times."""
    from onnx import TensorProto, helper, numpy_helper

    constants = {
        "lengths": np.array([np.iinfo(np.int64).max]),
        "zero": np.int64(0),
        "one": np.int64(1),
        "second": np.array([1]),
        "as_windows": np.array([1, 10, 1]),
    }
    nodes = [
        helper.make_node("Shape", ["waveform"], ["shape"]),
        helper.make_node("Gather", ["shape", "one"], ["samples"]),
        helper.make_node("Range", ["zero", "samples", "one"], ["at"]),
        helper.make_node("Unsqueeze", ["lengths", "second"], ["end"]),
        helper.make_node("Less", ["at", "end"], ["is_valid"]),
        helper.make_node("Cast", ["is_valid"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["waveform", "mask"], ["valid"]),
        helper.make_node("Relu", ["valid"], ["above"]),
        helper.make_node("ReduceSum", ["above", "second"], ["sum"]),
        helper.make_node("ReduceSum", ["mask", "second"], ["count"]),
        helper.make_node("Concat", ["sum", "count"], ["embedding"], axis=1),
        helper.make_node("Unsqueeze", ["embedding", "second"], ["alone"]),
        helper.make_node("Expand", ["alone", "as_windows"], ["windows"]),
    ]
    graph = helper.make_graph(
        nodes,
        "batches",
        [
            helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["B", "samples"]),
            helper.make_tensor_value_info("lengths", TensorProto.INT64, ["B"]),
        ],
        [
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["B", 2]),
            helper.make_tensor_value_info("windows", TensorProto.FLOAT, ["B", "W", 2]),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content
