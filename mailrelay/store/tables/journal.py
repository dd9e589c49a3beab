"""The journal, and who follows it: notices and webhooks."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, PrimaryKeyConstraint, Table, Text, text

from mailrelay.store.tables.base import Json, metadata, partial

# Queries use these very words: SQLite takes a partial index only for the condition that it was made with.
CALLS_WAITING = text("state = 'waiting'")
CALLS_UNDER_WAY = text("state = 'calling'")
CALLS_LEFT = text("state IN ('behind', 'waiting', 'calling')")
WEBHOOKS_AWAKE = text("active AND removed_at IS NULL")
EVENTS_OF_USERS = text("\"user\" <> ''")
EVENTS_OF_RECORDS = text("record <> ''")

event = (
    Table(  # the journal: numbered for each organisation, without a gap, in the order in which transactions end (K9)
        "event",
        metadata,
        Column("org", Text, nullable=False),
        Column("seq", BigInteger, nullable=False),
        Column("at", BigInteger, nullable=False),
        Column("type", Text, nullable=False),
        Column("queue_id", Text, nullable=False, server_default=""),
        Column("message", Text, nullable=False, server_default=""),
        Column("delivery", Text, nullable=False, server_default=""),
        Column("data", Json, nullable=False),
        Column("user", Text, nullable=False, server_default=""),  # whose notice it is, "" nobody's (I19)
        Column("record", Text, nullable=False, server_default=""),  # such as contact/17, where it is about one
        PrimaryKeyConstraint("org", "seq"),
        Index("ix_event_message", "message", "seq"),
        Index("ix_event_queue_id", "queue_id", "seq"),
        partial("ix_event_user", "org", "user", "seq", where=EVENTS_OF_USERS.text),
        partial("ix_event_record", "org", "record", "seq", where=EVENTS_OF_RECORDS.text),
    )
)

event_counter = Table(  # the number of an organisation's newest event
    "event_counter",
    metadata,
    Column("org", Text, primary_key=True),
    Column("last", BigInteger, nullable=False),
)

follower = Table(  # how far a reader of the journal has come: webhooks, the projection of mail facts
    "follower",
    metadata,
    Column("name", Text, nullable=False),
    Column("org", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    PrimaryKeyConstraint("name", "org"),
)

notice_read = Table(  # of a user's notices, one by one; those up to a number are in `follower` (I19)
    "notice_read",
    metadata,
    Column("org", Text, nullable=False),
    Column("user", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    PrimaryKeyConstraint("org", "user", "seq"),
)

webhook = Table(  # where an organisation's events are sent, and how far in the journal that is (R6)
    "webhook",
    metadata,
    Column("id", Text, primary_key=True),
    Column("org", Text, nullable=False),
    Column("user", Text, nullable=False),  # whose notices it gets alone; "" every event
    Column("url", Text, nullable=False),
    Column("types", Json, nullable=False),  # of events; none is all
    Column("description", Text, nullable=False),
    Column("secrets", Text, nullable=False),  # sealed; "" once it is removed
    Column("before_until", BigInteger),  # until when the secret before signs as well
    Column("active", Boolean, nullable=False),
    Column("because", Text, nullable=False),  # why it is not active
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    Column("removed_at", BigInteger),
    Column("seq", BigInteger, nullable=False),  # the last event that was looked at for it
    Column("waiting", Integer, nullable=False),  # its calls that have not ended
    Column("wake_at", BigInteger),  # when its next call is due; none is never
    Column("paused_until", BigInteger, nullable=False),  # its receiver asked for it, or took nothing for a while
    Column("failures", Integer, nullable=False),  # in a row
    Column("failing_since", BigInteger),
    Column("succeeded_at", BigInteger),
    Column("failed_at", BigInteger),
    Column("failure", Text, nullable=False),  # what went wrong the last time
    Column("token", Text, nullable=False),  # that answers for it: while it is valid; "" where the operator does
    Index("ix_webhook_org", "org", "id"),
    partial("ix_webhook_token", "token", where="token <> '' AND removed_at IS NULL"),
    partial("ix_webhook_awake", "wake_at", "org", where=WEBHOOKS_AWAKE.text),
)

webhook_call = Table(  # one event on its way to one webhook
    "webhook_call",
    metadata,
    Column("webhook", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("org", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("chain", Text, nullable=False),  # those of a chain go one after the other
    Column("state", Text, nullable=False),  # behind (another of its chain), waiting, calling; taken or dead
    Column("queued_at", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("status", Integer, nullable=False),  # of the last answer; 0 where there was none
    Column("failure", Text, nullable=False),
    Column("said", Text, nullable=False),  # the beginning of the last answer that was no success
    Column("lease_node", Text),
    Column("lease_until", BigInteger),
    Column("fence", Integer, nullable=False),
    Column("ended_at", BigInteger),
    Column("again", Boolean, nullable=False),  # while calling: to be called once more when that has ended
    PrimaryKeyConstraint("webhook", "seq"),
    partial("ix_webhook_call_due", "webhook", "due_at", where=CALLS_WAITING.text),
    partial("ix_webhook_call_chain", "webhook", "chain", "seq", where=CALLS_LEFT.text),
    partial("ix_webhook_call_oldest", "queued_at", where=CALLS_LEFT.text),
    partial("ix_webhook_call_lease", "lease_until", "lease_node", where=CALLS_UNDER_WAY.text),
    Index("ix_webhook_call_state", "webhook", "state", "seq"),
    Index("ix_webhook_call_ended_at", "ended_at"),
)
