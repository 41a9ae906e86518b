"""A recipe: everything that a training depends on besides the archives, read from a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from training.augment import Augmentation
from training.batches import CropLength
from training.cutting import Cutting
from training.front_ends import FRONT_ENDS, FrontEnd, KaldiBank
from training.losses import Losses
from training.networks import NETWORKS, NetworkSize
from training.networks.narrow_campplus import NarrowCampplus
from training.speaker_means import SpeakerMeans
from training.teachers import Teachers
from training.virtual_speakers import Virtual

RECIPES = Path(__file__).parent / "recipes"
Part = TypeVar("Part")


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

    steps: int
    learning_rate: float
    warmup_steps: int = 0
    constant: bool = False
    decay_steps: int = 0
    optimizer: str = "adamw"
    weight_decay: float = 0.0
    inherited_share: float = 1.0
    clip_norm: float = 5.0
    report_steps: int = 100
    evaluate_steps: int = 500
    patience: int = 0
    seed: int = 1

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
    crops: int = 600
    crop_frames: int = 50
    corpora: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= self.crop_frames <= 100:
            raise ValueError(f"stretches of {self.crop_frames} frames; 1 to 100")


@dataclass(frozen=True)
class Recipe:
    """See training/recipes/*.toml, where every value stands with its reason.

    Attributes:
        levelled: two of the train sets, whose vectors `training.levelling` brings together; or none.
        warped: a train set, by whose clips `training.warped_views` turns what it hears of short ones; or none.
        channels: train sets, by whose clips `training.channel_offsets` takes off what channels add; or none.
        known: a train set, from whose voices `training.known_voices` moves all others away; or none.
    """

    name: str
    bundle: dict[str, Any]
    limits: list[str]
    train: list[str]
    dev: list[str]
    noise: str | None
    front_end: FrontEnd
    teachers: Teachers
    network: NetworkSize
    losses: Losses
    optimization: Optimization
    augmentation: Augmentation
    lengths: list[CropLength]
    virtual: Virtual = field(default_factory=Virtual)
    cutting: Cutting = field(default_factory=Cutting)
    speaker_means: SpeakerMeans = field(default_factory=SpeakerMeans)
    transplant: Transplant | None = None
    licences: dict[str, str] = field(default_factory=dict)
    levelled: list[str] = field(default_factory=list)
    warped: str | None = None
    channels: list[str] = field(default_factory=list)
    known: str | None = None

    @staticmethod
    def load(name: str) -> Recipe:
        """A recipe by its name, or one's own by its file, *.toml.

        Raises ValueError naming the recipe and what is wrong with it.
        """
        path = Path(name) if name.endswith(".toml") else RECIPES / f"{name}.toml"
        try:
            return _parse(path.stem, tomllib.loads(path.read_text(encoding="utf8")))
        except FileNotFoundError:
            known = ", ".join(sorted(file.stem for file in RECIPES.glob("*.toml")))
            raise ValueError(f"no recipe {name!r}; there are {known}") from None
        except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path.name}: {type(error).__name__}: {error}") from error

    def with_corpora(self, train: Sequence[str], dev: Sequence[str]) -> Recipe:
        """The same recipe on other corpora; crops then come from all of them alike. Empty: as it stands."""
        changed = replace(self, train=list(train) or self.train, dev=list(dev) or self.dev)
        if not train:
            return changed
        transplant = replace(self.transplant, corpora={}) if self.transplant else None
        lengths = [replace(row, corpora={}) for row in self.lengths]
        return replace(
            changed, lengths=lengths, transplant=transplant, levelled=[], warped=None, channels=[], known=None
        )

    def with_steps(self, steps: int | None) -> Recipe:
        """The same recipe with another number of steps."""
        return self if steps is None else replace(self, optimization=replace(self.optimization, steps=steps))

    def to_json(self) -> dict[str, Any]:
        """The recipe as plain values, for the bundle's card and for checkpoints."""
        return {**asdict(self), "front_end": self.front_end.name}


def _parse(name: str, values: dict[str, Any]) -> Recipe:
    corpora, network, front_end = values.pop("corpora"), values.pop("network"), values.pop("front_end")
    bundle = values.pop("bundle")
    size, _ = NETWORKS[network.pop("kind")]
    recipe = Recipe(
        name=name,
        limits=bundle.pop("limits"),
        bundle=bundle,
        train=corpora.pop("train"),
        dev=corpora.pop("dev"),
        noise=corpora.pop("noise", None),
        licences=corpora.pop("licences", {}),
        levelled=corpora.pop("levelled", []),
        warped=corpora.pop("warped", None),
        channels=corpora.pop("channels", []),
        known=corpora.pop("known", None),
        front_end=FRONT_ENDS[front_end.pop("kind")],
        teachers=_part(Teachers, values.pop("teachers", {})),
        network=_part(size, network),
        losses=_part(Losses, values.pop("losses")),
        optimization=_part(Optimization, values.pop("optimization")),
        augmentation=_part(Augmentation, values.pop("augmentation", {})),
        virtual=_part(Virtual, values.pop("virtual", {})),
        cutting=_part(Cutting, values.pop("cutting", {})),
        speaker_means=_part(SpeakerMeans, values.pop("speaker_means", {})),
        transplant=_transplant(values.pop("transplant", None)),
        lengths=[_part(CropLength, row) for row in values.pop("lengths")],
    )
    if values:
        raise ValueError(f"unknown part {', '.join(values)}")
    if corpora or front_end:
        raise ValueError(f"unknown in corpora or front_end: {', '.join([*corpora, *front_end])}")
    if recipe.noise and recipe.front_end.name != "kaldi-16k":
        raise ValueError("noise is added to Kaldi's filter bank alone: recordings and masks are of its bins")
    if recipe.augmentation != Augmentation() and not recipe.noise:
        raise ValueError("augmentation wants the corpora's noise")
    if recipe.losses.of_teachers != bool(recipe.teachers.files):
        raise ValueError("the losses cosine and relational want teachers, and teachers want them")
    if recipe.virtual.speeds and recipe.teachers.files and not recipe.teachers.graphs:
        raise ValueError("virtual speakers want the teachers' graphs")
    if len(recipe.levelled) not in (0, 2) or not set(recipe.levelled) <= set(recipe.train):
        raise ValueError("levelled are two of the train sets, or none")
    if recipe.warped is not None and not (recipe.warped in recipe.train and _hears_slowly(recipe)):
        raise ValueError("warped is one of the train sets, and wants a narrow-campplus that hears short clips slowly")
    if recipe.channels and not (set(recipe.channels) <= set(recipe.train) and recipe.noise and _has_floor(recipe)):
        raise ValueError("channels are train sets, and want the corpora's noise and a narrow-campplus with a floor")
    if recipe.known is not None and (recipe.known not in recipe.train or not recipe.levelled):
        raise ValueError("known is one of the train sets, and wants two of them levelled")
    if recipe.transplant and not isinstance(recipe.network, NarrowCampplus):
        raise ValueError("a transplant wants a narrow-campplus")
    if recipe.losses.frame and not recipe.transplant:
        raise ValueError("the loss frame wants a transplant")
    return recipe


def _hears_slowly(recipe: Recipe) -> bool:
    network = recipe.network
    slows = isinstance(network, NarrowCampplus) and network.least_frames > 0 and network.slowest < 1.0
    return slows and isinstance(recipe.front_end, KaldiBank)


def _has_floor(recipe: Recipe) -> bool:
    return isinstance(recipe.network, NarrowCampplus) and recipe.network.floor_below_peak_db > 0.0


def _transplant(values: dict[str, Any] | None) -> Transplant | None:
    if values is None:
        return None
    return _part(Transplant, {**values, "front": _part(Optimization, values["front"])})


def _part(kind: type[Part], values: dict[str, Any]) -> Part:
    unknown = values.keys() - {part.name for part in fields(kind)}  # type: ignore[arg-type]
    if unknown:
        raise ValueError(f"{kind.__name__} knows no {', '.join(sorted(unknown))}")
    return kind(**{name: tuple(v) if isinstance(v, list) and kind is Augmentation else v for name, v in values.items()})
