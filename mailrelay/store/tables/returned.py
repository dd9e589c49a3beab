"""What comes back: reports, and automatic answers."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, PrimaryKeyConstraint, Table, Text

from mailrelay.store.tables.base import Json, metadata

feedback = Table(  # what a mail that came back says of each recipient (I10)
    "feedback",
    metadata,
    Column("message", Text, ForeignKey("message.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("org", Text, nullable=False),
    Column("arrival", Text, nullable=False),
    Column("delivery", Text),
    Column("kind", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("recipient_key", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("code", Integer),
    Column("diagnostic", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("category", Text, nullable=False),
    Column("hard", Boolean, nullable=False),
    Column("fault", Text, nullable=False),
    Column("tie", Text, nullable=False),
    Column("believed", Boolean, nullable=False),
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("message", "position"),
    Index("ix_feedback_delivery", "delivery"),
    Index("ix_feedback_recipient", "org", "recipient_key", "at"),
    Index("ix_feedback_org", "org", "at"),
)

absence = Table(  # I25: what an address's newest automatic reply says
    "absence",
    metadata,
    Column("org", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("until_at", BigInteger),  # the beginning of the first day back, where the organisation is
    Column("since_at", BigInteger),
    Column("gone", Boolean, nullable=False),
    Column("noted_at", BigInteger, nullable=False),
    Column("message", Text, nullable=False),
    Column("instead", Json, nullable=False),
    PrimaryKeyConstraint("org", "key"),
)

successor = Table(  # I25: who was proposed for whom, once, and by which entry of the unresolved list
    "successor",
    metadata,
    Column("org", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("instead", Text, nullable=False),  # the successor's address, by key
    Column("name", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("entry", Text, nullable=False),
    PrimaryKeyConstraint("org", "key", "instead"),
    Index("ix_successor_entry", "entry"),
)

answer = Table(  # automatic answers that were sent, so that nobody gets two within the window (RFC 3834 §2)
    "answer",
    metadata,
    Column("org", Text, nullable=False),
    Column("answerer", Text, nullable=False),  # key of the address that answers
    Column("key", Text, nullable=False),  # of the address that is answered
    Column("at", BigInteger, nullable=False),
    Column("message", Text, nullable=False),  # that was answered
    PrimaryKeyConstraint("org", "answerer", "key"),
    Index("ix_answer_at", "org", "at"),
)
