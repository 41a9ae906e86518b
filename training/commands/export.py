"""`python -m training export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from training.commands.places import FOLDER, Places, places, read_recipe

if TYPE_CHECKING:
    from training.recipe import Recipe


@click.command()
@places
@click.option("--out", type=FOLDER, required=True, help="The bundle's folder.")
def export(recipe: str, out: Path, **where: Any) -> None:
    """Write the best checkpoint as a bundle with its figures."""
    export_recipe(read_recipe(recipe), Places(**where), out, Console(stderr=True))


def export_recipe(recipe: Recipe, at: Places, out: Path, console: Console) -> None:
    """Write the best checkpoint in `work/RECIPE` as a bundle."""
    from training.export import export_bundle

    export_bundle(recipe, at.work / recipe.name, at.corpora, at.trials, out, console)
