"""The last step of a graph: unheard voices are moved away from those that the network has learnt, which attract them.

A network that knows a few thousand people by heart lays everybody else too near to some of them. Of a unit vector x and
learnt voices c,

    y = unit(x − p · Σ w c / Σ w),    w = max(0, x·c)³,
    z = unit(y + (LEVEL − SLOPE · mean max(0, x·c) − NORM · ln n) · f),

where n is the norm that the clip's vector had before it was made a unit vector, for its windows' vectors too, and f a
direction that no vector has a part in. The first line takes a part of the nearest learnt voices out: p, which grows
with the clip's length, since of a second a network cannot say well which are nearest. The second says how near to all
of them a voice is, so that a voice like many has smaller cosines to all others: what the mean of an s-norm does
(`speakerdb.calibration.cohort`), in the vector itself. So has one that was long, as those are of which a network is
sure. The constants were chosen on dev (docs/LOG.md). A vector of nothing but zeros, which no network here gives, would
come out as f.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, TensorProto
from rich.console import Console

from speakerdb.embedding import Vectors, normalize
from training.graph_parts import Step, add_constants, copied, nodes_of, unit_vector, without
from training.graph_vectors import voices_of
from training.simplify import rename

VOICES = 475
LEVEL, SLOPE, NORM = 1.5, 4.0, 0.25
PULLS, PULLED_S = (0.1, 0.5), (1.0, 4.0)
"""p of clips of so many seconds, and of shorter and longer ones; between them along a line."""
FREE = 1e-3
"""Of the largest singular value: what voices have in a direction that is free."""
PREFIX = "known."
BEFORE = f"{PREFIX}before."
"""Of the names of outputs as they were."""
IN_A_CARD = "known_voices"

Floats = npt.NDArray[np.float64]


def with_step(model: ModelProto, rate_hz: int, archive: Path, work: Path, console: Console) -> ModelProto:
    """The graph with this last step, by what it says itself of a train set's clips.

    Args: rate_hz: of its waveform. archive: the set's. work: where vectors are kept as they come.
    Raises: ValueError where there is no such archive, or as `moved_away`.
    """
    return moved_away(model, voices_of(model, rate_hz, archive, work, console), rate_hz)


def in_a_card(name: str) -> dict[str, Any]:
    """What a card says of the step, which is of this set."""
    return {
        IN_A_CARD: {"voices": VOICES, "of": name, "pulls": list(PULLS), "level": LEVEL, "slope": SLOPE, "norm": NORM}
    }


def parameters(model: ModelProto) -> int:
    """Numbers that the step adds to a graph's."""
    return sum(math.prod(value.dims) for value in model.graph.initializer if value.name == f"{PREFIX}voices")


def free_direction(voices: Vectors) -> Floats:
    """The unit vector in which voices [n, dimension] have no part: what `training.levelling` took out.

    Raises: ValueError where there is none, or where there are fewer voices than dimensions.
    """
    count, dimension = voices.shape
    if count < dimension:
        raise ValueError(f"{count} voices are too few to know which of {dimension} directions is free")
    _, sizes, directions = np.linalg.svd(voices.astype(np.float64), full_matrices=False)
    if not sizes[-1] <= FREE * sizes[0]:
        raise ValueError("no direction is free; two sets have to be levelled before")
    found: Floats = directions[-1] * np.sign(directions[-1][np.abs(directions[-1]).argmax()])
    return found


