"""The direction in which two train sets lie apart, taken out of a trained network's vectors.

Sentences of one corpus and words of another lie on opposite sides of what a network has learnt: rooms, recorders and
length tell them apart. People of one set then seem alike, and nothing of it is anybody's voice. The last layer is a
product, and can leave out a direction at no cost (nuisance attribute projection, Solomonoff et al., 2005).
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

from training.evaluate import embed_cached
from training.features_cache import CachedFeatures

LAYER = "embedding"
"""A network's last layer, whose outputs are brought to unit length."""


def level(network: keras.Model, sets: Sequence[CachedFeatures]) -> float:
    """Take the direction between the means of two sets' vectors out of the network's last layer.

    Args: sets: the two.
    Returns: how far apart the means were, 0 to 2.
    """
    first, second = (np.mean(list(embed_cached(network, one).values()), axis=0, dtype=np.float64) for one in sets)
    apart = float(np.linalg.norm(first - second))
    direction = (first - second) / apart
    layer = network.get_layer(LAYER)
    kernel, bias = layer.get_weights()
    layer.set_weights([kernel - np.outer(kernel @ direction, direction), bias - (bias @ direction) * direction])
    return apart
