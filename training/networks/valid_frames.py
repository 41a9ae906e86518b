"""What networks do with a clip's valid frames, so that its level, its microphone and its padding change no vector."""

from __future__ import annotations

import math

import keras
from keras import ops


def floored(features: keras.KerasTensor, mask: keras.KerasTensor, below_peak_db: float) -> keras.KerasTensor:
    """Raise whatever lies further below the clip's loudest valid bin than this to that level."""
    valid = ops.where(mask > 0.0, features, -1e9)
    peak = ops.max(valid, axis=(1, 2), keepdims=True)
    return ops.maximum(features, peak - below_peak_db * math.log(10.0) / 10.0)


def mean_over_time(x: keras.KerasTensor, mask: keras.KerasTensor) -> keras.KerasTensor:
    """Of the valid frames: [batch, frames, channels] and mask [batch, frames, 1] → [batch, 1, channels]."""
    count = ops.maximum(ops.sum(mask, axis=1, keepdims=True), 1.0)
    return ops.sum(x * mask, axis=1, keepdims=True) / count


def frame_shares(mask: keras.KerasTensor) -> keras.KerasTensor:
    """What each frame counts in a mean: mask [batch, frames, 1] → [batch, 1, frames], to be multiplied by the frames.

    `mean_over_time` in one product, which matters where there are dozens of means.
    """
    shares: keras.KerasTensor = ops.transpose(mask / ops.maximum(ops.sum(mask, axis=1, keepdims=True), 1.0), (0, 2, 1))
    return shares
