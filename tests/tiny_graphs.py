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
