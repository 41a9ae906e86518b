"""What is read from and written to the tables: statements alone, no rules.

Every function takes the session of a running transaction.
"""

from __future__ import annotations

import json
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from sqlalchemy import delete, func, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Session

from speakerdb.embedding import Vector, Vectors, average
from speakerdb.store.schema import (
    ChangeRow,
    EncoderRow,
    EnrollmentRow,
    GalleryRow,
    SpeakerRow,
    VoiceprintRow,
)

STORED = np.dtype("<f4")
BATCH_ROWS = 4096
PRINTS = select(VoiceprintRow.speaker_id, VoiceprintRow.vector, VoiceprintRow.vector_crc32)


@dataclass(frozen=True)
class EncoderIdentity:
    """The encoder as a gallery remembers it."""

    name: str
    version: str
    sha256: str
    dimension: int


@dataclass(frozen=True)
class GalleryIdentity:
    """The gallery's own row with its encoder."""

    uuid: str
    generation: int
    created: str
    encoder: EncoderIdentity


@dataclass(frozen=True)
class NewEnrollment:
    """A recording to write."""

    source: str
    audio_sha256: str
    net_speech_s: float
    quality: dict[str, Any]
    vector: Vector


@dataclass(frozen=True)
class StoredEnrollment:
    """A recording as listed: all but its vector and hash."""

    id: int
    source: str
    net_speech_s: float
    quality: dict[str, Any]
    created: str


def bind(session: Session, encoder: EncoderIdentity) -> None:
    """Make the gallery's one row, bound to an encoder."""
    row = EncoderRow(name=encoder.name, version=encoder.version, sha256=encoder.sha256, dimension=encoder.dimension)
    session.add(row)
    session.flush()
    session.add(GalleryRow(id=1, uuid=uuid.uuid4().hex, encoder_id=row.id, generation=0, created=_now()))
    session.flush()


def identity(session: Session) -> GalleryIdentity | None:
    """The gallery's row, None before the first enrollment."""
    statement = select(GalleryRow, EncoderRow).join(EncoderRow, GalleryRow.encoder_id == EncoderRow.id)
    found = session.execute(statement).first()
    if found is None:
        return None
    gallery, encoder = found
    return GalleryIdentity(
        gallery.uuid,
        gallery.generation,
        gallery.created,
        EncoderIdentity(encoder.name, encoder.version, encoder.sha256, encoder.dimension),
    )


def generation(session: Session) -> int:
    """The gallery's generation: how many changes were committed."""
    return session.scalar(select(GalleryRow.generation)) or 0


def record_change(session: Session, speaker_ids: list[int]) -> None:
    """Raise the generation by one and note that these speakers changed (or went) with it."""
    row = session.get_one(GalleryRow, 1)
    row.generation += 1
    for speaker_id in speaker_ids:
        statement = insert(ChangeRow).values(speaker_id=speaker_id, generation=row.generation)
        session.execute(
            statement.on_conflict_do_update(index_elements=["speaker_id"], set_={"generation": row.generation})
        )


def changes_since(session: Session, since: int) -> list[int]:
    """Ids of the speakers that changed or went after a generation."""
    return list(session.scalars(select(ChangeRow.speaker_id).where(ChangeRow.generation > since)))


def speaker_id(session: Session, name: str) -> int | None:
    """The id of a speaker, None where nobody has that name."""
    return session.scalar(select(SpeakerRow.id).where(SpeakerRow.name == name))


def anybody(session: Session) -> bool:
    """Whether there is a speaker at all."""
    return session.scalar(select(SpeakerRow.id).limit(1)) is not None


def names_of(session: Session, ids: list[int]) -> dict[int, str]:
    """Names by id; ids that are gone are left out."""
    rows = session.execute(select(SpeakerRow.id, SpeakerRow.name).where(SpeakerRow.id.in_(ids)))
    return {row.id: row.name for row in rows}


def add_speaker(session: Session, name: str) -> int:
    """A new speaker's id."""
    row = SpeakerRow(name=name, created=_now())
    session.add(row)
    session.flush()
    return row.id


def rename_speaker(session: Session, speaker: int, name: str) -> None:
    """Give a speaker another name; that it is free was checked."""
    session.get_one(SpeakerRow, speaker).name = name
    session.flush()


def remove_speaker(session: Session, speaker: int) -> None:
    """Delete a speaker; enrollments and voiceprint go with it (foreign keys)."""
    session.execute(delete(SpeakerRow).where(SpeakerRow.id == speaker))


def add_enrollment(session: Session, speaker: int, new: NewEnrollment) -> int:
    """A new enrollment's id; the voiceprint is made anew by `refresh_voiceprint`."""
    blob = to_blob(new.vector)
    row = EnrollmentRow(
        speaker_id=speaker,
        source=new.source,
        audio_sha256=new.audio_sha256,
        net_speech_s=new.net_speech_s,
        quality=json.dumps(new.quality),
        vector=blob,
        vector_crc32=zlib.crc32(blob),
        created=_now(),
    )
    session.add(row)
    session.flush()
    return row.id


