"""Speakers and their enrollments, read from and written to the tables: statements alone, no rules.

Every function takes the connection of a running transaction.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, select, update
from sqlalchemy.dialects.sqlite import insert

from speakerdb.embedding import Vector
from speakerdb.store.binding import inserted
from speakerdb.store.fields import (
    LARGEST_ID,
    DamagedRow,
    blob_crc32,
    checked_name,
    described,
    duration,
    name_crc32,
    now,
    to_blob,
    typed,
)
from speakerdb.store.schema import ENROLLMENT, KEPT_AUDIO, SPEAKER

BATCH_ROWS = 4096
NAMES = select(SPEAKER.c.id, SPEAKER.c.name, SPEAKER.c.name_crc32)
OF_NAME = NAMES.where(SPEAKER.c.name == bindparam("name"))
OWNER_OF_SOUND = NAMES.join(ENROLLMENT).where(ENROLLMENT.c.audio_sha256 == bindparam("sound"))
"""Made once: to make a statement takes SQLAlchemy longer than SQLite takes to run it."""


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


def speaker_id(connection: Connection, name: str) -> int | None:
    """The id of a speaker, None where nobody has that name."""
    found = connection.execute(OF_NAME, {"name": name}).first()
    if found is None:
        return None
    checked_name(*found)
    return int(found.id)


def anybody(connection: Connection) -> bool:
    """Whether there is a speaker at all."""
    return connection.scalar(select(SPEAKER.c.id).limit(1)) is not None


def count_speakers(connection: Connection) -> int:
    """How many speakers there are."""
    return connection.scalar(select(func.count()).select_from(SPEAKER)) or 0


def names_of(connection: Connection, ids: list[int]) -> dict[int, str]:
    """Names by id; ids that are gone are left out."""
    result: dict[int, str] = {}
    for start in range(0, len(ids), BATCH_ROWS):
        for row in connection.execute(NAMES.where(SPEAKER.c.id.in_(ids[start : start + BATCH_ROWS]))):
            result[row.id] = checked_name(*row)
    return result


def all_names_of(connection: Connection, ids: list[int]) -> dict[int, str]:
    """Names by id. Raises: DamagedRow where one is of nobody."""
    result = names_of(connection, ids)
    if len(result) < len(set(ids)):
        raise DamagedRow("a recording has no speaker")
    return result


def add_speaker(connection: Connection, name: str) -> int:
    """A new speaker's id."""
    speaker = inserted(connection, SPEAKER, {"name": name, "name_crc32": 0, "created": now()})
    rename_speaker(connection, speaker, name)  # the checksum is of the id too, which is known only now
    return speaker


def rename_speaker(connection: Connection, speaker: int, name: str) -> None:
    """Give a speaker another name; that it is free was checked."""
    values = {"name": name, "name_crc32": name_crc32(speaker, name)}
    connection.execute(update(SPEAKER).where(SPEAKER.c.id == speaker).values(values))


def count_enrollments(connection: Connection, speaker: int) -> int:
    """How many recordings of a speaker there are."""
    own = select(func.count()).select_from(ENROLLMENT).where(ENROLLMENT.c.speaker_id == speaker)
    return connection.scalar(own) or 0


def remove_speaker(connection: Connection, speaker: int) -> None:
    """Delete a speaker; enrollments and voiceprint go with it (foreign keys)."""
    connection.execute(delete(SPEAKER).where(SPEAKER.c.id == speaker))


def add_enrollment(connection: Connection, speaker: int, new: NewEnrollment) -> int:
    """A new enrollment's id; the voiceprint is made anew by `voiceprints.refresh`."""
    blob = to_blob(new.vector)
    values = {
        "speaker_id": speaker,
        "source": new.source,
        "audio_sha256": new.audio_sha256,
        "net_speech_s": new.net_speech_s,
        "quality": json.dumps(new.quality),
        "vector": blob,
        "vector_crc32": blob_crc32(blob, speaker),
        "created": now(),
    }
    enrollment = inserted(connection, ENROLLMENT, values)
    if new.audio is not None:
        kept = {"enrollment_id": enrollment, "file": new.audio, "file_crc32": zlib.crc32(new.audio)}
        connection.execute(insert(KEPT_AUDIO), kept)
    return enrollment


