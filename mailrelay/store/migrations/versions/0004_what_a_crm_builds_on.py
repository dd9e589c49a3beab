"""What a CRM builds on: a journal by organisation, webhooks, tracking, sharing, mail by record (K2, K9, O9, O15, R6, I7 to I21)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """Apply this step."""
    _hits()


def _hits() -> None:
    """What is opened and clicked (O9, K1)."""
    op.add_column("delivery", sa.Column("opened_at", sa.BigInteger(), nullable=True))
    op.add_column("delivery", sa.Column("clicked_at", sa.BigInteger(), nullable=True))
    op.create_table(
        "hit",
        *_texts("id", "org", "delivery", "message", "kind"),
        sa.Column("link", sa.Integer(), nullable=False),
        *_texts("url"),
        sa.Column("at", sa.BigInteger(), nullable=False),
        *_texts("ip", "agent", "method"),
        sa.Column("headers", _JSON, nullable=False),
        *_texts("by"),
        sa.Column("reasons", _JSON, nullable=False),
        sa.Column("rules", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hit")),
    )
    op.create_index("ix_hit_delivery", "hit", ["delivery", "at", "id"])
    op.create_index("ix_hit_message", "hit", ["message", "at", "id"])
    op.create_table(
        "engagement",
        *_texts("delivery", "org", "message"),
        *_counts("opens"),
        *_times("first_opened_at", "last_opened_at"),
        *_counts("clicks"),
        *_times("first_clicked_at", "last_clicked_at"),
        *_counts("machine_opens", "machine_clicks", "unknown_opens", "unknown_clicks"),
        sa.Column("last_hit_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("delivery", name=op.f("pk_engagement")),
    )
    op.create_index("ix_engagement_message", "engagement", ["message"])
    op.create_index("ix_engagement_org", "engagement", ["org", "delivery"])
    op.create_table(
        "link_hit",
        *_texts("delivery"),
        sa.Column("link", sa.Integer(), nullable=False),
        *_texts("org", "message", "url"),
        sa.Column("clicks", sa.Integer(), nullable=False),
        sa.Column("first_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("delivery", "link", name=op.f("pk_link_hit")),
    )
    op.create_index("ix_link_hit_message", "link_hit", ["message"])
    op.create_table(
        "aggregate_hit",
        *_texts("message", "kind"),
        sa.Column("link", sa.Integer(), nullable=False),
        *_texts("by"),
        sa.Column("day", sa.Integer(), nullable=False),
        *_texts("org", "url"),
        sa.Column("hits", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("message", "kind", "link", "by", "day", name=op.f("pk_aggregate_hit")),
    )


def _texts(*names: str) -> tuple[sa.Column[str], ...]:
    return tuple(sa.Column(name, sa.Text(), nullable=False) for name in names)


def _counts(*names: str) -> tuple[sa.Column[int], ...]:
    return tuple(sa.Column(name, sa.Integer(), server_default="0", nullable=False) for name in names)


def _times(*names: str) -> tuple[sa.Column[int], ...]:
    return tuple(sa.Column(name, sa.BigInteger(), nullable=True) for name in names)