def enrolled_for(session: Session, audio_sha256: str) -> str | None:
    """The name of the speaker for whom this very audio is enrolled."""
    statement = select(SpeakerRow.name).join(EnrollmentRow).where(EnrollmentRow.audio_sha256 == audio_sha256)
    return session.scalar(statement)


def enrollment_owner(session: Session, enrollment: int) -> tuple[int, str] | None:
    """Id and name of the speaker of an enrollment, None where there is no such enrollment."""
    statement = select(SpeakerRow.id, SpeakerRow.name).join(EnrollmentRow).where(EnrollmentRow.id == enrollment)
    found = session.execute(statement).first()
    return (found.id, found.name) if found else None


def remove_enrollment(session: Session, enrollment: int) -> None:
    """Delete an enrollment; the voiceprint is made anew by `refresh_voiceprint`."""
    session.execute(delete(EnrollmentRow).where(EnrollmentRow.id == enrollment))


def refresh_voiceprint(session: Session, speaker: int) -> int:
    """Average a speaker's enrollments into the voiceprint; how many there are (0: no voiceprint any more)."""
    own = select(EnrollmentRow.vector, EnrollmentRow.vector_crc32).where(EnrollmentRow.speaker_id == speaker)
    vectors = [from_blob(*found) for found in session.execute(own)]
    row = session.get(VoiceprintRow, speaker)
    if not vectors:
        if row:
            session.delete(row)
        return 0
    blob = to_blob(average(np.stack(vectors)))
    if row:
        row.vector, row.vector_crc32, row.count = blob, zlib.crc32(blob), len(vectors)
    else:
        session.add(VoiceprintRow(speaker_id=speaker, vector=blob, vector_crc32=zlib.crc32(blob), count=len(vectors)))
    session.flush()
    return len(vectors)


def voiceprints_of(session: Session, speakers: list[int]) -> dict[int, Vector]:
    """Voiceprints by speaker id; ids without one are left out."""
    result: dict[int, Vector] = {}
    for start in range(0, len(speakers), BATCH_ROWS):
        chosen = VoiceprintRow.speaker_id.in_(speakers[start : start + BATCH_ROWS])
        for speaker, blob, crc32 in session.execute(PRINTS.where(chosen)):
            result[speaker] = from_blob(blob, crc32)
    return result


def voiceprint(session: Session, speaker: int) -> Vector | None:
    """A speaker's voiceprint."""
    return voiceprints_of(session, [speaker]).get(speaker)


def all_voiceprints(session: Session) -> Iterator[tuple[list[int], Vectors]]:
    """All voiceprints in batches: speaker ids and float32 [n, dimension]."""
    for rows in session.execute(PRINTS.execution_options(yield_per=BATCH_ROWS)).partitions():
        yield [row[0] for row in rows], np.stack([from_blob(row[1], row[2]) for row in rows])


def enrollments_of(session: Session, speaker: int) -> list[StoredEnrollment]:
    """A speaker's enrollments in the order in which they came."""
    statement = select(EnrollmentRow).where(EnrollmentRow.speaker_id == speaker).order_by(EnrollmentRow.id)
    return [
        StoredEnrollment(row.id, row.source, row.net_speech_s, json.loads(row.quality), row.created)
        for row in session.scalars(statement)
    ]


def speakers(session: Session) -> list[tuple[int, str, str, int, float]]:
    """Every speaker by name: id, name, created, enrollments, seconds of net speech."""
    statement = (
        select(
            SpeakerRow.id,
            SpeakerRow.name,
            SpeakerRow.created,
            func.count(EnrollmentRow.id),
            func.coalesce(func.sum(EnrollmentRow.net_speech_s), 0.0),
        )
        .outerjoin(EnrollmentRow)
        .group_by(SpeakerRow.id)
        .order_by(SpeakerRow.name)
    )
    return [tuple(row) for row in session.execute(statement)]  # type: ignore[misc]


def voiceprint_parts(session: Session, speaker: int) -> tuple[VoiceprintRow | None, list[Vector]]:
    """For `check`: a speaker's voiceprint as stored, and the vectors that it should be the average of."""
    own = select(EnrollmentRow.vector, EnrollmentRow.vector_crc32).where(EnrollmentRow.speaker_id == speaker)
    return session.get(VoiceprintRow, speaker), [from_blob(*found) for found in session.execute(own)]


def to_blob(vector: Vector) -> bytes:
    """float32 [dimension] → its little-endian bytes."""
    return vector.astype(STORED).tobytes()


def from_blob(blob: bytes, crc32: int) -> Vector:
    """Little-endian bytes → float32 [dimension].

    Raises: DamagedVector where the checksum does not agree: a bit that flipped would be a wrong distance.
    """
    if zlib.crc32(blob) != crc32:
        raise DamagedVector
    return np.frombuffer(blob, STORED).astype(np.float32)


class DamagedVector(Exception):
    """A stored vector whose checksum does not agree; `translated` turns it into GalleryDamaged."""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
