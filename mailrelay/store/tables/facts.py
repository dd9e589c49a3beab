"""What became of each mail, for records to be found by."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, PrimaryKeyConstraint, Table, Text

from mailrelay.store.tables.base import metadata, partial

_FACT_TIMES = (
    "sent received delivered bounced deferred failed scheduled last_opened last_clicked replied complained unsubscribed".split()  # noqa: SIM905
)
_FACT_REST = ["message", "delivery", "key", "opens", "first_opened_at", "clicks", "first_clicked_at"]
"""What else is asked of one record's mail."""


def _fact_index(name: str) -> Index:
    """The mail of a module by when that happened to it; the rest so that most questions are answered by the index alone."""
    columns = ("org", "module", f"{name}_at", "record", "flags", "author")
    return partial(f"ix_mail_fact_{name}", *columns, where=f"{name}_at IS NOT NULL")


mail_fact = Table(  # what became of each mail, by the records that it is on; made of the journal, and can be made again (K2)
    "mail_fact",
    metadata,
    Column("org", Text, nullable=False),
    Column("module", Text, nullable=False),
    Column("record", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("delivery", Text, nullable=False),  # "" of what came in, and of what somebody sent by other means
    Column("at", BigInteger, nullable=False),  # the mail's own time
    Column("key", Text, nullable=False),  # the link's: it shows while the record has this address
    Column("flags", Integer, nullable=False),  # what is true of it at all, see `store.mail_facts`
    Column("scheduled_at", BigInteger),
    Column("sent_at", BigInteger),
    Column("received_at", BigInteger),
    Column("delivered_at", BigInteger),  # a success notice said so
    Column("bounced_at", BigInteger),
    Column("deferred_at", BigInteger),
    Column("failed_at", BigInteger),
    Column("opens", Integer, nullable=False),
    Column("first_opened_at", BigInteger),
    Column("last_opened_at", BigInteger),
    Column("clicks", Integer, nullable=False),
    Column("first_clicked_at", BigInteger),
    Column("last_clicked_at", BigInteger),
    Column("replied_at", BigInteger),
    Column("complained_at", BigInteger),
    Column("unsubscribed_at", BigInteger),
    # Whose it is to see: the delivery's author, or a user whom the mail came to (a row for each); "": as the mail is.
    Column("author", Text, nullable=False),
    PrimaryKeyConstraint("org", "module", "record", "message", "delivery", "author"),
    Index("ix_mail_fact_message", "message", "delivery"),
    Index(
        "ix_mail_fact_record",
        *("org", "module", "record", "at", "flags", "author"),
        # PostgreSQL fetches each row before it asks even for its flags, unless all that may be asked is in the index.
        postgresql_include=[*_FACT_REST, *(f"{name}_at" for name in _FACT_TIMES)],
    ),
    Index("ix_mail_fact_author", "org", "module", "author", "record", "flags"),  # one person's mail, by record
    *(_fact_index(name) for name in _FACT_TIMES),
)

mail_fact_again = Table(  # records whose addresses are others now, so that the facts of their mail are made anew (K2)
    "mail_fact_again",
    metadata,
    Column("org", Text, nullable=False),
    Column("module", Text, nullable=False),
    Column("record", Text, nullable=False),
    Column("at", BigInteger, nullable=False),  # when they changed
    Column("after", Text, nullable=False, server_default=""),  # the last message that has been
    PrimaryKeyConstraint("org", "module", "record"),
)
