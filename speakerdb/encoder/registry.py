"""Which bundles there are: those shipped inside the package, those the user added, and any folder named by its path."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from speakerdb import settings
from speakerdb.encoder.bundle import Card, read_card
from speakerdb.errors import EncoderDamaged, printable

SHIPPED = Path(__file__).parent.parent / "encoders"


def shipped_names() -> list[str]:
    """Names of the bundles inside the package."""
    return _names(SHIPPED)


def added_names() -> list[str]:
    """Names of the bundles that the user added."""
    return _names(added_folder())


def added_folder() -> Path:
    """Where added bundles lie."""
    return settings.encoders_folder()


def find_bundle(name: str | os.PathLike[str] | None = None) -> Path:
    """The folder of a bundle given by its name or a folder's path; the default one where None.

    Raises: EncoderDamaged naming the bundles that there are.
    """
    wanted = settings.encoder_name() if name is None else os.fspath(name)
    if wanted in shipped_names():
        return SHIPPED / wanted
    if wanted in added_names():
        return added_folder() / wanted
    try:
        found = bool(wanted) and Path(wanted).is_dir()
    except OSError:  # a name that is too long for a path
        found = False
    if found:
        return Path(wanted)
    known = ", ".join(map(printable, [*shipped_names(), *added_names()])) or "none"
    raise EncoderDamaged(wanted, f"no such bundle; there are: {known}; or name a folder with card.json")


def find_by_hash(sha256: str) -> Path | None:
    """The shipped or added bundle of these vectors, or None: how a gallery finds the encoder that it is bound to."""
    return next((folder for folder, card in cards() if isinstance(card, Card) and card.vectors_of == sha256), None)


def cards() -> Iterator[tuple[Path, Card | EncoderDamaged]]:
    """Every bundle's folder and card, shipped ones first; the error in its place where a card cannot be used."""
    for folder in _folders():
        try:
            yield folder, read_card(folder)
        except EncoderDamaged as error:
            yield folder, error


def _folders() -> Iterator[Path]:
    yield from (SHIPPED / name for name in shipped_names())
    yield from (added_folder() / name for name in added_names())  # not looked for where a shipped one is enough


def _names(home: Path) -> list[str]:
    return sorted(card.parent.name for card in home.glob("*/card.json") if not card.parent.name.startswith("."))
