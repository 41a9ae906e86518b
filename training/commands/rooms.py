"""`python -m training rooms`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from training.commands.outcome import errors_as_exit_codes
from training.commands.places import FOLDER, Places, places, read_recipe

SHARE = click.FloatRange(0.0, 1.0)


@click.command(short_help="Teach a bundle rooms, telephones and noise.")
@click.argument("bundle", type=FOLDER)
@places
@click.option("--out", type=FOLDER, required=True, help="The new bundle's folder; BUNDLE's own is replaced.")
@click.option("--version", required=True, help="Of the new bundle.")
@click.option(
    "--share-of-front", type=SHARE, default=0.5, show_default=True, help="Of its new weights, in what hears frames."
)
@click.option(
    "--share-of-blocks", type=SHARE, default=0.1, show_default=True, help="The same of the blocks inherited from CAM++."
)
def rooms(
    bundle: Path, recipe: str, out: Path, version: str, share_of_front: float, share_of_blocks: float, **where: Any
) -> None:
    """Teach a BUNDLE of the RECIPE rooms, and write what comes of it with its figures; then calibrate it.

    Wants PyTorch: pip install '.[train,rooms]'.

    Example: python -m training rooms bundle --work work --out bundle-in-rooms --version 1.0
    """
    # Before PyTorch is imported: beside other processes, threads that spin while they wait cost tenfold.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    chosen = read_recipe(recipe)
    with errors_as_exit_codes():
        from training.rooms.bundle import taught

        at, console = Places(**where), Console(stderr=True)
        shares = {"share_of_front": share_of_front, "share_of_blocks": share_of_blocks}
        taught(bundle, chosen, at.work, at.corpora, at.trials, out, version, shares, console)
