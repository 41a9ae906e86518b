"""A graph ready to run."""

from __future__ import annotations

from typing import Any


def on_one_core(graph: str | bytes) -> Any:
    """A session on one thread, since clips run side by side, that prints nothing: `windows_wanted` and `lengths`
    have defaults, which it would warn of.

    Args: graph: its path, or the file's content.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
