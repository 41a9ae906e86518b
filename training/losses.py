"""Losses over a batch of unit vectors, in `keras.ops` alone, so that every Keras backend trains the same network."""

from __future__ import annotations

import math
from dataclasses import dataclass

import keras
from keras import ops

from training.recipe_values import Count, Natural, Positive, Weight

TINY = 1e-12
"""Under a square root: its slope at 0 is infinite."""

FAR = 1e6
"""Beyond any distance between unit vectors."""


@dataclass(frozen=True)
class Losses:
    """The weights of the sum that is trained on; a loss of weight 0 is not computed.

    Attributes:
        cosine, relational: to the teachers' vectors. speaker: AAM-softmax over the speakers. triplet: semi-hard.
        frame: of the network's front to the teacher's frames (`Transplant`).
        triplet_margin: by how much a negative shall lie farther than a positive, as a distance of unit vectors.
        margin: of AAM-softmax, in radians, once `margin_rise_steps` are past; before, it rises from 0 in proportion.
        scale: of AAM-softmax. sub_centers: centres a speaker, of which the nearest counts (labels with errors).
    """

    cosine: Weight = 0.0
    relational: Weight = 0.0
    speaker: Weight = 0.0
    triplet: Weight = 0.0
    frame: Weight = 0.0
    triplet_margin: Weight = 1.0
    margin: Weight = 0.2
    margin_rise_steps: Natural = 0
    scale: Positive = 32.0
    sub_centers: Count = 1

    @property
    def of_teachers(self) -> bool:
        """Whether the teachers' vectors are needed."""
        return self.cosine > 0.0 or self.relational > 0.0

    def margin_at(self, step: int) -> float:
        """The margin of a step."""
        return self.margin * min(1.0, step / self.margin_rise_steps) if self.margin_rise_steps else self.margin


def cosine_loss(vectors: keras.KerasTensor, targets: keras.KerasTensor) -> keras.KerasTensor:
    """Mean of 1 − cosine to each clip's target; both [batch, dimension], unit length. 0 to 2."""
    return ops.mean(1.0 - ops.sum(vectors * targets, axis=-1))


def relational_loss(vectors: keras.KerasTensor, targets: keras.KerasTensor) -> keras.KerasTensor:
    """Mean squared difference of the batch's pairwise cosines to the targets' (Park et al., 2019, with cosines).

    The pairs of a clip with itself are left out. 0 to 4; NaN for a batch of one, which has no pair.
    """
    count = ops.cast(ops.shape(vectors)[0], vectors.dtype)
    difference = ops.matmul(vectors, ops.transpose(vectors)) - ops.matmul(targets, ops.transpose(targets))
    off_diagonal = 1.0 - ops.eye(ops.shape(vectors)[0], dtype=vectors.dtype)
    return ops.sum(off_diagonal * difference**2) / (count * (count - 1.0))


def frame_loss(
    frames: keras.KerasTensor, targets: keras.KerasTensor, valid: keras.KerasTensor, deviations: keras.KerasTensor
) -> keras.KerasTensor:
    """Mean squared difference of frames in units of each channel's deviation: the share of variance not explained.

    Args: frames, targets: [batch, frames, channels]; valid: [batch, frames], 1 where the teacher has a frame, else 0;
        deviations: [channels].
    Returns: 0 where they agree, 1 for the channels' means; 0 for a batch without a valid frame.
    """
    squared = ops.mean(((frames - targets) / deviations) ** 2, axis=-1)
    return ops.sum(squared * valid) / ops.maximum(ops.sum(valid), 1.0)


def semi_hard_triplet_loss(
    vectors: keras.KerasTensor, speakers: keras.KerasTensor, margin: float = 1.0
) -> keras.KerasTensor:
    """Mean over (anchor, positive) pairs of max(0, margin + d(a, p) − d(a, n)) (FaceNet, Schroff et al., 2015).

    The negative n is the nearest one that lies farther from the anchor than the positive does; where none does, the
    farthest of all. d is the Euclidean distance. A negative just as far as the positive is not farther.

    Args: vectors: [batch, dimension], unit length; speakers: int [batch]; margin: 0 to 2.
    Returns: 0 to margin + 2; 0 for a batch in which no pair has both a positive and a negative.
    """
    squared = 2.0 - 2.0 * ops.matmul(vectors, ops.transpose(vectors))
    distance = ops.sqrt(ops.maximum(squared, TINY))
    same = ops.equal(speakers[:, None], speakers[None, :])
    negative = ops.cast(ops.logical_not(same), distance.dtype)
    # [anchor, positive, negative]; memory grows with the cube of the batch: 64 crops 1 MB, 384 crops 226 MB.
    farther = ops.cast(distance[:, None, :] > distance[:, :, None], distance.dtype) * negative[:, None, :]
    nearest = ops.min(ops.where(farther > 0.0, distance[:, None, :], FAR), axis=2)
    farthest = ops.max(distance * negative, axis=1, keepdims=True)
    chosen = ops.where(nearest < FAR, nearest, farthest)
    has_negative = ops.max(negative, axis=1, keepdims=True)
    pairs = (1.0 - negative - ops.eye(ops.shape(vectors)[0], dtype=distance.dtype)) * has_negative
    total = ops.sum(pairs * ops.maximum(margin + distance - chosen, 0.0))
    return total / ops.maximum(ops.sum(pairs), 1.0)


@keras.saving.register_keras_serializable("speakerdb")
class AdditiveAngularMargin(keras.layers.Layer):
    """AAM-softmax (ArcFace, Deng et al., 2019): cross entropy over speakers of scale · cos(θ + margin).

    With sub-centers (Deng et al., 2020), θ is the angle to the nearest of a speaker's centres. The margin is a
    weight that is not trained, so that a schedule can move it.
    """

    def __init__(
        self, speakers: int, margin: float = 0.2, scale: float = 32.0, sub_centers: int = 1, **options: object
    ) -> None:
        super().__init__(**options)
        self.speakers, self.initial_margin, self.scale, self.sub_centers = speakers, margin, scale, sub_centers

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Make the speakers' centres, [dimension, speakers · sub-centers], a speaker's beside each other."""
        self.centers = self.add_weight(
            shape=(shape[-1], self.speakers * self.sub_centers), initializer="glorot_uniform", name="centers"
        )
        self.margin = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(self.initial_margin), trainable=False, name="margin"
        )

    def call(self, vectors: keras.KerasTensor, speakers: keras.KerasTensor) -> keras.KerasTensor:
        """Mean loss of unit vectors [batch, dimension] with int labels [batch]."""
        centers = self.centers / ops.maximum(ops.norm(self.centers, axis=0, keepdims=True), 1e-6)
        cosine = ops.matmul(vectors, centers)
        cosine = ops.max(ops.reshape(cosine, (-1, self.speakers, self.sub_centers)), axis=2)
        cosine = ops.clip(cosine, -1.0 + 1e-6, 1.0 - 1e-6)
        sine = ops.sqrt(1.0 - cosine**2)
        with_margin = cosine * ops.cos(self.margin) - sine * ops.sin(self.margin)
        # Beyond π − margin the cosine would rise again: go on in a straight line there.
        beyond = cosine - ops.sin(math.pi - self.margin) * self.margin
        with_margin = ops.where(cosine > ops.cos(math.pi - self.margin), with_margin, beyond)
        truth = ops.one_hot(speakers, self.speakers, dtype=vectors.dtype)
        logits = self.scale * (truth * with_margin + (1.0 - truth) * cosine)
        return ops.mean(ops.categorical_crossentropy(truth, logits, from_logits=True))
