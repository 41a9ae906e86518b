"""What a speaker may be called, one rule for all ways in."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

from speakerdb import settings
from speakerdb.errors import InputError, printable

DESCRIPTORS = (Path("/dev"), Path("/dev/fd"), Path("/proc/self/fd"))
"""Where the names of what is open already lie: /dev/stdin, and what a shell makes of `<(…)`."""

JOINERS = "\u200c\u200d"
"""Zero-width (non-)joiners belong to the spelling of names in Persian and in Indic scripts."""


def usable_path(path: str | os.PathLike[str]) -> Path:
    """A path as it is given. Raises: InputError for an empty one, one with a NUL, or what is no path."""
    try:
        text = os.fspath(path)
    except TypeError:
        text = None
    if not isinstance(text, str) or not text or "\0" in text:
        raise InputError(f"{printable(path, 200)!r}: not a path")
    return Path(text)


def lasting_path(path: str | os.PathLike[str]) -> Path:
    """The place that a path names now, wherever this process goes meanwhile. Raises: InputError as `usable_path`."""
    try:
        return usable_path(path).absolute()
    except FileNotFoundError as error:
        raise InputError(f"{printable(path, 200)}: the folder that this process stands in is gone") from error


def beside(listed_in: Path) -> Path:
    """Where the paths of a list lie: in its folder; of one that comes through a pipe where this process stands."""
    return Path() if listed_in.parent in DESCRIPTORS else listed_in.parent


def real_path(path: Path) -> Path:
    """Where a path leads, links followed; a circle of links is no error, as it is to `Path.resolve`."""
    return Path(os.path.realpath(path))


def require_outside(folder: Path, target: Path) -> None:
    """Raise InputError where something would be written among a gallery's own files, over them or in their place."""
    within = real_path(target)
    if real_path(folder) in (within, *within.parents):
        raise InputError(f"{printable(target, 200)} is in the gallery's own folder; name another place")


def usable_name(name: str) -> str:
    """The name in Unicode's composed form (NFC) without spaces around it.

    Both of Unicode's normal forms of a name are thereby one speaker.
    Raises: InputError for an empty name, one of more than 256 bytes, or one with line feeds, control or invisible
    characters, or bytes that are no text.
    """
    if not isinstance(name, str):
        raise InputError(f"a name must be text, not {type(name).__name__}")
    composed = unicodedata.normalize("NFC", name).strip()
    for char in composed:
        category = unicodedata.category(char)
        if category in ("Cc", "Cs", "Cn", "Co", "Zl", "Zp") or (category == "Cf" and char not in JOINERS):
            raise InputError(f"the name {printable(name)!r} holds a character that cannot be shown (U+{ord(char):04X})")
    size = len(composed.encode())
    if not composed:
        raise InputError("a name must not be empty")
    if size > settings.MAX_NAME_BYTES:
        raise InputError(f"the name {printable(name, 20)!r} has {size} bytes; {settings.MAX_NAME_BYTES} are allowed")
    return composed
