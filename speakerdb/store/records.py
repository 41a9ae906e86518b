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
from typing import Any, TypeVar

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
    KeptAudioRow,
    SpeakerRow,
    VoiceprintRow,
)

STORED = np.dtype("<f4")
BATCH_ROWS = 4096
NAMES = select(SpeakerRow.id, SpeakerRow.name, SpeakerRow.name_crc32)
PRINTS = select(VoiceprintRow.speaker_id, VoiceprintRow.vector, VoiceprintRow.vector_crc32)
IDENTITY = select(
    GalleryRow.uuid,
    GalleryRow.generation,
    GalleryRow.created,
    EncoderRow.name,
    EncoderRow.version,
    EncoderRow.sha256,
    EncoderRow.dimension,
).join(EncoderRow, GalleryRow.encoder_id == EncoderRow.id)
LARGEST_ID = (1 << 63) - 1
"""SQLite's; a larger number cannot even be asked for."""

Value = TypeVar("Value")


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
    audio: bytes | None = None


@dataclass(frozen=True)
class StoredEnrollment:
    """A recording as listed: all but its vector, hash and sound."""

    id: int
    source: str
    net_speech_s: float
    quality: dict[str, Any]
    created: str
    audio_kept: bool


def bind(session: Session, encoder: EncoderIdentity) -> None:
    """Make the gallery's one row, bound to an encoder."""
    row = add_encoder(session, encoder)
    session.add(GalleryRow(id=1, uuid=uuid.uuid4().hex, encoder_id=row, generation=0, created=now()))
    session.flush()


def add_encoder(session: Session, encoder: EncoderIdentity) -> int:
    """A new encoder's id."""
    row = EncoderRow(name=encoder.name, version=encoder.version, sha256=encoder.sha256, dimension=encoder.dimension)
    session.add(row)
    session.flush()
    return row.id


def identity(session: Session) -> GalleryIdentity | None:
    """The gallery's row, None before the first enrollment."""
    found = session.execute(IDENTITY).first()
    if found is None:
        return None
    return GalleryIdentity(
        _typed(found.uuid, str),
        _typed(found.generation, int),
        _typed(found.created, str),
        EncoderIdentity(
            _typed(found.name, str),
            _typed(found.version, str),
            _typed(found.sha256, str),
            _typed(found.dimension, int),
        ),
    )


def generation(session: Session) -> int:
    """The gallery's generation: how many changes were committed."""
    return session.scalar(select(GalleryRow.generation)) or 0


def record_change(session: Session, speaker_ids: list[int]) -> None:
    """Raise the generation by one and note that these speakers changed (or went) with it."""
    row = session.get_one(GalleryRow, 1)
    row.generation = _typed(row.generation, int) + 1
    session.flush()
    if speaker_ids:
        statement = insert(ChangeRow)
        changed = statement.excluded.generation
        statement = statement.on_conflict_do_update(index_elements=["speaker_id"], set_={"generation": changed})
        session.execute(statement, [{"speaker_id": one, "generation": row.generation} for one in speaker_ids])


def changes_since(session: Session, since: int) -> list[int]:
    """Ids of the speakers that changed or went after a generation."""
    return list(session.scalars(select(ChangeRow.speaker_id).where(ChangeRow.generation > since)))


def speaker_id(session: Session, name: str) -> int | None:
    """The id of a speaker, None where nobody has that name."""
    found = session.execute(NAMES.where(SpeakerRow.name == name)).first()
    if found is None:
        return None
    speaker, stored, crc32 = found
    checked_name(speaker, stored, crc32)
    return speaker


def anybody(session: Session) -> bool:
    """Whether there is a speaker at all."""
    return session.scalar(select(SpeakerRow.id).limit(1)) is not None


def count_speakers(session: Session) -> int:
    """How many speakers there are."""
    return session.scalar(select(func.count()).select_from(SpeakerRow)) or 0


def names_of(session: Session, ids: list[int]) -> dict[int, str]:
    """Names by id; ids that are gone are left out."""
    result: dict[int, str] = {}
    for start in range(0, len(ids), BATCH_ROWS):
        for row in session.execute(NAMES.where(SpeakerRow.id.in_(ids[start : start + BATCH_ROWS]))):
            result[row.id] = checked_name(*row)
    return result


def add_speaker(session: Session, name: str) -> int:
    """A new speaker's id."""
    row = SpeakerRow(name=name, name_crc32=0, created=now())
    session.add(row)
    session.flush()  # the checksum is of the id too, which is known only now
    row.name_crc32 = name_crc32(row.id, name)
    session.flush()
    return row.id


