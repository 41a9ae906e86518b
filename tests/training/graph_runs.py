"""What a graph gives for samples, and what it holds on the way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from training.graph_parts import copied
from training.sessions import on_one_core


def outputs(
    model: onnx.ModelProto, samples: np.ndarray, beside: Sequence[str] = (), **inputs: np.ndarray
) -> list[np.ndarray]:
    """All outputs, and tensors beside them. Args: samples: float32 [batch, samples]. inputs: others, by name."""
    longer = copied(model)
    longer.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in beside
    )
    return on_one_core(longer.SerializeToString()).run(None, {"waveform": samples, **inputs})
