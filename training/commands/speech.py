"""`python -m training speech`."""

from __future__ import annotations

from pathlib import Path

import click

from training.commands.outcome import errors_as_exit_codes
from training.commands.places import FOLDER


@click.command(short_help="Teach the speech detector by Silero's.")
@click.option("--corpora", type=FOLDER, default="../shared/corpora", show_default=True, help="Where NAME.tar lies.")
@click.option(
    "--train",
    multiple=True,
    default=("common_voice-train", "speech_commands-train", "librispeech-train", "speechocean762-train"),
    show_default=True,
)
@click.option("--steps", type=click.IntRange(300), default=6000, show_default=True, help="Of 32 recordings of 8 s.")
@click.option("--work", type=FOLDER, required=True, help="Silero's verdicts on the clips; may be deleted.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The graph.")
def speech(corpora: Path, train: tuple[str, ...], steps: int, work: Path, out: Path) -> None:
    """Teach the speech detector what Silero's model finds in clean clips, in noise; NAME.tar and noise.tar are needed.

    Example: python -m training speech --work work --out speakerdb/vad/speakerdb_vad_16k.onnx
    """
    with errors_as_exit_codes():
        from training.speech.learn import learn

        loss = learn(corpora, train, work, out, steps)
    click.echo(f"{out}: loss {loss:.4f}; `python -m benchmarks.speech_detection` measures it")
