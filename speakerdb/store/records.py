"""What is read from and written to the tables: statements alone, no rules.

Every function takes the connection of a running transaction.
"""

from __future__ import annotations

import json
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import numpy as np
from sqlalchemy import Connection, Table, delete, func, select, update
from sqlalchemy.dialects.sqlite import insert

from speakerdb.embedding import Vector, Vectors, average
from speakerdb.store.driver import driver
from speakerdb.store.schema import (
    CHANGE,
    ENCODER,
    ENROLLMENT,
    GALLERY,
    KEPT_AUDIO,
    SPEAKER,
    VOICEPRINT,
)

STORED = np.dtype("<f4")
BATCH_ROWS = 4096
NAMES = select(SPEAKER.c.id, SPEAKER.c.name, SPEAKER.c.name_crc32)
PRINTS = select(VOICEPRINT.c.speaker_id, VOICEPRINT.c.vector, VOICEPRINT.c.vector_crc32)
IDENTITY = """
    SELECT gallery.uuid, gallery.generation, gallery.created,
           encoder.name, encoder.version, encoder.sha256, encoder.dimension
    FROM gallery JOIN encoder ON encoder.id = gallery.encoder_id
"""
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


def bind(connection: Connection, encoder: EncoderIdentity) -> None:
    """Make the gallery's one row, bound to an encoder."""
    row = add_encoder(connection, encoder)
    values = {"id": 1, "uuid": uuid.uuid4().hex, "encoder_id": row, "generation": 0, "created": now()}
    connection.execute(insert(GALLERY).values(values))


def add_encoder(connection: Connection, encoder: EncoderIdentity) -> int:
    """A new encoder's id."""
    return _inserted(connection, ENCODER, asdict(encoder))


def _inserted(connection: Connection, table: Table, values: dict[str, Any]) -> int:
    """A new row's id."""
    key: Any = connection.execute(insert(table).values(values)).inserted_primary_key
    return int(key[0])


def identity(connection: Connection) -> GalleryIdentity | None:
    """The gallery's row, None before the first enrollment."""
    found = driver(connection).execute(IDENTITY).fetchone()
    if found is None:
        return None
    values = [_typed(value, kind) for value, kind in zip(found, (str, int, str, str, str, str, int), strict=True)]
    return GalleryIdentity(values[0], values[1], values[2], EncoderIdentity(*values[3:]))


def generation(connection: Connection) -> int:
    """The gallery's generation: how many changes were committed."""
    return connection.scalar(select(GALLERY.c.generation)) or 0


def record_change(connection: Connection, speaker_ids: list[int]) -> None:
    """Raise the generation by one and note that these speakers changed (or went) with it."""
    generation = _typed(connection.execute(select(GALLERY.c.generation)).scalar_one(), int) + 1
    connection.execute(update(GALLERY).values(generation=generation))
    if speaker_ids:
        statement = insert(CHANGE)
        changed = statement.excluded.generation
        statement = statement.on_conflict_do_update(index_elements=["speaker_id"], set_={"generation": changed})
        connection.execute(statement, [{"speaker_id": one, "generation": generation} for one in speaker_ids])


def changes_since(connection: Connection, since: int) -> list[int]:
    """Ids of the speakers that changed or went after a generation."""
    return list(connection.scalars(select(CHANGE.c.speaker_id).where(CHANGE.c.generation > since)))


def speaker_id(connection: Connection, name: str) -> int | None:
    """The id of a speaker, None where nobody has that name."""
    found = connection.execute(NAMES.where(SPEAKER.c.name == name)).first()
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


def add_speaker(connection: Connection, name: str) -> int:
    """A new speaker's id."""
    speaker = _inserted(connection, SPEAKER, {"name": name, "name_crc32": 0, "created": now()})
    rename_speaker(connection, speaker, name)  # the checksum is of the id too, which is known only now
    return speaker


def rename_speaker(connection: Connection, speaker: int, name: str) -> None:
    """Give a speaker another name; that it is free was checked."""
    values = {"name": name, "name_crc32": name_crc32(speaker, name)}
    connection.execute(update(SPEAKER).where(SPEAKER.c.id == speaker).values(values))


def remove_speaker(connection: Connection, speaker: int) -> None:
    """Delete a speaker; enrollments and voiceprint go with it (foreign keys)."""
    connection.execute(delete(SPEAKER).where(SPEAKER.c.id == speaker))


def add_enrollment(connection: Connection, speaker: int, new: NewEnrollment) -> int:
    """A new enrollment's id; the voiceprint is made anew by `refresh_voiceprint`."""
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
    enrollment = _inserted(connection, ENROLLMENT, values)
    if new.audio is not None:
        kept = {"enrollment_id": enrollment, "file": new.audio, "file_crc32": zlib.crc32(new.audio)}
        connection.execute(insert(KEPT_AUDIO).values(kept))
    return enrollment


def enrolled_for(connection: Connection, audio_sha256: str) -> str | None:
    """The name of the speaker for whom this very audio is enrolled."""
    found = connection.execute(NAMES.join(ENROLLMENT).where(ENROLLMENT.c.audio_sha256 == audio_sha256)).first()
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
    """Delete an enrollment; the voiceprint is made anew by `refresh_voiceprint`."""
    connection.execute(delete(ENROLLMENT).where(ENROLLMENT.c.id == enrollment))