def moved_away(model: ModelProto, voices: Vectors, rate_hz: int, seed: int = 0) -> ModelProto:
    """The graph with this last step behind its vector, and behind the vectors of its windows where it has them.

    Args: model: without the step. It is not changed. voices: of whom `VOICES` are drawn, as the graph has them.
        rate_hz: of its waveform.
    Raises: ValueError without a free direction, with fewer voices than are drawn, or where the graph's last operation
        is not to make a unit vector.
    """
    if len(voices) < VOICES:
        raise ValueError(f"{len(voices)} voices; {VOICES} are drawn")
    changed, free, (_, one_by_norm) = copied(model), free_direction(voices), unit_vector(model)
    drawn = np.sort(np.random.default_rng(seed).permutation(len(voices))[:VOICES])
    chosen = normalize(voices[drawn] - np.outer(voices[drawn] @ free, free))
    growth = (PULLS[1] - PULLS[0]) / (PULLED_S[1] - PULLED_S[0])
    constants = {
        "voices": chosen.astype(np.float16),  # half of the bytes; onnxruntime makes float32 of them at load
        "a_sample": np.float32(growth / rate_hz),
        "at_none": np.float32(PULLS[0] - growth * PULLED_S[0]),
        "least_pull": np.float32(PULLS[0]),
        "most_pull": np.float32(PULLS[1]),
        "level": np.float32(LEVEL),
        "slope": np.full((len(chosen), 1), SLOPE / len(chosen), np.float32),
        "norm": np.float32(NORM),
        "each": np.ones((len(chosen), 1), np.float32),
        "least": np.float32(1e-12),
        "free": free.astype(np.float32),
        "axis": np.array([1], np.int64),
        "first": np.int64(0),
        "second": np.array([1], np.int64),
        "end": np.array([np.iinfo(np.int64).max], np.int64),
    }
    add_constants(changed, PREFIX, constants)
    outputs = [value.name for value in changed.graph.output]
    _rename(changed, {name: BEFORE + name for name in outputs})
    changed.graph.node.extend(nodes_of(_steps(one_by_norm, *outputs), PREFIX))
    return changed


def without_step(model: ModelProto) -> ModelProto:
    """The graph as it was before `moved_away`; another one as it is. The model given is not changed."""
    changed, names = copied(model), [value.name for value in model.graph.output]
    if any(node.output[0] == BEFORE + names[0] for node in model.graph.node):
        _rename(changed, {BEFORE + name: name for name in names} | {name: PREFIX + name for name in names})
        changed = without(changed, PREFIX)
    return changed


def _rename(model: ModelProto, names: dict[str, str]) -> None:
    for node in model.graph.node:
        rename(node, lambda name: names.get(name, name))


def _steps(one_by_norm: str, vector: str, windows: str | None = None) -> list[Step]:
    """From unit vectors [batch, dimension] and [batch, windows, dimension] to the outputs: all vectors at once,
    since it is to read the voices that takes time.

    Args: one_by_norm: of the vectors before they were unit vectors, [batch, 1].
    """
    return [
        ("Shape", ["waveform"], ".samples", {"start": 1}),
        ("Cast", [".samples"], ".sample_count", {"to": TensorProto.FLOAT}),
        ("Mul", [".sample_count", ".a_sample"], ".growth", {}),
        ("Add", [".growth", ".at_none"], ".unbounded", {}),
        ("Clip", [".unbounded", ".least_pull", ".most_pull"], ".pull", {}),
        ("Log", [one_by_norm], ".smallness", {}),
        ("Cast", [".voices"], ".rows", {"to": TensorProto.FLOAT}),
        ("Transpose", [".rows"], ".columns", {}),
        ("Unsqueeze", [f".before.{vector}", ".axis"], ".alone", {}),
        ("Concat", [".alone", *([f".before.{windows}"] if windows else [])], ".vectors", {"axis": 1}),
        ("MatMul", [".vectors", ".columns"], ".cosines", {}),
        ("Relu", [".cosines"], ".near", {}),
        ("Mul", [".near", ".near"], ".squares", {}),
        ("Mul", [".squares", ".near"], ".weights", {}),
        ("MatMul", [".weights", ".rows"], ".sum", {}),
        ("MatMul", [".weights", ".each"], ".weight", {}),
        ("Add", [".weight", ".least"], ".divisor", {}),
        ("Div", [".sum", ".divisor"], ".nearest", {}),
        ("Mul", [".nearest", ".pull"], ".part", {}),
        ("Sub", [".vectors", ".part"], ".away", {}),
        ("LpNormalization", [".away"], ".unit", {"axis": -1, "p": 2}),
        ("MatMul", [".near", ".slope"], ".nearness", {}),
        ("Sub", [".level", ".nearness"], ".distant", {}),
        ("Mul", [".smallness", ".norm"], ".small", {}),
        ("Unsqueeze", [".small", ".axis"], ".small_each", {}),
        ("Add", [".distant", ".small_each"], ".height", {}),
        ("Mul", [".height", ".free"], ".upwards", {}),
        ("Add", [".unit", ".upwards"], ".lifted", {}),
        ("LpNormalization", [".lifted"], ".moved", {"axis": -1, "p": 2}),
        ("Gather", [".moved", ".first"], vector, {"axis": 1}),
        *([("Slice", [".moved", ".second", ".end", ".axis"], windows, {})] if windows else []),
    ]