def rename_speaker(session: Session, speaker: int, name: str) -> None:
    """Give a speaker another name; that it is free was checked."""
    row = session.get_one(SpeakerRow, speaker)
    row.name, row.name_crc32 = name, name_crc32(speaker, name)
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
        vector_crc32=blob_crc32(blob, speaker),
        created=now(),
    )
    session.add(row)
    session.flush()
    if new.audio is not None:
        session.add(KeptAudioRow(enrollment_id=row.id, file=new.audio, file_crc32=zlib.crc32(new.audio)))
        session.flush()
    return row.id


def enrolled_for(session: Session, audio_sha256: str) -> str | None:
    """The name of the speaker for whom this very audio is enrolled."""
    found = session.execute(NAMES.join(EnrollmentRow).where(EnrollmentRow.audio_sha256 == audio_sha256)).first()
    return checked_name(*found) if found else None


def enrolled_sources(session: Session) -> set[tuple[str, str]]:
    """Speaker's name and source of every recording."""
    statement = select(SpeakerRow.name, EnrollmentRow.source).join(EnrollmentRow)
    return {(name, source) for name, source in session.execute(statement)}


def enrollment_owner(session: Session, enrollment: int) -> tuple[int, str] | None:
    """Id and name of the speaker of an enrollment, None where there is no such enrollment."""
    if not 0 < enrollment <= LARGEST_ID:
        return None
    found = session.execute(NAMES.join(EnrollmentRow).where(EnrollmentRow.id == enrollment)).first()
    return (found.id, checked_name(*found)) if found else None


def remove_enrollment(session: Session, enrollment: int) -> None:
    """Delete an enrollment; the voiceprint is made anew by `refresh_voiceprint`."""
    session.execute(delete(EnrollmentRow).where(EnrollmentRow.id == enrollment))


def refresh_voiceprint(session: Session, speaker: int, added: int) -> int:
    """Average a speaker's enrollments into the voiceprint; how many there are (0: no voiceprint any more).

    Args: added: enrollments since the voiceprint was made, negative where they were removed.
    Raises: DamagedRow where there are not as many as there must be: a damaged index of SQLite's hides rows.
    """
    own = select(EnrollmentRow.vector, EnrollmentRow.vector_crc32).where(EnrollmentRow.speaker_id == speaker)
    vectors = [from_blob(*found, speaker) for found in session.execute(own)]
    row = session.get(VoiceprintRow, speaker)
    if len(vectors) != (_typed(row.count, int) if row else 0) + added:
        raise DamagedRow("a speaker's enrollments are not as many as were averaged")
    if not vectors:
        if row:
            session.delete(row)
        return 0
    blob = to_blob(average(np.stack(vectors)))
    crc32 = blob_crc32(blob, speaker)
    if row:
        row.vector, row.vector_crc32, row.count = blob, crc32, len(vectors)
    else:
        session.add(VoiceprintRow(speaker_id=speaker, vector=blob, vector_crc32=crc32, count=len(vectors)))
    session.flush()
    return len(vectors)


def voiceprints_of(session: Session, speakers: list[int]) -> dict[int, Vector]:
    """Voiceprints by speaker id; ids without one are left out."""
    result: dict[int, Vector] = {}
    for start in range(0, len(speakers), BATCH_ROWS):
        chosen = VoiceprintRow.speaker_id.in_(speakers[start : start + BATCH_ROWS])
        for speaker, blob, crc32 in session.execute(PRINTS.where(chosen)):
            result[speaker] = from_blob(blob, crc32, speaker)
    return result


def voiceprint(session: Session, speaker: int) -> Vector:
    """The voiceprint of a speaker who is there. Raises: DamagedRow where it is not."""
    found = voiceprints_of(session, [speaker])
    if speaker not in found:
        raise DamagedRow("a speaker has no voiceprint")
    return found[speaker]


def all_voiceprints(session: Session, one_in: int = 1) -> Iterator[tuple[list[int], Vectors]]:
    """All voiceprints, or of one speaker in so many, in batches: speaker ids and float32 [n, dimension]."""
    chosen = PRINTS if one_in == 1 else PRINTS.where(VoiceprintRow.speaker_id % one_in == 0)
    for rows in session.execute(chosen.execution_options(yield_per=BATCH_ROWS)).partitions():
        yield [row[0] for row in rows], np.stack([from_blob(row[1], row[2], row[0]) for row in rows])


