"""The beginning of a network that hears short clips slowly (`training.slowing`)."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from training.slowing import Slowing


class Slowed(layers.Layer):
    """Features [batch, frames, bins] and mask [batch, frames, 1] → the same, of clips as long as they are heard.

    Each clip's valid frames are followed by its padding, which is not looked at.
    """

    def __init__(self, slowing: Slowing, **options: Any) -> None:
        super().__init__(trainable=False, **options)
        self.slowing = slowing

    def call(self, inputs: list[keras.KerasTensor]) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """As many frames as the longest is heard in."""
        features, mask = inputs
        batch, frames, bins = ops.shape(features)
        valid = ops.sum(mask, axis=1)  # [batch, 1]
        heard = self._length(valid)
        count = self.slowing.length(frames) if isinstance(frames, int) else self._length(ops.cast(frames, "float32"))
        at = ops.cast(ops.arange(count), "float32")[None]
        last = ops.maximum(valid - 1.0, 0.0)
        places = ops.minimum(at * (valid / ops.maximum(heard, 1.0)), last)
        before = ops.floor(places)
        share = (places - before)[..., None]
        rows = ops.cast(ops.arange(batch) * frames, "int32")[:, None]
        flat = ops.reshape(features, (-1, bins))

        def frames_at(numbers: keras.KerasTensor) -> keras.KerasTensor:
            return ops.take(flat, ops.cast(numbers, "int32") + rows, axis=0)

        found = frames_at(before) * (1.0 - share) + frames_at(ops.minimum(before + 1.0, last)) * share
        return found, ops.cast(at < heard, "float32")[..., None]

    def _length(self, frames: keras.KerasTensor) -> keras.KerasTensor:
        """As `Slowing.length`; longer clips are heard in no fewer frames, so that it holds for a padded batch, too."""
        slow = ops.floor(frames / self.slowing.slowest + 0.5)
        return ops.maximum(frames, ops.minimum(slow, float(self.slowing.least_frames)))

    def compute_output_shape(self, shapes: list[tuple[int | None, ...]]) -> list[tuple[int | None, ...]]:
        """Frames are free."""
        batch, _, bins = shapes[0]
        return [(batch, None, bins), (batch, None, 1)]
