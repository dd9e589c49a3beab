"""Organisations, their people and how these come in: dropboxes, tokens, whose mail is shared."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, PrimaryKeyConstraint, Table, Text, text

from mailrelay.store.tables.base import Json, metadata, partial

organisation = Table(
    "organisation",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("time_zone", Text, nullable=False),
    Column("settings", Json, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

organisation_domain = Table(
    "organisation_domain",
    metadata,
    Column("domain", Text, primary_key=True),
    Column("org", Text, ForeignKey("organisation.id"), nullable=False, index=True),
    Column("proved_at", BigInteger),  # DKIM, SPF and DMARC seen in DNS (O2); None until then
    Column("proof", Text, nullable=False, server_default=""),  # what was last seen, in words
)

exclusion = Table(
    "exclusion",
    metadata,
    Column("org", Text, ForeignKey("organisation.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("value", Text, nullable=False),
    PrimaryKeyConstraint("org", "kind", "value"),
)

user = Table(
    "mail_user",  # USER is a reserved word in SQL
    metadata,
    Column("id", Text, primary_key=True),
    Column("org", Text, ForeignKey("organisation.id"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("settings", Json, nullable=False),
    Column("password", Text),  # salted scrypt of the submission password; None: may not submit over SMTP
    Column("created_at", BigInteger, nullable=False),
    Column(
        "confirmed", Boolean, nullable=False, server_default=text("true")
    ),  # counts for the quota of single mail (O6)
    Column("sharing", Text, nullable=False, server_default=""),  # I16; "" is as the organisation has it
)

user_address = Table(
    "user_address",
    metadata,
    Column("org", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("address", Text, nullable=False),  # as written, `local@domain`
    Column("domain", Text, nullable=False),
    Column("user", Text, ForeignKey("mail_user.id"), nullable=False, index=True),
    Column("is_primary", Boolean, nullable=False),
    Column("position", Integer, nullable=False),
    PrimaryKeyConstraint("org", "key"),
    Index("ix_user_address_key", "key"),
)

organisation_address = Table(  # shared addresses that receive and send: support@ (I13)
    "organisation_address",
    metadata,
    Column("id", Text, primary_key=True),
    Column("org", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("domain", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("settings", Json, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("removed_at", BigInteger),
    Column("removed_by", Text, nullable=False, server_default=""),
    Index("ix_organisation_address_org", "org", "id"),
    partial("ix_organisation_address_domain", "domain", where="removed_at IS NULL"),
    partial("uq_organisation_address_standing", "key", where="removed_at IS NULL", unique=True),
)

dropbox = Table(
    "dropbox",
    metadata,
    Column("id", Text, primary_key=True),
    Column("org", Text, ForeignKey("organisation.id"), nullable=False),
    Column("user", Text, ForeignKey("mail_user.id"), nullable=False, index=True),
    Column("token", Text, nullable=False, unique=True),
    Column("created_at", BigInteger, nullable=False),
    Column("valid_until", BigInteger),
    Column("last_used_at", BigInteger),
)

shared_record = Table(  # records whose mail a user shares, where the user's sharing is custom (I16)
    "shared_record",
    metadata,
    Column("org", Text, nullable=False),
    Column("user", Text, ForeignKey("mail_user.id"), nullable=False),
    Column("module", Text, nullable=False),
    Column("record", Text, nullable=False),
    PrimaryKeyConstraint("org", "user", "module", "record"),
)

unshared_domain = Table(  # domains whose mail is not shared (I16)
    "unshared_domain",
    metadata,
    Column("org", Text, ForeignKey("organisation.id"), nullable=False),
    Column("user", Text, nullable=False),  # of whose mail; "" is everybody's
    Column("domain", Text, nullable=False),
    PrimaryKeyConstraint("org", "user", "domain"),
)

api_token = Table(
    "api_token",
    metadata,
    Column("id", Text, primary_key=True),
    Column("org", Text, ForeignKey("organisation.id"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("secret_sha256", Text, nullable=False, unique=True),
    Column("rights", Json, nullable=False),
    Column("user", Text, ForeignKey("mail_user.id")),
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    Column("expires_at", BigInteger),
    Column("used_at", BigInteger),  # to the hour or so: not each request writes
)

quota = Table(  # recipients that an organisation sent to on a day, where it is (O6, O7)
    "quota",
    metadata,
    Column("org", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("day", Integer, nullable=False),  # days since 1970, in the organisation's time zone
    Column("used", BigInteger, nullable=False),
    PrimaryKeyConstraint("org", "kind", "day"),
)
