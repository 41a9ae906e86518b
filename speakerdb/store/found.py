"""Speakers that a search has found, read in one statement: a query is to cost what its search costs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, text

from speakerdb.embedding import Vector
from speakerdb.store.records import DamagedRow, Enrolled, checked_name, from_blob

# As text: the statement is the same for any number of ids, and nothing is compiled anew for a query. CROSS JOIN keeps
# the order of the tables; SQLite would go through a small table of speakers as a whole.
BY_ID = text(
    """
    SELECT speaker.id, speaker.name, speaker.name_crc32, voiceprint.vector, voiceprint.vector_crc32,
           count(*), sum(enrollment.net_speech_s)
    FROM json_each(:ids) AS wanted
    CROSS JOIN speaker ON speaker.id = wanted.value
    CROSS JOIN voiceprint ON voiceprint.speaker_id = speaker.id
    CROSS JOIN enrollment ON enrollment.speaker_id = speaker.id
    GROUP BY wanted.key
    """
)


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
    rows = connection.execute(BY_ID, {"ids": json.dumps(list(ids))}).all()
    return [
        Found(checked_name(row, name, name_crc32), row, _enrolled(count, seconds), from_blob(vector, crc32, row))
        for row, name, name_crc32, vector, crc32, count, seconds in rows
    ]


def _enrolled(count: int, seconds: float) -> Enrolled:
    if not isinstance(seconds, float):
        raise DamagedRow("a speaker's enrollments are not what was written")
    return Enrolled(count, seconds)
