"""`python -m training train`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from training.commands.outcome import errors_as_exit_codes
from training.commands.places import Places, corpora_options, places, read_recipe

if TYPE_CHECKING:
    from training.recipe import Recipe


@click.command()
@places
@corpora_options
@click.option(
    "--steps",
    type=click.IntRange(1),
    help="Instead of the recipe's. More of them for a training whose rate has begun to fall raise it again at once.",
)
@click.option("--dry-run", is_flag=True, help="Compute the features, say what it would train on, and stop.")
def train(
    recipe: str, dry_run: bool, steps: int | None, train_sets: tuple[str, ...], dev_sets: tuple[str, ...], **where: Any
) -> None:
    """Train by a recipe, or go on where a stopped run stood.

    Example: python -m training train --recipe seed --train my-corpus-train --dev my-corpus-dev --work work
    """
    chosen = read_recipe(recipe, train_sets, dev_sets, steps)
    train_recipe(chosen, Places(**where), Console(stderr=True), dry_run)


def train_recipe(recipe: Recipe, at: Places, console: Console, dry_run: bool = False) -> None:
    """Train or resume in `work/RECIPE`; the features of what is prepared are computed first where missing."""
    from training.dev_pairs import gather_pairs
    from training.material import describe, gather

    work = at.work / recipe.name
    with errors_as_exit_codes():
        material = gather(recipe, at.work, at.teachers, console, at.corpora)
        if dry_run:
            for line in describe(recipe, material):
                click.echo(line)
            return
        dev = {name: cached.clips for name, cached in material.dev.items()}
        pairs = gather_pairs(at.trials, work, dev, recipe.optimization.seed)
        if recipe.transplant:
            from training.transplant.stages import train_transplanted

            train_transplanted(recipe, material, pairs, at.teachers, work, console)
            return
        from training.loop import train as run

        run(recipe, material, pairs, work, console)
