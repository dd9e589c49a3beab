"""Who gets no mail, and what is held: suppressions, unsubscriptions, consents, and the brakes."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Integer, PrimaryKeyConstraint, Table, Text

from mailrelay.store.tables.base import Json, metadata, partial

suppression = Table(
    "suppression",
    metadata,
    Column("org", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("by", Text, nullable=False, server_default=""),  # the user who did it, or what did: a delivery, a report
    Column("lifted_at", BigInteger),
    Column("lifted_by", Text),
    Column("note", Text, nullable=False, server_default=""),  # why it was lifted
    Column("list", Text, nullable=False, server_default=""),  # "": all mail; else mass mail of this list only (O15)
    PrimaryKeyConstraint("org", "key", "since"),
    partial("ix_suppression_holding", "org", "key", where="lifted_at IS NULL"),
    partial("uq_suppression_standing", "org", "key", "reason", "list", where="lifted_at IS NULL", unique=True),
    partial("ix_suppression_list", "org", "list", "key", "since", where="list <> ''"),
)

unsubscription = Table(  # who was counted as leaving what, so that nobody is counted twice (O18)
    "unsubscription",
    metadata,
    Column("org", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("org", "key", "scope", "name"),
)

mailing_list = Table(  # O15: what people can unsubscribe from one by one
    "mailing_list",
    metadata,
    Column("org", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("org", "name"),
)

consent = Table(  # O9: what persons said to individual tracking; the newest holds, all are kept as proof
    "consent",
    metadata,
    Column("org", Text, nullable=False),
    Column("key", Text, nullable=False),  # of the address
    Column("at", BigInteger, nullable=False),
    Column("given", Boolean, nullable=False),
    Column("by", Text, nullable=False),  # who recorded it
    Column("evidence", Text, nullable=False),  # which text, where and how
    PrimaryKeyConstraint("org", "key", "at"),
)

erased = Table(  # T13: persons who were erased, by the hash of their address
    "erased",
    metadata,
    Column("org", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("at", BigInteger, nullable=False),  # nothing that is done with mail of before is recorded
    Column("by", Text, nullable=False),
    PrimaryKeyConstraint("org", "key"),
)

suspension = Table(  # a job or a sending domain whose mail is held until somebody resumes it (O17, O18)
    "suspension",
    metadata,
    Column("org", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("resumed_at", BigInteger),
    Column("resumed_by", Text),
    Column("before", Json),  # what its tally said of the day of its resumption until then, which no brake counts again
    PrimaryKeyConstraint("org", "scope", "name", "since"),
    partial("ix_suspension_standing", "org", "scope", "name", where="resumed_at IS NULL"),
)

tally = Table(  # what became of the mail of a job or a sending domain, by day (O18)
    "tally",
    metadata,
    Column("org", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("domain", Text, nullable=False),  # of a job: the domain that counts the same once more, or ""
    Column("day", Integer, nullable=False),  # days since 1970, UTC
    Column("since", BigInteger, nullable=False),  # when it was begun: what was sent before is not in it
    Column("sent", BigInteger, nullable=False, server_default="0"),
    Column("refused", BigInteger, nullable=False, server_default="0"),  # of the bounces, those that were never sent
    Column("hard", BigInteger, nullable=False, server_default="0"),
    Column("soft", BigInteger, nullable=False, server_default="0"),
    Column("complaints", BigInteger, nullable=False, server_default="0"),
    Column("unsubscribed", BigInteger, nullable=False, server_default="0"),
    PrimaryKeyConstraint("org", "scope", "name", "domain", "day"),
)

tally_before = Table(  # what a job's tally with a domain said of the day of the domain's last resumption until then
    "tally_before",
    metadata,
    Column("org", Text, nullable=False),
    Column("domain", Text, nullable=False),
    Column("job", Text, nullable=False),
    Column("day", Integer, nullable=False),
    Column("sent", BigInteger, nullable=False),
    Column("refused", BigInteger, nullable=False),
    Column("hard", BigInteger, nullable=False),
    Column("soft", BigInteger, nullable=False),
    Column("complaints", BigInteger, nullable=False),
    Column("unsubscribed", BigInteger, nullable=False),
    PrimaryKeyConstraint("org", "domain", "job", "day"),
)

warning = Table(  # brakes that were said to be near, so that it is said once a day (O18)
    "warning",
    metadata,
    Column("org", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("measure", Text, nullable=False),
    Column("day", Integer, nullable=False),
    PrimaryKeyConstraint("org", "scope", "name", "measure", "day"),
)
