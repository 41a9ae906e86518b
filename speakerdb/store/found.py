"""Speakers that a search has found or a name names: what an answer costs beside the voice.

Of all candidates the voiceprints alone are read; names and seconds of speech, on three pages more, of those who are
shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

from speakerdb.embedding import Vector, Vectors
from speakerdb.store.driver import driver
from speakerdb.store.fields import (
    DamagedRow,
    cardinal,
    checked_blob,
    checked_name,
    duration,
    from_blob,
    vectors_of,
)
from speakerdb.store.records import Enrolled

SPEAKER = """
    SELECT speaker.id, speaker.name, speaker.name_crc32, voiceprint.count,
           (SELECT sum(net_speech_s) FROM enrollment WHERE speaker_id = speaker.id)
"""
PRINT = "voiceprint.vector, voiceprint.vector_crc32"

# One statement for any number of ids, in a list of JSON's, which Python writes alike. CROSS JOIN keeps the order of the
# tables; SQLite would go through a small table of speakers as a whole.
PRINTS_BY_ID = f"""
    SELECT speaker_id, {PRINT} FROM json_each(?) AS wanted
    CROSS JOIN voiceprint ON voiceprint.speaker_id = wanted.value
"""
BY_ID = f"""
    {SPEAKER} FROM json_each(?) AS wanted
    CROSS JOIN speaker ON speaker.id = wanted.value
    CROSS JOIN voiceprint ON voiceprint.speaker_id = speaker.id
"""
BY_NAME = f"""
    {SPEAKER}, {PRINT} FROM speaker LEFT JOIN voiceprint ON voiceprint.speaker_id = speaker.id WHERE speaker.name = ?
"""


class Found(NamedTuple):
    """A speaker of the gallery: name, id, what is enrolled, voiceprint."""

    speaker: str
    id: int
    enrolled: Enrolled
    voiceprint: Vector


class Near(NamedTuple):
    """What a search found: speakers' ids, their voiceprints [n, dimension], and how many speakers were searched."""

    ids: list[int]
    voiceprints: Vectors
    searched: int


def prints_of(connection: Connection, ids: list[int]) -> Vectors | None:
    """Voiceprints of speakers, float32 [n, dimension], in their order; None where somebody has none. One id or more.

    Raises: DamagedRow where something is not what was written.
    """
    stored = driver(connection).execute(PRINTS_BY_ID, (str(ids),))
    blobs = [checked_blob(blob, crc32, row) for row, blob, crc32 in stored]
    if len(blobs) < len(ids):
        return None
    return vectors_of(blobs)


def speakers(connection: Connection, near: Near, rows: list[int]) -> list[Found]:
    """Who these rows of what a search found are, in their order. Raises: DamagedRow as `prints_of`."""
    stored = driver(connection).execute(BY_ID, (str([near.ids[i] for i in rows]),)).fetchall()
    if len(stored) < len(rows):
        raise DamagedRow("a voiceprint has no speaker")
    return [_found(row, near.voiceprints[i]) for row, i in zip(stored, rows, strict=True)]


def named(connection: Connection, name: str) -> Found | None:
    """The speaker of that name, None where nobody has it. Raises: DamagedRow as `prints_of`."""
    row = driver(connection).execute(BY_NAME, (name,)).fetchone()
    if row is None:
        return None
    *speaker, vector, vector_crc32 = row
    return _found(speaker, from_blob(vector, vector_crc32, row[0]))


def _found(speaker: Sequence[Any], voiceprint: Vector) -> Found:
    row, name, name_crc32, count, seconds = speaker
    enrolled = Enrolled(cardinal(count), duration(seconds, count))
    return Found(checked_name(row, name, name_crc32), row, enrolled, voiceprint)
