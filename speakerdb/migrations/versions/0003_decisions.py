"""A gallery's own calibration, and what its users said of answers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this revision."""
    op.create_table(
        "calibration",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("content", sa.String, nullable=False),
        sa.Column("content_crc32", sa.Integer, nullable=False),
        sa.Column("created", sa.String(32), nullable=False),
        sa.CheckConstraint("id = 1", name="calibration_has_one_row"),
    )
    op.create_table(
        "feedback",
        sa.Column("decision", sa.String(64), primary_key=True),
        sa.Column("speaker_id", sa.Integer, sa.ForeignKey("speaker.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("target", sa.Boolean, nullable=False),
        sa.Column("score", sa.Float, nullable=False),
        sa.Column("probe_s", sa.Float, nullable=False),
        sa.Column("enrolled_s", sa.Float, nullable=False),
        sa.Column("recordings", sa.Integer, nullable=False),
        sa.Column("created", sa.String(32), nullable=False),
    )