def enrolled_for(connection: Connection, audio_sha256: str) -> str | None:
    """The name of the speaker for whom this very audio is enrolled."""
    found = connection.execute(OWNER_OF_SOUND, {"sound": audio_sha256}).first()
    return checked_name(*found) if found else None


def enrolled_sources(connection: Connection) -> set[tuple[str, str]]:
    """Speaker's name and source of every recording."""
    statement = select(SPEAKER.c.name, ENROLLMENT.c.source).join(ENROLLMENT)
    return {(name, source) for name, source in connection.execute(statement)}


def enrollment_owner(connection: Connection, enrollment: int) -> tuple[int, str] | None:
    """Id and name of the speaker of an enrollment, None where there is no such enrollment."""
    if not 0 < enrollment <= LARGEST_ID:
        return None
    found = connection.execute(NAMES.join(ENROLLMENT).where(ENROLLMENT.c.id == enrollment)).first()
    return (found.id, checked_name(*found)) if found else None


def remove_enrollment(connection: Connection, enrollment: int) -> None:
    """Delete an enrollment; the voiceprint is made anew by `voiceprints.refresh`."""
    connection.execute(delete(ENROLLMENT).where(ENROLLMENT.c.id == enrollment))


def enrollments_of(connection: Connection, speaker: int) -> list[StoredEnrollment]:
    """A speaker's enrollments in the order in which they came."""
    statement = (
        select(ENROLLMENT, KEPT_AUDIO.c.enrollment_id.label("kept"))
        .outerjoin(KEPT_AUDIO)
        .where(ENROLLMENT.c.speaker_id == speaker)
        .order_by(ENROLLMENT.c.id)
    )
    found = []
    for row in connection.execute(statement):
        one = described(row.source, row.audio_sha256, row.net_speech_s, row.quality, row.created)
        kept = row.kept is not None
        found.append(StoredEnrollment(row.id, one.source, one.net_speech_s, one.quality, one.created, kept))
    return found


def speakers(connection: Connection) -> list[tuple[int, str, str, int, float]]:
    """Every speaker by name: id, name, created, enrollments, seconds of net speech, which nobody has looked at."""
    statement = (
        select(
            SPEAKER.c.id,
            SPEAKER.c.name,
            SPEAKER.c.name_crc32,
            SPEAKER.c.created,
            func.count(ENROLLMENT.c.id),
            func.coalesce(func.sum(ENROLLMENT.c.net_speech_s), 0.0),
        )
        .outerjoin(ENROLLMENT)
        .group_by(SPEAKER.c.id)
        .order_by(SPEAKER.c.name)
    )
    return [
        (speaker, checked_name(speaker, name, crc32), typed(created, str), count, net_speech_s)
        for speaker, name, crc32, created, count, net_speech_s in connection.execute(statement)
    ]


@dataclass(frozen=True)
class Enrolled:
    """What a voiceprint is the average of."""

    recordings: int
    net_speech_s: float


def enrolled_speech(connection: Connection, speakers: list[int]) -> dict[int, Enrolled]:
    """Recordings and their net speech by speaker id."""
    found: dict[int, Enrolled] = {}
    for start in range(0, len(speakers), BATCH_ROWS):
        statement = (
            select(ENROLLMENT.c.speaker_id, func.count(), func.sum(ENROLLMENT.c.net_speech_s))
            .where(ENROLLMENT.c.speaker_id.in_(speakers[start : start + BATCH_ROWS]))
            .group_by(ENROLLMENT.c.speaker_id)
        )
        for speaker, count, net_speech_s in connection.execute(statement):
            found[speaker] = Enrolled(count, duration(net_speech_s, count))
    return found
