"""A recipe: everything that a training depends on besides the archives, read from a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from training.augment import Augmentation
from training.batches import CropLength
from training.cutting import Cutting
from training.front_ends import FRONT_ENDS, FrontEnd, KaldiBank
from training.further.course import Further
from training.losses import Losses
from training.networks import NETWORKS, NetworkSize
from training.networks.narrow_campplus import NarrowCampplus
from training.optimization import Optimization, Transplant
from training.recipe_values import filled, named, wrong
from training.speaker_means import SpeakerMeans
from training.teachers import Teachers
from training.virtual_speakers import Virtual

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class Recipe:
    """See training/recipes/*.toml, where every value stands with its reason.

    Attributes:
        levelled: two of the train sets, whose vectors `training.levelling` brings together; or none.
        warped: a train set, by whose clips `training.warped_views` turns what it hears of short ones; or none.
        channels: train sets, by whose clips `training.channel_offsets` takes off what channels add; or none.
        known: a train set, from whose voices `training.known_voices` moves all others away; or none.
        further: how `training.further` goes on with what was exported; or not at all.
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
    further: Further | None = None
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
        except ValueError as error:  # of values, of TOML, of UTF-8
            raise ValueError(f"{path.name}: {error}") from error
        except RecursionError as error:
            raise ValueError(f"{path.name}: lists or tables within one another, too deep to be read") from error

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

    @property
    def judged(self) -> list[str]:
        """Sets that its encoder is chosen by or measured on: those of dev, and NAME-test of each NAME-dev."""
        return [*self.dev, *(f"{name.removesuffix('-dev')}-test" for name in self.dev if name.endswith("-dev"))]

    def to_json(self) -> dict[str, Any]:
        """The recipe as plain values, for the bundle's card and for checkpoints."""
        return {**asdict(self), "front_end": self.front_end.name}


@dataclass(frozen=True)
class _Corpora:
    """The table of that name; see `Recipe`."""

    train: list[str]
    dev: list[str]
    noise: str | None = None
    licences: dict[str, str] = field(default_factory=dict)
    levelled: list[str] = field(default_factory=list)
    warped: str | None = None
    channels: list[str] = field(default_factory=list)
    known: str | None = None


@dataclass(frozen=True)
class _FrontEnd:
    """The table of that name: everything else is the kind's."""

    kind: str


@dataclass(frozen=True)
class _Bundle:
    """Of the table of that name, what must be there."""

    name: str
    version: str
    limits: list[str]


@dataclass(frozen=True)
class _File:
    """A recipe's tables, as its file has them."""

    bundle: dict[str, Any]
    corpora: _Corpora
    front_end: _FrontEnd
    network: dict[str, Any]
    losses: Losses
    optimization: Optimization
    lengths: list[CropLength]
    teachers: Teachers = field(default_factory=Teachers)
    augmentation: Augmentation = field(default_factory=Augmentation)
    virtual: Virtual = field(default_factory=Virtual)
    cutting: Cutting = field(default_factory=Cutting)
    speaker_means: SpeakerMeans = field(default_factory=SpeakerMeans)
    transplant: Transplant | None = None
    further: Further | None = None


def _parse(name: str, values: dict[str, Any]) -> Recipe:
    said = vars(filled(_File, values))
    bundle, network = said.pop("bundle"), said.pop("network")
    needed = filled(_Bundle, {key: bundle[key] for key in ("name", "version", "limits") if key in bundle}, "bundle")
    size, _ = named(NETWORKS, network.pop("kind", None), "network.kind")
    recipe = Recipe(
        name=name,
        limits=needed.limits,
        bundle={key: value for key, value in bundle.items() if key != "limits"},
        network=filled(size, network, "network"),
        front_end=named(FRONT_ENDS, said.pop("front_end").kind, "front_end.kind"),
        **vars(said.pop("corpora")),
        **said,
    )
    _check_crops(recipe)
    _check_together(recipe)
    return recipe


def _check_crops(recipe: Recipe) -> None:
    """Raise ValueError for batches that cannot be drawn, or that the network or the losses cannot take."""
    if not sum(length.share for length in recipe.lengths):
        raise ValueError("lengths: there is none with a share of the batches")
    weights = {f"lengths[{number}].corpora": length.corpora for number, length in enumerate(recipe.lengths, 1)}
    if recipe.transplant:
        weights["transplant.corpora"] = recipe.transplant.corpora
    for at, found in weights.items():
        if found and not sum(found.values()):
            raise wrong(at, found, "a weight above 0")
    losses, bins = recipe.losses, recipe.front_end.bins
    if not (losses.of_teachers or losses.speaker or losses.triplet or losses.frame):
        raise ValueError("losses: all weights are 0, and there is nothing to train on")
    if (losses.relational or losses.triplet) and min(length.crops for length in recipe.lengths) < 2:
        raise ValueError("the losses relational and triplet want two crops in a batch")
    if recipe.network.bins != bins:
        raise ValueError(f"network.bins is {recipe.network.bins}; the front end gives {bins}")
    if recipe.augmentation.mask_bins > bins:
        raise ValueError(f"augmentation.mask_bins is {recipe.augmentation.mask_bins}; the front end gives {bins}")


def _check_together(recipe: Recipe) -> None:
    """Raise ValueError for parts of which one wants another that is not there."""
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
    if recipe.further and not (recipe.transplant and recipe.noise and recipe.teachers.graphs):
        raise ValueError("further wants a transplant, the corpora's noise and the teachers' graphs")
    if recipe.losses.frame and not recipe.transplant:
        raise ValueError("the loss frame wants a transplant")


def _hears_slowly(recipe: Recipe) -> bool:
    network = recipe.network
    slows = isinstance(network, NarrowCampplus) and network.least_frames > 0 and network.slowest < 1.0
    return slows and isinstance(recipe.front_end, KaldiBank)


def _has_floor(recipe: Recipe) -> bool:
    return isinstance(recipe.network, NarrowCampplus) and recipe.network.floor_below_peak_db > 0.0
