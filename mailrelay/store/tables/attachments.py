"""Files of records, and their contents."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from mailrelay.store.tables.base import metadata, partial

# Queries use these very words: SQLite takes a partial index only for the condition that it was made with.
ATTACHMENTS_WAITING = text("state = 'waiting'")
ATTACHMENTS_LEFT_OUT = text("state = 'full'")

record_attachment = Table(  # files of records: of the mail on them, or put there (I17)
    "record_attachment",
    metadata,
    Column("id", Text, primary_key=True),
    Column("org", Text, nullable=False),
    Column("module", Text, nullable=False),
    Column("record", Text, nullable=False),
    Column("message", Text, nullable=False),  # "" for one that was put there
    Column("part", Text, nullable=False),  # of the mail; of one that was put there its own id
    Column("name", Text, nullable=False),  # data, never a path (P04)
    Column("type", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("digest", Text, nullable=False),
    Column("place", Text, nullable=False),  # where its bytes are, or will be: folder or store
    Column("at", BigInteger, nullable=False),
    Column("by", Text, nullable=False),
    Column("state", Text, nullable=False),  # waiting, filed, full; removed
    Column("counted", Boolean, nullable=False),  # it holds its content, which cannot go meanwhile
    Column("due_at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("reason", Text, nullable=False),  # why it waits
    Column("removed_at", BigInteger),
    Column("removed_by", Text),
    # One row for a file of a mail on a record for ever: what somebody removed does not come back.
    UniqueConstraint("org", "module", "record", "message", "part"),
    Index("ix_record_attachment_record", "org", "module", "record", "id"),
    partial("ix_record_attachment_due", "due_at", "id", where=ATTACHMENTS_WAITING.text),
    partial("ix_record_attachment_waiting", "org", "at", where=ATTACHMENTS_WAITING.text),
    partial("ix_record_attachment_full", "org", "id", where=ATTACHMENTS_LEFT_OUT.text),
)

content = Table(  # the bytes of attachments, each once for an organisation, and how many hold them (I17)
    "content",
    metadata,
    Column("org", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("place", Text, nullable=False),
    Column("generation", Integer, nullable=False),  # part of its name, so that what is removed is never what came again
    Column("holders", Integer, nullable=False),
    Column("kept", Boolean, nullable=False),  # it is there
    PrimaryKeyConstraint("org", "digest"),
)

content_removal = Table(  # contents that nobody holds, to be taken away from where they are
    "content_removal",
    metadata,
    Column("place", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    PrimaryKeyConstraint("place", "name"),
    Index("ix_content_removal_due_at", "due_at"),
)

storage = Table(  # what an organisation's contents take, together
    "storage",
    metadata,
    Column("org", Text, primary_key=True),
    Column("used", BigInteger, nullable=False),
    Column("contents", BigInteger, nullable=False),
    Column("full_at", BigInteger),  # since when something is not filed for want of room
)
