"""What readers do with tracked mail."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Computed, Index, Integer, PrimaryKeyConstraint, Table, Text, text

from mailrelay.store.tables.base import Json, metadata, partial

HITS_WITH_SIGNAL = text("method <> ''")

hit = (
    Table(  # every load of a pixel and every link that was followed, as it came, and what it was judged to be (O9, K1)
        "hit",
        metadata,
        Column("id", Text, primary_key=True),  # made when it came, so that one that is read twice is kept once
        Column("org", Text, nullable=False),
        Column("delivery", Text, nullable=False),
        Column("message", Text, nullable=False),
        Column("kind", Text, nullable=False),  # open, click or decoy
        Column("link", Integer, nullable=False),  # which link of the mail; 0 of an open
        Column("url", Text, nullable=False),
        Column("at", BigInteger, nullable=False),
        Column("ip", Text, nullable=False),
        Column("agent", Text, nullable=False),
        Column("method", Text, nullable=False),
        Column("headers", Json, nullable=False),  # the few that tell people from machines
        Column("by", Text, nullable=False),  # person, machine or unknown
        Column("reasons", Json, nullable=False),
        Column("rules", Integer, nullable=False),  # the version of the rules that said so
        Index("ix_hit_delivery", "delivery", "at", "id"),
        Index("ix_hit_message", "message", "at", "id"),
        partial("ix_hit_with_signal", "org", "at", where=HITS_WITH_SIGNAL.text),
    )
)

hit_batch = Table(  # batches of hits that were taken and may come again: the process may die before it hears of it
    "hit_batch",
    metadata,
    Column("id", Text, primary_key=True),
)

engagement = Table(  # what the hits of a delivery come to; made of them again whenever one is judged otherwise (K1)
    "engagement",
    metadata,
    Column("delivery", Text, primary_key=True),
    Column("org", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("opens", Integer, nullable=False, server_default="0"),  # by persons, as the times
    Column("first_opened_at", BigInteger),
    Column("last_opened_at", BigInteger),
    Column("clicks", Integer, nullable=False, server_default="0"),
    Column("first_clicked_at", BigInteger),
    Column("last_clicked_at", BigInteger),
    Column("machine_opens", Integer, nullable=False, server_default="0"),
    Column("machine_clicks", Integer, nullable=False, server_default="0"),
    Column("unknown_opens", Integer, nullable=False, server_default="0"),
    Column("unknown_clicks", Integer, nullable=False, server_default="0"),
    Column("last_hit_at", BigInteger, nullable=False),
    Index("ix_engagement_message", "message"),
    Index("ix_engagement_org", "org", "delivery"),
)

link_hit = Table(  # persons' clicks by link
    "link_hit",
    metadata,
    Column("delivery", Text, nullable=False),
    Column("link", Integer, nullable=False),
    Column("org", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("clicks", Integer, nullable=False),
    Column("first_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("start", Text, Computed("substr(lower(url), 1, 200)", persisted=True)),  # what links are found by (K2)
    PrimaryKeyConstraint("delivery", "link"),
    Index("ix_link_hit_message", "message"),
    Index("ix_link_hit_start", "org", "start", "message", "delivery"),
)

aggregate_hit = Table(  # mode aggregate: how often, and nothing that tells of anybody (O9)
    "aggregate_hit",
    metadata,
    Column("message", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("link", Integer, nullable=False),
    Column("by", Text, nullable=False),
    Column("day", Integer, nullable=False),  # days since 1970, UTC
    Column("org", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("hits", BigInteger, nullable=False),
    PrimaryKeyConstraint("message", "kind", "link", "by", "day"),
)
