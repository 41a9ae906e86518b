"""`python -m training rooms`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console

from training.commands.outcome import errors_as_exit_codes
from training.commands.places import FOLDER, Places, places, read_recipe


@click.command()
@click.argument("bundle", type=FOLDER)
@places
@click.option("--out", type=FOLDER, required=True, help="The new bundle's folder; BUNDLE's own is replaced.")
@click.option("--version", required=True, help="Of the new bundle.")
@click.option("--share", type=click.FloatRange(0.0, 1.0), default=0.4, show_default=True, help="Of the new weights.")
def rooms(bundle: Path, recipe: str, out: Path, version: str, share: float, **where: Any) -> None:
    """Teach a BUNDLE of the RECIPE rooms, and write what comes of it with its figures; then calibrate it.

    Wants PyTorch and pyroomacoustics: pip install '.[rooms]'.

    Example: python -m training rooms bundle --work work --out bundle-in-rooms --version 0.8
    """
    chosen = read_recipe(recipe)
    with errors_as_exit_codes():
        from training.rooms.bundle import taught

        at, console = Places(**where), Console(stderr=True)
        taught(bundle, chosen, at.work, at.corpora, at.trials, out, version, share, console)
