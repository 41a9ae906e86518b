"""The tables. `speakerdb/migrations` holds how older ones become these; a test holds both equal.

SQLAlchemy's tables, without its mapped classes: rows are read and written by statements alone, and the import of the
mapper would be a sixth of the time that `speakerdb verify` takes.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
)

REVISION = "0003"
"""The newest revision in `speakerdb/migrations/versions`, which this code reads and writes."""

OLDER_REVISIONS: tuple[str, ...] = ("0001", "0002")
"""Revisions that `speakerdb db upgrade` can start from."""

METADATA = MetaData()


def _id() -> Column[int]:
    return Column("id", Integer, primary_key=True)


def _column(name: str, *arguments: Any, **options: Any) -> Column[Any]:
    return Column(name, *arguments, nullable=False, **options)


def _of(table: str, name: str | None = None, **options: Any) -> Column[int]:
    """The id of another table's row, with which this row goes."""
    reference = ForeignKey(f"{table}.id", ondelete="CASCADE")
    return Column(name or f"{table}_id", Integer, reference, nullable=False, **options)


GALLERY = Table(
    "gallery",
    METADATA,
    _id(),
    _column("uuid", String(32)),
    _column("encoder_id", Integer, ForeignKey("encoder.id")),
    _column("generation", Integer),
    _column("created", String(32)),
    CheckConstraint("id = 1", name="gallery_has_one_row"),
)
"""The gallery itself: one row."""

ENCODER = Table(
    "encoder",
    METADATA,
    _id(),
    _column("name", String(200)),
    _column("version", String(50)),
    _column("sha256", String(64), unique=True),
    _column("dimension", Integer),
)
"""The encoder that all vectors come from."""

SPEAKER = Table(
    "speaker",
    METADATA,
    _id(),
    _column("name", String(256), unique=True),
    _column("name_crc32", Integer),
    _column("created", String(32)),
    sqlite_autoincrement=True,
)
"""A speaker. AUTOINCREMENT: an id is never used again, so no index can take one person for another."""

ENROLLMENT = Table(
    "enrollment",
    METADATA,
    _id(),
    _of("speaker", index=True),
    _column("source", String(1000)),
    _column("audio_sha256", String(64), unique=True),
    _column("net_speech_s", Float),
    _column("quality", String),
    _column("vector", LargeBinary),
    _column("vector_crc32", Integer),
    _column("created", String(32)),
    sqlite_autoincrement=True,
)
"""One recording of a speaker: its vector, never its audio."""

KEPT_AUDIO = Table(
    "kept_audio",
    METADATA,
    _of("enrollment", primary_key=True),
    _column("file", LargeBinary),
    _column("file_crc32", Integer),
)
"""The sound of an enrolled recording, where its user asked for it to be kept (`speakerdb.kept_audio`)."""

STAGED_VECTOR = Table(
    "staged_vector",
    METADATA,
    _of("enrollment", primary_key=True),
    _column("encoder_sha256", String(64)),
    _column("vector", LargeBinary),
    _column("vector_crc32", Integer),
)
"""A recording's vector by the encoder that the gallery is moving to; none of them counts before all are there."""

VOICEPRINT = Table(
    "voiceprint",
    METADATA,
    _of("speaker", primary_key=True),
    _column("vector", LargeBinary),
    _column("vector_crc32", Integer),
    _column("count", Integer),
)
"""The average of a speaker's enrollment vectors, brought to unit length; made from them at every change."""

CHANGE = Table(
    "change",
    METADATA,
    Column("speaker_id", Integer, primary_key=True, autoincrement=False),
    _column("generation", Integer),
    Index("change_generation", "generation"),
)
"""The last generation at which a speaker's voiceprint changed or went; it outlives the speaker.

One row a speaker: whoever stands at generation g needs only those whose last change is after g.
"""

CALIBRATION = Table(
    "calibration",
    METADATA,
    _id(),
    _column("content", String),
    _column("content_crc32", Integer),
    _column("created", String(32)),
    CheckConstraint("id = 1", name="calibration_has_one_row"),
)
"""What scores mean in this gallery, where `speakerdb calibrate` found it out: at most one row."""

FEEDBACK = Table(
    "feedback",
    METADATA,
    Column("decision", String(64), primary_key=True),
    _of("speaker", primary_key=True),
    _column("target", Boolean),
    _column("score", Float),
    _column("probe_s", Float),
    _column("enrolled_s", Float),
    _column("recordings", Integer),
    _column("created", String(32)),
)
"""One comparison of which a user said whether it was of one speaker; goes with the speaker."""
