"""A step of a graph: what the channel that a clip came through has added to its vector is taken off.

A telephone, a codec or a room adds much the same to every vector that goes through it, so that strangers who call are
nearer to one another than they are as recorded. The network cannot help it: what says most of a channel, the mean of
each mel line over the clip, is taken off before it. So, of a vector x before it is made a unit vector,

    y = x + (s L + b) D,

where s are three numbers of each mel line: over a clip's frames, of ln energies less the largest of all, never below
the floor, the mean, the standard deviation, and the share within `NEAR` of the floor. L, b and the few directions D
are a ridge regression of reduced rank (A. Izenman, J. Multivariate Anal. 5, 1975) from the s of clips to what is
missing in their vectors: nothing in those of train sets as they are, in worsened ones the difference to the former
(`training.channel_clips`). Constants were chosen on dev (docs/LOG.md). Windows' vectors stay as they are: they are
compared within a clip, which has one channel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper
from rich.console import Console

from training.channel_clips import Worsened, heard_worsened
from training.graph_parts import (
    Step,
    add_constants,
    copied,
    floor,
    mean_taken_off,
    nodes_of,
    put_before,
    replace,
    restored,
    unit_vector,
)

DIRECTIONS = 8
PENALTY = 0.01
"""Of the regression, a clip, on standardised numbers."""
LEAST_DEVIATION = 0.05
"""Added to the standard deviations that numbers are divided by: some hardly ever change."""
AS_RECORDED = 3.0
"""What a clip as it was recorded counts, beside each of its worsened ones: most of what is heard is as recorded."""
NEAR = 0.05
IN_A_CARD = "channel_offsets"
PREFIX = "channel."
STATISTICS = f"{PREFIX}statistics"
"""s, [batch, 3 · bins]."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Offset:
    """What is added to a vector: (s · lines + base) · directions.

    Attributes: lines [3 · bins, n]. base [n]. directions [n, dimension].
    """

    lines: Floats
    base: Floats
    directions: Floats


def with_step(
    model: ModelProto, rate_hz: int, sets: Sequence[str], noise: str, corpora: Path, work: Path, console: Console
) -> ModelProto:
    """The graph with this step, by what it says itself of train sets' clips, as they are and worsened.

    Args: model: without the step; it is not changed. rate_hz: of its waveform. sets: of clips. noise: a set of noises.
        corpora: where the archives lie. work: where sounds, and what was heard of them, are kept.
    Raises: ValueError where there is no such archive; for another rate than 16 kHz, or as `offset`.
    """
    return offset(model, fitted(heard_worsened(with_statistics(model), rate_hz, sets, noise, corpora, work, console)))


def fitted(heard: Worsened) -> Offset:
    """The regression. Args: heard: what a graph says of clips, as they are and worsened."""
    clean = heard.vectors[:, :1].astype(np.float64)
    clips, ways = heard.vectors.shape[:2]
    return _reduced(
        heard.statistics.reshape(clips * ways, -1).astype(np.float64),
        (clean - heard.vectors).reshape(clips * ways, -1),
        np.tile([AS_RECORDED, *np.ones(ways - 1)], clips),
    )


def _reduced(given: Floats, missing: Floats, weights: Floats) -> Offset:
    """Ridge regression, of which the directions are kept that say most. Args: given [n, …]. missing [n, dimension]."""
    mean = np.average(given, axis=0, weights=weights)
    deviation = np.sqrt(np.average(np.square(given - mean), axis=0, weights=weights)) + LEAST_DEVIATION
    standardised = np.c_[(given - mean) / deviation, np.ones(len(given))]
    squares = (standardised.T * weights) @ standardised
    penalty = np.diag([*np.full(len(mean), PENALTY * weights.sum()), 0.0])
    slopes = np.linalg.solve(squares + penalty, (standardised.T * weights) @ missing)
    _, directions = np.linalg.eigh(slopes.T @ squares @ slopes)
    kept = directions[:, ::-1][:, :DIRECTIONS]
    lines = (slopes[:-1] / deviation[:, None]) @ kept
    return Offset(lines, slopes[-1] @ kept - mean @ lines, kept.T)


