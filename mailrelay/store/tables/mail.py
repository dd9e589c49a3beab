"""Mail that came or went: arrivals, messages and who is in them, where they are filed, and what people do with them."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from mailrelay.store.tables.base import Json, metadata, partial

# Queries use these very words: SQLite takes a partial index only for the condition that it was made with.
ARRIVALS_IN_FLIGHT = text("state IN ('accepted', 'working', 'unresolved')")

body = Table(  # small bodies, by digest; larger ones are files of the blob store
    "body",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

arrival = Table(
    "arrival",
    metadata,
    Column("id", Text, primary_key=True),
    Column("org", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("envelope", Json),
    Column("target", Json),
    Column("peer", Json),
    Column("digest", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("lease_node", Text),
    Column("lease_until", BigInteger),
    Column("fence", Integer, nullable=False, server_default="0"),
    Column("message", Text),
    Column("reason", Text, nullable=False, server_default=""),
    Column("failure", Text, nullable=False, server_default=""),  # traceback of our last failure on it
    Column("ended_at", BigInteger),
    Index("ix_arrival_org", "org", "id"),
    Index("ix_arrival_message", "message"),
    partial("ix_arrival_waiting", "due_at", where="state = 'accepted'"),
    partial("ix_arrival_working", "lease_until", where="state = 'working'"),
    partial("ix_arrival_in_flight", "channel", where=ARRIVALS_IN_FLIGHT.text),
)

message = Table(
    "message",
    metadata,
    Column("id", Text, primary_key=True),
    Column("org", Text, nullable=False),
    Column("direction", Text, nullable=False),
    Column("queue_id", Text, nullable=False),
    Column("message_id", Text, nullable=False),  # "" where the mail had none
    Column("digest", Text, nullable=False),  # of the content (I8), not of the bytes
    Column("raw_digest", Text, nullable=False),
    Column("raw_size", BigInteger, nullable=False),
    Column("subject", Text, nullable=False),
    Column("sent_at", BigInteger),
    Column("received_at", BigInteger, nullable=False),
    Column("parents", Json, nullable=False),
    Column("auth", Json),
    Column("part", Integer, nullable=False),
    Column("automatic", Text, nullable=False),
    Column("attachments", Json, nullable=False),
    Column("kind", Text, nullable=False, server_default="normal"),
    Column("reply", Text, nullable=False, server_default=""),  # I12: the new text of a reply-mail
    UniqueConstraint("org", "message_id", "digest"),
    Index("ix_message_org_received", "org", "received_at", "id"),
    Index("ix_message_raw", "raw_digest"),
)

participant = Table(
    "participant",
    metadata,
    Column("message", Text, ForeignKey("message.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("org", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("local", Text, nullable=False),
    Column("domain", Text, nullable=False),
    Column("name", Text, nullable=False),
    PrimaryKeyConstraint("message", "position"),
    Index("ix_participant_key", "org", "key"),
)

message_source = Table(  # every way by which a message reached us (I8)
    "message_source",
    metadata,
    Column("message", Text, ForeignKey("message.id"), nullable=False),
    Column("arrival", Text, nullable=False),
    Column("org", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("user", Text),
    Column("at", BigInteger, nullable=False),
    # The message's own, so that the newest mail of a few users is found without looking at that of all others (I16).
    Column("received_at", BigInteger, nullable=False, server_default="0"),
    PrimaryKeyConstraint("message", "arrival"),
    Index("ix_message_source_arrival", "arrival"),
    Index("ix_message_source_user", "org", "user", "received_at", "message"),
)

filing = Table(  # what the rules said, hits and misses, for each arrival of a message (I9)
    "filing",
    metadata,
    Column("message", Text, ForeignKey("message.id"), nullable=False),
    Column("arrival", Text, nullable=False),
    Column("org", Text, nullable=False),
    Column("decided_at", BigInteger, nullable=False),
    Column("disposition", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("explanation", Text, nullable=False),
    Column("findings", Json, nullable=False),
    PrimaryKeyConstraint("message", "arrival"),
)

link = Table(
    "link",
    metadata,
    Column("message", Text, ForeignKey("message.id"), nullable=False),
    Column("module", Text, nullable=False),
    Column("record", Text, nullable=False),
    Column("org", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("evidence", Json, nullable=False),
    Column("by", Text, nullable=False),  # "rule" or the user who did it
    Column("guess", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("removed_at", BigInteger),
    Column("removed_by", Text),
    Column(
        "key", Text, nullable=False, server_default=""
    ),  # of the record's address that made it, "" where none did (I16)
    Column(
        "secret", Text, nullable=False, server_default=""
    ),  # the arrival whose Bcc alone tells of it, "" is none (I16)
    PrimaryKeyConstraint("message", "module", "record"),
    Index("ix_link_record", "org", "module", "record", "message"),
)

unresolved = Table(
    "unresolved",
    metadata,
    Column("id", Text, primary_key=True),
    Column("org", Text, nullable=False),
    Column("arrival", Text, nullable=False),
    Column("message", Text),
    Column("user", Text),
    Column("reason", Text, nullable=False),
    Column("explanation", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("resolved_at", BigInteger),
    Column("resolved_by", Text),
    Column("resolution", Text, nullable=False, server_default=""),
    Index("ix_unresolved_arrival", "arrival"),
    partial("ix_unresolved_open", "org", "id", where="resolved_at IS NULL"),
)

note = Table(  # what a user writes down about a mail (I19)
    "note",
    metadata,
    Column("id", Text, primary_key=True),
    Column("org", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("ix_note_message", "message", "id"),
)

task = Table(  # a follow-up that a user asks the CRM for (I19)
    "task",
    metadata,
    Column("id", Text, primary_key=True),
    Column("org", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("due_at", BigInteger),
    Column("at", BigInteger, nullable=False),
    Index("ix_task_message", "message", "id"),
)

folder_wish = Table(  # where a user wants a mail in their own mailbox (I19)
    "folder_wish",
    metadata,
    Column("org", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("user", Text, nullable=False),
    Column("folder", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("message", "user"),
)
