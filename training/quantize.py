"""An exported graph with int8 weights: the products and LSTMs behind the front end; what it hears stays in float.

Dynamic quantization: weights are int8, activations are scaled anew in each run, so no clips are needed to calibrate.
Convolutions stay in float: onnxruntime's integer ones are slower than its float ones. So does what lies in a branch.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import onnx

from training.sessions import on_one_core

OPERATORS = ("MatMul", "LSTM")
TIMED_S = 5.0
TIMED_RUNS = 10


def write_int8(graph: Path, path: Path) -> None:
    """Write `graph` with int8 weights to `path`.

    Raises: ValueError where the graph has nothing behind its front end to quantize.
    """
    import logging

    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(graph)
    front = front_end_nodes(model)
    chosen = [node.name for node in model.graph.node if node.op_type in OPERATORS and node.name not in front]
    if not chosen:
        raise ValueError(f"{graph}: nothing in it that could be int8")
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it advises on preprocessing, which changes nothing here
    try:
        quantize_dynamic(
            model, path, op_types_to_quantize=list(OPERATORS), nodes_to_quantize=chosen, weight_type=QuantType.QInt8
        )
    finally:
        root.setLevel(level)


def front_end_nodes(model: onnx.ModelProto) -> set[str]:
    """Names of the nodes up to the logarithm of the mel energies."""
    made_by = {output: node for node in model.graph.node for output in node.output}
    waiting = [next(node for node in model.graph.node if node.op_type == "Log")]
    found: set[str] = set()
    while waiting:
        node = waiting.pop()
        if node.name not in found:
            found.add(node.name)
            waiting.extend(made_by[name] for name in node.input if name in made_by)
    return found


def seconds_a_run(graph: Path, rate_hz: int) -> float:
    """CPU seconds, the median of ten runs, that a clip of 5 s takes on one core."""
    session = on_one_core(str(graph))
    clip = 0.1 * np.random.default_rng(0).standard_normal((1, round(TIMED_S * rate_hz))).astype(np.float32)
    taken = []
    for _ in range(TIMED_RUNS + 1):  # the first one allocates
        began = time.process_time()
        session.run(None, {"waveform": clip})
        taken.append(time.process_time() - began)
    return float(np.median(taken[1:]))
