"""`python -m training originals`."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from training.commands.outcome import errors_as_exit_codes
from training.commands.places import FOLDER, read_recipe


@click.command(short_help="Write the train archives anew, of the recordings that they were encoded from.")
@click.argument("repositories", type=FOLDER)
@click.option("--recipe", default="third", show_default=True, help="Whose sets; a name or a file.")
@click.option("--corpora", type=FOLDER, default="../shared/corpora", show_default=True)
@click.option("--out", type=FOLDER, required=True, help="The new archives' folder, to be given as --corpora.")
def originals(repositories: Path, recipe: str, corpora: Path, out: Path) -> None:
    """Write a recipe's train archives anew, of the original recordings in REPOSITORIES, a folder of checked out ones.

    Those are omnilingo/rsample-100-cv-corpus-6.1-2020-12-11, manashmandal/DeadSimpleSpeechRecognizer and
    jimbozhang/speechocean762, from GitHub. Sets of dev and test, noise, and what none of
    them has are taken from --corpora.

    Example: python -m training originals repositories --out ~/speakerdb-originals
    """
    chosen = read_recipe(recipe)
    with errors_as_exit_codes():
        from training.corpora.originals import write_originals

        judged = [name for name in chosen.judged if (corpora / f"{name}.tar").exists()]
        names = [*chosen.train, *judged, *([chosen.noise] if chosen.noise else [])]
        for name, clips in write_originals(repositories, corpora, names, out, Console(stderr=True)).items():
            click.echo(f"{name}: {clips} clips")
