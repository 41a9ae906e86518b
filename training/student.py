"""The network with its losses, as Keras trains it."""

from __future__ import annotations

import keras
from keras import ops

from training.losses import AdditiveAngularMargin, Losses, cosine_loss, relational_loss, semi_hard_triplet_loss


class Student(keras.Model):
    """A network and the weighted sum of losses that it is trained on.

    Args:
        network: [features, mask] → unit vectors. speakers: how many the labels name. how: the losses' weights.
    """

    def __init__(self, network: keras.Model, speakers: int, how: Losses) -> None:
        super().__init__()
        self.network = network
        self.how = how
        self.angular = AdditiveAngularMargin(speakers, how.margin_at(0), how.scale, how.sub_centers, name="margin")
        weights = {
            "cosine": how.cosine,
            "relational": how.relational,
            "speaker": how.speaker,
            "triplet": how.triplet,
        }
        self.means = {name: keras.metrics.Mean(name=name) for name, weight in weights.items() if weight}
        self.weights_of = weights

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Make the weights of the speakers; the network has its own already."""
        if self.how.speaker:
            self.angular.build(self.network.output_shape)

    def call(self, features: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:
        """Unit vectors of crops without padding: [batch, frames, bins] → [batch, dimension].

        `training` must be named here: without it Keras never tells the network's batch normalisation.
        """
        return self.network([features, ops.ones_like(features[..., :1])], training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):  # type: ignore[no-untyped-def]
        """The weighted sum; `y` is a pair of targets [batch, dimension] and speakers int [batch]."""
        targets, speakers = (ops.convert_to_tensor(part) for part in y)  # torch's trainer hands on NumPy arrays
        total = 0.0
        for name, mean in self.means.items():
            value = self._loss(name, y_pred, targets, speakers)
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