def refresh_voiceprint(connection: Connection, speaker: int, added: int) -> int:
    """Average a speaker's enrollments into the voiceprint; how many there are (0: no voiceprint any more).

    Args: added: enrollments since the voiceprint was made, negative where they were removed.
    Raises: DamagedRow where there are not as many as there must be: a damaged index of SQLite's hides rows.
    """
    own = select(ENROLLMENT.c.vector, ENROLLMENT.c.vector_crc32).where(ENROLLMENT.c.speaker_id == speaker)
    vectors = [from_blob(*found, speaker) for found in connection.execute(own)]
    averaged = connection.scalar(select(VOICEPRINT.c.count).where(VOICEPRINT.c.speaker_id == speaker))
    if len(vectors) != (0 if averaged is None else _typed(averaged, int)) + added:
        raise DamagedRow("a speaker's enrollments are not as many as were averaged")
    if not vectors:
        connection.execute(delete(VOICEPRINT).where(VOICEPRINT.c.speaker_id == speaker))
        return 0
    blob = to_blob(average(np.stack(vectors)))
    values = {"vector": blob, "vector_crc32": blob_crc32(blob, speaker), "count": len(vectors)}
    statement = insert(VOICEPRINT).values(speaker_id=speaker, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["speaker_id"], set_=values))
    return len(vectors)


def voiceprints_of(connection: Connection, speakers: list[int]) -> dict[int, Vector]:
    """Voiceprints by speaker id; ids without one are left out."""
    result: dict[int, Vector] = {}
    for start in range(0, len(speakers), BATCH_ROWS):
        chosen = VOICEPRINT.c.speaker_id.in_(speakers[start : start + BATCH_ROWS])
        for speaker, blob, crc32 in connection.execute(PRINTS.where(chosen)):
            result[speaker] = from_blob(blob, crc32, speaker)
    return result


def voiceprint(connection: Connection, speaker: int) -> Vector:
    """The voiceprint of a speaker who is there. Raises: DamagedRow where it is not."""
    found = voiceprints_of(connection, [speaker])
    if speaker not in found:
        raise DamagedRow("a speaker has no voiceprint")
    return found[speaker]


def all_voiceprints(connection: Connection, one_in: int = 1) -> Iterator[tuple[list[int], Vectors]]:
    """All voiceprints, or of one speaker in so many, in batches: speaker ids and float32 [n, dimension]."""
    chosen = PRINTS if one_in == 1 else PRINTS.where(VOICEPRINT.c.speaker_id % one_in == 0)
    for rows in connection.execute(chosen.execution_options(yield_per=BATCH_ROWS)).partitions():
        yield [row[0] for row in rows], np.stack([from_blob(row[1], row[2], row[0]) for row in rows])


def some_voiceprints(connection: Connection, count: int, known: int) -> Vectors:
    """Voiceprints of about `count` of the `known` speakers, float32 [n, dimension], not fewer unless there are none.

    Raises: DamagedRow where there are none.
    """
    for one_in in (max(1, known // count), 1):  # where most ids are gone, those left may all be odd
        found = [vectors for _, vectors in all_voiceprints(connection, one_in)]
        if sum(map(len, found)) >= count / 2:
            break
    if not found:
        raise DamagedRow("speakers have no voiceprints")
    return np.concatenate(found)


def enrollments_of(connection: Connection, speaker: int) -> list[StoredEnrollment]:
    """A speaker's enrollments in the order in which they came."""
    statement = (
        select(ENROLLMENT, KEPT_AUDIO.c.enrollment_id.label("kept"))
        .outerjoin(KEPT_AUDIO)
        .where(ENROLLMENT.c.speaker_id == speaker)
        .order_by(ENROLLMENT.c.id)
    )
    return [
        StoredEnrollment(
            row.id,
            _typed(row.source, str),
            _typed(row.net_speech_s, float),
            stored_quality(row.quality),
            _typed(row.created, str),
            row.kept is not None,
        )
        for row in connection.execute(statement)
    ]


def speakers(connection: Connection) -> list[tuple[int, str, str, int, float]]:
    """Every speaker by name: id, name, created, enrollments, seconds of net speech."""
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
        (speaker, checked_name(speaker, name, crc32), _typed(created, str), count, float(net_speech_s))
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
            found[speaker] = Enrolled(count, float(net_speech_s))
    return found


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


def voiceprint_parts(connection: Connection, speakers: list[int]) -> Iterator[Parts]:
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


def to_blob(vector: Vector) -> bytes:
    """float32 [dimension] → its little-endian bytes."""
    return vector.astype(STORED).tobytes()


def from_blob(blob: bytes, crc32: int, speaker: int) -> Vector:
    """Little-endian bytes → float32 [dimension].

    The checksum starts from the speaker's id, so a vector that strayed to another speaker's row does not agree.
    Raises: DamagedRow where it does not: a bit that flipped would be a wrong distance.
    """
    return np.frombuffer(checked_blob(blob, crc32, speaker), STORED).astype(np.float32)


def checked_blob(blob: bytes, crc32: int, speaker: int) -> bytes:
    """A vector's bytes as they were written. Raises: DamagedRow."""
    if blob_crc32(_typed(blob, bytes), speaker) != crc32:
        raise DamagedRow("a vector's checksum does not agree")
    return blob


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
