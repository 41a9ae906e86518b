"""What is read and written while a gallery moves to another encoder: statements alone, as in `records`.

Vectors of the new encoder are staged, some at a time, beside the ones that count; when every recording has one, all
take their places in one transaction.
"""

from __future__ import annotations

import zlib

from sqlalchemy import ColumnElement, delete, func, insert, literal, select, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.orm import Session

from speakerdb.embedding import Vector
from speakerdb.store import decisions
from speakerdb.store.records import (
    DamagedRow,
    EncoderIdentity,
    add_encoder,
    blob_crc32,
    from_blob,
    refresh_voiceprint,
    to_blob,
)
from speakerdb.store.schema import (
    ChangeRow,
    EncoderRow,
    EnrollmentRow,
    GalleryRow,
    KeptAudioRow,
    SpeakerRow,
    StagedVectorRow,
)


def count_enrollments(session: Session) -> int:
    """How many recordings there are."""
    return session.scalar(select(func.count()).select_from(EnrollmentRow)) or 0


def without_audio(session: Session) -> list[tuple[int, str]]:
    """Ids and sources of the recordings whose sound was not kept."""
    statement = select(EnrollmentRow.id, EnrollmentRow.source).outerjoin(KeptAudioRow)
    found = session.execute(statement.where(KeptAudioRow.enrollment_id.is_(None)).order_by(EnrollmentRow.id))
    return [(row.id, row.source) for row in found]


def unstaged(session: Session, encoder_sha256: str, count: int) -> list[int]:
    """Ids of the first so many recordings without a staged vector of this encoder."""
    statement = select(EnrollmentRow.id).where(_unstaged(encoder_sha256)).order_by(EnrollmentRow.id)
    return list(session.scalars(statement.limit(count)))


def count_unstaged(session: Session, encoder_sha256: str) -> int:
    """How many recordings have no staged vector of this encoder."""
    statement = select(func.count()).select_from(EnrollmentRow).where(_unstaged(encoder_sha256))
    return session.scalar(statement) or 0


def _unstaged(encoder_sha256: str) -> ColumnElement[bool]:
    staged = select(StagedVectorRow.enrollment_id).where(StagedVectorRow.encoder_sha256 == encoder_sha256)
    return EnrollmentRow.id.not_in(staged)


def audio_of(session: Session, enrollment: int) -> bytes:
    """The kept sound of a recording. Raises: DamagedRow where it is not what was written, or not there."""
    row = session.get(KeptAudioRow, enrollment)
    if row is None or zlib.crc32(row.file) != row.file_crc32:
        raise DamagedRow(f"the kept sound of enrollment {enrollment} does not agree with its checksum")
    return row.file


def stage(session: Session, enrollment: int, encoder_sha256: str, vector: Vector) -> None:
    """Keep a recording's vector by the encoder to come; nothing where the recording is gone by now."""
    speaker = session.scalar(select(EnrollmentRow.speaker_id).where(EnrollmentRow.id == enrollment))
    if speaker is None:
        return
    blob = to_blob(vector)
    values = {"encoder_sha256": encoder_sha256, "vector": blob, "vector_crc32": blob_crc32(blob, speaker)}
    statement = upsert(StagedVectorRow).values(enrollment_id=enrollment, **values)
    session.execute(statement.on_conflict_do_update(index_elements=["enrollment_id"], set_=values))


def switch(session: Session, encoder: EncoderIdentity) -> None:
    """Put every staged vector in its place, average them, and bind the gallery to their encoder.

    All recordings must have one. Every speaker counts as changed in the new generation. What was found out about the
    other encoder's scores is forgotten.
    Raises: DamagedRow where a staged vector is not what was written.
    """
    for row in session.scalars(select(StagedVectorRow).execution_options(yield_per=1000)):
        enrollment = session.get_one(EnrollmentRow, row.enrollment_id)
        from_blob(row.vector, row.vector_crc32, enrollment.speaker_id)
        enrollment.vector, enrollment.vector_crc32 = row.vector, row.vector_crc32
    session.flush()
    for speaker in list(session.scalars(select(SpeakerRow.id))):
        refresh_voiceprint(session, speaker, added=0)
    decisions.forget(session)
    gallery = session.get_one(GalleryRow, 1)
    before = gallery.encoder_id
    gallery.encoder_id = add_encoder(session, encoder)
    gallery.generation += 1
    session.flush()
    session.execute(delete(EncoderRow).where(EncoderRow.id == before))
    session.execute(delete(StagedVectorRow))
    session.execute(update(ChangeRow).values(generation=gallery.generation))
    known = select(ChangeRow.speaker_id)
    new = select(SpeakerRow.id, literal(gallery.generation)).where(SpeakerRow.id.not_in(known))
    session.execute(insert(ChangeRow).from_select(["speaker_id", "generation"], new))
