"""CAM++'s upper blocks, narrowed, behind a front of its own that hears one frame in four.

CAM++ (Wang et al., 2023) is a 2-D head and three blocks of dense layers with context gates. Here a front of 2-D
convolutions and ConvNeXt blocks (Liu et al., 2022) gives what CAM++ has after its first block, and its blocks 2 and 3
follow, several of their dense layers as one group: one bottleneck, three taps over time, one gate from the mean over
the clip. `training.transplant` chooses and fits their weights.

Every convolution over time sees its input multiplied by the mask of valid frames, and every mean over time is weighted
by it, so that padding a clip changes no vector.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
from keras import layers, ops

from training.networks.slowed import Slowed
from training.networks.valid_frames import floored, frame_shares, mean_over_time
from training.recipe_values import Count, Natural, Share, Weight
from training.slowing import Slowing

FRONT = "front"
"""The layer that gives what CAM++ has after its first block: [batch, ⌈frames / 4⌉, teacher_channels]."""

INHERITED = r"(^|/)(second_|third_|embedding)"
"""In the path of every weight that is CAM++'s, narrowed."""

VARIANCE_FLOOR = 1e-5
"""Under the root of a variance, whose slope at 0 is infinite."""


@dataclass(frozen=True)
class NarrowCampplus:
    """The network's size; the defaults are the third shipped network's.

    Attributes:
        floor_below_peak_db: how far below a clip's loudest bin everything is taken for silence.
        least_frames, slowest: as `Slowing` has them.
        head_channels: of the front's 2-D convolutions; the first has half. width, blocks, kernel, hidden, context: of
            its ConvNeXt blocks; `context` is the bottleneck of their gates.
        teacher_channels, second_layers, third_layers, growth: CAM++'s own: channels after its first block, dense layers
            of the two others, and channels that each layer adds.
        grouped: dense layers in a group. bottleneck: channels between a group's two products.
        rank: of the products that end a block. kept: channels of the last of them that are pooled.
    """

    bins: Count = 80
    floor_below_peak_db: Weight = 60.0
    least_frames: Natural = 196
    slowest: Share = 0.5
    head_channels: Count = 32
    width: Count = 224
    blocks: Count = 3
    kernel: Count = 7
    hidden: Count = 240
    context: Count = 24
    teacher_channels: Count = 256
    second_layers: Count = 24
    third_layers: Count = 16
    growth: Count = 32
    grouped: Count = 2
    bottleneck: Count = 48
    rank: Count = 80
    kept: Count = 256
    dimension: Count = 192

    def __post_init__(self) -> None:
        if self.second_layers % self.grouped or self.third_layers % self.grouped:
            raise ValueError(
                f"{self.second_layers} and {self.third_layers} layers are not whole groups of {self.grouped}"
            )
        if not self.slowest:
            raise ValueError("slowest is the share of its tempo at which a clip is heard; 0 is none")
        if self.bins % 8:
            raise ValueError(f"{self.bins} bins cannot be halved three times")

    @property
    def slowing(self) -> Slowing:
        """Of short clips."""
        return Slowing(self.least_frames, self.slowest)

    @property
    def second_channels(self) -> int:
        """After the second block's layers; the transit halves them."""
        return self.teacher_channels + self.growth * self.second_layers

    @property
    def third_channels(self) -> int:
        """After the third block's layers."""
        return self.second_channels // 2 + self.growth * self.third_layers


