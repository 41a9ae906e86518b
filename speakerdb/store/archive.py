"""The archive of `speakerdb export`: what it holds, and how it is written. `archive_reading` believes none of it.

A ZIP file of fixed members, never unpacked to paths: `archive.json` (format, encoder, counts, size and SHA-256 of the
others), `recordings.jsonl` (a line each), `vectors.f32` (a row each), `calibration.json` where the gallery has its
own, `audio/000000001` … where sounds are kept. docs/formats.md has every field.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select

from speakerdb.durable import give_name, making
from speakerdb.errors import StateError, printable
from speakerdb.store import decisions
from speakerdb.store.binding import GalleryIdentity
from speakerdb.store.failures import written
from speakerdb.store.fields import checked_name, described, from_blob, now, time_of
from speakerdb.store.records import BATCH_ROWS
from speakerdb.store.reembedding import audio_of
from speakerdb.store.schema import ENROLLMENT, KEPT_AUDIO, SPEAKER

FORMAT = "speakerdb-archive/1"
HEAD, RECORDINGS, VECTORS, CALIBRATION = "archive.json", "recordings.jsonl", "vectors.f32", "calibration.json"
AUDIO = "audio/{:09d}"
DRAFT = "archive"
EPOCH = (1980, 1, 1, 0, 0, 0)
"""Of every member: when a gallery was exported stands in `archive.json`."""


@dataclass(frozen=True)
class Line:
    """A recording's line in `recordings.jsonl`; audio: size and SHA-256 of its member, where its sound is kept."""

    speaker: str
    speaker_created: str
    source: str
    audio_sha256: str
    net_speech_s: float
    quality: dict[str, Any]
    created: str
    audio: dict[str, Any] | None = None


def write(connection: Connection, identity: GalleryIdentity, file: Path) -> tuple[int, int, int]:
    """Write the gallery, as of the connection's state, to a file that is there whole or not at all.

    Returns: speakers, recordings, bytes.
    Raises: StateError where there is a file of that name; DamagedRow; StorageError where the file cannot be written.
    """
    with written(file):
        if os.path.lexists(file):
            raise StateError(f"{printable(file, 200)} is there already; name a new file")
        with making(file.absolute().parent) as beside:
            draft = beside / DRAFT
            with os.fdopen(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
                with zipfile.ZipFile(out, "w") as archive:
                    speakers, recordings = _members(connection, identity, archive)
                out.flush()
                os.fsync(out.fileno())
            try:
                give_name(draft, file)
            except FileExistsError as error:
                raise StateError(f"{printable(file, 200)} is there by now; name a new file") from error
        return speakers, recordings, file.stat().st_size


def _members(connection: Connection, identity: GalleryIdentity, archive: zipfile.ZipFile) -> tuple[int, int]:
    members: dict[str, dict[str, Any]] = {}
    speakers: set[int] = set()
    lines = (_line(connection, row, speakers) for row in _rows(connection))
    recordings = _add(archive, RECORDINGS, lines, members)
    _add(archive, VECTORS, _vectors(connection), members)
    for number, row in enumerate(_rows(connection), 1):
        if row.kept is not None:
            archive.writestr(_info(AUDIO.format(number)), audio_of(connection, row.id))
    own = decisions.calibration(connection)
    if own is not None:
        _add(archive, CALIBRATION, [json.dumps(own.to_json(), ensure_ascii=False).encode()], members)
    head = {
        "format": FORMAT,
        "created": now(),
        "gallery_uuid": identity.uuid,
        "encoder": asdict(identity.encoder),
        "speakers": len(speakers),
        "recordings": recordings,
        "members": members,
    }
    archive.writestr(_info(HEAD), json.dumps(head, ensure_ascii=False, indent=1))
    return len(speakers), recordings


def _add(archive: zipfile.ZipFile, name: str, pieces: Iterable[bytes], members: dict[str, dict[str, Any]]) -> int:
    """Write a member piece by piece and note its size and hash; how many pieces there were."""
    digest, size, count = hashlib.sha256(), 0, 0
    with archive.open(_info(name), "w", force_zip64=True) as member:
        for piece in pieces:
            member.write(piece)
            digest.update(piece)
            size, count = size + len(piece), count + 1
    members[name] = {"size": size, "sha256": digest.hexdigest()}
    return count


def method_of(name: str) -> int:
    """How a member is packed: texts are deflated; vectors and sounds would get no smaller."""
    return zipfile.ZIP_DEFLATED if name in (HEAD, RECORDINGS, CALIBRATION) else zipfile.ZIP_STORED


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, EPOCH)
    info.compress_type = method_of(name)
    info.external_attr = 0o600 << 16
    return info


def _rows(connection: Connection) -> Iterator[Any]:
    """All recordings, a speaker's one after the other."""
    statement = (
        select(
            SPEAKER.c.id.label("owner"),
            SPEAKER.c.name,
            SPEAKER.c.name_crc32,
            SPEAKER.c.created.label("speaker_created"),
            ENROLLMENT.c.id,
            ENROLLMENT.c.source,
            ENROLLMENT.c.audio_sha256,
            ENROLLMENT.c.net_speech_s,
            ENROLLMENT.c.quality,
            ENROLLMENT.c.created,
            func.length(KEPT_AUDIO.c.file).label("kept"),
        )
        .join(ENROLLMENT, ENROLLMENT.c.speaker_id == SPEAKER.c.id)
        .outerjoin(KEPT_AUDIO, KEPT_AUDIO.c.enrollment_id == ENROLLMENT.c.id)
        .order_by(SPEAKER.c.id, ENROLLMENT.c.id)
        .execution_options(yield_per=BATCH_ROWS)
    )
    yield from connection.execute(statement)


def _line(connection: Connection, row: Any, speakers: set[int]) -> bytes:
    speakers.add(row.owner)
    audio = None
    if row.kept is not None:
        content = audio_of(connection, row.id)
        audio = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    name = checked_name(row.owner, row.name, row.name_crc32)
    known = described(row.source, row.audio_sha256, row.net_speech_s, row.quality, row.created)
    line = Line(name, time_of(row.speaker_created), **vars(known), audio=audio)
    return json.dumps(asdict(line), ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _vectors(connection: Connection) -> Iterator[bytes]:
    statement = (
        select(ENROLLMENT.c.speaker_id, ENROLLMENT.c.vector, ENROLLMENT.c.vector_crc32)
        .order_by(ENROLLMENT.c.speaker_id, ENROLLMENT.c.id)
        .execution_options(yield_per=BATCH_ROWS)
    )
    for speaker, blob, crc32 in connection.execute(statement):
        from_blob(blob, crc32, speaker)  # that no damage is passed on
        yield blob
