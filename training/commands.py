"""The commands of `python -m training`: each step from the archives to a bundle, and `build` for all in one."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from speakerdb.features import FilterBank
from training.recipe import Recipe

FOLDER = click.Path(file_okay=False, path_type=Path)


@dataclass(frozen=True)
class Places:
    """Where a training reads and writes."""

    corpora: Path
    teachers: Path
    trials: Path
    work: Path

    @property
    def shards(self) -> Path:
        """TFRecord shards of the archives."""
        return self.work / "shards"

    @property
    def features(self) -> Path:
        """Cached log-mel features."""
        return self.work / "features"


def places(command: Callable[..., None]) -> Callable[..., None]:
    """The options that all commands share."""
    options = [
        click.option("--recipe", default="first", show_default=True, help="A name in training/recipes."),
        click.option("--corpora", type=FOLDER, default="../shared/corpora", show_default=True),
        click.option("--teachers", type=FOLDER, default="../shared/encoders/teacher-vectors", show_default=True),
        click.option("--trials", type=FOLDER, default="../shared/trials", show_default=True),
        click.option("--work", type=FOLDER, required=True, help="Shards, features and checkpoints; resumed from."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.group()
def training() -> None:
    """Train a speaker encoder: archives → shards → features → network → ONNX bundle."""


@training.command()
@places
def prepare(recipe: str, **where: Any) -> None:
    """Write the archives as TFRecord shards and cache their features."""
    _prepare(Recipe.load(recipe), Places(**where), Console(stderr=True))


@training.command()
@places
def train(recipe: str, **where: Any) -> None:
    """Train, or go on where a stopped run stood."""
    _train(Recipe.load(recipe), Places(**where), Console(stderr=True))


@training.command()
@places
@click.option("--out", type=FOLDER, required=True, help="The bundle's folder.")
def export(recipe: str, out: Path, **where: Any) -> None:
    """Write the best checkpoint as a bundle with its figures."""
    _export(Recipe.load(recipe), Places(**where), out, Console(stderr=True))


@training.command()
@click.argument("bundle", type=FOLDER)
@click.option("--corpora", type=FOLDER, default="../shared/corpora", show_default=True)
@click.option("--trials", type=FOLDER, default="../shared/trials", show_default=True)
@click.option(
    "--list", "names", multiple=True, default=["common_voice-test", "speech_commands-test"], show_default=True
)
def evaluate(bundle: Path, corpora: Path, trials: Path, names: tuple[str, ...]) -> None:
    """Print the figures of a BUNDLE on trial lists as JSON, from its graph alone.

    Example: python -m training evaluate speakerdb/encoders/speakerdb-16k --list common_voice-test
    """
    from speakerdb.encoder.bundle import open_bundle
    from training.measure import embed_archive, measure

    open_bundle(bundle)
    for name in names:
        vectors = embed_archive(bundle / "encoder.onnx", corpora / f"{name}.tar")
        click.echo(json.dumps({"list": name, **measure(trials, name, vectors)}))


@training.command()
@places
@click.option("--out", type=FOLDER, required=True, help="The bundle's folder.")
def build(recipe: str, out: Path, **where: Any) -> None:
    """Do all of it: prepare, train, export.

    Example: python -m training build --recipe first --work ~/speakerdb-work --out bundle
    """
    read, console, at = Recipe.load(recipe), Console(stderr=True), Places(**where)
    _prepare(read, at, console)
    _train(read, at, console)
    _export(read, at, out, console)


def _prepare(recipe: Recipe, at: Places, console: Console) -> dict[str, Any]:
    from training.corpora import check_speakers_apart
    from training.features_cache import build_features, load_features
    from training.records import read_shard, write_shards

    for train_name, dev_name in itertools.product(recipe.train, recipe.dev):
        check_speakers_apart(at.corpora / f"{train_name}.tar", at.corpora / f"{dev_name}.tar")
    found = {}
    for name in [*recipe.train, *recipe.dev, recipe.noise]:
        cached = load_features(at.features, name)
        if cached is None:
            shards = write_shards(at.corpora / f"{name}.tar", at.shards)
            clips = itertools.chain.from_iterable(map(read_shard, shards))
            cached = build_features(clips, at.features, name, FilterBank())
        console.print(f"{name}: {len(cached.clips)} clips, {len(cached.frames) / 360_000:.2f} h", highlight=False)
        found[name] = cached
    return found


def _train(recipe: Recipe, at: Places, console: Console) -> None:
    from training.batches import CropSampler
    from training.features_cache import join_features
    from training.loop import train as run
    from training.teachers import load_targets

    found = _prepare(recipe, at, console)
    speech = join_features([found[name] for name in recipe.train])
    targets = load_targets(
        [at.teachers / file for file in recipe.teachers],
        [row["name"] for row in speech.clips],
        recipe.second_teacher_weight,
        recipe.network.dimension,
    )
    sampler = CropSampler(
        speech, targets, found[recipe.noise], recipe.lengths, recipe.augmentation, recipe.optimization.seed
    )
    dev = {name: found[name] for name in recipe.dev}
    run(recipe, sampler, dev, at.trials, at.work / recipe.name, console)


def _export(recipe: Recipe, at: Places, out: Path, console: Console) -> None:
    from training.export import export_bundle

    export_bundle(recipe, at.work / recipe.name, at.corpora, at.trials, out, console)
