"""The queue: destinations, schedules, quotas, control, smart hosts, TLS (O5 to O7, O11, R3)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """Apply this step."""
    op.add_column("delivery", sa.Column("author", sa.Text(), server_default="", nullable=False))
    op.add_column("delivery", sa.Column("scheduled_for", sa.BigInteger(), nullable=True))
    op.add_column("delivery", sa.Column("faults", sa.Integer(), server_default="0", nullable=False))
    op.add_column("delivery", sa.Column("trace", sa.Text(), server_default="", nullable=False))
    op.add_column("attempt", sa.Column("source", sa.Text(), server_default="", nullable=False))
    op.add_column("attempt", sa.Column("dotted", sa.Boolean(), server_default=sa.text("false"), nullable=False))
