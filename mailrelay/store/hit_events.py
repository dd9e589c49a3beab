"""What the journal tells of hits (K9)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from mailrelay.ids import HitId
from mailrelay.model.event import EventType
from mailrelay.model.hit import By, Engagement, HitKind, Judged, RawHit
from mailrelay.store import events
from mailrelay.store.base import Tx
from mailrelay.store.hit_deliveries import OfDelivery

_TOLD = {HitKind.OPEN: EventType.DELIVERY_OPENED, HitKind.CLICK: EventType.DELIVERY_CLICKED}


def tell(tx: Tx, of: OfDelivery, new: Iterable[RawHit], judged: Mapping[HitId, Judged], *, was: Engagement) -> None:
    """The events of new hits, in their order."""
    first = {HitKind.OPEN: was.first_opened_at is None, HitKind.CLICK: was.first_clicked_at is None}
    for one in new:
        if one.kind not in _TOLD:
            continue
        person = judged[one.id].by is By.PERSON
        data = {"by": str(judged[one.id].by), "first": "true" if person and first[one.kind] else "false"}
        if one.kind is HitKind.CLICK:
            data |= {"link": str(one.link), "url": one.url}
        _append(tx, of, _TOLD[one.kind], data, at=one.at)
        first[one.kind] &= not person


def tell_judged(tx: Tx, of: OfDelivery, *, was: Engagement, is_now: Engagement, hits: int, now: datetime) -> None:
    """The event that some hits are something else now."""
    figures = {name: str(getattr(is_now, name)) for name in ("opens", "clicks", "machine_opens", "machine_clicks")}
    before = {"opens_before": str(was.opens), "clicks_before": str(was.clicks)}
    _append(tx, of, EventType.DELIVERY_JUDGED, {"hits": str(hits), **figures, **before}, at=now)


def _append(tx: Tx, of: OfDelivery, type_: EventType, data: Mapping[str, str], *, at: datetime) -> None:
    row = of.row
    events.append(
        tx,
        org=row.org,
        at=at,
        type=type_,
        queue_id=row.queue_id,
        message=row.message,
        delivery=row.id,
        data=data,
        user=events.hearer(type_, row.author, row.job, data),
    )
