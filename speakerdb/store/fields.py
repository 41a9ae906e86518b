"""How values stand in a column: vectors as bytes, checksums, times; what is not as it was written is refused."""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import numpy as np

from speakerdb.embedding import Vector, Vectors, is_unit
from speakerdb.errors import no_number

STORED = np.dtype("<f4")
MOST_S = 1e7
ROUNDED_S = 1e-3
"""In a recording's quality seconds have three digits."""
MOST_SOURCE, LONGEST_MEASURE, MOST_MEASURES = 1000, 50, 50
"""Characters of a recording's source, and of a name in its quality, which holds so many."""

MOST_DIMENSIONS = 1 << 16
LARGEST_ID = (1 << 63) - 1
"""SQLite's; a larger number cannot even be asked for."""

HEX = re.compile(r"[0-9a-f]{64}")
Value = TypeVar("Value")


class DamagedRow(Exception):
    """A row that is not what was written; `translated` turns it into GalleryDamaged."""


def typed(value: Value, kind: type) -> Value:
    """The value, where it is of its column's type; SQLite itself would hand out any."""
    if not isinstance(value, kind):
        raise DamagedRow(f"a {type(value).__name__} stands where a {kind.__name__} belongs")
    return value


def duration(seconds: float, recordings: int = 1) -> float:
    """Seconds of speech of so many recordings, the sum of what was written. Raises: DamagedRow for no such sum."""
    if not 0.0 <= typed(seconds, float) < MOST_S * max(1, recordings):
        raise DamagedRow("net_speech_s is no duration")
    return seconds


def cardinal(value: int, most: int = LARGEST_ID - 1) -> int:
    """A number of things, from 0. Raises: DamagedRow for another, or the last one, after which none can come."""
    if not 0 <= typed(value, int) <= most:
        raise DamagedRow(f"{value} is no number of anything")
    return value


def to_blob(vector: Vector) -> bytes:
    """float32 [dimension] → its little-endian bytes."""
    return vector.astype(STORED).tobytes()


def from_blob(blob: bytes, crc32: int, speaker: int) -> Vector:
    """Little-endian bytes → float32 [dimension].

    The checksum starts from the speaker's id, so a vector that strayed to another speaker's row does not agree.
    Raises: DamagedRow where it does not: a bit that flipped would be a wrong distance.
    """
    vector: Vector = vectors_of([checked_blob(blob, crc32, speaker)])[0]
    return vector


def vectors_of(blobs: Sequence[bytes]) -> Vectors:
    """Bytes of vectors of one dimension → float32 [n, dimension]; one or more.

    Raises: DamagedRow where lengths differ, or a vector is not of unit length: one of zeros would be near to everybody.
    """
    if len(set(map(len, blobs))) != 1 or not blobs[0] or len(blobs[0]) % STORED.itemsize:
        raise DamagedRow("vectors are not of one dimension")
    vectors: Vectors = np.frombuffer(b"".join(blobs), STORED).reshape(len(blobs), -1).astype(np.float32)
    if not is_unit(vectors).all():
        raise DamagedRow("a vector is not of unit length")
    return vectors


def checked_blob(blob: bytes, crc32: int, speaker: int) -> bytes:
    """A vector's bytes as they were written. Raises: DamagedRow."""
    if blob_crc32(typed(blob, bytes), typed(speaker, int)) != crc32:
        raise DamagedRow("a vector's checksum does not agree")
    return blob


def blob_crc32(blob: bytes, speaker: int) -> int:
    """The checksum of a vector's bytes, started from its speaker's id: no vector strays to another's row unseen."""
    return zlib.crc32(blob, speaker)


def name_crc32(speaker: int, name: str) -> int:
    """As for vectors, from the speaker's id on: a bit that flipped would be a wrong person."""
    return zlib.crc32(name.encode(), speaker)


def checked_name(speaker: int, name: str, crc32: int) -> str:
    """A speaker's name as it was written. Raises: DamagedRow where its checksum does not agree."""
    if name_crc32(typed(speaker, int), typed(name, str)) != crc32:
        raise DamagedRow("a name's checksum does not agree")
    return name


@dataclass(frozen=True)
class Description:
    """What is known of a recording beside its vector and its sound."""

    source: str
    audio_sha256: str
    net_speech_s: float
    quality: dict[str, Any]
    created: str


def described(source: str, audio_sha256: str, net_speech_s: float, quality: Any, created: str) -> Description:
    """What a row, or an archive's line, says of a recording: one rule for all who read it.

    Args: quality: an object of JSON's, parsed or not.
    Raises: DamagedRow where it is not what is written.
    """
    if not isinstance(source, str) or len(source) > MOST_SOURCE or not source.isprintable():
        raise DamagedRow("a source is missing, too long, or holds what cannot be shown")
    if not HEX.fullmatch(typed(audio_sha256, str)):
        raise DamagedRow("audio_sha256 is no SHA-256")
    measures, seconds = _measures(quality), duration(net_speech_s)
    told = measures.get("net_speech_s")  # the same number, rounded: the one that answers are by has no checksum
    if told is not None and abs(told - seconds) > ROUNDED_S:
        raise DamagedRow("net_speech_s is not what quality says")
    return Description(source, audio_sha256, seconds, measures, time_of(created))


def time_of(text: str) -> str:
    """A time in ISO 8601 with its zone, as `now` gives them. Raises: DamagedRow."""
    try:
        found = datetime.fromisoformat(typed(text, str))
    except ValueError as error:
        raise DamagedRow("a time is none") from error
    if found.tzinfo is None:  # a day without an hour, too
        raise DamagedRow("a time is none")
    return text


def _measures(quality: Any) -> dict[str, Any]:
    try:
        found = json.loads(quality, parse_constant=no_number) if isinstance(quality, str) else quality
        if isinstance(found, dict) and len(found) <= MOST_MEASURES and all(_measured(*one) for one in found.items()):
            return found
    except (ValueError, OverflowError, RecursionError) as error:
        raise DamagedRow("quality is not what was written") from error
    raise DamagedRow("quality holds something else than numbers")


def _measured(name: str, value: Any) -> bool:
    named = name.isascii() and name.isidentifier() and len(name) <= LONGEST_MEASURE
    return named and (value is None or (type(value) in (int, float) and math.isfinite(value)))


def now() -> str:
    """UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