def build(size: NarrowCampplus) -> keras.Model:
    """Features float32 [batch, frames, bins] and mask [batch, frames, 1] (1 valid, 0 padding) → unit vectors.

    Returns: a model with output float32 [batch, dimension], unit length; its layer `FRONT` gives the front's frames.
    """
    features = keras.Input((None, size.bins), name="features")
    mask = keras.Input((None, 1), name="mask")
    x, heard = Slowed(size.slowing, name="slowed")([features, mask])
    x = floored(x, heard, size.floor_below_peak_db)
    x = (x - mean_over_time(x, heard)) * heard
    quarter = heard[:, ::4]
    x = _front(x, heard[:, ::2], quarter, size)
    x = _groups(x, quarter, size, size.second_layers, "second")
    x = _transit(x, size.rank, size.second_channels // 2, "second")
    x = _groups(x, quarter, size, size.third_layers, "third")
    x = ops.relu(_transit(x, size.rank, size.kept, "third"))
    x = layers.Dense(size.dimension, name="embedding")(_statistics(x, quarter))
    return keras.Model([features, mask], layers.UnitNormalization()(x), name="narrow_campplus")


@keras.saving.register_keras_serializable("speakerdb")
class ScaleShift(layers.Layer):
    """Each channel times a weight, plus another: what remains of a batch normalisation whose statistics stand still."""

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Make the two weights, [channels] each."""
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones", name="scale")
        self.shift = self.add_weight(shape=(shape[-1],), initializer="zeros", name="shift")

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """[…, channels] → the same shape."""
        return x * self.scale + self.shift


def _front(
    x: keras.KerasTensor, half: keras.KerasTensor, quarter: keras.KerasTensor, size: NarrowCampplus
) -> keras.KerasTensor:
    """Normalised features → CAM++'s frames after its first block, every second of them."""
    channels = size.head_channels
    flat = half[:, :, None]  # [batch, frames, 1, 1]
    x = ops.relu(_convolution(x[..., None], channels // 2, (2, 2), "head1")) * flat
    x = ops.relu(_convolution(x, channels, (1, 2), "head2")) * flat
    x = ops.relu(_convolution(x, channels, (2, 2), "head3")) * quarter[:, :, None]
    x = ops.relu(x + _convolution(x, channels, (1, 1), "head4"))
    x = layers.Reshape((-1, size.bins // 8 * channels))(x)
    x = layers.Dense(size.width, name="head_project")(x)
    for index in range(size.blocks):
        x = _block(x, quarter, size, f"block{index}")
    return layers.Dense(size.teacher_channels, name=FRONT)(x)


def _convolution(x: keras.KerasTensor, channels: int, strides: tuple[int, int], name: str) -> keras.KerasTensor:
    x = layers.ZeroPadding2D(1)(x)  # explicit, since "same" with a stride depends on the length's parity
    x = layers.Conv2D(channels, 3, strides=strides, use_bias=False, name=name)(x)
    return _normalized(x, f"{name}_norm")


def _normalized(x: keras.KerasTensor, name: str, center: bool = True) -> keras.KerasTensor:
    # A rate that a training of few thousand steps can follow, and no floor that would matter beside a small variance.
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, center=center, name=name)(x)


def _block(x: keras.KerasTensor, mask: keras.KerasTensor, size: NarrowCampplus, name: str) -> keras.KerasTensor:
    """A ConvNeXt block; what it adds is weighted by channel from the mean over the clip, at first by 1."""
    mean = ops.matmul(frame_shares(mask), x)
    y = layers.DepthwiseConv1D(size.kernel, padding="same", use_bias=False, name=f"{name}_time")(x * mask)
    y = _normalized(y, f"{name}_norm", center=False)  # the next layer has a bias
    y = layers.Dense(size.hidden, activation="relu", name=f"{name}_expand")(y)
    small = keras.initializers.RandomNormal(stddev=0.02)  # a block begins as next to nothing
    y = layers.Dense(size.width, kernel_initializer=small, name=f"{name}_project")(y)
    gate = layers.Dense(size.context, activation="relu", name=f"{name}_context")(mean)
    gate = layers.Dense(size.width, kernel_initializer="zeros", bias_initializer="ones", name=f"{name}_gate")(gate)
    return x + y * gate


def _groups(
    x: keras.KerasTensor, mask: keras.KerasTensor, size: NarrowCampplus, dense_layers: int, block: str
) -> keras.KerasTensor:
    """A block's dense layers, `grouped` at a time; each group sees all channels before it and adds its own."""
    added = size.growth * size.grouped
    share = frame_shares(mask)
    for index in range(dense_layers // size.grouped):
        name = f"{block}_{index}"
        y = ops.relu(ScaleShift(name=f"{name}_scale")(x))
        y = layers.Dense(size.bottleneck, activation="relu", name=f"{name}_bottleneck")(y)
        gate = layers.Dense(added, activation="sigmoid", name=f"{name}_gate")(ops.matmul(share, y))
        y = layers.Conv1D(added, 3, padding="same", name=f"{name}_local")(y * mask)
        x = ops.concatenate([x, y * gate], axis=-1)
    return x


def _transit(x: keras.KerasTensor, rank: int, channels: int, block: str) -> keras.KerasTensor:
    """The product that ends a block, in two of a low rank."""
    x = ops.relu(ScaleShift(name=f"{block}_transit_scale")(x))
    x = layers.Dense(rank, use_bias=False, name=f"{block}_transit_rank")(x)
    return layers.Dense(channels, name=f"{block}_transit")(x)


def _statistics(x: keras.KerasTensor, mask: keras.KerasTensor) -> keras.KerasTensor:
    """Mean and deviation over time: [batch, frames, channels] → [batch, 2 · channels]."""
    share = frame_shares(mask)
    mean = ops.matmul(share, x)
    deviation = ops.sqrt(ops.matmul(share, ops.square(x - mean)) + VARIANCE_FLOOR)
    return ops.concatenate([mean, deviation], axis=-1)[:, 0]
