"""The network with its losses, as Keras trains it."""

from __future__ import annotations

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from training.losses import (
    AdditiveAngularMargin,
    Losses,
    cosine_loss,
    frame_loss,
    relational_loss,
    semi_hard_triplet_loss,
)
from training.networks.narrow_campplus import FRONT


class Student(keras.Model):
    """A network and the weighted sum of losses that it is trained on.

    Args:
        network: [features, mask] → unit vectors. speakers: how many the labels name. how: the losses' weights.
        frame_deviations: float32 [channels], of the teacher's frames, where the network's front learns them.
    """

    def __init__(
        self,
        network: keras.Model,
        speakers: int,
        how: Losses,
        frame_deviations: npt.NDArray[np.float32] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.how = how
        self.angular = AdditiveAngularMargin(speakers, how.margin_at(0), how.scale, how.sub_centers, name="margin")
        weights = {
            "cosine": how.cosine,
            "relational": how.relational,
            "speaker": how.speaker,
            "triplet": how.triplet,
            "frame": how.frame,
        }
        self.means = {name: keras.metrics.Mean(name=name) for name, weight in weights.items() if weight}
        self.weights_of = weights
        if how.frame:
            self.frame_deviations = frame_deviations
            outputs = [network.output, network.get_layer(FRONT).output]
            self.with_front = keras.Model(network.inputs, outputs)

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Make the weights of the speakers; the network has its own already."""
        if self.how.speaker:
            self.angular.build(self.network.output_shape)

    def call(self, features: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:
        """Unit vectors of crops without padding: [batch, frames, bins] → [batch, dimension].

        Where frames are learnt: a list of them and the front's frames.
        `training` must be named here: without it Keras never tells the network's batch normalisation.
        """
        network = self.with_front if self.how.frame else self.network
        return network([features, ops.ones_like(features[..., :1])], training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):  # type: ignore[no-untyped-def]
        """The weighted sum; `y` is `CropBatch.truth`."""
        truth = [ops.convert_to_tensor(part) for part in y]  # torch's trainer hands on NumPy arrays
        vectors, front = y_pred if self.how.frame else (y_pred, None)
        total = 0.0
        for name, mean in self.means.items():
            if name == "frame":
                value = frame_loss(front, *truth[2:], self.frame_deviations)
            else:
                value = self._loss(name, vectors, *truth[:2])
            mean.update_state(value)
            total = total + self.weights_of[name] * value
        return total

    def set_step(self, step: int) -> None:
        """Move what a schedule moves."""
        if self.how.speaker and self.how.margin_rise_steps:
            self.angular.margin.assign(self.how.margin_at(step))

    def _loss(
        self, name: str, vectors: keras.KerasTensor, targets: keras.KerasTensor, speakers: keras.KerasTensor
    ) -> keras.KerasTensor:
        if name == "cosine":
            return cosine_loss(vectors, targets)
        if name == "relational":
            return relational_loss(vectors, targets)
        if name == "speaker":
            return self.angular(vectors, speakers)
        return semi_hard_triplet_loss(vectors, speakers, self.how.triplet_margin)
