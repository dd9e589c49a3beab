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
    op.create_table(
        "tls_count",
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("result", _JSON, nullable=False),
        sa.Column("sessions", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", "destination", "key", name=op.f("pk_tls_count")),
    )
    op.create_table(
        "tls_report",
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("begun_at", sa.BigInteger(), nullable=False),
        sa.Column("sent_to", sa.Text(), server_default="", nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("day", "destination", name=op.f("pk_tls_report")),
    )
