"""Speakers that a search has found or a name names, read in one statement: what an answer costs beside the voice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from speakerdb.embedding import Vector
from speakerdb.store.records import DamagedRow, Enrolled, checked_name, from_blob

COLUMNS = """
    SELECT speaker.id, speaker.name, speaker.name_crc32, voiceprint.vector, voiceprint.vector_crc32, voiceprint.count,
           (SELECT sum(net_speech_s) FROM enrollment WHERE speaker_id = speaker.id)
"""

# SQLite's own words: one statement for any number of ids, handed to the driver as it is, in half of the time. CROSS
# JOIN keeps the order of the tables; SQLite would go through a small table of speakers as a whole.
BY_ID = f"""
    {COLUMNS} FROM json_each(?) AS wanted
    CROSS JOIN speaker ON speaker.id = wanted.value
    CROSS JOIN voiceprint ON voiceprint.speaker_id = speaker.id
"""
BY_NAME = f"{COLUMNS} FROM speaker LEFT JOIN voiceprint ON voiceprint.speaker_id = speaker.id WHERE speaker.name = ?"


class Found(NamedTuple):
    """A speaker of the gallery: name, id, what is enrolled, voiceprint."""

    speaker: str
    id: int
    enrolled: Enrolled
    voiceprint: Vector


def found(connection: Connection, ids: Sequence[int]) -> list[Found]:
    """The speakers with these ids, in their order; without those who are not there or have nothing enrolled.

    Raises: DamagedRow where something is not what was written.
    """
    return [_found(*row) for row in connection.exec_driver_sql(BY_ID, (json.dumps(list(ids)),))]


def named(connection: Connection, name: str) -> Found | None:
    """The speaker of that name, None where nobody has it. Raises: DamagedRow as `found`."""
    row = connection.exec_driver_sql(BY_NAME, (name,)).first()
    return None if row is None else _found(*row)


def _found(row: int, name: str, name_crc32: int, vector: bytes, vector_crc32: int, count: int, seconds: float) -> Found:
    return Found(
        checked_name(row, name, name_crc32), row, _enrolled(count, seconds), from_blob(vector, vector_crc32, row)
    )


def _enrolled(count: int, seconds: float) -> Enrolled:
    if not isinstance(seconds, float) or not isinstance(count, int):
        raise DamagedRow("a speaker's enrollments are not what was written")
    return Enrolled(count, seconds)
