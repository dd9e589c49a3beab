"""What was done with mail, as it is shown, and how it is forgotten (O9, K1, T13)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, select, update

from mailrelay.clock import from_micros, to_micros
from mailrelay.ids import DeliveryId, HitId, MessageId, OrgId
from mailrelay.model.hit import By, Engagement, Hit, HitKind, LinkClicks
from mailrelay.store.base import Tx
from mailrelay.store.hit_rows import engagement_of_row, from_row
from mailrelay.store.tables import aggregate_hit, delivery, engagement, hit, link_hit
from mailrelay.store.visibility import Viewer, readable_delivery, there_is

FEWEST: Final = 5
"""Recipients of a message by whom a number is nobody's; of fewer it would tell who it was, whatever they agreed to."""
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregateCount:
    """How often something was done with a message on a day, by whom it seems; of no person."""

    kind: HitKind
    link: int
    url: str
    by: By
    day: datetime
    hits: int


def of_message(
    tx: Tx, viewer: Viewer, message: MessageId, *, after: tuple[datetime, HitId] | None = None, limit: int = 100
) -> list[Hit]:
    """A page of the hits of a message's deliveries that the viewer may see, oldest first.

    `after` is the time and id of the last of the page before.
    """
    page = select(hit).where(hit.c.org == viewer.org, hit.c.message == message)
    if not viewer.all:
        page = page.where(
            there_is(select(delivery.c.id).where(delivery.c.id == hit.c.delivery, readable_delivery(viewer)))
        )
    if after is not None:
        at = to_micros(after[0])
        page = page.where((hit.c.at > at) | ((hit.c.at == at) & (hit.c.id > after[1])))
    return [from_row(row._mapping) for row in tx.execute(page.order_by(hit.c.at, hit.c.id).limit(limit))]


def engagements(tx: Tx, org: OrgId, message: MessageId) -> dict[DeliveryId, Engagement]:
    """What the hits of a message's deliveries come to; those that have none are not there."""
    links: defaultdict[str, list[LinkClicks]] = defaultdict(list)
    for row in tx.execute(select(link_hit).where(link_hit.c.message == message, link_hit.c.org == org)):
        links[row.delivery].append(
            LinkClicks(
                link=row.link,
                url=row.url,
                clicks=row.clicks,
                first_at=from_micros(row.first_at),
                last_at=from_micros(row.last_at),
            )
        )
    found = tx.execute(select(engagement).where(engagement.c.message == message, engagement.c.org == org))
    return {
        DeliveryId(row.delivery): engagement_of_row(
            row._mapping, tuple(sorted(links[row.delivery], key=lambda one: one.link))
        )
        for row in found
    }


def counted(tx: Tx, org: OrgId, message: MessageId) -> list[AggregateCount]:
    """What was counted of a message in mode aggregate, by day; nothing where it went to fewer than `FEWEST`."""
    if message in of_few(tx, {message}):
        return []
    order = (aggregate_hit.c.day, aggregate_hit.c.kind, aggregate_hit.c.link, aggregate_hit.c.by)
    found = select(aggregate_hit).where(aggregate_hit.c.message == message, aggregate_hit.c.org == org).order_by(*order)
    return [
        AggregateCount(
            kind=HitKind(row.kind),
            link=row.link,
            url=row.url,
            by=By(row.by),
            day=from_micros(0) + row.day * _DAY,
            hits=row.hits,
        )
        for row in tx.execute(found)
    ]


def of_few(tx: Tx, messages: Collection[str]) -> set[str]:
    """Those of these messages that went to fewer than `FEWEST`."""
    few: set[str] = set()
    for one in sorted(messages):
        to = select(delivery.c.recipient_key).where(delivery.c.message == one).distinct().limit(FEWEST)
        if len(tx.execute(to).all()) < FEWEST:
            few.add(one)
    return few


def forget(tx: Tx, some: Collection[DeliveryId]) -> int:
    """Forget every hit of these deliveries, and what these came to (T13); how many there were."""
    gone = tx.execute(delete(hit).where(hit.c.delivery.in_(some))).rowcount
    tx.execute(delete(link_hit).where(link_hit.c.delivery.in_(some)))
    tx.execute(delete(engagement).where(engagement.c.delivery.in_(some)))
    tx.execute(update(delivery).where(delivery.c.id.in_(some)).values(opened_at=None, clicked_at=None))
    return gone
