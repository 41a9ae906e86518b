"""Which bundles there are: those shipped inside the package, and any folder named by its path."""

from __future__ import annotations

import os
from pathlib import Path

from speakerdb import settings
from speakerdb.encoder.bundle import Card, read_card
from speakerdb.errors import EncoderDamaged

SHIPPED = Path(__file__).parent.parent / "encoders"


def shipped_names() -> list[str]:
    """Names of the bundles inside the package."""
    return sorted(card.parent.name for card in SHIPPED.glob("*/card.json"))


def find_bundle(name: str | os.PathLike[str] | None = None) -> Path:
    """The folder of a bundle given by a shipped name or a folder's path; the default one where None.

    Raises: EncoderDamaged naming the shipped bundles.
    """
    wanted = settings.encoder_name() if name is None else os.fspath(name)
    if wanted in shipped_names():
        return SHIPPED / wanted
    try:
        found = bool(wanted) and Path(wanted).is_dir()
    except OSError:  # a name that is too long for a path
        found = False
    if found:
        return Path(wanted)
    known = ", ".join(shipped_names()) or "none"
    raise EncoderDamaged(wanted, f"no such bundle; shipped: {known}; or name a folder with card.json")


def find_by_hash(sha256: str) -> Path | None:
    """The shipped bundle of that hash, or None: how a gallery finds the encoder that it is bound to."""
    for name in shipped_names():
        card: Card = read_card(SHIPPED / name)
        if card.sha256 == sha256:
            return SHIPPED / name
    return None
