"""`python -m training last-steps`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console

from training.commands.outcome import errors_as_exit_codes
from training.commands.places import FOLDER, Places, places, read_recipe


@click.command("last-steps", short_help="Give a bundle the steps that nothing is trained for.")
@click.argument("bundle", type=FOLDER)
@places
@click.option("--out", type=FOLDER, required=True, help="The new bundle's folder; BUNDLE's own is replaced.")
@click.option("--version", required=True, help="Of the new bundle.")
def last_steps(bundle: Path, recipe: str, out: Path, version: str, **where: Any) -> None:
    """Give a BUNDLE of the RECIPE the steps that nothing is trained for; then calibrate it.

    Short clips are heard three times (`warped` in the recipe), what channels add to a vector is taken off (`channels`),
    unheard voices are moved away from known ones (`known`). `export` does so by itself.

    Example: python -m training last-steps bundle --work work --out bundle-finished --version 1.0
    """
    chosen = read_recipe(recipe)
    with errors_as_exit_codes():
        import onnx

        from speakerdb.encoder.bundle import open_bundle
        from training.card import Sets
        from training.dev_pairs import lists_of
        from training.last_steps import of_last_steps, with_last_steps
        from training.rebundle import write_changed

        if not of_last_steps(chosen):
            raise ValueError(f"recipe {chosen.name}: it asks for none of these steps (warped, channels, known)")
        at, console, opened = Places(**where), Console(stderr=True), open_bundle(bundle)
        card = opened.card
        graph = with_last_steps(onnx.load_from_string(opened.model), chosen, at.corpora, at.work, console)
        asked = {name: getattr(chosen, name) for name in ("bundle", "warped", "channels", "known")}
        how = {
            "command": f"python -m training last-steps, after {card.id}",
            **of_last_steps(chosen),
            "recipe": {**card.raw["training"]["recipe"], **asked},
        }
        sets = Sets(at.shards, at.corpora, at.trials, lists_of(at.work / chosen.name))
        write_changed(opened, graph, chosen, sets, out, version, how, console)
