"""A step of a graph: a short clip is heard three times, as it is, and with its frequencies moved down and up.

A second of speech says little, and a network hears some of it wrong. With all frequencies times 0.85 and 1.15 (as of
a longer or a shorter vocal tract) it hears another voice, and other things of it wrong. What those voices
have to do with the first is the same for everybody: a rotation R of their vectors, and its transpose for the other
direction. So, of the vectors x, x₋ and x₊ before they are made unit vectors,

    y = (x + s · (x₋ R + x₊ Rᵀ)) / (1 + 2 s),    s = min(SHARE, 2 · SHARE · (1 − seconds / longest)),

where R is the rotation that brings the unit vectors of a train set's clips nearest to one another, x₋ to x and x to x₊
(orthogonal Procrustes: P. Schönemann, Psychometrika 31, 1966). Nothing is trained, and a filter bank that is warped
costs nothing to keep: the filters of line l, taken of line l / warp, are computed when the graph is loaded. Constants
were chosen on dev (docs/LOG.md). Clips from `longest` on, which the network does not hear slowly (`training.slowing`),
are heard once; those a little shorter hardly otherwise, so that nothing jumps at `longest`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, TensorProto
from rich.console import Console

from speakerdb.embedding import Vectors
from training.front_ends import FrontEnd, heard_lines
from training.graph_parts import (
    Step,
    add_constants,
    copied,
    mel_product,
    nodes_of,
    put_before,
    replace,
    restored,
    unit_vector,
)
from training.graph_vectors import clips_of
from training.slowing import Slowing

WARPS = 0.85, 1.15
SHARE = 0.5
"""Of either other view of a clip that is half as long as the longest, or shorter."""
IN_A_CARD = "warped_views"
PREFIX = "warped."
"""A tensor in the place of another has that one's name behind it."""


def with_views(
    model: ModelProto, front_end: FrontEnd, slowing: Slowing, archive: Path, work: Path, console: Console
) -> ModelProto:
    """The graph with this step, by what it says itself of a train set's clips.

    Args: model: without the step; it is not changed. front_end, slowing: of its network. archive: the set's. work:
        where vectors are kept as they come.
    Raises: ValueError for a graph without a mel filter bank, or that does not end in a unit vector; where there is no
        such archive.
    """
    down, as_it_is, up = (
        np.concatenate([np.stack(own) for own in clips_of(view, front_end.rate_hz, archive, work, console).values()])
        for view in (warped(model, front_end, WARPS[0]), model, warped(model, front_end, WARPS[1]))
    )
    rotation = rotation_between(np.concatenate([down, as_it_is]), np.concatenate([as_it_is, up]))
    longest = front_end.frame_length_samples + front_end.frame_shift_samples * (slowing.least_frames - 1)
    return heard_thrice(model, front_end, rotation, longest)


def rotation_between(before: Vectors, after: Vectors) -> npt.NDArray[np.float64]:
    """The orthogonal R that makes Σ |before R − after|² least, of unit vectors float32 [clips, dimension]."""
    left, _, right = np.linalg.svd(before.astype(np.float64).T @ after.astype(np.float64))
    found: npt.NDArray[np.float64] = left @ right
    return found


def in_a_card(name: str) -> dict[str, Any]:
    """What a card says of the step, which is of this set."""
    return {IN_A_CARD: {"of": name, "warps": list(WARPS), "share": SHARE}}


def parameters(model: ModelProto) -> int:
    """Numbers that the step adds to a graph's."""
    return sum(math.prod(value.dims) for value in model.graph.initializer if value.name == f"{PREFIX}rotation")


def warped(model: ModelProto, front_end: FrontEnd, warp: float) -> ModelProto:
    """The graph as it hears a clip whose frequencies are all so many times what they are."""
    changed, product = copied(model), mel_product(model)
    add_constants(changed, PREFIX, {"one": np.float32(1.0), **_lines(front_end, {"view": warp})})
    reader = next(node for node in changed.graph.node if node.output == product.output)
    reader.input[1] = f"{PREFIX}filters.view"
    put_before(reader, changed, nodes_of(_filters(product.input[1], "view"), PREFIX))
    return changed


def heard_thrice(model: ModelProto, front_end: FrontEnd, rotation: npt.NDArray[np.float64], samples: int) -> ModelProto:
    """The graph that hears clips of fewer samples three times.

    Args: model: without the step; it is not changed. rotation: R, [dimension, dimension].
    Raises: as `with_views`.
    """
    changed, product, (vector, _) = copied(model), mel_product(model), unit_vector(model)
    constants = {
        **_CONSTANTS,
        **_lines(front_end, dict(zip(("down", "up"), WARPS, strict=True))),
        "longest": np.array([samples], np.int64),
        "a_sample": np.float32(2.0 * SHARE / samples),
        "rotation": rotation.astype(np.float16),  # half of the bytes; onnxruntime makes float32 of it at load
    }
    add_constants(changed, PREFIX, constants)
    replace(changed, product.output[0], PREFIX, [*_WHICH, *_views(*product.input, product.output[0])])
    replace(changed, vector, PREFIX, _average(vector))
    return changed


