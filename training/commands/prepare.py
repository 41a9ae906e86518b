"""`python -m training prepare`."""

from __future__ import annotations

import itertools
from typing import Any

import click
from rich.console import Console

from training.commands.places import Places, places
from training.recipe import Recipe


@click.command()
@places
def prepare(recipe: str, **where: Any) -> None:
    """Write the archives as TFRecord shards and cache their features."""
    prepare_recipe(Recipe.load(recipe), Places(**where), Console(stderr=True))


def prepare_recipe(recipe: Recipe, at: Places, console: Console) -> dict[str, Any]:
    """Shards and features of a recipe's corpora, by the archive's name; what is complete is not done again."""
    from speakerdb.features import FilterBank
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
