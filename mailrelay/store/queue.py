"""The queue: deliveries are enqueued, claimed under a lease, attempted, settled; nothing is taken out of it without an end (K8).

A claim is a lease with a fence that grows, so that the late settle of a lost lease changes nothing (Q05). An attempt is
written down before anybody is dialled; one without an outcome whose lease ran out was cut off at an unknown point.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, bindparam, insert, or_, select, update

from mailrelay.clock import to_micros
from mailrelay.errors import Conflict
from mailrelay.ids import DeliveryId, NodeId, OrgId
from mailrelay.model.delivery import (
    IN_FLIGHT_DELIVERIES,
    Delivery,
    DeliveryState,
    Interrupted,
    Notice,
    Outcome,
    Stage,
    TlsProof,
)
from mailrelay.model.event import EventType
from mailrelay.model.feedback import Category, Fault
from mailrelay.store import deliveries, events, ledger, rows
from mailrelay.store.base import Bell, Tx
from mailrelay.store.tables import attempt, delivery

CUT_OFF = Interrupted(stage=Stage.DOT, detail="the process ended during the attempt; the message may have been taken")
"""The outcome of an attempt whose process died: it may have come as far as the final dot."""

_EVENTS = {
    DeliveryState.QUEUED: EventType.DELIVERY_DEFERRED,
    DeliveryState.HELD: EventType.DELIVERY_DEFERRED,
    DeliveryState.SENT: EventType.DELIVERY_SENT,
    DeliveryState.BOUNCED: EventType.DELIVERY_BOUNCED,
    DeliveryState.EXPIRED: EventType.DELIVERY_EXPIRED,
    DeliveryState.FAILED: EventType.DELIVERY_FAILED,
    DeliveryState.SUPPRESSED: EventType.DELIVERY_SUPPRESSED,
    DeliveryState.CANCELLED: EventType.DELIVERY_CANCELLED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """How an attempt of a claimed delivery ended, and what follows.

    `state` is QUEUED or HELD with its `due_at`, or an end. `outcome` None when nobody was asked (suppressed meanwhile); then
    `reason` is what the books say.
    """

    held: Delivery
    state: DeliveryState
    outcome: Outcome | None
    host: str = ""
    tls: TlsProof | None = None
    due_at: datetime | None = None
    reason: str = ""
    category: Category | None = None
    """What the answer means; `hard` and `fault` with it, `notice` what its author is owed now."""
    hard: bool = False
    fault: Fault | None = None
    notice: Notice = Notice.NONE
    held_by: str = ""
    """Of a HELD one: the suspension that holds it, `scope:name`."""

    @property
    def last_reply(self) -> str:
        """One line for lists and logs."""
        match self.outcome:
            case None:
                return self.reason
            case Interrupted(detail=detail, stage=stage):
                return f"interrupted at {stage}: {detail}"
            case outcome:
                return str(outcome.reply)


def enqueue(tx: Tx, new: Sequence[Delivery]) -> None:
    """Write deliveries down, count them, tell the journal, and ring. Their body and message must be put in the same transaction."""
    if not new:
        return
    tx.execute(
        insert(delivery),
        [
            {
                "id": one.id,
                "org": one.org,
                "message": one.message,
                "queue_id": one.queue_id,
                "channel": one.channel,
                "mail_from": rows.encode_address(one.mail_from),
                "params": rows.encode(one.params),
                "recipient": rows.encode(one.recipient),
                "recipient_key": one.address.key,
                "destination": one.address.domain,
                "state": one.state,
                "digest": one.raw.digest,
                "size": one.raw.size,
                "created_at": to_micros(one.created_at),
                "due_at": to_micros(one.due_at),
                "expires_at": to_micros(one.expires_at),
                "attempts": one.attempts,
                "last_reply": one.last_reply,
                "job": one.job,
                "sender_domain": one.sender_domain,
                "author": one.author or "",
                "scheduled_for": None if one.scheduled_for is None else to_micros(one.scheduled_for),
            }
            for one in new
        ],
    )
    for channel, number in Counter(one.channel for one in new).items():
        ledger.count_accepted(tx, channel, ledger.Thing.DELIVERY, number)
    for one in new:
        _tell(
            tx, one, EventType.DELIVERY_QUEUED, one.created_at, {"channel": one.channel, "recipient": str(one.address)}
        )
    tx.ring(Bell.QUEUE)


def claim(
    tx: Tx, *, node: NodeId, now: datetime, lease: timedelta, limit: int, skip: Collection[str] = ()
) -> list[Delivery]:
    """Take up to `limit` deliveries that are due or whose process died; longest due first, none for the domains in `skip`.

    An attempt that a dead process began is closed as `CUT_OFF`; it stays counted.
    """
    at = to_micros(now)
    due = select(delivery.c.id).where(
        or_(
            and_(delivery.c.state == DeliveryState.QUEUED, delivery.c.due_at <= at),
            and_(delivery.c.state == DeliveryState.SENDING, delivery.c.lease_until <= at),
        )
    )
    if skip:
        due = due.where(delivery.c.destination.not_in(sorted(skip)))
    due = (
        due.order_by(delivery.c.due_at).limit(limit).with_for_update(skip_locked=True)
    )  # SQLite leaves it out: one writer
    taken = (
        update(delivery)
        .where(delivery.c.id.in_(due.scalar_subquery()))
        .values(
            state=DeliveryState.SENDING,
            lease_node=node,
            lease_until=to_micros(now + lease),
            fence=delivery.c.fence + 1,
        )
        .returning(*delivery.c)
    )
    claimed = [deliveries.from_row(row._mapping) for row in tx.execute(taken)]
    if any(one.attempts for one in claimed):
        tx.execute(
            update(attempt)
            .where(attempt.c.delivery.in_([one.id for one in claimed if one.attempts]), attempt.c.outcome.is_(None))
            .values(outcome=rows.encode_outcome(CUT_OFF), ended_at=at)
        )
    return sorted(claimed, key=lambda one: (one.due_at, one.id))


def begin_attempts(tx: Tx, held: Sequence[Delivery], *, host: str, at: datetime) -> list[Delivery]:
    """Write down an attempt at `host` for each, before dialling; the deliveries with it counted.

    Those whose lease was lost, or that were cancelled meanwhile, are left out: they must not be sent.
    """
    mine = _still_held(tx, held)
    begun = [replace(one, attempts=one.attempts + 1) for one in held if one.id in mine]
    if begun:
        tx.execute(
            insert(attempt),
            [{"delivery": one.id, "number": one.attempts, "began_at": to_micros(at), "host": host} for one in begun],
        )
        _change(tx, [{"b_id": one.id, "attempts": one.attempts} for one in begun])
    return begun


def settle(tx: Tx, settlements: Sequence[Settlement], *, at: datetime) -> list[DeliveryId]:
    """Write the ends of attempts, with their events and books; returns those whose lease was lost, of which nothing is kept."""
    mine = _still_held(tx, [one.held for one in settlements])
    kept = [one for one in settlements if one.held.id in mine]
    if kept:
        _settle_rows(tx, kept, at)
        _settle_attempts(tx, [one for one in kept if one.outcome is not None], at)
    ended = Counter(one.held.channel for one in kept if one.state not in IN_FLIGHT_DELIVERIES)
    for channel, number in ended.items():
        ledger.count_ended(tx, channel, ledger.Thing.DELIVERY, number)
    for one in kept:
        data = {"reply": one.last_reply, "host": one.host, "attempt": str(one.held.attempts)}
        if one.due_at is not None:
            data["due_at"] = one.due_at.isoformat()
        if one.category is not None and one.fault is not None:
            data |= {"category": one.category, "class": "hard" if one.hard else "soft", "fault": one.fault}
        if one.held_by:
            data["held_by"] = one.held_by
        _tell(tx, one.held, _EVENTS[one.state], at, data)
    return [one.held.id for one in settlements if one.held.id not in mine]


def hold(tx: Tx, held: Sequence[tuple[Delivery, str]], *, at: datetime) -> None:
    """Put claimed deliveries aside, each for the suspension named with it; of those that were lost, nothing changes."""
    mine = _still_held(tx, [one for one, _ in held])
    free = {"state": DeliveryState.HELD, "lease_node": None, "lease_until": None, "held_at": to_micros(at)}
    if mine:
        _change(tx, [{"b_id": one.id, "held_by": by, **free} for one, by in held if one.id in mine])


def renew(tx: Tx, held: Sequence[Delivery], *, until: datetime) -> list[DeliveryId]:
    """Keep claimed deliveries longer; returns those whose lease was lost."""
    mine = _still_held(tx, held)
    if mine:
        _change(tx, [{"b_id": one, "lease_until": to_micros(until)} for one in mine])
    return [one.id for one in held if one.id not in mine]


def release(tx: Tx, held: Sequence[Delivery]) -> None:
    """Give claimed deliveries back, due as they were; of those that were lost, nothing changes."""
    mine = _still_held(tx, held)
    if mine:
        free = {"state": DeliveryState.QUEUED, "lease_node": None, "lease_until": None}
        _change(tx, [{"b_id": one, **free} for one in mine])
        tx.ring(Bell.QUEUE)


def recover(tx: Tx, node: NodeId, *, now: datetime) -> int:
    """End at once the leases of a process of this name that no longer lives; how many there were. Called at its start."""
    ended = tx.execute(
        update(delivery)
        .where(delivery.c.state == DeliveryState.SENDING, delivery.c.lease_node == node)
        .values(lease_until=to_micros(now))
    )
    return ended.rowcount


def retry_now(tx: Tx, org: OrgId, id: DeliveryId, *, now: datetime) -> None:  # noqa: A002
    """Make a waiting delivery due. Raises Unknown, or Conflict when it is not waiting."""
    changed = tx.execute(
        update(delivery)
        .where(delivery.c.id == id, delivery.c.org == org, delivery.c.state == DeliveryState.QUEUED)
        .values(due_at=to_micros(now))
    )
    if changed.rowcount != 1:
        found = deliveries.get(tx, org, id)
        raise Conflict(f"{id} is {found.state}{_until(found)}")
    tx.ring(Bell.QUEUE)


def _until(found: Delivery) -> str:
    """What a delivery that is not queued waits for, for a sentence."""
    if found.state is not DeliveryState.HELD or not found.held_by:
        return " and waits for nothing"
    scope, _, name = found.held_by.partition(":")
    return f" by {found.held_by}; resume it with mailrelay suspension resume {scope} {shlex.quote(name)}"


def _still_held(tx: Tx, held: Sequence[Delivery]) -> set[DeliveryId]:
    """Those of these claims that are still ours; their rows stay locked until the transaction ends."""
    found = tx.execute(
        select(delivery.c.id, delivery.c.fence)
        .where(delivery.c.id.in_([one.id for one in held]), delivery.c.state == DeliveryState.SENDING)
        .order_by(delivery.c.id)
        .with_for_update()
    )
    fences = {row[0]: row[1] for row in found}
    return {one.id for one in held if one.lease is not None and fences.get(one.id) == one.lease.fence}


def _change(tx: Tx, values: Sequence[dict[str, Any]]) -> None:
    """One UPDATE for many rows, by `b_id`; the other names are columns."""
    tx.execute(update(delivery).where(delivery.c.id == bindparam("b_id")), values)


def _settle_rows(tx: Tx, kept: Iterable[Settlement], at: datetime) -> None:
    values = [
        {
            "b_id": one.held.id,
            "state": one.state,
            "due_at": to_micros(one.due_at or one.held.due_at),
            "last_reply": one.last_reply,
            "ended_at": None if one.state in IN_FLIGHT_DELIVERIES else to_micros(at),
            "lease_node": None,
            "lease_until": None,
            "category": one.category or "",
            "hard": one.hard,
            "fault": one.fault or "",
            "notice": one.notice,
            "held_by": one.held_by,
            "held_at": to_micros(at) if one.held_by else None,
        }
        for one in kept
    ]
    _change(tx, values)


def _settle_attempts(tx: Tx, kept: Sequence[Settlement], at: datetime) -> None:
    if not kept:
        return
    tx.execute(
        update(attempt).where(attempt.c.delivery == bindparam("b_delivery"), attempt.c.number == bindparam("b_number")),
        [
            {
                "b_delivery": one.held.id,
                "b_number": one.held.attempts,
                "ended_at": to_micros(at),
                "host": one.host,
                "tls": None if one.tls is None else rows.encode(one.tls),
                "outcome": None if one.outcome is None else rows.encode_outcome(one.outcome),
            }
            for one in kept
        ],
    )


def _tell(tx: Tx, one: Delivery, type: EventType, at: datetime, data: dict[str, str]) -> None:  # noqa: A002
    events.append(
        tx, org=one.org, at=at, type=type, queue_id=one.queue_id, message=one.message, delivery=one.id, data=data
    )
