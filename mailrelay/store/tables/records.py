"""The CRM's records as they are mirrored here: their modules, fields, addresses and links to each other."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
)

from mailrelay.store.tables.base import Json, metadata, partial

module = Table(
    "module",
    metadata,
    Column("org", Text, ForeignKey("organisation.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("custom", Boolean, nullable=False),
    Column("address_fields", Json, nullable=False),
    Column("fields", Json, nullable=False, server_default="[]"),  # those that records are found by, with their types
    PrimaryKeyConstraint("org", "name"),
)

record = Table(
    "record",
    metadata,
    Column("org", Text, nullable=False),
    Column("module", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("owner", Text),
    Column("fields", Json, nullable=False),
    Column("source", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("org", "module", "id"),
    Index("ix_record_owner", "org", "module", "owner", "id"),
)

record_field = Table(  # values of the fields that records are found by, written with their record (K2)
    "record_field",
    metadata,
    Column("org", Text, nullable=False),
    Column("module", Text, nullable=False),
    Column("record", Text, nullable=False),
    Column("field", Text, nullable=False),  # `:name` is the record's own name
    Column("text", Text),  # folded; its beginning is what the index has
    Column("start", Text),
    Column("number", Double),  # of a boolean: 1 or 0
    Column("time", BigInteger),  # of a date: its midnight in UTC
    PrimaryKeyConstraint("org", "module", "record", "field"),
    partial("ix_record_field_start", "org", "module", "field", "start", "record", where="start IS NOT NULL"),
    partial("ix_record_field_value", "org", "module", "field", "record", "start", where="start IS NOT NULL"),
    partial("ix_record_field_number", "org", "module", "field", "number", "record", where="number IS NOT NULL"),
    partial("ix_record_field_time", "org", "module", "field", "time", "record", where="time IS NOT NULL"),
)

record_address = Table(
    "record_address",
    metadata,
    Column("org", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("module", Text, nullable=False),
    Column("record", Text, nullable=False),
    Column("field", Text, nullable=False),
    Column("kind", Text, nullable=False),  # … and `matched`: as the module's field says
    Column("matched", Boolean, nullable=False),
    Column("address", Text, nullable=False),
    Column("domain", Text, nullable=False),
    PrimaryKeyConstraint("org", "key", "module", "record", "field"),
    Index("ix_record_address_record", "org", "module", "record"),
    Index("ix_record_address_domain", "org", "module", "domain"),
)

former_address = Table(  # addresses that records have had, so that one that comes back is not taken for a new one (I11)
    "former_address",
    metadata,
    Column("org", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("module", Text, nullable=False),
    Column("record", Text, nullable=False),
    Column("until", BigInteger, nullable=False),  # when the record lost it last
    PrimaryKeyConstraint("org", "key", "module", "record"),
    Index("ix_former_address_record", "org", "module", "record"),
)

record_link = Table(
    "record_link",
    metadata,
    Column("org", Text, nullable=False),
    Column("module", Text, nullable=False),
    Column("record", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("to_module", Text, nullable=False),
    Column("to_record", Text, nullable=False),
    PrimaryKeyConstraint("org", "module", "record", "role", "to_module", "to_record"),
    Index("ix_record_link_to", "org", "to_module", "to_record"),
)

created_address = Table(  # I6: one record for one new address, whoever is first
    "created_address",
    metadata,
    Column("org", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("module", Text, nullable=False),
    Column("record", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("org", "key"),
)

filing_address = Table(  # signed addresses for one record each, which people call record addresses (I21)
    "filing_address",
    metadata,
    Column("org", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("module", Text, nullable=False),
    Column("record", Text, nullable=False),
    Column("until", BigInteger),  # the end that is signed into it
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("valid_until", BigInteger),  # once it was regenerated or revoked
    Column("ended_by", Text, nullable=False, server_default=""),
    Column("ended_at", BigInteger),  # when somebody said so: what doors have not heard of yet
    PrimaryKeyConstraint("org", "number"),
    Index("ix_filing_address_record", "org", "module", "record", "number"),
    partial("ix_filing_address_ended", "ended_at", where="ended_at IS NOT NULL"),
)

address_use = Table(  # who writes to a secret address: a dropbox or a record address (I21)
    "address_use",
    metadata,
    Column("org", Text, nullable=False),
    Column("place", Text, nullable=False),  # a dropbox's id, or `r` and the number of a record address
    Column("key", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("first_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("org", "place", "key"),
)
