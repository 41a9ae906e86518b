"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this revision."""
    op.create_table(
        "encoder",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("version", sa.String(50), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False, unique=True),
        sa.Column("dimension", sa.Integer, nullable=False),
    )
    op.create_table(
        "gallery",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("uuid", sa.String(32), nullable=False),
        sa.Column("encoder_id", sa.Integer, sa.ForeignKey("encoder.id"), nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("created", sa.String(32), nullable=False),
        sa.CheckConstraint("id = 1", name="gallery_has_one_row"),
    )
    op.create_table(
        "speaker",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(256), nullable=False, unique=True),
        sa.Column("name_crc32", sa.Integer, nullable=False),
        sa.Column("created", sa.String(32), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "enrollment",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column(
            "speaker_id",
            sa.Integer,
            sa.ForeignKey("speaker.id", ondelete="CASCADE"),
            nullable=False,
            index=True,
        ),
        sa.Column("source", sa.String(1000), nullable=False),
        sa.Column("audio_sha256", sa.String(64), nullable=False, unique=True),
        sa.Column("net_speech_s", sa.Float, nullable=False),
        sa.Column("quality", sa.String, nullable=False),
        sa.Column("vector", sa.LargeBinary, nullable=False),
        sa.Column("vector_crc32", sa.Integer, nullable=False),
        sa.Column("created", sa.String(32), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "voiceprint",
        sa.Column("speaker_id", sa.Integer, sa.ForeignKey("speaker.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("vector", sa.LargeBinary, nullable=False),
        sa.Column("vector_crc32", sa.Integer, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
    )
    op.create_table(
        "change",
        sa.Column("speaker_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("generation", sa.Integer, nullable=False),
    )
    op.create_index("change_generation", "change", ["generation"])
