"""The optimizers that recipes name, and the rate that each step is taken at."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from training.recipe import Optimization

MUON_ADAM_WEIGHT_DECAY = 1e-4
"""Of what Muon leaves to Adam: biases, norms, and the speakers' centres."""


def make_optimizer(how: Optimization) -> keras.optimizers.Optimizer:
    """A recipe's optimizer, not yet built."""
    clip_norm = how.clip_norm or None
    if how.optimizer == "muon":
        return keras.optimizers.Muon(
            rate(how),
            weight_decay=how.weight_decay,
            adam_weight_decay=MUON_ADAM_WEIGHT_DECAY,
            exclude_layers=["margin"],
            exclude_embeddings=False,  # there are none, and Keras takes any first matrix for one
            clipnorm=clip_norm,
        )
    return keras.optimizers.AdamW(rate(how), weight_decay=how.weight_decay, clipnorm=clip_norm)


def rate(how: Optimization) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """The learning rate by the step."""
    if how.constant:
        return Trapezoid(how.learning_rate, how.warmup_steps, how.steps, how.decay_steps)
    return keras.optimizers.schedules.CosineDecay(
        how.learning_rate / 100.0 if how.warmup_steps else how.learning_rate,
        how.steps - how.warmup_steps,
        alpha=0.01,
        warmup_target=how.learning_rate if how.warmup_steps else None,
        warmup_steps=how.warmup_steps,
    )


class Trapezoid(keras.optimizers.schedules.LearningRateSchedule):
    """Up in a line over the first steps, level, down to 0 in a line over the last ones.

    A training can go on from its level part for as long as it still learns, and be brought down from any of its
    checkpoints (Zhai et al., "Scaling vision transformers", 2022).
    """

    def __init__(self, peak: float, warmup_steps: int, steps: int, decay_steps: int) -> None:
        self.peak, self.warmup_steps, self.steps, self.decay_steps = peak, warmup_steps, steps, decay_steps

    def __call__(self, step: Any) -> keras.KerasTensor:
        """The rate of the step after so many steps."""
        done = ops.cast(step, "float32")
        up = (done + 1.0) / self.warmup_steps if self.warmup_steps else 1.0
        down = (self.steps - done) / self.decay_steps if self.decay_steps else 1.0
        return self.peak * ops.clip(ops.minimum(up, down), 0.0, 1.0)

    def get_config(self) -> dict[str, Any]:
        """For Keras."""
        return {
            "peak": self.peak,
            "warmup_steps": self.warmup_steps,
            "steps": self.steps,
            "decay_steps": self.decay_steps,
        }
