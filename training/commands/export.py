"""`python -m training export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from training.commands.outcome import errors_as_exit_codes
from training.commands.places import FOLDER, Places, corpora_options, places, read_recipe

if TYPE_CHECKING:
    from training.recipe import Recipe


@click.command()
@places
@corpora_options
@click.option("--out", type=FOLDER, required=True, help="The bundle's folder.")
@click.option("--int8", is_flag=True, help="Write OUT-int8 too, its accuracy and time beside the float ones.")
def export(
    recipe: str, out: Path, train_sets: tuple[str, ...], dev_sets: tuple[str, ...], int8: bool, **where: Any
) -> None:
    """Write the best checkpoint as a bundle with its figures.

    Name the sets with --train and --dev as for the training, so that the card and the figures are of these.

    Example: python -m training export --recipe seed --train my-train --dev my-dev --work work --out bundle
    """
    chosen = read_recipe(recipe, train_sets, dev_sets)
    export_recipe(chosen, Places(**where), out, Console(stderr=True), int8)


def export_recipe(recipe: Recipe, at: Places, out: Path, console: Console, int8: bool = False) -> None:
    """Write the best checkpoint in `work/RECIPE` as a bundle."""
    from training.export import export_bundle

    with errors_as_exit_codes():
        export_bundle(recipe, at.work / recipe.name, at.corpora, at.trials, out, console, int8)
