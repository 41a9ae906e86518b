"""How a recipe trains: steps, rates and looks, and what a network inherits before it is trained."""

from __future__ import annotations

from dataclasses import dataclass, field

from training.recipe_values import Count, Natural, Share, Weight


@dataclass(frozen=True)
class Optimization:
    """Steps, the optimizer, and how often to look.

    Attributes:
        optimizer: `adamw` (Adam where the decay is 0), or `muon`, which turns matrices by their nearest rotation and
            leaves the rest, and the speakers' centres, to Adam.
        learning_rate: after `warmup_steps`, in a line from 0. Then it falls along a cosine to a hundredth at the last
            step; or it stays (`constant`), down to 0 over the last `decay_steps`.
        inherited_share: of the rate, for weights that come from a teacher (`Transplant`); 0 leaves them as they are.
            Of `muon` alone.
        clip_norm: largest norm of the gradient, 0 for no limit.
        patience: looks at the dev lists without a better mean EER before training stops; 0 never stops early.
    """

    steps: Count
    learning_rate: Weight
    warmup_steps: Natural = 0
    constant: bool = False
    decay_steps: Natural = 0
    optimizer: str = "adamw"
    weight_decay: Weight = 0.0
    inherited_share: Share = 1.0
    clip_norm: Weight = 5.0
    report_steps: Count = 100
    evaluate_steps: Count = 500
    patience: Natural = 0
    seed: Natural = 1

    def __post_init__(self) -> None:
        if self.optimizer not in ("adamw", "muon"):
            raise ValueError(f"optimizer {self.optimizer!r}; there are adamw and muon")
        if self.inherited_share not in (0.0, 1.0) and self.optimizer != "muon":
            raise ValueError("a share of the rate for what is inherited is muon's alone")


@dataclass(frozen=True)
class Transplant:
    """What a network inherits, and the training of its front alone that comes before that of all of it.

    Attributes:
        graph: CAM++ as ONNX, among the teachers' graphs.
        crops, crop_frames: stretches of its frames that the upper layers are fitted on by least squares, and how many
            frames of 40 ms each has; at most 100, within which its gates see the whole clip.
        corpora: weights of the corpora that they come from; empty draws from all clips alike.
        front: how the front learns CAM++'s frames, on the recipe's own crops.
    """

    graph: str
    front: Optimization
    crops: Count = 600
    crop_frames: Count = 50
    corpora: dict[str, Weight] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= self.crop_frames <= 100:
            raise ValueError(f"stretches of {self.crop_frames} frames; 1 to 100")
