"""What people do to deliveries that have not ended: held, released, made due, ended, with events and books in one transaction (R3, K8).

Whoever calls has locked the rows, and has seen that each may be treated so; a claim of them that has not begun an attempt is void
from then on (`queue.begin_attempts`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, case, func, select, update

from mailrelay.clock import to_micros
from mailrelay.ids import DeliveryId
from mailrelay.model.delivery import HELD_BY_HAND, POISON, UNCONFIRMED, Delivery, DeliveryState, Notice
from mailrelay.model.event import EventType
from mailrelay.model.feedback import Category, Fault
from mailrelay.store import destinations, events, ledger, schedules
from mailrelay.store.base import Bell, Tx
from mailrelay.store.tables import attempt, delivery

_FREE: Mapping[str, Any] = {"lease_node": None, "lease_until": None}


def begun(tx: Tx, ids: Collection[DeliveryId]) -> frozenset[DeliveryId]:
    """Those of these that are in the middle of an attempt."""
    if not ids:
        return frozenset()
    found = select(attempt.c.delivery).where(attempt.c.delivery.in_(sorted(ids)), attempt.c.outcome.is_(None))
    return frozenset(DeliveryId(one) for one in tx.execute(found).scalars())


def hold(tx: Tx, ours: Sequence[Delivery], *, at: datetime, because: Mapping[str, str]) -> None:
    """Keep what waits until somebody releases it. `because` goes into the journal: who, why, by which operation."""
    _change(tx, ours, state=DeliveryState.HELD, held_by=HELD_BY_HAND, held_at=to_micros(at), **_FREE)
    _tell(tx, ours, EventType.DELIVERY_HELD, at, {"held_by": HELD_BY_HAND, **because})


def release(tx: Tx, ours: Sequence[Delivery], *, at: datetime, because: Mapping[str, str]) -> None:
    """Let what is held go on: as it waited before, with the time back that it was held for; poison with a clean sheet."""
    now = to_micros(at)
    row = delivery.c
    held_at = func.coalesce(row.held_at, now)
    never_claimed = and_(row.scheduled_for.is_not(None), row.attempts == 0)
    # What was still to wait for its time lost none by being held.
    since = case((and_(never_claimed, row.due_at > held_at), row.due_at), else_=held_at)
    at_once = row.held_by.in_([POISON, UNCONFIRMED])
    released = tx.execute(
        update(delivery)
        .where(row.id.in_([one.id for one in ours]))
        .values(
            state=case((and_(never_claimed, row.due_at > now), DeliveryState.SCHEDULED), else_=DeliveryState.QUEUED),
            held_by="",
            held_at=None,
            faults=0,
            due_at=case((and_(never_claimed, row.due_at > now), row.due_at), (at_once, now), else_=row.due_at),
            expires_at=row.expires_at + case((since < now, now - since), else_=0),
        )
        .returning(row.destination, row.due_at)
    )
    destinations.wake_rows(tx, released)
    tx.ring(Bell.QUEUE)
    for one in ours:
        _tell(tx, [one], EventType.DELIVERY_RELEASED, at, {"held_by": one.held_by, **because})


def hasten(tx: Tx, ours: Sequence[Delivery], *, at: datetime, because: Mapping[str, str]) -> None:
    """Make what waits for its next attempt due now."""
    _change(tx, ours, due_at=to_micros(at))
    destinations.wake(tx, {one.address.domain: at for one in ours})
    tx.ring(Bell.QUEUE)
    _tell(tx, ours, EventType.DELIVERY_HASTENED, at, because)


def cancel(tx: Tx, ours: Sequence[Delivery], *, at: datetime, because: Mapping[str, str]) -> None:
    """End deliveries without an attempt; nobody is told."""
    _end(tx, ours, DeliveryState.CANCELLED, at, reply=because["reason"] or "cancelled by hand", notice=Notice.NONE)
    _tell(tx, ours, EventType.DELIVERY_CANCELLED, at, because)


def bounce(
    tx: Tx, ours: Sequence[tuple[Delivery, Notice]], *, at: datetime, reply: str, because: Mapping[str, str]
) -> None:
    """End deliveries as returned by us; with each, what its author is owed now. It counts against nobody."""
    for notice in sorted({each for _, each in ours}):
        same = [one for one, each in ours if each is notice]
        judged = {"category": Category.BY_HAND, "hard": False, "fault": Fault.NEITHER}
        _end(tx, same, DeliveryState.BOUNCED, at, reply=reply, notice=notice, **judged)
        _tell(tx, same, EventType.DELIVERY_BOUNCED, at, {"reply": reply, "category": Category.BY_HAND, **because})


def confirm(tx: Tx, ours: Sequence[Delivery], *, at: datetime, because: Mapping[str, str]) -> None:
    """Somebody says that what is unconfirmed was taken: it is sent."""
    _change(tx, ours, state=DeliveryState.SENT, held_by="", held_at=None, ended_at=to_micros(at))
    _count(tx, ours)
    _tell(tx, ours, EventType.DELIVERY_SENT, at, {"held_by": UNCONFIRMED, **because})


def _end(
    tx: Tx, ours: Sequence[Delivery], state: DeliveryState, at: datetime, *, reply: str, notice: Notice, **more: object
) -> None:
    values = {"state": state, "ended_at": to_micros(at), "last_reply": reply, "notice": notice, "held_by": ""}
    _change(tx, ours, **values, held_at=None, **_FREE, **more)
    schedules.give_back(tx, ours)
    _count(tx, ours)


def _count(tx: Tx, ours: Sequence[Delivery]) -> None:
    for channel, number in Counter(one.channel for one in ours).items():
        ledger.count_ended(tx, channel, ledger.Thing.DELIVERY, number)


def _change(tx: Tx, ours: Sequence[Delivery], **values: object) -> None:
    tx.execute(update(delivery).where(delivery.c.id.in_([one.id for one in ours])).values(values))


def _tell(
    tx: Tx,
    ours: Sequence[Delivery],
    type: EventType,  # noqa: A002
    at: datetime,
    data: Mapping[str, str],
) -> None:
    for one in ours:
        events.about(tx, one, type, at=at, data=data)
