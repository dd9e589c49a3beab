"""Hits, and what they come to, as rows of the database (O9)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, RowMapping, bindparam, select, update

from mailrelay.clock import from_micros, to_micros
from mailrelay.ids import DeliveryId, HitId, MessageId
from mailrelay.model.hit import By, Engagement, Hit, HitKind, Judged, LinkClicks, RawHit
from mailrelay.store.base import Tx
from mailrelay.store.tables import hit

FIGURES = (
    *("opens", "first_opened_at", "last_opened_at", "clicks", "first_clicked_at", "last_clicked_at"),
    *("machine_opens", "machine_clicks", "unknown_opens", "unknown_clicks"),
)


def in_time(one: RawHit) -> tuple[datetime, str]:
    """The order of hits: by time, and by id where that is the same."""
    return one.at, one.id


def kept_of(
    tx: Tx, some: Sequence[str], *, since: datetime | None = None, until: datetime | None = None
) -> defaultdict[str, list[Hit]]:
    """What is kept of these deliveries, or of it what came between two times; oldest first."""
    found: defaultdict[str, list[Hit]] = defaultdict(list)
    kept = select(hit).where(hit.c.delivery.in_(some)).order_by(hit.c.delivery, hit.c.at, hit.c.id)
    if since is not None:
        kept = kept.where(hit.c.at >= to_micros(since))
    if until is not None:
        kept = kept.where(hit.c.at <= to_micros(until))
    for row in tx.execute(kept) if some else ():
        found[row.delivery].append(from_row(row._mapping))
    return found


def from_row(row: RowMapping) -> Hit:
    """A kept hit."""
    return Hit(
        raw=RawHit(
            id=HitId(row["id"]),
            kind=HitKind(row["kind"]),
            delivery=DeliveryId(row["delivery"]),
            link=row["link"],
            url=row["url"],
            at=from_micros(row["at"]),
            ip=row["ip"],
            agent=row["agent"],
            method=row["method"],
            headers=tuple((name, value) for name, value in row["headers"]),
        ),
        message=MessageId(row["message"]),
        judged=Judged(by=By(row["by"]), reasons=tuple(row["reasons"]), rules=row["rules"]),
    )


def hit_row(of: Row[Any], one: RawHit, verdict: Judged) -> dict[str, Any]:
    """A hit of a delivery, to be kept."""
    return {
        "id": one.id,
        "org": of.org,
        "delivery": one.delivery,
        "message": of.message,
        "kind": one.kind,
        "link": one.link,
        "url": one.url,
        "at": to_micros(one.at),
        "ip": one.ip,
        "agent": one.agent,
        "method": one.method,
        "headers": [list(field_) for field_ in one.headers],
        **_verdict(verdict),
    }


def _verdict(verdict: Judged) -> dict[str, Any]:
    return {"by": verdict.by, "reasons": list(verdict.reasons), "rules": verdict.rules}


def write_verdicts(tx: Tx, again: Sequence[tuple[HitId, Judged]]) -> None:
    """Write down what kept hits are taken for now."""
    if again:
        changed = [{"b_id": id_, **_verdict(one)} for id_, one in again]
        tx.execute(update(hit).where(hit.c.id == bindparam("b_id")), changed)


def engagement_row(of: Row[Any], figures: Engagement, *, last: datetime) -> dict[str, Any]:
    """What the hits of a delivery come to; `last` is the time of the last of them."""
    values = {name: getattr(figures, name) for name in FIGURES}
    times = {name: micros(value) for name, value in values.items() if name.endswith("_at")}
    return {
        "delivery": of.id,
        "org": of.org,
        "message": of.message,
        **values,
        **times,
        "last_hit_at": to_micros(last),
    }


def link_row(of: Row[Any], clicks: LinkClicks) -> dict[str, Any]:
    """What the clicks on one link of a delivery come to."""
    return {
        "delivery": of.id,
        "link": clicks.link,
        "org": of.org,
        "message": of.message,
        "url": clicks.url,
        "clicks": clicks.clicks,
        "first_at": to_micros(clicks.first_at),
        "last_at": to_micros(clicks.last_at),
    }


def engagement_of_row(row: RowMapping, links: tuple[LinkClicks, ...]) -> Engagement:
    """What `engagement_row` kept, with its links."""
    figures: dict[str, Any] = {name: row[name] for name in FIGURES}
    figures |= {name: from_micros(at) for name, at in figures.items() if name.endswith("_at") and at is not None}
    return Engagement(**figures, links=links)


def micros(at: datetime | None) -> int | None:
    """A time as a column has it."""
    return None if at is None else to_micros(at)
