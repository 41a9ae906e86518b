"""The direction in which two train sets lie apart, taken out of a trained network's vectors.

Sentences of one corpus and words of another lie on opposite sides of what a network has learnt: rooms, recorders and
length tell them apart. People of one set then seem alike, and nothing of it is anybody's voice. The last layer is a
product, and can leave out a direction at no cost (nuisance attribute projection, Solomonoff et al., 2005).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
from onnx import ModelProto, numpy_helper
from rich.console import Console

from speakerdb.embedding import Vectors
from training.evaluate import embed_cached
from training.features_cache import CachedFeatures
from training.graph_parts import copied, unit_vector
from training.graph_vectors import clips_of
from training.simplify import Graph

Floats = npt.NDArray[np.float64]

LAYER = "embedding"
"""A network's last layer, whose outputs are brought to unit length."""


def level(network: keras.Model, sets: Sequence[CachedFeatures]) -> float:
    """Take the direction between the means of two sets' vectors out of the network's last layer.

    Args: sets: the two.
    Returns: how far apart the means were, 0 to 2.
    """
    first, second = (np.stack(list(embed_cached(network, one).values())) for one in sets)
    direction, apart = _between(first, second)
    layer = network.get_layer(LAYER)
    layer.set_weights(_left_out(*layer.get_weights(), direction))
    return apart


def levelled(
    model: ModelProto, rate_hz: int, archives: Sequence[Path], work: Path, console: Console
) -> tuple[ModelProto, float]:
    """The same of a graph, by what it says of two sets' clips, and how far apart the means were.

    Args: model: without last steps; it is not changed. rate_hz: of its waveform. archives: the two sets'. work: where
        vectors are kept as they come.
    Raises: ValueError where there is no such archive, or the graph does not end in a product and an offset.
    """
    first, second = (
        np.concatenate([np.stack(own) for own in clips_of(model, rate_hz, archive, work, console).values()])
        for archive in archives
    )
    direction, apart = _between(first, second)
    changed = copied(model)
    graph = Graph(changed)
    offset = graph.makers[unit_vector(changed)[0]]
    product = graph.makers.get(offset.input[0])
    names = (product.input[1] if product is not None else "", offset.input[1])
    if not graph.constants.keys() >= set(names):
        raise ValueError("the graph does not end in a product and an offset")
    for name, value in zip(names, _left_out(*(graph.constants[name] for name in names), direction), strict=True):
        constant = next(one for one in changed.graph.initializer if one.name == name)
        constant.CopyFrom(numpy_helper.from_array(value.astype(np.float32), name))
    return changed, apart


def _between(first: Vectors, second: Vectors) -> tuple[Floats, float]:
    """The direction between two sets' means, and how far they are apart."""
    between = first.mean(axis=0, dtype=np.float64) - second.mean(axis=0, dtype=np.float64)
    apart = float(np.linalg.norm(between))
    return between / apart, apart


def _left_out(kernel: npt.NDArray[np.float32], bias: npt.NDArray[np.float32], direction: Floats) -> list[Floats]:
    """A layer's weights without a direction of its outputs."""
    return [kernel - np.outer(kernel @ direction, direction), bias - (bias @ direction) * direction]
