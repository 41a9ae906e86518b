"""The optimizers that recipes name, and the rate that each step is taken at."""

from __future__ import annotations

import math
import re
from typing import Any

import keras
from keras import ops

from training.networks.narrow_campplus import INHERITED
from training.optimization import Optimization

MUON_ADAM_WEIGHT_DECAY = 1e-4
"""Of what Muon leaves to Adam: biases, norms, and the speakers' centres."""


def make_optimizer(how: Optimization) -> keras.optimizers.Optimizer:
    """A recipe's optimizer, not yet built."""
    clip_norm = how.clip_norm or None
    if how.optimizer == "muon":
        muon = {
            "learning_rate": rate(how),
            "weight_decay": how.weight_decay,
            "adam_weight_decay": MUON_ADAM_WEIGHT_DECAY,
            "exclude_layers": ["margin"],
            "exclude_embeddings": False,  # there are none, and Keras takes any first matrix for one
            "clipnorm": clip_norm,
        }
        if how.inherited_share == 1.0:
            return keras.optimizers.Muon(**muon)
        return HeirMuon(how.inherited_share, **muon)
    return keras.optimizers.AdamW(rate(how), weight_decay=how.weight_decay, clipnorm=clip_norm)


class HeirMuon(keras.optimizers.Muon):
    """Muon that moves inherited weights by a share of the rate, and turns the kernels of convolutions too.

    A kernel is a matrix of all its taps and inputs by its outputs. Those of one input channel stay with Adam.
    """

    def __init__(self, inherited_share: float, **options: Any) -> None:
        super().__init__(**options)
        self.inherited_share = inherited_share
        self._shares: list[float] = []

    def build(self, variables: list[Any]) -> None:
        """Note each variable's share; TensorFlow's own variables, which `update_step` is given, have no path."""
        self._shares = [self.inherited_share if re.search(INHERITED, v.path) else 1.0 for v in variables]
        super().build(variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """One variable's step. Both ways of Muon take steps of a length that the gradient's does not change."""
        super().update_step(gradient, variable, learning_rate * self._share(variable))

    def zeropower_via_newtonschulz5(self, x: Any, steps: int) -> Any:
        """The nearest rotation of a matrix, or of a kernel as one."""
        flat = ops.reshape(x, (-1, x.shape[-1]))
        return ops.reshape(super().zeropower_via_newtonschulz5(flat, steps), x.shape)

    def lr_adjust(self, x: Any) -> Any:
        """As Keras has it, by the longer side of the matrix."""
        return x * (max(math.prod(x.shape[:-1]), x.shape[-1]) ** 0.5 * self.rms_rate)

    def get_config(self) -> dict[str, Any]:
        """For Keras."""
        return {**super().get_config(), "inherited_share": self.inherited_share}

    def _share(self, variable: Any) -> float:
        return self._shares[self._get_variable_index(variable)]

    def _apply_weight_decay(self, variables: list[Any]) -> None:
        for variable in variables:
            if self._use_weight_decay(variable):
                decay = self.adam_weight_decay if self._should_use_adamw(variable) else self.weight_decay
                rate = ops.cast(self.learning_rate, variable.dtype) * self._share(variable)
                variable.assign(variable * (1.0 - (decay or 0.0) * rate))

    def _should_use_adamw(self, variable: Any) -> bool:
        if len(variable.shape) < 2 or re.search("|".join(self.exclude_layers), variable.path):
            return True
        inputs = -1 if variable.path.endswith("_time/kernel") else -2  # a depthwise kernel's last axis has length 1
        return bool(variable.shape[inputs] == 1)


def rate(how: Optimization) -> keras.optimizers.schedules.LearningRateSchedule:
    """The learning rate by the step. Raises: ValueError where a rate that is to fall along a cosine never would."""
    if how.constant:
        return Trapezoid(how.learning_rate, how.warmup_steps, how.steps, how.decay_steps)
    if how.warmup_steps >= how.steps:
        raise ValueError(f"{how.warmup_steps} steps to warm up, of {how.steps}, leave none for the rate to fall in")
    return keras.optimizers.schedules.CosineDecay(
        how.learning_rate / 100.0 if how.warmup_steps else how.learning_rate,
        how.steps - how.warmup_steps,
        alpha=0.01,
        warmup_target=how.learning_rate if how.warmup_steps else None,
        warmup_steps=how.warmup_steps,
    )


def change_of_rate(before: Optimization, now: Optimization, step: int) -> str | None:
    """A line where another number of steps changes the rate of the step after so many; None where it does not."""
    old, new = float(rate(before)(step)), float(rate(now)(step))
    if old == new:
        return None
    falls = max(0, now.steps - now.decay_steps) if now.constant else now.warmup_steps
    return (
        f"{now.steps} steps instead of {before.steps}: the rate goes from {old:.2g} to {new:.2g} at once, "
        f"and falls from step {falls} to step {now.steps}"
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
