"""Losses over a batch of unit vectors, in `keras.ops` alone, so that every Keras backend trains the same network."""

from __future__ import annotations

import math

import keras
from keras import ops


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


@keras.saving.register_keras_serializable("speakerdb")
class AdditiveAngularMargin(keras.layers.Layer):
    """AAM-softmax (ArcFace, Deng et al., 2019): cross entropy over speakers of scale · cos(θ + margin)."""

    def __init__(self, speakers: int, margin: float = 0.2, scale: float = 32.0, **options: object) -> None:
        super().__init__(**options)
        self.speakers, self.margin, self.scale = speakers, margin, scale

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Make the speakers' centres: [dimension, speakers]."""
        self.centers = self.add_weight(shape=(shape[-1], self.speakers), initializer="glorot_uniform", name="centers")

    def call(self, vectors: keras.KerasTensor, speakers: keras.KerasTensor) -> keras.KerasTensor:
        """Mean loss of unit vectors [batch, dimension] with int labels [batch]."""
        centers = self.centers / ops.maximum(ops.norm(self.centers, axis=0, keepdims=True), 1e-6)
        cosine = ops.clip(ops.matmul(vectors, centers), -1.0 + 1e-6, 1.0 - 1e-6)
        sine = ops.sqrt(1.0 - cosine**2)
        with_margin = cosine * math.cos(self.margin) - sine * math.sin(self.margin)
        # Beyond π − margin the cosine would rise again: go on in a straight line there.
        beyond = cosine - math.sin(math.pi - self.margin) * self.margin
        with_margin = ops.where(cosine > math.cos(math.pi - self.margin), with_margin, beyond)
        truth = ops.one_hot(speakers, self.speakers, dtype=vectors.dtype)
        logits = self.scale * (truth * with_margin + (1.0 - truth) * cosine)
        return ops.mean(ops.categorical_crossentropy(truth, logits, from_logits=True))
