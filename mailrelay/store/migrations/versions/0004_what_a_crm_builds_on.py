"""What a CRM builds on: a journal by organisation, webhooks, tracking, sharing, mail by record (K2, K9, O9, O15, R6, I7 to I21)."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """Apply this step."""
    _api()
    _sharing()
    _journal()
    _notices()
    _hits()
    _consents()
    _unsubscribing()
    _places()
    _finding()
    _webhooks()
    _attachments()
    _erased()


def _api() -> None:
    """Requests that are done once however often they come, and tokens that end."""
    op.add_column("api_token", sa.Column("expires_at", sa.BigInteger(), nullable=True))
    op.add_column("api_token", sa.Column("used_at", sa.BigInteger(), nullable=True))
    op.create_table(
        "given_answer",
        *_texts("org", "by", "key", "request_sha256"),
        sa.Column("status", sa.Integer(), server_default="0", nullable=False),
        sa.Column("body", sa.Text(), server_default="", nullable=False),
        sa.Column("location", sa.Text(), server_default="", nullable=False),
        sa.Column("etag", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("org", "by", "key", name=op.f("pk_given_answer")),
    )
    op.create_index("ix_given_answer_created_at", "given_answer", ["created_at"])
    # Whose a key was, an earlier release did not keep: "" is nobody's.
    op.rename_table("idempotency", "idempotency_before")
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint("pk_idempotency", "idempotency_before")  # the new table's has its name
    op.create_table(
        "idempotency",
        *_texts("org", "key", "request_sha256", "queue_id"),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("by", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("org", "by", "key", name=op.f("pk_idempotency")),
    )
    op.execute(
        "INSERT INTO idempotency (org, key, request_sha256, queue_id, created_at)"
        " SELECT org, key, request_sha256, queue_id, created_at FROM idempotency_before"
    )
    op.drop_table("idempotency_before")


def _links_by_bcc() -> None:
    """Links that only a Bcc made, and what follows from them alone: an earlier release showed them with the mail."""
    link = sa.table("link", *map(sa.column, ("message", "module", "record", "by", "evidence", "secret")))
    message = sa.table("message", sa.column("id"), sa.column("queue_id"))
    bind = op.get_bind()
    says_so = sa.cast(link.c.evidence, sa.Text).like('%"Bcc"%')
    mails = sa.select(link.c.message).where(link.c.by == "rule", says_so).distinct()
    for (mail,) in bind.execute(mails).all():
        first = bind.execute(sa.select(message.c.queue_id).where(message.c.id == mail)).scalar()
        rows = bind.execute(sa.select(link).where(link.c.message == mail)).all()
        why = {f"{row.module}/{row.record}": _evidence(row.evidence) for row in rows if row.by == "rule"}
        secret = {name for name, said in why.items() if all(one["header"] == "Bcc" for one in said)}
        secret |= {name for name, said in why.items() if said and all(one["value"] in secret for one in said)}
        for row in rows:
            if f"{row.module}/{row.record}" in secret:
                place = (link.c.message == mail, link.c.module == row.module, link.c.record == row.record)
                bind.execute(link.update().where(*place).values(secret=first))


def _evidence(kept: object) -> list[dict[str, str]]:
    return json.loads(kept) if isinstance(kept, str) else kept  # type: ignore[return-value]


def _journal() -> None:
    """Events are numbered for each organisation, without a gap; those that there are too, in the order that they have (K9)."""
    for name in ("org", "message", "queue_id"):
        op.drop_index(f"ix_event_{name}", table_name="event")
    op.rename_table("event", "event_before")
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint("pk_event", "event_before")  # the new table's has its name
    op.create_table(
        "event",
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("queue_id", sa.Text(), server_default="", nullable=False),
        sa.Column("message", sa.Text(), server_default="", nullable=False),
        sa.Column("delivery", sa.Text(), server_default="", nullable=False),
        sa.Column("data", _JSON, nullable=False),
        sa.Column("user", sa.Text(), server_default="", nullable=False),
        sa.Column("record", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("org", "seq", name=op.f("pk_event")),
    )
    op.execute(
        "INSERT INTO event (org, seq, at, type, queue_id, message, delivery, data)"
        " SELECT org, row_number() OVER (PARTITION BY org ORDER BY seq), at, type, queue_id, message, delivery, data"
        " FROM event_before"
    )
    op.drop_table("event_before")
    op.create_index("ix_event_message", "event", ["message", "seq"])
    op.create_index("ix_event_queue_id", "event", ["queue_id", "seq"])
    _partial_index("ix_event_user", "event", ["org", "user", "seq"], "\"user\" <> ''")
    _partial_index("ix_event_record", "event", ["org", "record", "seq"], "record <> ''")
    op.create_table(
        "event_counter",
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("org", name=op.f("pk_event_counter")),
    )
    op.execute("INSERT INTO event_counter (org, last) SELECT org, max(seq) FROM event GROUP BY org")
    op.create_table(
        "follower",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", "org", name=op.f("pk_follower")),
    )


def _notices() -> None:
    """What users read of their notices, and what they do about a mail (I19)."""
    op.create_table(
        "notice_read",
        *_texts("org", "user"),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("org", "user", "seq", name=op.f("pk_notice_read")),
    )
    op.create_table(
        "note",
        *_texts("id", "org", "message", "by", "text"),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_note")),
    )
    op.create_index("ix_note_message", "note", ["message", "id"])
    op.create_table(
        "task",
        *_texts("id", "org", "message", "by", "text"),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task")),
    )
    op.create_index("ix_task_message", "task", ["message", "id"])
    op.create_table(
        "folder_wish",
        *_texts("org", "message", "user", "folder", "by"),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("message", "user", name=op.f("pk_folder_wish")),
    )


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
    _partial_index("ix_hit_with_signal", "hit", ["org", "at"], "method <> ''")
    op.create_table("hit_batch", *_texts("id"), sa.PrimaryKeyConstraint("id", name=op.f("pk_hit_batch")))
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
        sa.Column("start", sa.Text(), sa.Computed("substr(lower(url), 1, 200)", persisted=True)),
        sa.PrimaryKeyConstraint("delivery", "link", name=op.f("pk_link_hit")),
    )
    op.create_index("ix_link_hit_message", "link_hit", ["message"])
    op.create_index("ix_link_hit_start", "link_hit", ["org", "start", "message", "delivery"])
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


def _consents() -> None:
    """What persons said to individual tracking, and what became of each copy (O9)."""
    op.add_column("delivery", sa.Column("tracking", sa.Text(), server_default="", nullable=False))
    op.add_column("delivery", sa.Column("tracked", sa.Text(), server_default="", nullable=False))
    op.create_table(
        "consent",
        *_texts("org", "key"),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("given", sa.Boolean(), nullable=False),
        *_texts("by", "evidence"),
        sa.PrimaryKeyConstraint("org", "key", "at", name=op.f("pk_consent")),
    )


def _unsubscribing() -> None:
    """Mailing lists, and who wants no more of one (O15)."""
    op.add_column("delivery", sa.Column("list", sa.Text(), server_default="", nullable=False))
    # Earlier releases did not note when a success notice came; there the time of the handover stands for it.
    op.add_column("delivery", sa.Column("delivered_at", sa.BigInteger()))
    op.execute("UPDATE delivery SET delivered_at = ended_at WHERE state = 'delivered'")
    op.add_column("suppression", sa.Column("list", sa.Text(), server_default="", nullable=False))
    op.drop_index("uq_suppression_standing", table_name="suppression")
    standing, columns = "lifted_at IS NULL", ["org", "key", "reason", "list"]
    _partial_index("uq_suppression_standing", "suppression", columns, standing, unique=True)
    _partial_index("ix_suppression_list", "suppression", ["org", "list", "key", "since"], "list <> ''")
    op.create_table(
        "mailing_list",
        *_texts("org", "name", "label", "description"),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("org", "name", name=op.f("pk_mailing_list")),
    )


def _sharing() -> None:
    """Who may see whose mail (I16)."""
    op.add_column("mail_user", sa.Column("sharing", sa.Text(), server_default="", nullable=False))
    op.add_column("link", sa.Column("key", sa.Text(), server_default="", nullable=False))
    op.add_column("link", sa.Column("secret", sa.Text(), server_default="", nullable=False))
    _links_by_bcc()
    op.add_column("message_source", sa.Column("received_at", sa.BigInteger(), server_default="0", nullable=False))
    op.execute(
        "UPDATE message_source SET received_at ="
        " (SELECT message.received_at FROM message WHERE message.id = message_source.message)"
    )
    op.drop_index("ix_message_source_user", table_name="message_source")
    op.create_index("ix_message_source_user", "message_source", ["org", "user", "received_at", "message"])
    # Whose returned mail it is: whoever sent what came back. An earlier release left that open, as if it were everybody's.
    op.execute(
        """UPDATE message_source SET "user" = (SELECT nullif(delivery.author, '') FROM feedback"""
        " JOIN delivery ON delivery.id = feedback.delivery WHERE feedback.message = message_source.message"
        """ ORDER BY feedback.position LIMIT 1) WHERE "user" IS NULL AND channel = 'bounce'"""
    )
    op.create_table(
        "shared_record",
        *_texts("org", "user", "module", "record"),
        sa.ForeignKeyConstraint(["user"], ["mail_user.id"], name=op.f("fk_shared_record_user")),
        sa.PrimaryKeyConstraint("org", "user", "module", "record", name=op.f("pk_shared_record")),
    )
    op.create_table(
        "unshared_domain",
        *_texts("org", "user", "domain"),
        sa.ForeignKeyConstraint(["org"], ["organisation.id"], name=op.f("fk_unshared_domain_org")),
        sa.PrimaryKeyConstraint("org", "user", "domain", name=op.f("pk_unshared_domain")),
    )


def _places() -> None:
    """Shared addresses, addresses of one record, and who writes to secret ones (I13, I21)."""
    op.create_table(
        "organisation_address",
        *_texts("id", "org", "key", "address", "domain", "name"),
        sa.Column("settings", _JSON, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        *_texts("created_by"),
        *_times("removed_at"),
        sa.Column("removed_by", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organisation_address")),
    )
    op.create_index("ix_organisation_address_org", "organisation_address", ["org", "id"])
    standing = "removed_at IS NULL"
    _partial_index("ix_organisation_address_domain", "organisation_address", ["domain"], standing)
    _partial_index("uq_organisation_address_standing", "organisation_address", ["key"], standing, unique=True)
    op.create_table(
        "filing_address",
        *_texts("org"),
        sa.Column("number", sa.Integer(), nullable=False),
        *_texts("module", "record"),
        *_times("until"),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        *_texts("created_by"),
        *_times("valid_until"),
        sa.Column("ended_by", sa.Text(), server_default="", nullable=False),
        *_times("ended_at"),
        sa.PrimaryKeyConstraint("org", "number", name=op.f("pk_filing_address")),
    )
    op.create_index("ix_filing_address_record", "filing_address", ["org", "module", "record", "number"])
    _partial_index("ix_filing_address_ended", "filing_address", ["ended_at"], "ended_at IS NOT NULL")
    op.create_table(
        "address_use",
        *_texts("org", "place", "key", "address"),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("first_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("org", "place", "key", name=op.f("pk_address_use")),
    )


def _finding() -> None:
    """Records are found by their fields and their mail (K2); what is there already is read by the service at its first start."""
    op.add_column("module", sa.Column("fields", _JSON, server_default="[]", nullable=False))
    amount, day = '{"name": "amount", "type": "number"}', '{"name": "%s", "type": "date", "aliases": ["%s", "%s"]}'
    for module, fields in {
        "deal": f'[{{"name": "stage", "type": "text"}}, {amount}, {day % ("closing_date", "closing", "closes")}]',
        "quote": f'[{{"name": "stage", "type": "text"}}, {amount}, {day % ("valid_until", "expires", "expiring")}]',
        "invoice": f'[{{"name": "status", "type": "text"}}, {amount}, {day % ("due_date", "due", "falling_due")}]',
        "sales_order": f'[{{"name": "status", "type": "text"}}, {amount}, {day % ("due_date", "due", "falling_due")}]',
        "purchase_order": f'[{{"name": "status", "type": "text"}}, {amount}, {day % ("due_date", "due", "falling_due")}]',
        "lead": '[{"name": "status", "type": "text"}, {"name": "company", "type": "text"}, {"name": "phone", "type": "text"}]',
        "contact": '[{"name": "title", "type": "text"}, {"name": "phone", "type": "text"}]',
        "account": '[{"name": "industry", "type": "text"}, {"name": "phone", "type": "text"}]',
        "vendor": '[{"name": "category", "type": "text"}, {"name": "phone", "type": "text"}]',
    }.items():
        table = sa.table("module", sa.column("name"), sa.column("custom"), sa.column("fields", _JSON))
        standard = sa.update(table).where(table.c.name == module, ~table.c.custom.cast(sa.Boolean))
        op.execute(standard.values(fields=json.loads(fields)))
    op.create_index("ix_record_owner", "record", ["org", "module", "owner", "id"])
    op.create_table(
        "record_field",
        *_texts("org", "module", "record", "field"),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("start", sa.Text(), nullable=True),
        sa.Column("number", sa.Double(), nullable=True),
        *_times("time"),
        sa.PrimaryKeyConstraint("org", "module", "record", "field", name=op.f("pk_record_field")),
    )
    for name in ("start", "number", "time"):
        columns = ["org", "module", "field", name, "record"]
        _partial_index(f"ix_record_field_{name}", "record_field", columns, f"{name} IS NOT NULL")
    columns = ["org", "module", "field", "record", "start"]
    _partial_index("ix_record_field_value", "record_field", columns, "start IS NOT NULL")
    op.create_table(
        "mail_fact_again",
        *_texts("org", "module", "record"),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("after", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("org", "module", "record", name=op.f("pk_mail_fact_again")),
    )
    op.create_table(
        "mail_fact",
        *_texts("org", "module", "record", "message", "delivery"),
        sa.Column("at", sa.BigInteger(), nullable=False),
        *_texts("key"),
        sa.Column("flags", sa.Integer(), nullable=False),
        *_times("scheduled_at", "sent_at", "received_at", "delivered_at", "bounced_at", "deferred_at", "failed_at"),
        sa.Column("opens", sa.Integer(), nullable=False),
        *_times("first_opened_at", "last_opened_at"),
        sa.Column("clicks", sa.Integer(), nullable=False),
        *_times("first_clicked_at", "last_clicked_at", "replied_at", "complained_at", "unsubscribed_at"),
        *_texts("author"),
        sa.PrimaryKeyConstraint("org", "module", "record", "message", "delivery", "author", name=op.f("pk_mail_fact")),
    )
    op.create_index("ix_mail_fact_author", "mail_fact", ["org", "module", "author", "record", "flags"])
    op.create_index("ix_mail_fact_message", "mail_fact", ["message", "delivery"])
    words = "sent received delivered bounced deferred failed scheduled last_opened last_clicked replied complained unsubscribed"
    columns = ["org", "module", "record", "at", "flags", "author"]
    asked = ["message", "delivery", "key", "opens", "first_opened_at", "clicks", "first_clicked_at"]
    asked += [f"{name}_at" for name in words.split()]
    op.create_index("ix_mail_fact_record", "mail_fact", columns, postgresql_include=asked)
    for name in words.split():
        columns = ["org", "module", f"{name}_at", "record", "flags", "author"]
        _partial_index(f"ix_mail_fact_{name}", "mail_fact", columns, f"{name}_at IS NOT NULL")


def _texts(*names: str) -> tuple[sa.Column[str], ...]:
    return tuple(sa.Column(name, sa.Text(), nullable=False) for name in names)


def _counts(*names: str) -> tuple[sa.Column[int], ...]:
    return tuple(sa.Column(name, sa.Integer(), server_default="0", nullable=False) for name in names)


def _times(*names: str) -> tuple[sa.Column[int], ...]:
    return tuple(sa.Column(name, sa.BigInteger(), nullable=True) for name in names)


def _webhooks() -> None:
    """Where events are sent, and each on its way (R6)."""
    op.create_table(
        "webhook",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("user", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("types", _JSON, nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("secrets", sa.Text(), nullable=False),
        sa.Column("before_until", sa.BigInteger(), nullable=True),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("because", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("removed_at", sa.BigInteger(), nullable=True),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("waiting", sa.Integer(), nullable=False),
        sa.Column("wake_at", sa.BigInteger(), nullable=True),
        sa.Column("paused_until", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failing_since", sa.BigInteger(), nullable=True),
        sa.Column("succeeded_at", sa.BigInteger(), nullable=True),
        sa.Column("failed_at", sa.BigInteger(), nullable=True),
        sa.Column("failure", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook")),
    )
    op.create_index("ix_webhook_org", "webhook", ["org", "id"])
    _partial_index("ix_webhook_token", "webhook", ["token"], "token <> '' AND removed_at IS NULL")
    _partial_index("ix_webhook_awake", "webhook", ["wake_at", "org"], "active AND removed_at IS NULL")
    op.create_table(
        "webhook_call",
        sa.Column("webhook", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("chain", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("queued_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("failure", sa.Text(), nullable=False),
        sa.Column("said", sa.Text(), nullable=False),
        sa.Column("lease_node", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("again", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("webhook", "seq", name=op.f("pk_webhook_call")),
    )
    left = "state IN ('behind', 'waiting', 'calling')"
    _partial_index("ix_webhook_call_due", "webhook_call", ["webhook", "due_at"], "state = 'waiting'")
    _partial_index("ix_webhook_call_chain", "webhook_call", ["webhook", "chain", "seq"], left)
    _partial_index("ix_webhook_call_oldest", "webhook_call", ["queued_at"], left)
    _partial_index("ix_webhook_call_lease", "webhook_call", ["lease_until", "lease_node"], "state = 'calling'")
    op.create_index("ix_webhook_call_state", "webhook_call", ["webhook", "state", "seq"])
    op.create_index("ix_webhook_call_ended_at", "webhook_call", ["ended_at"])


def _attachments() -> None:
    """Files of records, their contents, and what these take (I17)."""
    op.create_table(
        "record_attachment",
        *_texts("id", "org", "module", "record", "message", "part", "name", "type"),
        sa.Column("size", sa.BigInteger(), nullable=False),
        *_texts("digest", "place"),
        sa.Column("at", sa.BigInteger(), nullable=False),
        *_texts("by", "state"),
        sa.Column("counted", sa.Boolean(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        *_texts("reason"),
        *_times("removed_at"),
        sa.Column("removed_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_record_attachment")),
        sa.UniqueConstraint(
            "org",
            "module",
            "record",
            "message",
            "part",
            name=op.f("uq_record_attachment_org_module_record_message_part"),
        ),
    )
    op.create_index("ix_record_attachment_record", "record_attachment", ["org", "module", "record", "id"])
    _partial_index("ix_record_attachment_due", "record_attachment", ["due_at", "id"], "state = 'waiting'")
    _partial_index("ix_record_attachment_waiting", "record_attachment", ["org", "at"], "state = 'waiting'")
    _partial_index("ix_record_attachment_full", "record_attachment", ["org", "id"], "state = 'full'")
    op.create_table(
        "content",
        *_texts("org", "digest"),
        sa.Column("size", sa.BigInteger(), nullable=False),
        *_texts("place"),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("holders", sa.Integer(), nullable=False),
        sa.Column("kept", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("org", "digest", name=op.f("pk_content")),
    )
    op.create_table(
        "content_removal",
        *_texts("place", "name"),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("place", "name", name=op.f("pk_content_removal")),
    )
    op.create_index("ix_content_removal_due_at", "content_removal", ["due_at"])
    op.create_table(
        "storage",
        *_texts("org"),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.Column("contents", sa.BigInteger(), nullable=False),
        *_times("full_at"),
        sa.PrimaryKeyConstraint("org", name=op.f("pk_storage")),
    )


def _erased() -> None:
    """Persons who were erased, by the hash of their address (T13)."""
    op.create_table(
        "erased",
        *_texts("org", "key"),
        sa.Column("at", sa.BigInteger(), nullable=False),
        *_texts("by"),
        sa.PrimaryKeyConstraint("org", "key", name=op.f("pk_erased")),
    )


def _partial_index(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    """An index over the rows that meet a condition."""
    op.create_index(name, table, columns, unique=unique, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
