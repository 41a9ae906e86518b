"""What is read and written while a gallery moves to another encoder: statements alone, as in `records`.

Vectors of the new encoder are staged, some at a time, beside the ones that count; when every recording has one, all
take their places in one transaction.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection

from sqlalchemy import ColumnElement, Connection, delete, func, insert, literal, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from speakerdb.embedding import Vector
from speakerdb.store import decisions
from speakerdb.store.binding import EncoderIdentity, add_encoder
from speakerdb.store.fields import DamagedRow, blob_crc32, from_blob, to_blob
from speakerdb.store.schema import (
    CHANGE,
    ENCODER,
    ENROLLMENT,
    GALLERY,
    KEPT_AUDIO,
    SPEAKER,
    STAGED_VECTOR,
)
from speakerdb.store.voiceprints import refresh


def count_enrollments(connection: Connection) -> int:
    """How many recordings there are."""
    return connection.scalar(select(func.count()).select_from(ENROLLMENT)) or 0


def without_audio(connection: Connection) -> list[tuple[int, str]]:
    """Ids and sources of the recordings whose sound was not kept."""
    statement = select(ENROLLMENT.c.id, ENROLLMENT.c.source).outerjoin(KEPT_AUDIO)
    found = connection.execute(statement.where(KEPT_AUDIO.c.enrollment_id.is_(None)).order_by(ENROLLMENT.c.id))
    return [(row.id, row.source) for row in found]


def unstaged(connection: Connection, encoder_sha256: str, count: int) -> list[int]:
    """Ids of the first so many recordings without a staged vector of this encoder."""
    statement = select(ENROLLMENT.c.id).where(_unstaged(encoder_sha256)).order_by(ENROLLMENT.c.id)
    return list(connection.scalars(statement.limit(count)))


def count_unstaged(connection: Connection, encoder_sha256: str) -> int:
    """How many recordings have no staged vector of this encoder."""
    statement = select(func.count()).select_from(ENROLLMENT).where(_unstaged(encoder_sha256))
    return connection.scalar(statement) or 0


def staged_for_another(connection: Connection, encoder_sha256: str, enrollments: Collection[int]) -> bool:
    """Whether vectors of another encoder have come into the place of what was staged of these recordings."""
    theirs = STAGED_VECTOR.c.enrollment_id.in_(enrollments) & (STAGED_VECTOR.c.encoder_sha256 != encoder_sha256)
    return connection.scalar(select(STAGED_VECTOR.c.enrollment_id).where(theirs).limit(1)) is not None


def _unstaged(encoder_sha256: str) -> ColumnElement[bool]:
    staged = select(STAGED_VECTOR.c.enrollment_id).where(STAGED_VECTOR.c.encoder_sha256 == encoder_sha256)
    return ENROLLMENT.c.id.not_in(staged)


def kept(connection: Connection) -> list[int]:
    """Ids of the recordings whose sound is kept."""
    return list(connection.scalars(select(KEPT_AUDIO.c.enrollment_id).order_by(KEPT_AUDIO.c.enrollment_id)))


def audio_of(connection: Connection, enrollment: int) -> bytes:
    """The kept sound of a recording. Raises: DamagedRow where it is not what was written, or not there."""
    wanted = select(KEPT_AUDIO.c.file, KEPT_AUDIO.c.file_crc32).where(KEPT_AUDIO.c.enrollment_id == enrollment)
    row = connection.execute(wanted).first()
    if row is None or not isinstance(row.file, bytes) or zlib.crc32(row.file) != row.file_crc32:
        raise DamagedRow(f"the kept sound of enrollment {enrollment} does not agree with its checksum")
    return bytes(row.file)


def stage(connection: Connection, enrollment: int, encoder_sha256: str, vector: Vector) -> None:
    """Keep a recording's vector by the encoder to come; nothing where the recording is gone by now."""
    speaker = connection.scalar(select(ENROLLMENT.c.speaker_id).where(ENROLLMENT.c.id == enrollment))
    if speaker is None:
        return
    blob = to_blob(vector)
    values = {"encoder_sha256": encoder_sha256, "vector": blob, "vector_crc32": blob_crc32(blob, speaker)}
    statement = upsert(STAGED_VECTOR).values(enrollment_id=enrollment, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["enrollment_id"], set_=values))


def switch(connection: Connection, encoder: EncoderIdentity) -> None:
    """Put every staged vector in its place, average them, and bind the gallery to their encoder.

    All recordings must have one. Every speaker counts as changed in the new generation. What was found out about the
    other encoder's scores is forgotten.
    Raises: DamagedRow where a staged vector is not what was written.
    """
    staged = select(STAGED_VECTOR.c.vector, STAGED_VECTOR.c.vector_crc32, ENROLLMENT.c.speaker_id).join(ENROLLMENT)
    for row in connection.execute(staged.execution_options(yield_per=1000)):
        from_blob(*row)
    columns = (STAGED_VECTOR.c.vector, STAGED_VECTOR.c.vector_crc32)
    own = [select(one).where(STAGED_VECTOR.c.enrollment_id == ENROLLMENT.c.id).scalar_subquery() for one in columns]
    connection.execute(update(ENROLLMENT).values(vector=own[0], vector_crc32=own[1]))
    for speaker in list(connection.scalars(select(SPEAKER.c.id))):
        refresh(connection, speaker, added=0)
    decisions.forget(connection)
    before, generation = connection.execute(select(GALLERY.c.encoder_id, GALLERY.c.generation)).one()
    generation += 1
    connection.execute(update(GALLERY).values(encoder_id=add_encoder(connection, encoder), generation=generation))
    connection.execute(delete(ENCODER).where(ENCODER.c.id == before))
    connection.execute(delete(STAGED_VECTOR))
    connection.execute(update(CHANGE).values(generation=generation))
    known = select(CHANGE.c.speaker_id)
    new = select(SPEAKER.c.id, literal(generation)).where(SPEAKER.c.id.not_in(known))
    connection.execute(insert(CHANGE).from_select(["speaker_id", "generation"], new))
