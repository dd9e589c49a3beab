"""The journal: events are appended in the transaction that makes them true, and never changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, select

from mailrelay.clock import from_micros, to_micros
from mailrelay.ids import EventSeq, OrgId
from mailrelay.model.event import Event, EventType
from mailrelay.store.base import Tx
from mailrelay.store.tables import event


def append(
    tx: Tx,
    *,
    org: str,
    at: datetime,
    type: EventType,  # noqa: A002 (the glossary's word)
    queue_id: str = "",
    message: str = "",
    delivery: str = "",
    data: Mapping[str, str] | None = None,
) -> None:
    """Write down that something happened, at the end of the transaction."""
    row = {
        "org": org,
        "at": to_micros(at),
        "type": type,
        "queue_id": queue_id,
        "message": message,
        "delivery": delivery,
        "data": dict(data or {}),
    }
    tx.last(_append, row)


def _append(tx: Tx, new: list[dict[str, Any]]) -> None:
    tx.execute(event.insert(), new)


def of_message(tx: Tx, org: OrgId, message: str) -> Sequence[Event]:
    """Everything that happened to a message and its deliveries, in order."""
    rows = tx.execute(select(event).where(event.c.org == org, event.c.message == message).order_by(event.c.seq))
    return [_event(row._mapping) for row in rows]


def of_delivery(tx: Tx, org: str, message: str, delivery: str) -> Sequence[Event]:
    """Everything that happened to one delivery of a message, in order."""
    # By the message, whose index there is: a delivery has few siblings.
    found = select(event).where(event.c.message == message, event.c.delivery == delivery).order_by(event.c.seq)
    return [_event(row._mapping) for row in tx.execute(found) if row.org == org]


def after(tx: Tx, org: OrgId, seq: int, *, limit: int) -> Sequence[Event]:
    """Events behind a cursor, oldest first."""
    rows = tx.execute(select(event).where(event.c.org == org, event.c.seq > seq).order_by(event.c.seq).limit(limit))
    return [_event(row._mapping) for row in rows]


def last(tx: Tx, org: OrgId, number: int, *, before: int | None = None) -> Sequence[Event]:
    """The newest events, or the newest before one, oldest first."""
    found = select(event).where(event.c.org == org)
    if before is not None:
        found = found.where(event.c.seq < before)
    rows = tx.execute(found.order_by(event.c.seq.desc()).limit(number)).all()
    return [_event(row._mapping) for row in reversed(rows)]


def _event(row: RowMapping) -> Event:
    return Event(
        seq=EventSeq(row["seq"]),
        org=OrgId(row["org"]),
        at=from_micros(row["at"]),
        type=EventType(row["type"]),
        queue_id=row["queue_id"],
        message=row["message"],
        delivery=row["delivery"],
        data=tuple(sorted(row["data"].items())),
    )
