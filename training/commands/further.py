"""`python -m training further`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console

from training.commands.outcome import errors_as_exit_codes
from training.commands.places import FOLDER, Places, places, read_recipe
from training.commands.prepare import prepare_recipe


@click.command(short_help="Teach a bundle voices that nobody has, in rooms and noise.")
@click.argument("bundle", type=FOLDER)
@places
@click.option("--out", type=FOLDER, required=True, help="The new bundle's folder; BUNDLE's own is replaced.")
@click.option("--version", required=True, help="Of the new bundle.")
def further(bundle: Path, recipe: str, out: Path, version: str, **where: Any) -> None:
    """Teach a BUNDLE of the RECIPE further, as its table `further` says, and write what comes of it; then calibrate it.

    Its teachers are asked about voices that nobody has, and crops are worsened as recordings are. Wants PyTorch:
    pip install '.[cpu,kaldi,train,further]'.

    Example: python -m training further bundle --work work --out bundle-further --version 1.0
    """
    chosen, at, console = read_recipe(recipe), Places(**where), Console(stderr=True)
    prepare_recipe(chosen, at, console)
    with errors_as_exit_codes():
        from training.further.bundle import taught

        taught(bundle, chosen, at.work, at.corpora, at.teachers, at.trials, out, version, console)
