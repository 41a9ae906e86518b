"""`python -m training import-seed`."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from training.commands.outcome import errors_as_exit_codes, import_tensorflow
from training.commands.places import FOLDER


@click.command("import-seed", short_help="Make a bundle of the seed's pretrained model.")
@click.argument("variables", type=FOLDER)
@click.option("--out", type=FOLDER, required=True, help="The bundle's folder.")
def import_seed(variables: Path, out: Path) -> None:
    """Make a bundle of the seed's pretrained model: VARIABLES is the folder with its variables.index.

    Example: python -m training import-seed ../shared/seed/speech-id-model-110 --out seed-48k
    """
    import_tensorflow()
    from training.seed_model import import_seed as run

    with errors_as_exit_codes():
        run(variables, out, Console(stderr=True))
