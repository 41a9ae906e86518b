"""`python -m training calibrate`."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from training.commands.outcome import errors_as_exit_codes
from training.commands.places import FOLDER


@click.command(short_help="Fit what distances mean to an encoder.")
@click.argument("bundle", type=FOLDER)
@click.option("--corpora", type=FOLDER, default="../shared/corpora", show_default=True, help="Where NAME.tar lies.")
@click.option("--dev", multiple=True, default=("common_voice-dev", "speech_commands-dev"), show_default=True)
@click.option(
    "--cohort",
    multiple=True,
    default=("common_voice-train", "speech_commands-train"),
    show_default=True,
    help="Sets whose speakers scores are normalised by; one who is in --dev too is an error.",
)
@click.option("--work", type=FOLDER, required=True, help="What was heard of the clips; may be deleted.")
def calibrate(bundle: Path, corpora: Path, dev: tuple[str, ...], cohort: tuple[str, ...], work: Path) -> None:
    """Fit what distances mean to a BUNDLE's encoder, and write it into its card, beside cohort.npy.

    Example: python -m training calibrate bundle --work work
    """
    with errors_as_exit_codes():
        from training.calibration.calibrate import calibrate as calibrate_bundle

        found = calibrate_bundle(bundle, corpora, dev, cohort, work / "heard", Console(stderr=True))
    click.echo(f"{bundle}: {found.origin}")
    for rate in (0.01, 0.001, 1e-4):
        click.echo(f"  FMR {rate:g} at score {found.tail.score_at(rate):.2f}")
