"""What comes back: judged, counted, acted on (I10 to I12, O10, O17, O18)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_SENDER_DOMAIN = {  # what follows the last @
    "sqlite": "substr(mail_from, length(rtrim(mail_from, replace(mail_from, '@', ''))) + 1)",
    "postgresql": "substring(mail_from from '[^@]*$')",
}


def upgrade() -> None:
    """Apply this step."""
    op.create_table(
        "absence",
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("until_at", sa.BigInteger(), nullable=True),
        sa.Column("since_at", sa.BigInteger(), nullable=True),
        sa.Column("gone", sa.Boolean(), nullable=False),
        sa.Column("noted_at", sa.BigInteger(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("instead", _JSON, nullable=False),
        sa.PrimaryKeyConstraint("org", "key", name=op.f("pk_absence")),
    )
    op.create_table(
        "successor",
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("instead", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("entry", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("org", "key", "instead", name=op.f("pk_successor")),
    )
    op.create_index("ix_successor_entry", "successor", ["entry"], unique=False)
    op.create_table(
        "answer",
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("answerer", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("org", "answerer", "key", name=op.f("pk_answer")),
    )
    op.create_index("ix_answer_at", "answer", ["org", "at"], unique=False)
    op.create_table(
        "relay_id",
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("delivery", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("org", "name", "delivery", name=op.f("pk_relay_id")),
    )
    op.create_index("ix_relay_id_delivery", "relay_id", ["delivery"], unique=False)
    op.create_table(
        "suspension",
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("resumed_at", sa.BigInteger(), nullable=True),
        sa.Column("resumed_by", sa.Text(), nullable=True),
        sa.Column("before", _JSON, nullable=True),
        sa.PrimaryKeyConstraint("org", "scope", "name", "since", name=op.f("pk_suspension")),
    )
    op.create_index(
        "ix_suspension_standing",
        "suspension",
        ["org", "scope", "name"],
        unique=False,
        sqlite_where=sa.text("resumed_at IS NULL"),
        postgresql_where=sa.text("resumed_at IS NULL"),
    )
    op.create_table(
        "tally",
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("sent", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("refused", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("hard", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("soft", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("complaints", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("unsubscribed", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("org", "scope", "name", "domain", "day", name=op.f("pk_tally")),
    )
    op.create_table(
        "tally_before",
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("sent", sa.BigInteger(), nullable=False),
        sa.Column("refused", sa.BigInteger(), nullable=False),
        sa.Column("hard", sa.BigInteger(), nullable=False),
        sa.Column("soft", sa.BigInteger(), nullable=False),
        sa.Column("complaints", sa.BigInteger(), nullable=False),
        sa.Column("unsubscribed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("org", "domain", "job", "day", name=op.f("pk_tally_before")),
    )
    op.create_table(
        "former_address",
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("module", sa.Text(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("org", "key", "module", "record", name=op.f("pk_former_address")),
    )
    op.create_index("ix_former_address_record", "former_address", ["org", "module", "record"], unique=False)
    op.create_table(
        "unsubscription",
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("org", "key", "scope", "name", name=op.f("pk_unsubscription")),
    )
    op.create_table(
        "warning",
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("measure", sa.Text(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("org", "scope", "name", "measure", "day", name=op.f("pk_warning")),
    )
    op.create_table(
        "feedback",
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("arrival", sa.Text(), nullable=False),
        sa.Column("delivery", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("recipient_key", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("code", sa.Integer(), nullable=True),
        sa.Column("diagnostic", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("hard", sa.Boolean(), nullable=False),
        sa.Column("fault", sa.Text(), nullable=False),
        sa.Column("tie", sa.Text(), nullable=False),
        sa.Column("believed", sa.Boolean(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["message"], ["message.id"], name=op.f("fk_feedback_message")),
        sa.PrimaryKeyConstraint("message", "position", name=op.f("pk_feedback")),
    )
    op.create_index("ix_feedback_delivery", "feedback", ["delivery"], unique=False)
    op.create_index("ix_feedback_org", "feedback", ["org", "at"], unique=False)
    op.create_index("ix_feedback_recipient", "feedback", ["org", "recipient_key", "at"], unique=False)
    op.add_column("delivery", sa.Column("job", sa.Text(), server_default="", nullable=False))
    op.add_column("delivery", sa.Column("sender_domain", sa.Text(), server_default="", nullable=False))
    op.add_column("delivery", sa.Column("held_by", sa.Text(), server_default="", nullable=False))
    op.add_column("delivery", sa.Column("held_at", sa.BigInteger(), nullable=True))
    op.add_column("delivery", sa.Column("category", sa.Text(), server_default="", nullable=False))
    op.add_column("delivery", sa.Column("hard", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("delivery", sa.Column("fault", sa.Text(), server_default="", nullable=False))
    op.add_column("delivery", sa.Column("replied_at", sa.BigInteger(), nullable=True))
    op.add_column("delivery", sa.Column("complained_at", sa.BigInteger(), nullable=True))
    op.add_column("delivery", sa.Column("reported", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("delivery", sa.Column("notice", sa.Text(), server_default="", nullable=False))
    op.add_column("delivery", sa.Column("noticed", sa.Text(), server_default="", nullable=False))
    op.create_index(
        "ix_delivery_blamed",
        "delivery",
        ["org", "ended_at"],
        unique=False,
        sqlite_where=sa.text("fault = 'sender'"),
        postgresql_where=sa.text("fault = 'sender'"),
    )
    op.create_index(
        "ix_delivery_held",
        "delivery",
        ["org", "held_by"],
        unique=False,
        sqlite_where=sa.text("state = 'held'"),
        postgresql_where=sa.text("state = 'held'"),
    )
    untold = "state = 'held' AND job = '' AND notice = '' AND noticed = ''"
    op.create_index(
        "ix_delivery_held_untold",
        "delivery",
        ["created_at", "id"],
        unique=False,
        sqlite_where=sa.text(untold),
        postgresql_where=sa.text(untold),
    )
    op.create_index(
        "ix_delivery_job",
        "delivery",
        ["org", "job", "state"],
        unique=False,
        sqlite_where=sa.text("job <> ''"),
        postgresql_where=sa.text("job <> ''"),
    )
    op.create_index(
        "ix_delivery_lost",
        "delivery",
        ["org", "recipient_key", "ended_at"],
        unique=False,
        sqlite_where=sa.text("state IN ('bounced', 'expired')"),
        postgresql_where=sa.text("state IN ('bounced', 'expired')"),
    )
    op.create_index(
        "ix_delivery_notice",
        "delivery",
        ["queue_id"],
        unique=False,
        sqlite_where=sa.text("notice <> ''"),
        postgresql_where=sa.text("notice <> ''"),
    )
    op.create_index("ix_delivery_recipient", "delivery", ["org", "recipient_key", "id"], unique=False)
    op.add_column("message", sa.Column("kind", sa.Text(), server_default="normal", nullable=False))
    op.add_column("message", sa.Column("reply", sa.Text(), server_default="", nullable=False))
    op.add_column("suppression", sa.Column("by", sa.Text(), server_default="", nullable=False))
    op.add_column("suppression", sa.Column("note", sa.Text(), server_default="", nullable=False))
    # Two nodes at once could write one reason down twice; what follows lets no more than one stand.
    op.execute(
        "UPDATE suppression SET lifted_at = since, lifted_by = 'upgrade', note = 'it was there twice'"
        " WHERE lifted_at IS NULL AND EXISTS (SELECT 1 FROM suppression AS one WHERE one.org = suppression.org"
        " AND one.key = suppression.key AND one.reason = suppression.reason AND one.lifted_at IS NULL"
        " AND one.since < suppression.since)"
    )
    op.create_index(
        "uq_suppression_standing",
        "suppression",
        ["org", "key", "reason"],
        unique=True,
        sqlite_where=sa.text("lifted_at IS NULL"),
        postgresql_where=sa.text("lifted_at IS NULL"),
    )
    # What waits already can be held like what comes.
    domain = _SENDER_DOMAIN[op.get_bind().dialect.name]
    op.execute(
        f"UPDATE delivery SET sender_domain = {domain} WHERE mail_from IS NOT NULL"  # noqa: S608 (words of our own)
        " AND state IN ('scheduled', 'held', 'queued', 'sending')"
    )
