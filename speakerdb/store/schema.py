"""The tables. `speakerdb/migrations` holds how older ones become these; a test holds both equal."""

from __future__ import annotations

from sqlalchemy import Boolean, CheckConstraint, Float, ForeignKey, Index, Integer, LargeBinary, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

REVISION = "0003"
"""The newest revision in `speakerdb/migrations/versions`, which this code reads and writes."""

OLDER_REVISIONS: tuple[str, ...] = ("0001", "0002")
"""Revisions that `speakerdb db upgrade` can start from."""


class Base(DeclarativeBase):
    """Root of the tables."""


class GalleryRow(Base):
    """The gallery itself: one row."""

    __tablename__ = "gallery"
    __table_args__ = (CheckConstraint("id = 1", name="gallery_has_one_row"),)
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    uuid: Mapped[str] = mapped_column(String(32))
    encoder_id: Mapped[int] = mapped_column(ForeignKey("encoder.id"))
    generation: Mapped[int] = mapped_column(Integer)
    created: Mapped[str] = mapped_column(String(32))


class EncoderRow(Base):
    """The encoder that all vectors come from."""

    __tablename__ = "encoder"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    version: Mapped[str] = mapped_column(String(50))
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    dimension: Mapped[int] = mapped_column(Integer)


class SpeakerRow(Base):
    """A speaker. AUTOINCREMENT: an id is never used again, so no index can take one person for another."""

    __tablename__ = "speaker"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012 (SQLAlchemy's own form)
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(String(256), unique=True)
    name_crc32: Mapped[int] = mapped_column(Integer)
    created: Mapped[str] = mapped_column(String(32))


class EnrollmentRow(Base):
    """One recording of a speaker: its vector, never its audio."""

    __tablename__ = "enrollment"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    speaker_id: Mapped[int] = mapped_column(ForeignKey("speaker.id", ondelete="CASCADE"), index=True)
    source: Mapped[str] = mapped_column(String(1000))
    audio_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    net_speech_s: Mapped[float] = mapped_column(Float)
    quality: Mapped[str] = mapped_column(String)
    vector: Mapped[bytes] = mapped_column(LargeBinary)
    vector_crc32: Mapped[int] = mapped_column(Integer)
    created: Mapped[str] = mapped_column(String(32))


class KeptAudioRow(Base):
    """The sound of an enrolled recording, where its user asked for it to be kept (`speakerdb.kept_audio`)."""

    __tablename__ = "kept_audio"
    enrollment_id: Mapped[int] = mapped_column(ForeignKey("enrollment.id", ondelete="CASCADE"), primary_key=True)
    file: Mapped[bytes] = mapped_column(LargeBinary)
    file_crc32: Mapped[int] = mapped_column(Integer)


class StagedVectorRow(Base):
    """A recording's vector by the encoder that the gallery is moving to; none of them counts before all are there."""

    __tablename__ = "staged_vector"
    enrollment_id: Mapped[int] = mapped_column(ForeignKey("enrollment.id", ondelete="CASCADE"), primary_key=True)
    encoder_sha256: Mapped[str] = mapped_column(String(64))
    vector: Mapped[bytes] = mapped_column(LargeBinary)
    vector_crc32: Mapped[int] = mapped_column(Integer)


class VoiceprintRow(Base):
    """The average of a speaker's enrollment vectors, brought to unit length; made from them at every change."""

    __tablename__ = "voiceprint"
    speaker_id: Mapped[int] = mapped_column(ForeignKey("speaker.id", ondelete="CASCADE"), primary_key=True)
    vector: Mapped[bytes] = mapped_column(LargeBinary)
    vector_crc32: Mapped[int] = mapped_column(Integer)
    count: Mapped[int] = mapped_column(Integer)


class ChangeRow(Base):
    """The last generation at which a speaker's voiceprint changed or went; it outlives the speaker.

    One row a speaker: whoever stands at generation g needs only those whose last change is after g.
    """

    __tablename__ = "change"
    __table_args__ = (Index("change_generation", "generation"),)
    speaker_id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    generation: Mapped[int] = mapped_column(Integer)


class CalibrationRow(Base):
    """What scores mean in this gallery, where `speakerdb calibrate` found it out: at most one row."""

    __tablename__ = "calibration"
    __table_args__ = (CheckConstraint("id = 1", name="calibration_has_one_row"),)
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    content: Mapped[str] = mapped_column(String)
    content_crc32: Mapped[int] = mapped_column(Integer)
    created: Mapped[str] = mapped_column(String(32))


class FeedbackRow(Base):
    """One comparison of which a user said whether it was of one speaker; goes with the speaker."""

    __tablename__ = "feedback"
    decision: Mapped[str] = mapped_column(String(64), primary_key=True)
    speaker_id: Mapped[int] = mapped_column(ForeignKey("speaker.id", ondelete="CASCADE"), primary_key=True)
    target: Mapped[bool] = mapped_column(Boolean)
    score: Mapped[float] = mapped_column(Float)
    probe_s: Mapped[float] = mapped_column(Float)
    enrolled_s: Mapped[float] = mapped_column(Float)
    recordings: Mapped[int] = mapped_column(Integer)
    created: Mapped[str] = mapped_column(String(32))
