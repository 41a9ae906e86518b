"""The members of an archive, piece by piece: lines and vectors, each checked before anything is made of it."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np

from speakerdb.embedding import Vector, is_unit
from speakerdb.errors import no_number, printable
from speakerdb.store.archive import Line
from speakerdb.store.fields import HEX, STORED, DamagedRow, described, time_of

MAX_LINE_BYTES = 1 << 16
UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    RuntimeError,
    DamagedRow,
)
"""What reading a file of any content can raise. Runtime errors are JSON's that is too deep, and zipfile's of members
that are encrypted or packed in ways that it does not know."""


class Member:
    """Bytes of a member, counted and hashed as they come."""

    def __init__(self, raw: Any, size: int) -> None:
        self._raw, self.size, self.left, self.digest = raw, size, size, hashlib.sha256()

    def read(self, count: int) -> bytes:
        """So many bytes. Raises: ValueError where there are not as many."""
        return self._taken(self._raw.read(count), count)

    def read_line(self) -> bytes:
        """A line with its end. Raises: ValueError where it has none, or is too long."""
        line: bytes = self._raw.readline(MAX_LINE_BYTES)
        if not line.endswith(b"\n"):
            raise ValueError("the line is cut off or too long")
        return self._taken(line, len(line))

    def _taken(self, content: bytes, wanted: int) -> bytes:
        if len(content) != wanted or wanted > self.left:
            raise ValueError("it ends too early")
        self.left -= wanted
        self.digest.update(content)
        return content


def line_of(raw: bytes, usable_name: Callable[[str], str]) -> Line:
    """A recording's line, checked. Raises: `UNREADABLE`; InputError for a name.

    Args: usable_name: the rule for names, which raises InputError; a name must already be as it leaves it.
    """
    content = json.loads(raw, parse_constant=no_number)
    if not isinstance(content, dict) or content.keys() != {field.name for field in fields(Line)}:
        raise ValueError("other fields than a recording has")
    line = Line(**content)
    if usable_name(line.speaker) != line.speaker:
        raise ValueError(f"the name {printable(line.speaker)!r} is not in its composed form")
    seconds = float(line.net_speech_s) if type(line.net_speech_s) is int else line.net_speech_s
    described(line.source, line.audio_sha256, seconds, line.quality, line.created)
    time_of(line.speaker_created)
    if line.audio is not None and (type(line.audio["size"]) is not int or not HEX.fullmatch(line.audio["sha256"])):
        raise ValueError("audio is no size and SHA-256")
    return replace(line, net_speech_s=seconds)


def vector_of(raw: bytes) -> Vector:
    """A row of vectors, checked. Raises: ValueError."""
    vector = np.frombuffer(raw, STORED).astype(np.float32)
    if not is_unit(vector):
        raise ValueError("a vector that is not of unit length")
    return vector
