"""A small NeXt-TDNN (Heo et al., 2024): depthwise convolutions over time and pointwise ones over channels.

Time is strided by two at the stem, so the rest costs half. Every convolution over time sees its input multiplied by
the mask of valid frames, and every mean over time is weighted by it, so that padding a clip changes no vector.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
from keras import layers, ops

from training.networks.valid_frames import floored, mean_over_time
from training.recipe_values import Count, Weight


@dataclass(frozen=True)
class NextTdnn:
    """The network's size, and how far below a clip's loudest bin everything is taken for silence.

    Digital silence lies 100 dB and more below speech; without the floor, the clips that have some resemble each other.
    """

    bins: Count = 80
    floor_below_peak_db: Weight = 60.0
    width: Count = 192
    blocks: Count = 6
    kernel: Count = 9
    expansion: Count = 2
    aggregated_blocks: Count = 3
    pooled: Count = 384
    attention: Count = 128
    dimension: Count = 192


def build(size: NextTdnn) -> keras.Model:
    """Features float32 [batch, frames, bins] and mask [batch, frames, 1] (1 valid, 0 padding) → unit vectors.

    Returns: a model with output float32 [batch, dimension], unit length.
    """
    features = keras.Input((None, size.bins), name="features")
    mask = keras.Input((None, 1), name="mask")
    x = floored(features, mask, size.floor_below_peak_db)
    x = (x - mean_over_time(x, mask)) * mask
    x = layers.ZeroPadding1D(2)(x)  # explicit, since "same" with a stride depends on the length's parity
    x = layers.Conv1D(size.width, 5, strides=2, padding="valid", use_bias=False, name="stem")(x)
    x = layers.BatchNormalization(name="stem_norm")(x)
    half = mask[:, ::2]
    outputs = []
    for index in range(size.blocks):
        x = _block(x, half, size, f"block{index}")
        outputs.append(x)
    x = layers.Concatenate()(outputs[-size.aggregated_blocks :])
    x = layers.Dense(size.pooled, use_bias=False, name="aggregate")(x)
    x = layers.ReLU()(layers.BatchNormalization(name="aggregate_norm")(x))
    x = _attentive_statistics(x, half, size)
    x = layers.BatchNormalization(name="pool_norm")(x)
    x = layers.Dense(size.dimension, name="embedding")(x)
    return keras.Model([features, mask], layers.UnitNormalization()(x), name="next_tdnn")


def _block(x: keras.KerasTensor, mask: keras.KerasTensor, size: NextTdnn, name: str) -> keras.KerasTensor:
    y = layers.DepthwiseConv1D(size.kernel, padding="same", use_bias=False, name=f"{name}_time")(x * mask)
    y = layers.BatchNormalization(name=f"{name}_norm")(y)
    y = layers.Dense(size.expansion * size.width, activation="relu", name=f"{name}_expand")(y)
    y = layers.Dense(size.width, name=f"{name}_project")(y)
    return x + y


def _attentive_statistics(x: keras.KerasTensor, mask: keras.KerasTensor, size: NextTdnn) -> keras.KerasTensor:
    """Mean and deviation over time weighted by attention that knows the clip's context (Desplanques et al., 2020)."""
    mean = mean_over_time(x, mask)
    deviation = ops.sqrt(ops.maximum(mean_over_time((x - mean) ** 2, mask), 1e-5))
    context = layers.Dense(size.attention, name="attention_context")(ops.concatenate([mean, deviation], axis=-1))
    hidden = ops.tanh(layers.Dense(size.attention, name="attention_frame")(x) + context)
    logits = layers.Dense(size.pooled, name="attention")(hidden)
    weights = ops.softmax(logits - 1e9 * (1.0 - mask), axis=1)
    mean = ops.sum(weights * x, axis=1)
    deviation = ops.sqrt(ops.maximum(ops.sum(weights * x**2, axis=1) - mean**2, 1e-5))
    return ops.concatenate([mean, deviation], axis=-1)