def some_voiceprints(session: Session, count: int, known: int) -> Vectors:
    """Voiceprints of about `count` of the `known` speakers, float32 [n, dimension], not fewer unless there are none.

    Raises: DamagedRow where there are none.
    """
    for one_in in (max(1, known // count), 1):  # where most ids are gone, those left may all be odd
        found = [vectors for _, vectors in all_voiceprints(session, one_in)]
        if sum(map(len, found)) >= count / 2:
            break
    if not found:
        raise DamagedRow("speakers have no voiceprints")
    return np.concatenate(found)


def enrollments_of(session: Session, speaker: int) -> list[StoredEnrollment]:
    """A speaker's enrollments in the order in which they came."""
    statement = (
        select(EnrollmentRow, KeptAudioRow.enrollment_id)
        .outerjoin(KeptAudioRow)
        .where(EnrollmentRow.speaker_id == speaker)
        .order_by(EnrollmentRow.id)
    )
    return [
        StoredEnrollment(
            row.id,
            _typed(row.source, str),
            _typed(row.net_speech_s, float),
            stored_quality(row.quality),
            _typed(row.created, str),
            kept is not None,
        )
        for row, kept in session.execute(statement)
    ]


def speakers(session: Session) -> list[tuple[int, str, str, int, float]]:
    """Every speaker by name: id, name, created, enrollments, seconds of net speech."""
    statement = (
        select(
            SpeakerRow.id,
            SpeakerRow.name,
            SpeakerRow.name_crc32,
            SpeakerRow.created,
            func.count(EnrollmentRow.id),
            func.coalesce(func.sum(EnrollmentRow.net_speech_s), 0.0),
        )
        .outerjoin(EnrollmentRow)
        .group_by(SpeakerRow.id)
        .order_by(SpeakerRow.name)
    )
    return [
        (speaker, checked_name(speaker, name, crc32), _typed(created, str), count, float(net_speech_s))
        for speaker, name, crc32, created, count, net_speech_s in session.execute(statement)
    ]


@dataclass(frozen=True)
class Enrolled:
    """What a voiceprint is the average of."""

    recordings: int
    net_speech_s: float


def enrolled_speech(session: Session, speakers: list[int]) -> dict[int, Enrolled]:
    """Recordings and their net speech by speaker id."""
    found: dict[int, Enrolled] = {}
    for start in range(0, len(speakers), BATCH_ROWS):
        statement = (
            select(EnrollmentRow.speaker_id, func.count(), func.sum(EnrollmentRow.net_speech_s))
            .where(EnrollmentRow.speaker_id.in_(speakers[start : start + BATCH_ROWS]))
            .group_by(EnrollmentRow.speaker_id)
        )
        for speaker, count, net_speech_s in session.execute(statement):
            found[speaker] = Enrolled(count, float(net_speech_s))
    return found


def voiceprint_parts(session: Session, speaker: int) -> tuple[VoiceprintRow | None, list[Vector]]:
    """For `check`: a speaker's voiceprint as stored, and the vectors that it should be the average of."""
    own = select(EnrollmentRow.vector, EnrollmentRow.vector_crc32).where(EnrollmentRow.speaker_id == speaker)
    return session.get(VoiceprintRow, speaker), [from_blob(*found, speaker) for found in session.execute(own)]


def to_blob(vector: Vector) -> bytes:
    """float32 [dimension] → its little-endian bytes."""
    return vector.astype(STORED).tobytes()


def from_blob(blob: bytes, crc32: int, speaker: int) -> Vector:
    """Little-endian bytes → float32 [dimension].

    The checksum starts from the speaker's id, so a vector that strayed to another speaker's row does not agree.
    Raises: DamagedRow where it does not: a bit that flipped would be a wrong distance.
    """
    if blob_crc32(_typed(blob, bytes), speaker) != crc32:
        raise DamagedRow("a vector's checksum does not agree")
    return np.frombuffer(blob, STORED).astype(np.float32)


class DamagedRow(Exception):
    """A row that is not what was written; `translated` turns it into GalleryDamaged."""


def blob_crc32(blob: bytes, speaker: int) -> int:
    """The checksum of a vector's bytes, started from its speaker's id: no vector strays to another's row unseen."""
    return zlib.crc32(blob, speaker)


def name_crc32(speaker: int, name: str) -> int:
    """As for vectors, from the speaker's id on: a bit that flipped would be a wrong person."""
    return zlib.crc32(name.encode(), speaker)


def checked_name(speaker: int, name: str, crc32: int) -> str:
    """A speaker's name as it was written. Raises: DamagedRow where its checksum does not agree."""
    if name_crc32(speaker, _typed(name, str)) != crc32:
        raise DamagedRow("a name's checksum does not agree")
    return name


def _typed(value: Value, kind: type) -> Value:
    """The value, where it is of its column's type; SQLite itself would hand out any."""
    if not isinstance(value, kind):
        raise DamagedRow(f"a {type(value).__name__} stands where a {kind.__name__} belongs")
    return value


def stored_quality(text: str) -> dict[str, Any]:
    """A recording's quality as it was written. Raises: DamagedRow."""
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError) as error:
        raise DamagedRow("a recording's quality is not JSON") from error


def now() -> str:
    """UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
