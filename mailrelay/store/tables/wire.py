"""What is known of other hosts, and what we sign with."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, PrimaryKeyConstraint, Table, Text

from mailrelay.store.tables.base import Json, metadata, partial

dkim_key = Table(
    "dkim_key",
    metadata,
    Column("domain", Text, nullable=False),
    Column("selector", Text, nullable=False),
    Column("algorithm", Text, nullable=False),
    Column("private_pem", Text, nullable=False),
    Column("public_b64", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("active_from", BigInteger, nullable=False),
    Column("retired_at", BigInteger),  # no longer signs; its DNS line stays until mail in flight is verified
    PrimaryKeyConstraint("domain", "selector"),
)

tls_count = (
    Table(  # sessions of a day that ended alike, so that destinations can be told how TLS with them went (RFC 8460)
        "tls_count",
        metadata,
        Column("day", Integer, nullable=False),  # days since 1970, UTC
        Column("destination", Text, nullable=False),
        Column("key", Text, nullable=False),  # digest of the result
        Column("result", Json, nullable=False),
        Column("sessions", BigInteger, nullable=False),
        PrimaryKeyConstraint("day", "destination", "key"),
    )
)

tls_report = Table(  # the reports of a day: one row, one try
    "tls_report",
    metadata,
    Column("day", Integer, nullable=False),
    Column("destination", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("begun_at", BigInteger, nullable=False),
    Column("sent_to", Text, nullable=False, server_default=""),
    Column("detail", Text, nullable=False, server_default=""),
    PrimaryKeyConstraint("day", "destination"),
)

tls_memory = Table(  # what a host's TLS was like the last time, and why it was no better
    "tls_memory",
    metadata,
    Column("host", Text, nullable=False),
    Column("ip", Text, nullable=False),
    Column("port", Integer, nullable=False),
    Column("level", Text, nullable=False),
    Column("protocol", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("look_at", BigInteger),
    PrimaryKeyConstraint("host", "ip", "port"),
    Index("ix_tls_memory_seen_at", "seen_at"),
)

sts_policy = Table(  # MTA-STS policies that were fetched (RFC 8461 §3.3)
    "sts_policy",
    metadata,
    Column("domain", Text, primary_key=True),
    Column("policy_id", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("max_age", BigInteger, nullable=False),
    Column("mx", Json, nullable=False),
    Column("fetched_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Index("ix_sts_policy_expires_at", "expires_at"),
)

smart_host = Table(  # organisations' own next hops, for all mail of a user or of a sender domain (O11)
    "smart_host",
    metadata,
    Column("id", Text, primary_key=True),
    Column("org", Text, nullable=False),
    Column("scope", Text, nullable=False),  # user or domain
    Column("name", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("port", Integer, nullable=False),
    Column("tls", Text, nullable=False),
    Column("auth", Text, nullable=False),
    Column("username", Text, nullable=False),
    Column("token_url", Text, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("token_scope", Text, nullable=False),
    Column("secret", Text, nullable=False),  # sealed; "" once it is removed
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("trouble", Text, nullable=False, server_default=""),  # what it said when it refused us (N11)
    Column("trouble_since", BigInteger),
    Column("removed_at", BigInteger),
    Index("ix_smart_host_org", "org", "id"),
    partial("uq_smart_host_standing", "org", "scope", "name", where="removed_at IS NULL", unique=True),
)
