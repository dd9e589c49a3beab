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
    # An earlier release wrote nothing down before a final dot: mass mail that it left under way may have been taken (D11).
    op.execute(
        "UPDATE attempt SET dotted = true WHERE outcome IS NULL"
        " AND delivery IN (SELECT id FROM delivery WHERE state = 'sending' AND job <> '')"
    )
    op.create_table(
        "destination",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("site", sa.Text(), server_default="", nullable=False),
        sa.Column("wake_at", sa.BigInteger(), nullable=False),
        sa.Column("parked_until", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("because", sa.Text(), server_default="", nullable=False),
        sa.Column("parked_by", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_destination")),
    )
    op.create_index("ix_destination_wake_at", "destination", ["wake_at"])
    _partial_index("ix_destination_parked", "destination", ["parked_by", "name"], "parked_by <> ''")
    op.create_table(
        "node",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("beat", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_node")),
    )
    op.drop_index("ix_delivery_due", table_name="delivery")
    op.drop_index("ix_delivery_sending", table_name="delivery")
    op.drop_index("ix_delivery_in_flight", table_name="delivery")
    for name, columns, where in (
        ("waiting", ["destination", "due_at"], "state IN ('queued', 'scheduled')"),
        ("sending", ["lease_node"], "state = 'sending'"),
        (
            "in_flight",
            ["channel", "state", "attempts", "due_at"],
            "state IN ('scheduled', 'held', 'queued', 'sending')",
        ),
    ):
        op.create_index(
            f"ix_delivery_{name}",
            "delivery",
            columns,
            unique=False,
            sqlite_where=sa.text(where),
            postgresql_where=sa.text(where),
        )
    # What is queued already must be found by who looks for it.
    op.execute(
        "INSERT INTO destination (name, wake_at) SELECT destination, min(due_at) FROM delivery"
        " WHERE state IN ('queued', 'scheduled') GROUP BY destination"
    )
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
    op.add_column("mail_user", sa.Column("confirmed", sa.Boolean(), server_default=sa.text("true"), nullable=False))
    op.create_index(
        "ix_delivery_scheduled",
        "delivery",
        ["org", "due_at", "queue_id"],
        unique=False,
        sqlite_where=sa.text("state = 'scheduled'"),
        postgresql_where=sa.text("state = 'scheduled'"),
    )
    op.create_table(
        "quota",
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("org", "kind", "day", name=op.f("pk_quota")),
    )
    op.create_table(
        "schedule",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("queue_id", sa.Text(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("preset", sa.Text(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("hastened", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("counted", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedule")),
    )
    op.create_index("uq_schedule_queue_id", "schedule", ["queue_id"], unique=True)
    op.create_table(
        "parking",
        sa.Column("delivery", sa.Text(), nullable=False),
        sa.Column("until_at", sa.BigInteger(), nullable=False),
        sa.Column("parked_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("delivery", name=op.f("pk_parking")),
    )
    op.create_table(
        "tls_memory",
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("ip", sa.Text(), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("protocol", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("look_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("host", "ip", "port", name=op.f("pk_tls_memory")),
    )
    op.create_index("ix_tls_memory_seen_at", "tls_memory", ["seen_at"])
    op.create_table(
        "sts_policy",
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("policy_id", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("max_age", sa.BigInteger(), nullable=False),
        sa.Column("mx", _JSON, nullable=False),
        sa.Column("fetched_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("domain", name=op.f("pk_sts_policy")),
    )
    op.create_index("ix_sts_policy_expires_at", "sts_policy", ["expires_at"])
    op.create_table(
        "operation",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("control", sa.Text(), nullable=False),
        sa.Column("selection", _JSON, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("again", sa.Boolean(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.Text(), nullable=False),
        sa.Column("cursor", sa.Text(), server_default="", nullable=False),
        sa.Column("changed", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("left", _JSON, nullable=False),
        sa.Column("under_way", _JSON, nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("stopped_by", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operation")),
    )
    op.create_index("ix_operation_org", "operation", ["org", "id"], unique=False)
    _partial_index("ix_operation_standing", "operation", ["id"], "ended_at IS NULL")
    op.create_table(
        "smart_host",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("tls", sa.Text(), nullable=False),
        sa.Column("auth", sa.Text(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("token_url", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("token_scope", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("trouble", sa.Text(), server_default="", nullable=False),
        sa.Column("trouble_since", sa.BigInteger(), nullable=True),
        sa.Column("removed_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_smart_host")),
    )
    op.create_index("ix_smart_host_org", "smart_host", ["org", "id"], unique=False)
    op.create_index(
        "uq_smart_host_standing",
        "smart_host",
        ["org", "scope", "name"],
        unique=True,
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.drop_index("ix_delivery_job", "delivery")
    op.drop_index("ix_delivery_held", "delivery")
    _partial_index("ix_delivery_job", "delivery", ["org", "job", "state", "id"], "job <> ''")
    _partial_index("ix_delivery_held", "delivery", ["org", "held_by", "id"], "state = 'held'")
    in_flight = "state IN ('scheduled', 'held', 'queued', 'sending')"
    _partial_index("ix_delivery_by_state", "delivery", ["org", "state", "id"], in_flight)
    _partial_index("ix_delivery_deferred", "delivery", ["org", "id"], "state = 'queued' AND attempts > 0")
    not_just_sent = "state IN ('delivered', 'bounced', 'expired', 'failed', 'suppressed', 'cancelled')"
    _partial_index("ix_delivery_ended", "delivery", ["org", "state", "id"], not_just_sent)
    _partial_index("ix_delivery_by_destination", "delivery", ["org", "destination", "id"], in_flight)
    _partial_index("ix_delivery_by_sender", "delivery", ["org", "mail_from", "id"], in_flight)
    _partial_index("ix_delivery_by_sender_domain", "delivery", ["org", "sender_domain", "id"], in_flight)


def _partial_index(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, unique=False, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
