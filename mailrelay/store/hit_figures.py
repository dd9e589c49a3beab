"""What the hits of a delivery come to, counted of them again whenever one comes or is judged otherwise (K1)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, delete, func, select, update

from mailrelay.clock import from_micros
from mailrelay.model.hit import By, Engagement, HitKind, LinkClicks
from mailrelay.store.base import Tx, for_both
from mailrelay.store.hit_deliveries import OfDelivery
from mailrelay.store.hit_rows import FIGURES, engagement_of_row, engagement_row, link_row, micros
from mailrelay.store.tables import delivery, engagement, hit, link_hit

_PUT = for_both(
    lambda insert: (putting := insert(engagement)).on_conflict_do_update(
        index_elements=["delivery"],
        set_={name: putting.excluded[name] for name in (*FIGURES, "last_hit_at")},
    )
)


@dataclass(frozen=True, slots=True)
class Figures:
    """What a delivery's hits came to, and come to now; `last` is the time of the last of them."""

    of: OfDelivery
    was: Engagement
    now: Engagement
    last: datetime


def standing_of(tx: Tx, some: Sequence[str]) -> defaultdict[str, Engagement]:
    """What the hits of these deliveries came to until now, without their links."""
    found = tx.execute(select(engagement).where(engagement.c.delivery.in_(some)))
    standing: defaultdict[str, Engagement] = defaultdict(Engagement)
    standing.update({row.delivery: engagement_of_row(row._mapping, ()) for row in found})
    return standing


def counted_again(tx: Tx, some: Sequence[OfDelivery], standing: Mapping[str, Engagement]) -> dict[str, Figures]:
    """What the kept hits of these deliveries come to, as the database counts them."""
    if not some:
        return {}
    groups: defaultdict[str, list[Row[Any]]] = defaultdict(list)
    by = (hit.c.delivery, hit.c.kind, hit.c.by, hit.c.link)
    number, first, last = (
        func.count().label("number"),
        func.min(hit.c.at).label("first"),
        func.max(hit.c.at).label("last"),
    )
    counting = select(*by, number, first, last, func.min(hit.c.url).label("url")).group_by(*by)
    for row in tx.execute(counting.where(hit.c.delivery.in_([of.row.id for of in some]))):
        groups[row.delivery].append(row)
    return {
        of.row.id: Figures(
            of,
            standing[of.row.id],
            _summed(groups[of.row.id]),
            from_micros(max(row.last for row in groups[of.row.id])),
        )
        for of in some
    }


def _summed(groups: Sequence[Row[Any]]) -> Engagement:
    """`engagement_of`, from numbers by kind, by whom and link."""

    def these(kind: HitKind, by: By) -> list[Row[Any]]:
        return sorted((row for row in groups if (row.kind, row.by) == (kind, by)), key=lambda row: int(row.link))

    def number(kind: HitKind, by: By) -> int:
        return sum(row.number for row in these(kind, by))

    opens, clicks = these(HitKind.OPEN, By.PERSON), these(HitKind.CLICK, By.PERSON)
    return Engagement(
        opens=number(HitKind.OPEN, By.PERSON),
        first_opened_at=from_micros(min(row.first for row in opens)) if opens else None,
        last_opened_at=from_micros(max(row.last for row in opens)) if opens else None,
        clicks=number(HitKind.CLICK, By.PERSON),
        first_clicked_at=from_micros(min(row.first for row in clicks)) if clicks else None,
        last_clicked_at=from_micros(max(row.last for row in clicks)) if clicks else None,
        machine_opens=number(HitKind.OPEN, By.MACHINE),
        machine_clicks=number(HitKind.CLICK, By.MACHINE),
        unknown_opens=number(HitKind.OPEN, By.UNKNOWN),
        unknown_clicks=number(HitKind.CLICK, By.UNKNOWN),
        links=tuple(
            LinkClicks(
                link=row.link,
                url=row.url,
                clicks=row.number,
                first_at=from_micros(row.first),
                last_at=from_micros(row.last),
            )
            for row in clicks
        ),
    )


def write_figures(tx: Tx, figures: Iterable[Figures]) -> None:
    """Write down what the hits of deliveries come to."""
    all_ = list(figures)
    if not all_:
        return
    tx.execute(delete(link_hit).where(link_hit.c.delivery.in_([one.of.row.id for one in all_])))
    tx.execute(_PUT[tx.dialect], [engagement_row(one.of.row, one.now, last=one.last) for one in all_])
    links = [link_row(one.of.row, each) for one in all_ for each in one.now.links]
    if links:
        tx.execute(link_hit.insert(), links)
    firsts = [
        {
            "b_id": one.of.row.id,
            "opened_at": micros(one.now.first_opened_at),
            "clicked_at": micros(one.now.first_clicked_at),
        }
        for one in all_
        if (micros(one.now.first_opened_at), micros(one.now.first_clicked_at))
        != (one.of.row.opened_at, one.of.row.clicked_at)
    ]
    if firsts:
        tx.execute(update(delivery).where(delivery.c.id == bindparam("b_id")), firsts)
