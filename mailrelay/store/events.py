"""The journal: events are appended in the transaction that makes them true, and never changed.

Each organisation's events are numbered 1, 2, 3, … without a gap. A transaction takes its numbers as the last thing that it does, and
keeps the counter until it is durable, so that the order of the numbers is the order in which things became true: who has read up to
a number has seen all before it (K9).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, bindparam, select

from mailrelay.clock import from_micros, to_micros
from mailrelay.ids import EventSeq, OrgId
from mailrelay.model.event import Event, EventType
from mailrelay.store.base import Bell, Tx, for_both
from mailrelay.store.tables import event, event_counter


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
    user: str = "",
    record: str = "",
) -> None:
    """Write down that something happened, at the end of the transaction. `user` is whose notice it is; see `Event`."""
    row = {
        "org": org,
        "at": to_micros(at),
        "type": type,
        "queue_id": queue_id,
        "message": message,
        "delivery": delivery,
        "data": dict(data or {}),
        "user": user,
        "record": record,
    }
    tx.last(_append, row)


_COUNT = for_both(
    lambda insert: (
        (counting := insert(event_counter).values(org=bindparam("org"), last=bindparam("more")))
        .on_conflict_do_update(index_elements=["org"], set_={"last": event_counter.c.last + counting.excluded.last})
        .returning(event_counter.c.last)
    )
)


def _append(tx: Tx, new: list[dict[str, Any]]) -> None:
    numbers: dict[str, int] = {}
    counts = Counter(row["org"] for row in new)
    for org in sorted(counts):  # every transaction in the same order, so that two never wait for each other
        last = tx.execute(_COUNT[tx.dialect], {"org": org, "more": counts[org]}).scalar_one()
        numbers[org] = last - counts[org]
        tx.ring(Bell.EVENTS, org)
    for row in new:
        numbers[row["org"]] += 1
        row["seq"] = numbers[row["org"]]
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


def newest(tx: Tx, org: OrgId) -> EventSeq:
    """The number of an organisation's newest event, 0 before the first."""
    return EventSeq(tx.execute(select(event_counter.c.last).where(event_counter.c.org == org)).scalar() or 0)


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
        user=row["user"],
        record=row["record"],
    )
