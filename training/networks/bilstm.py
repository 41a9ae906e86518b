"""SpeechIdentity's network: two bidirectional LSTM layers over normalised log mel frames, and one dense layer.

A clip's level and contrast are taken off: its mean over all valid frames and bins is subtracted, and their standard
deviation divided by. The backward direction reads each clip from its own end: the valid frames are turned round and
what pads them stays behind them, so that no LSTM needs a mask and padding changes no vector. Keras runs an LSTM
without a mask by cuDNN where there is a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
from keras import layers, ops

from training.recipe_values import Count

LEAST_DEVIATION = 1e-3
"""Of ln magnitudes within a clip; digital silence has none, and its features stay 0."""


@dataclass(frozen=True)
class Bilstm:
    """The network's size; the defaults are the seed's, 641,152 parameters."""

    bins: Count = 80
    units: Count = 128
    dimension: Count = 128


def build(size: Bilstm) -> keras.Model:
    """Features float32 [batch, frames, bins] and mask [batch, frames, 1] (1 valid, 0 padding) → unit vectors.

    Returns: a model with output float32 [batch, dimension], unit length.
    """
    features = keras.Input((None, size.bins), name="features")
    mask = keras.Input((None, 1), name="mask")
    turned = Turned(name="turned")
    x = normalized(features, mask)
    x = _both_ways(x, mask, turned, size.units, "first", every_frame=True)
    x = _both_ways(x, mask, turned, size.units, "second", every_frame=False)
    x = layers.Dense(size.dimension, name="embedding")(x)
    return keras.Model([features, mask], layers.UnitNormalization()(x), name="bilstm")


def normalized(features: keras.KerasTensor, mask: keras.KerasTensor) -> keras.KerasTensor:
    """Mean 0 and deviation 1 over a clip's valid frames and all bins; 0 where the mask is."""
    values = ops.maximum(ops.sum(mask, axis=(1, 2), keepdims=True), 1.0) * features.shape[-1]
    mean = ops.sum(features * mask, axis=(1, 2), keepdims=True) / values
    centred = (features - mean) * mask
    deviation = ops.sqrt(ops.sum(centred**2, axis=(1, 2), keepdims=True) / values)
    return centred / ops.maximum(deviation, LEAST_DEVIATION)


class Turned(layers.Layer):
    """The valid frames of each clip in the opposite order; what pads them stays behind them."""

    def call(self, inputs: list[keras.KerasTensor]) -> keras.KerasTensor:
        """[batch, frames, channels] and a mask [batch, frames, 1] → [batch, frames, channels]."""
        x, mask = inputs
        batch, frames, channels = ops.shape(x)
        at = ops.arange(frames, dtype="int32")[None, :]
        lengths = ops.cast(ops.sum(mask[..., 0], axis=1, keepdims=True), "int32")
        source = ops.where(at < lengths, lengths - 1 - at, at)
        rows = ops.arange(batch, dtype="int32")[:, None] * frames + source  # whole rows: take_along_axis is 5 x slower
        return ops.take(ops.reshape(x, (-1, channels)), rows, axis=0)

    def compute_output_shape(self, shapes: list[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        """As the frames'."""
        return shapes[0]


def _both_ways(
    x: keras.KerasTensor, mask: keras.KerasTensor, turned: Turned, units: int, name: str, every_frame: bool
) -> keras.KerasTensor:
    """A bidirectional LSTM: every frame's outputs, or what each direction says once it has read the whole clip."""
    forward = layers.LSTM(units, return_sequences=True, name=f"{name}_forward")(x)
    backward = layers.LSTM(units, return_sequences=True, name=f"{name}_backward")(turned([x, mask]))
    if every_frame:
        return ops.concatenate([forward, turned([backward, mask])], axis=-1)
    last = turned([ops.concatenate([forward, backward], axis=-1), mask])
    return last[:, 0]
