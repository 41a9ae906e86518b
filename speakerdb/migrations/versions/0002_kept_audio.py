"""Sounds that are kept, and vectors of the encoder that a gallery is moving to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this revision."""
    op.create_table(
        "kept_audio",
        sa.Column("enrollment_id", sa.Integer, sa.ForeignKey("enrollment.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("file", sa.LargeBinary, nullable=False),
        sa.Column("file_crc32", sa.Integer, nullable=False),
    )
    op.create_table(
        "staged_vector",
        sa.Column("enrollment_id", sa.Integer, sa.ForeignKey("enrollment.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("encoder_sha256", sa.String(64), nullable=False),
        sa.Column("vector", sa.LargeBinary, nullable=False),
        sa.Column("vector_crc32", sa.Integer, nullable=False),
    )
