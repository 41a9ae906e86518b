"""`python -m training prepare`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from training.commands.outcome import errors_as_exit_codes, import_tensorflow
from training.commands.places import FOLDER, Places, read_recipe

if TYPE_CHECKING:
    from training.recipe import Recipe


@click.command(short_help="Write corpora as shards that training reads.")
@click.argument("corpora", nargs=-1)
@click.option("--work", type=FOLDER, required=True, help="Shards go to its folder `shards`.")
@click.option("--split-by-speaker", "shares", metavar="TRAIN/DEV/TEST", help="Per cent, instead of its own splits.")
@click.option("--recipe", help="Prepare the archives that this recipe names, from --archives.")
@click.option("--archives", type=FOLDER, default="../shared/corpora", show_default=True)
def prepare(corpora: tuple[str, ...], work: Path, shares: str | None, recipe: str | None, archives: Path) -> None:
    """Write CORPORA as shards that training reads; what is complete is left as it is, a stopped run goes on.

    A corpus is Common Voice as released (.tar, .tar.gz or a folder), a folder with one folder a speaker (VoxCeleb), a
    Kaldi folder, an archive with a table beside it, or the seed's NAME_train.tfrecords.gzip; NAME=FOLDER names one.

    Example: python -m training prepare cv-corpus-17.0-2024-03-15-tr.tar.gz --work work
    """
    sources = [*corpora, *(_archives(read_recipe(recipe), archives) if recipe else [])]
    if not sources:
        raise click.UsageError("name a corpus, or a recipe whose corpora shall be prepared")
    prepare_sources(sources, work / "shards", shares, Console(stderr=True))


def prepare_recipe(recipe: Recipe, at: Places, console: Console) -> None:
    """Write the archives that a recipe names."""
    prepare_sources(_archives(recipe, at.corpora), at.shards, None, console)


def prepare_sources(sources: Sequence[str], shards: Path, shares: str | None, console: Console) -> None:
    """Write the sets of these corpora, and a line a set on stdout."""
    import_tensorflow()
    from training.corpora.clip import order_of_sets
    from training.prepare import prepare_corpora
    from training.splits import parse_shares

    with errors_as_exit_codes():
        sets = prepare_corpora(sources, shards, parse_shares(shares) if shares else None, console)
    for name in sorted(sets, key=order_of_sets):
        speakers = len({row.speaker for row in sets[name]})
        click.echo(f"{name}: {len(sets[name])} clips of {speakers} speakers")


def _archives(recipe: Recipe, folder: Path) -> list[str]:
    names = [*recipe.train, *recipe.dev, *([recipe.noise] if recipe.noise else [])]
    return [str(folder / f"{name}.tar") for name in names]
