"""Voiceprints: the average of each speaker's enrollments, beside what it is the average of.

Every function takes the connection of a running transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from sqlalchemy import Connection, Row, bindparam, delete, select
from sqlalchemy.dialects.sqlite import insert

from speakerdb.embedding import Vector, Vectors, average
from speakerdb.errors import StateError
from speakerdb.store.fields import DamagedRow, blob_crc32, checked_blob, from_blob, to_blob, typed, vectors_of
from speakerdb.store.records import BATCH_ROWS
from speakerdb.store.schema import ENROLLMENT, VOICEPRINT

OWN = select(ENROLLMENT.c.vector, ENROLLMENT.c.vector_crc32).where(ENROLLMENT.c.speaker_id == bindparam("speaker"))
AVERAGED = select(VOICEPRINT.c.count).where(VOICEPRINT.c.speaker_id == bindparam("speaker"))
WRITE = insert(VOICEPRINT)
WRITE = WRITE.on_conflict_do_update(
    index_elements=["speaker_id"], set_={name: WRITE.excluded[name] for name in ("vector", "vector_crc32", "count")}
)
PRINTS = select(VOICEPRINT.c.speaker_id, VOICEPRINT.c.vector, VOICEPRINT.c.vector_crc32)


def refresh(connection: Connection, speaker: int, added: int) -> int:
    """Average a speaker's enrollments into the voiceprint; how many there are (0: no voiceprint any more).

    Args: added: enrollments since the voiceprint was made, negative where they were removed.
    Raises: DamagedRow where there are not as many as there must be: a damaged index of SQLite's hides rows; StateError
        where they have no average.
    """
    vectors = [from_blob(*found, speaker) for found in connection.execute(OWN, {"speaker": speaker})]
    averaged = connection.scalar(AVERAGED, {"speaker": speaker})
    if len(vectors) != (0 if averaged is None else typed(averaged, int)) + added:
        raise DamagedRow("a speaker's enrollments are not as many as were averaged")
    if not vectors:
        connection.execute(delete(VOICEPRINT).where(VOICEPRINT.c.speaker_id == speaker))
        return 0
    try:
        blob = to_blob(average(np.stack(vectors)))
    except ValueError as error:
        raise StateError(f"recordings that would be one speaker's are nobody's: {error}") from error
    values = {"vector": blob, "vector_crc32": blob_crc32(blob, speaker), "count": len(vectors)}
    connection.execute(WRITE, {"speaker_id": speaker, **values})
    return len(vectors)


def of_speakers(connection: Connection, speakers: list[int]) -> dict[int, Vector]:
    """Voiceprints by speaker id; ids without one are left out."""
    result: dict[int, Vector] = {}
    for start in range(0, len(speakers), BATCH_ROWS):
        chosen = VOICEPRINT.c.speaker_id.in_(speakers[start : start + BATCH_ROWS])
        for speaker, blob, crc32 in connection.execute(PRINTS.where(chosen)):
            result[speaker] = from_blob(blob, crc32, speaker)
    return result


def of_speaker(connection: Connection, speaker: int) -> Vector:
    """The voiceprint of a speaker who is there. Raises: DamagedRow where it is not."""
    found = of_speakers(connection, [speaker])
    if speaker not in found:
        raise DamagedRow("a speaker has no voiceprint")
    return found[speaker]


def in_batches(connection: Connection, one_in: int = 1) -> Iterator[tuple[list[int], Vectors]]:
    """All voiceprints, or of one speaker in so many, in batches: speaker ids and float32 [n, dimension]."""
    chosen = PRINTS if one_in == 1 else PRINTS.where(VOICEPRINT.c.speaker_id % one_in == 0)
    for rows in connection.execute(chosen.execution_options(yield_per=BATCH_ROWS)).partitions():
        yield _batch(rows)


def next_batch(connection: Connection, after: int) -> tuple[list[int], Vectors] | None:
    """As one of `in_batches`, of the speakers whose ids follow one; None where there are none."""
    following = PRINTS.where(VOICEPRINT.c.speaker_id > after).order_by(VOICEPRINT.c.speaker_id).limit(BATCH_ROWS)
    rows = connection.execute(following).all()
    return _batch(rows) if rows else None


def _batch(rows: Sequence[Row[int, bytes, int]]) -> tuple[list[int], Vectors]:
    return [row[0] for row in rows], vectors_of([checked_blob(row[1], row[2], row[0]) for row in rows])


def sample(connection: Connection, count: int, known: int) -> Vectors:
    """Voiceprints of about `count` of the `known` speakers, float32 [n, dimension], not fewer unless there are none.

    Raises: DamagedRow where there are none.
    """
    for one_in in (max(1, known // count), 1):  # where most ids are gone, those left may all be odd
        found = [vectors for _, vectors in in_batches(connection, one_in)]
        if sum(map(len, found)) >= count / 2:
            break
    if not found:
        raise DamagedRow("speakers have no voiceprints")
    return np.concatenate(found)


@dataclass
class Parts:
    """A speaker's voiceprint and what it should be the average of, as they are stored.

    Attributes: averaged: of how many the voiceprint says it is; voiceprint: None where there is none.
    """

    speaker: int
    averaged: int = 0
    voiceprint: tuple[bytes, int] | None = None
    enrollments: list[tuple[bytes, int]] = field(default_factory=list)

    def vectors(self) -> tuple[Vector | None, list[Vector]]:
        """The voiceprint and the enrollments' vectors. Raises: DamagedRow."""
        parts = [from_blob(*one, self.speaker) for one in self.enrollments]
        return from_blob(*self.voiceprint, self.speaker) if self.voiceprint else None, parts


def parts(connection: Connection, speakers: list[int]) -> Iterator[Parts]:
    """For `check`: of each of these speakers, in their order."""
    printed = select(VOICEPRINT.c.speaker_id, VOICEPRINT.c.vector, VOICEPRINT.c.vector_crc32, VOICEPRINT.c.count)
    enrolled = select(ENROLLMENT.c.speaker_id, ENROLLMENT.c.vector, ENROLLMENT.c.vector_crc32)
    for start in range(0, len(speakers), BATCH_ROWS):
        some = speakers[start : start + BATCH_ROWS]
        found = {speaker: Parts(speaker) for speaker in some}
        for speaker, vector, crc32, count in connection.execute(printed.where(VOICEPRINT.c.speaker_id.in_(some))):
            found[speaker].voiceprint, found[speaker].averaged = (vector, crc32), count
        for speaker, vector, crc32 in connection.execute(enrolled.where(ENROLLMENT.c.speaker_id.in_(some))):
            found[speaker].enrollments.append((vector, crc32))
        yield from found.values()
