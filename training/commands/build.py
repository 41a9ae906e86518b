"""`python -m training build`: all steps of a recipe in one command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console

from training.commands.export import export_recipe
from training.commands.places import FOLDER, Places, places, read_recipe
from training.commands.prepare import prepare_recipe
from training.commands.train import train_recipe


@click.command()
@places
@click.option("--out", type=FOLDER, required=True, help="The bundle's folder.")
def build(recipe: str, out: Path, **where: Any) -> None:
    """Do all of it: prepare, train, export.

    Example: python -m training build --recipe third --work ~/speakerdb-work --out bundle
    """
    read, console, at = read_recipe(recipe), Console(stderr=True), Places(**where)
    prepare_recipe(read, at, console)
    train_recipe(read, at, console)
    export_recipe(read, at, out, console)