def in_a_card(sets: Sequence[str]) -> dict[str, Any]:
    """What a card says of the step, which is of these sets."""
    return {IN_A_CARD: {"of": list(sets), "directions": DIRECTIONS}}


def parameters(model: ModelProto) -> int:
    """Numbers that the step adds to a graph's."""
    names = {f"{PREFIX}{name}" for name in ("lines", "base", "directions")}
    return sum(math.prod(value.dims) for value in model.graph.initializer if value.name in names)


def with_statistics(model: ModelProto) -> ModelProto:
    """The graph with two outputs: s, and the vectors before they are made unit vectors.

    Raises: ValueError for a graph without a floor under its mel energies, as `mean_taken_off`, or where it does not
        end in a unit vector.
    """
    changed, (vector, _) = copied(model), unit_vector(model)
    _add_statistics(changed, vector)
    del changed.graph.output[:]
    changed.graph.output.extend(_float_output(name) for name in (STATISTICS, vector))
    return changed


def offset(model: ModelProto, found: Offset) -> ModelProto:
    """The graph with the step before its vector is made a unit vector.

    Args: model: without the step; it is not changed. Raises: as `with_statistics`.
    """
    changed, (vector, _) = copied(model), unit_vector(model)
    constants = {
        "lines": found.lines.astype(np.float16),  # half of the bytes; onnxruntime makes float32 of them at load
        "base": found.base.astype(np.float32),
        "directions": found.directions.astype(np.float16),
    }
    add_constants(changed, PREFIX, constants)
    _add_statistics(changed, vector)
    replace(changed, vector, PREFIX, _offset(vector))
    return changed


def without_step(model: ModelProto) -> ModelProto:
    """The graph as it was before; another one as it is. The model given is not changed."""
    return restored(model, PREFIX)


def _add_statistics(model: ModelProto, vector: str) -> None:
    """Before whoever reads the vector, so that what he reads may be made of them."""
    floored, least = floor(model)
    mean, rest = mean_taken_off(model, floored.output[0])
    add_constants(model, PREFIX, _CONSTANTS)
    steps = _statistics(floored.output[0], least.output[0], least.input[0], mean, rest)
    put_before(next(node for node in model.graph.node if vector in node.input), model, nodes_of(steps, PREFIX))


_CONSTANTS = {
    "zeroth": np.array([0], np.int64),
    "first": np.array([1], np.int64),
    "near": np.float32(NEAR),
}


def _statistics(floored: str, least: str, largest: str, mean: NodeProto, rest: str) -> list[Step]:
    """s of the clips, of which there may be other views behind them (`training.warped_views`).

    Args: floored: ln energies [views, frames, bins]. least, largest: where their floor is, and the largest of each
        view, [views, 1, 1]. mean: the product of shares of the frames with them, [views, 1, bins]. rest: without it.
    """
    share = mean.input[0]
    return [
        ("Sub", [mean.output[0], largest], ".mean", {}),
        ("Mul", [rest, rest], ".squares", {}),
        ("MatMul", [share, ".squares"], ".variance", {}),
        ("Sqrt", [".variance"], ".deviation", {}),
        ("Add", [least, ".near"], ".low", {}),
        ("Less", [floored, ".low"], ".is_low", {}),
        ("Cast", [".is_low"], ".low_frames", {"to": TensorProto.FLOAT}),
        ("MatMul", [share, ".low_frames"], ".low_share", {}),
        ("Concat", [".mean", ".deviation", ".low_share"], ".of_views", {"axis": 2}),
        ("Shape", ["waveform"], ".batch", {"end": 1}),
        ("Slice", [".of_views", ".zeroth", ".batch", ".zeroth"], ".of_clips", {}),
        ("Squeeze", [".of_clips", ".first"], ".statistics", {}),
    ]


def _offset(vector: str) -> list[Step]:
    return [
        ("Cast", [".lines"], ".of_lines", {"to": TensorProto.FLOAT}),
        ("Cast", [".directions"], ".along", {"to": TensorProto.FLOAT}),
        ("MatMul", [".statistics", ".of_lines"], ".of_statistics", {}),
        ("Add", [".of_statistics", ".base"], ".parts", {}),
        ("MatMul", [".parts", ".along"], ".added", {}),
        ("Add", [vector, ".added"], f".{vector}", {}),
    ]


def _float_output(name: str) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