def without_views(model: ModelProto) -> ModelProto:
    """The graph as it was before; another one as it is. The model given is not changed."""
    return restored(model, PREFIX)


_CONSTANTS = {
    "one": np.float32(1.0),
    "two": np.float32(2.0),
    "least": np.float32(0.0),
    "most": np.float32(SHARE),
    "at_none": np.float32(2.0 * SHARE),
    "axis": np.array([0], np.int64),
    "end": np.array([np.iinfo(np.int64).max], np.int64),
}

_WHICH: list[Step] = [
    ("Shape", ["waveform"], ".batch", {"end": 1}),
    ("Shape", ["waveform"], ".samples", {"start": 1}),
    ("Less", [".samples", ".longest"], ".short", {}),
    ("Cast", [".short"], ".once", {"to": TensorProto.INT64}),
    ("Mul", [".batch", ".once"], ".again", {}),
]
"""`again`, how many of the clips are heard in either other view: none or all."""

_SHARE: list[Step] = [
    ("Cast", [".samples"], ".sample_count", {"to": TensorProto.FLOAT}),
    ("Mul", [".sample_count", ".a_sample"], ".gone", {}),
    ("Sub", [".at_none", ".gone"], ".unbounded", {}),
    ("Clip", [".unbounded", ".least", ".most"], ".share", {}),
]
"""s, [1]."""


def _filters(filters: str, name: str) -> list[Step]:
    """Filters for power spectra that are warped, from those for them as they are: lines between lines, in a line."""
    return [
        ("Sub", [".lines", f".lines.{name}"], f".apart.{name}", {}),
        ("Abs", [f".apart.{name}"], f".distance.{name}", {}),
        ("Sub", [".one", f".distance.{name}"], f".left.{name}", {}),
        ("Relu", [f".left.{name}"], f".near.{name}", {}),
        ("MatMul", [f".near.{name}", filters], f".filters.{name}", {}),
    ]


def _views(power: str, filters: str, mel: str) -> list[Step]:
    """Mel energies of all clips, and of their two other views, where they are short."""
    return [
        *_filters(filters, "down"),
        *_filters(filters, "up"),
        ("Slice", [power, ".axis", ".again", ".axis"], ".power", {}),
        ("MatMul", [".power", ".filters.down"], ".mel.down", {}),
        ("MatMul", [".power", ".filters.up"], ".mel.up", {}),
        ("Concat", [mel, ".mel.down", ".mel.up"], f".{mel}", {"axis": 0}),
    ]


def _average(vector: str) -> list[Step]:
    """From the vectors of all views to one of each clip; where there are no others, zeros are added."""
    return [
        ("Slice", [vector, ".axis", ".batch", ".axis"], ".as_it_is", {}),
        ("Add", [".batch", ".again"], ".half_way", {}),
        ("Slice", [vector, ".batch", ".half_way", ".axis"], ".down", {}),
        ("Slice", [vector, ".half_way", ".end", ".axis"], ".up", {}),
        ("Cast", [".rotation"], ".turn", {"to": TensorProto.FLOAT}),
        ("Transpose", [".turn"], ".turn_back", {}),
        ("MatMul", [".down", ".turn"], ".turned_up", {}),
        ("MatMul", [".up", ".turn_back"], ".turned_down", {}),
        ("Add", [".turned_up", ".turned_down"], ".both", {}),
        ("Mul", [".as_it_is", ".least"], ".none", {}),
        ("Concat", [".both", ".none"], ".both_or_none", {"axis": 0}),
        ("Slice", [".both_or_none", ".axis", ".batch", ".axis"], ".others", {}),
        *_SHARE,
        ("Mul", [".others", ".share"], ".part", {}),
        ("Add", [".as_it_is", ".part"], ".sum", {}),
        ("Mul", [".share", ".two"], ".beside", {}),
        ("Add", [".beside", ".one"], ".divisor", {}),
        ("Div", [".sum", ".divisor"], f".{vector}", {}),
    ]


def _lines(front_end: FrontEnd, warps: dict[str, float]) -> dict[str, npt.NDArray[np.float32]]:
    """Of the spectrum's lines that the graph keeps, their numbers, and those of the places from which a warped spectrum
    takes them."""
    heard = heard_lines(front_end).astype(np.float32)
    taken = {f"lines.{name}": heard[None] / np.float32(warp) for name, warp in warps.items()}
    return {"lines": heard[:, None], **taken}
