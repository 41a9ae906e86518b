"""The published encoders that a student learns from, each with the front end that its makers gave it.

A teacher's graph is told by its file name. Samples are float32 at 16 kHz; vectors come out at unit length.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from speakerdb.audio import Samples
from speakerdb.embedding import Vector, normalize
from speakerdb.features import graph_input
from training.kept import whole
from training.sessions import on_one_core

RATE_HZ = 16_000

FEATURES = {
    "campplus": {"kind": "kaldi-fbank", "bins": 80, "rate_hz": RATE_HZ},
    "ge2e": {"kind": "ge2e-windows"},
}


def open_teacher(graph: Path) -> Callable[[Samples], Vector]:
    """Samples → vector of the teacher in this file. Raises: ValueError for a file of another name, or a damaged one."""
    features = next((FEATURES[kind] for kind in FEATURES if graph.name.startswith(kind)), None)
    if features is None:
        raise ValueError(f"{graph}: no teacher of that name is known; there are {', '.join(FEATURES)}")
    session = on_one_core(read_graph(graph).SerializeToString())
    name = session.get_inputs()[0].name

    def encode(samples: Samples) -> Vector:
        outputs = session.run(None, {name: graph_input(samples, features)})[0]
        return normalize(outputs.mean(axis=0))

    return encode


def read_graph(path: Path) -> onnx.ModelProto:
    """A teacher's graph. Raises: ValueError for a file that is missing or damaged."""
    return whole(path, _read, "nothing here makes it; bring it back", more=(DecodeError,))


def _read(path: Path) -> onnx.ModelProto:
    content = path.read_bytes()
    if not content:
        raise EOFError("no bytes")  # which would be an empty graph
    return onnx.load_from_string(content)
