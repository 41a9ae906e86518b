"""`python -m training evaluate`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from training.commands.places import FOLDER


@click.command()
@click.argument("bundle", type=FOLDER)
@click.option("--corpora", type=FOLDER, default="../shared/corpora", show_default=True)
@click.option("--trials", type=FOLDER, default="../shared/trials", show_default=True)
@click.option(
    "--list", "names", multiple=True, default=["common_voice-test", "speech_commands-test"], show_default=True
)
def evaluate(bundle: Path, corpora: Path, trials: Path, names: tuple[str, ...]) -> None:
    """Print the figures of a BUNDLE on trial lists as JSON, from its graph alone.

    Example: python -m training evaluate speakerdb/encoders/speakerdb-16k --list common_voice-test
    """
    from speakerdb.encoder.bundle import open_bundle
    from training.measure import embed_archive, measure

    open_bundle(bundle)
    for name in names:
        vectors = embed_archive(bundle / "encoder.onnx", corpora / f"{name}.tar")
        click.echo(json.dumps({"list": name, **measure(trials, name, vectors)}))
