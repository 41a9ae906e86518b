"""Writing many speakers at once: statements alone, some thousand rows each."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection, Table, insert, text

from speakerdb.embedding import average
from speakerdb.store.archive_reading import Archived
from speakerdb.store.fields import blob_crc32, cardinal, checked_name, name_crc32, to_blob
from speakerdb.store.schema import ENROLLMENT, KEPT_AUDIO, SPEAKER, VOICEPRINT

NAMED = text(
    """
    SELECT speaker.id, speaker.name, speaker.name_crc32 FROM json_each(:values) AS wanted
    CROSS JOIN speaker ON speaker.name = wanted.value
    """
)
HEARD = text(
    """
    SELECT enrollment.audio_sha256, speaker.id, speaker.name, speaker.name_crc32 FROM json_each(:values) AS wanted
    CROSS JOIN enrollment ON enrollment.audio_sha256 = wanted.value
    CROSS JOIN speaker ON speaker.id = enrollment.speaker_id
    """
)
USED = text("SELECT max(coalesce((SELECT seq FROM sqlite_sequence WHERE name = :table), 0), :largest)")


@dataclass(frozen=True)
class Newcomer:
    """A speaker to write with the recordings that are new; id: of the one whom they join, None for a new one."""

    name: str
    id: int | None
    recordings: Sequence[Archived]


def ids_by_name(connection: Connection, names: Iterable[str]) -> dict[str, int]:
    """Those of the names that are taken, and whose they are."""
    rows = connection.execute(NAMED, {"values": json.dumps(list(names))})
    return {checked_name(*row): row[0] for row in rows}


def owners_by_sound(connection: Connection, hashes: Iterable[str]) -> dict[str, str]:
    """Those of the sounds that are enrolled, and the names for whom."""
    rows = connection.execute(HEARD, {"values": json.dumps(list(hashes))})
    return {sound: checked_name(*owner) for sound, *owner in rows}


def write_all(connection: Connection, newcomers: Sequence[Newcomer]) -> list[int]:
    """Insert speakers and recordings, and the voiceprints of new speakers; everybody's ids, in order.

    The voiceprint of a speaker who was there has to be made anew (`voiceprints.refresh`).
    """
    next_speaker, next_recording = _next_id(connection, SPEAKER), _next_id(connection, ENROLLMENT)
    people: list[dict[str, Any]] = []
    recordings: list[dict[str, Any]] = []
    sounds: list[dict[str, Any]] = []
    prints: list[dict[str, Any]] = []
    ids = []
    for one in newcomers:
        speaker = next_speaker + len(people) if one.id is None else one.id
        ids.append(speaker)
        if one.id is None:
            created = one.recordings[0].line.speaker_created
            people.append(
                {"id": speaker, "name": one.name, "name_crc32": name_crc32(speaker, one.name), "created": created}
            )
            mean = average(np.stack([archived.vector for archived in one.recordings]))
            prints.append({"speaker_id": speaker, "count": len(one.recordings), **_vector(to_blob(mean), speaker)})
        for archived in one.recordings:
            row = next_recording + len(recordings)
            recordings.append({"id": row, "speaker_id": speaker, **_recording(archived, speaker)})
            if archived.audio is not None:
                file = archived.audio
                sounds.append({"enrollment_id": row, "file": file, "file_crc32": zlib.crc32(file)})
    for table, rows in (
        (SPEAKER, people),
        (ENROLLMENT, recordings),
        (KEPT_AUDIO, sounds),
        (VOICEPRINT, prints),
    ):
        if rows:
            connection.execute(insert(table), rows)
    return ids


def _recording(archived: Archived, speaker: int) -> dict[str, Any]:
    line = archived.line
    return {
        "source": line.source,
        "audio_sha256": line.audio_sha256,
        "net_speech_s": line.net_speech_s,
        "quality": json.dumps(line.quality),
        "created": line.created,
        **_vector(to_blob(archived.vector), speaker),
    }


def _vector(blob: bytes, speaker: int) -> dict[str, Any]:
    return {"vector": blob, "vector_crc32": blob_crc32(blob, speaker)}


def _next_id(connection: Connection, table: Table) -> int:
    """One that nobody ever had: AUTOINCREMENT remembers the largest, of rows that are gone too."""
    largest = connection.scalar(text(f"SELECT coalesce(max(id), 0) FROM {table.name}"))  # a name of ours
    used = connection.scalar(USED, {"table": table.name, "largest": largest})
    return cardinal(used or 0) + 1
