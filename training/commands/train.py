"""`python -m training train`."""

from __future__ import annotations

from typing import Any

import click
from rich.console import Console

from training.commands.places import Places, places
from training.commands.prepare import prepare_recipe
from training.recipe import Recipe


@click.command()
@places
def train(recipe: str, **where: Any) -> None:
    """Train, or go on where a stopped run stood."""
    train_recipe(Recipe.load(recipe), Places(**where), Console(stderr=True))


def train_recipe(recipe: Recipe, at: Places, console: Console) -> None:
    """Prepare what is missing, then train or resume in `work/RECIPE`."""
    from training.batches import CropSampler
    from training.features_cache import join_features
    from training.loop import train as run
    from training.teachers import load_targets

    found = prepare_recipe(recipe, at, console)
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
