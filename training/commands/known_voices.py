"""`python -m training known-voices`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console

from training.commands.outcome import errors_as_exit_codes
from training.commands.places import FOLDER, Places, places, read_recipe


@click.command("known-voices")
@click.argument("bundle", type=FOLDER)
@places
@click.option("--out", type=FOLDER, required=True, help="The new bundle's folder; BUNDLE's own is replaced.")
@click.option("--version", required=True, help="Of the new bundle.")
def known_voices(bundle: Path, recipe: str, out: Path, version: str, **where: Any) -> None:
    """Move unheard voices away from those that a BUNDLE of the RECIPE has learnt; then calibrate it.

    `export` does so by itself where the recipe says of whom.

    Example: python -m training known-voices bundle --work work --out bundle-moved --version 0.8
    """
    chosen = read_recipe(recipe)
    with errors_as_exit_codes():
        import onnx

        from speakerdb.encoder.bundle import open_bundle
        from training.card import Sets
        from training.known_voices import of_known, with_step
        from training.rebundle import write_changed

        if chosen.known is None:
            raise ValueError(f"recipe {chosen.name}: it does not say which voices are known")
        at, console, opened = Places(**where), Console(stderr=True), open_bundle(bundle)
        card, archive = opened.card, at.corpora / f"{chosen.known}.tar"
        graph = with_step(onnx.load_from_string(opened.model), card.rate_hz, archive, at.work, console)
        how = {
            "command": f"python -m training known-voices, after {card.id}",
            **of_known(chosen.known),
            "recipe": {**card.raw["training"]["recipe"], "bundle": chosen.bundle, "known": chosen.known},
        }
        write_changed(
            opened, graph, chosen, Sets(at.shards, at.corpora, at.trials, at.trials), out, version, how, console
        )
