"""Where a training reads and writes, what it trains on, and the options that say so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from training.commands.outcome import errors_as_exit_codes, import_tensorflow

if TYPE_CHECKING:
    from training.recipe import Recipe


FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)


@dataclass(frozen=True)
class Places:
    """Where a training reads and writes.

    Attributes:
        corpora: archives that a recipe names. trials: lists of pairs.
        teachers: their graphs, and in `teacher-vectors` what they say of recorded clips.
        work: what may be deleted and made again: shards, features, a folder a training.
    """

    corpora: Path
    teachers: Path
    trials: Path
    work: Path

    @property
    def shards(self) -> Path:
        """TFRecord shards of the corpora."""
        return self.work / "shards"


def places(command: Callable[..., None]) -> Callable[..., None]:
    """The options that all commands of a recipe share."""
    options = [
        click.option("--recipe", default="third", show_default=True, help="A name in training/recipes, or a file."),
        click.option("--corpora", type=FOLDER, default="../shared/corpora", show_default=True),
        click.option(
            "--teachers",
            type=FOLDER,
            default="../shared/encoders",
            show_default=True,
            help="Their graphs; vectors below.",
        ),
        click.option("--trials", type=FOLDER, default="../shared/trials", show_default=True),
        click.option("--work", type=FOLDER, required=True, help="Shards, features and checkpoints; resumed from."),
    ]
    return _with(options, command)


def corpora_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options for training a recipe on one's own corpora."""
    options = [
        click.option("--train", "train_sets", multiple=True, help="A prepared set, instead of the recipe's; repeat."),
        click.option("--dev", "dev_sets", multiple=True, help="A prepared set to choose by, instead of the recipe's."),
    ]
    return _with(options, command)


def read_recipe(name: str, train: Sequence[str] = (), dev: Sequence[str] = (), steps: int | None = None) -> Recipe:
    """The recipe with what the options change. Ends the command where there is none, or it is wrong."""
    import_tensorflow()
    from training.recipe import Recipe  # imports Keras

    with errors_as_exit_codes():
        return Recipe.load(name).with_corpora(train, dev).with_steps(steps)


def _with(options: list[Callable[..., Callable[..., None]]], command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(options):
        command = option(command)
    return command
