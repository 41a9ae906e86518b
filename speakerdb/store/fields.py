"""How values stand in a column: vectors as bytes, checksums, times; what is not as it was written is refused."""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import numpy as np

from speakerdb.embedding import Vector, Vectors, is_unit

STORED = np.dtype("<f4")
MOST_S = 1e7
HEX = re.compile(r"[0-9a-f]{64}")
Value = TypeVar("Value")


class DamagedRow(Exception):
    """A row that is not what was written; `translated` turns it into GalleryDamaged."""


def typed(value: Value, kind: type) -> Value:
    """The value, where it is of its column's type; SQLite itself would hand out any."""
    if not isinstance(value, kind):
        raise DamagedRow(f"a {type(value).__name__} stands where a {kind.__name__} belongs")
    return value


def duration(seconds: float) -> float:
    """Seconds of speech as they were written. Raises: DamagedRow."""
    if not 0.0 <= typed(seconds, float) < MOST_S:
        raise DamagedRow(f"{seconds} stands where seconds of speech belong")
    return seconds


def sound_hash(text: str) -> str:
    """A SHA-256 as it was written. Raises: DamagedRow."""
    if not HEX.fullmatch(typed(text, str)):
        raise DamagedRow("a sound's hash is none")
    return text


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
    if blob_crc32(typed(blob, bytes), speaker) != crc32:
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
    if name_crc32(speaker, typed(name, str)) != crc32:
        raise DamagedRow("a name's checksum does not agree")
    return name


def stored_quality(text: str) -> dict[str, Any]:
    """A recording's quality as it was written. Raises: DamagedRow."""
    try:
        quality = dict(json.loads(text, parse_constant=no_number))
        if not all(value is None or math.isfinite(value) for value in quality.values()):
            raise ValueError("it holds what is no number")
        return quality
    except (ValueError, TypeError) as error:
        raise DamagedRow("a recording's quality is not what was written") from error


def no_number(text: str) -> float:
    """For `json.loads`, which would take NaN and Infinity. Raises: ValueError."""
    raise ValueError(f"{text} is no number")


def now() -> str:
    """UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
