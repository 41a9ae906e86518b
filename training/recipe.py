"""A recipe: everything that a training depends on besides the archives, read from a TOML file."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from training.augment import Augmentation
from training.batches import CropLength
from training.networks.next_tdnn import NextTdnn

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class Optimization:
    """Steps and the weights of the losses."""

    steps: int
    warmup_steps: int
    learning_rate: float
    weight_decay: float
    relational_weight: float
    speaker_weight: float
    margin: float
    scale: float
    report_steps: int
    evaluate_steps: int
    seed: int


@dataclass(frozen=True)
class Recipe:
    """See training/recipes/*.toml, where every value stands with its reason."""

    name: str
    bundle: dict[str, Any]
    train: list[str]
    dev: list[str]
    noise: str
    teachers: list[str]
    second_teacher_weight: float
    network: NextTdnn
    optimization: Optimization
    augmentation: Augmentation
    lengths: list[CropLength]
    limits: list[str]

    @staticmethod
    def load(name: str) -> Recipe:
        """A recipe by its name. Raises FileNotFoundError, or TypeError for an unknown key."""
        with (RECIPES / f"{name}.toml").open("rb") as file:
            values = tomllib.load(file)
        return Recipe(
            name=name,
            bundle=values["bundle"],
            train=values["corpora"]["train"],
            dev=values["corpora"]["dev"],
            noise=values["corpora"]["noise"],
            teachers=values["teachers"]["files"],
            second_teacher_weight=values["teachers"]["second_weight"],
            network=NextTdnn(**values["network"]),
            optimization=Optimization(**values["optimization"]),
            augmentation=Augmentation(
                **{k: tuple(v) if isinstance(v, list) else v for k, v in values["augmentation"].items()}
            ),
            lengths=[CropLength(**row) for row in values["lengths"]],
            limits=values["bundle"].pop("limits"),
        )

    def to_json(self) -> dict[str, Any]:
        """The recipe as plain values, for the bundle's card."""
        return asdict(self)
