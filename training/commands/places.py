"""Where a training reads and writes, and the options that say so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

FOLDER = click.Path(file_okay=False, path_type=Path)


@dataclass(frozen=True)
class Places:
    """Where a training reads and writes."""

    corpora: Path
    teachers: Path
    trials: Path
    work: Path

    @property
    def shards(self) -> Path:
        """TFRecord shards of the archives."""
        return self.work / "shards"

    @property
    def features(self) -> Path:
        """Cached log-mel features."""
        return self.work / "features"


def places(command: Callable[..., None]) -> Callable[..., None]:
    """The options that all commands of a recipe share."""
    options = [
        click.option("--recipe", default="first", show_default=True, help="A name in training/recipes."),
        click.option("--corpora", type=FOLDER, default="../shared/corpora", show_default=True),
        click.option("--teachers", type=FOLDER, default="../shared/encoders/teacher-vectors", show_default=True),
        click.option("--trials", type=FOLDER, default="../shared/trials", show_default=True),
        click.option("--work", type=FOLDER, required=True, help="Shards, features and checkpoints; resumed from."),
    ]
    for option in reversed(options):
        command = option(command)
    return command
