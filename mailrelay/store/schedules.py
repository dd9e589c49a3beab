"""Scheduled mail as it stands: what its author wanted, its deliveries under lock, and whom some of them wait for (O5, I25).

Who changes scheduled mail locks its row first, then its deliveries in order of id; a claim takes the deliveries alone, and skips
those that are locked. So a change comes before the claim, or finds the mail on its way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Row, Select, func, or_, select, text, tuple_, update

from mailrelay.clock import from_micros, to_micros
from mailrelay.errors import Unknown
from mailrelay.ids import DeliveryId, MessageId, OrgId, QueueId, UserId
from mailrelay.model.delivery import Delivery, DeliveryState
from mailrelay.model.event import EventType
from mailrelay.model.quota import QuotaKind
from mailrelay.model.schedule import Preset, Schedule
from mailrelay.store import deliveries, events, ledger, quotas
from mailrelay.store.base import Bell, Tx
from mailrelay.store.destinations import wake
from mailrelay.store.tables import delivery, parking, schedule
from mailrelay.store.visibility import Viewer, readable_delivery

_FIRST = date(1970, 1, 1)
_SCHEDULED = text("state = 'scheduled'")  # what the index is taken for


@dataclass(frozen=True, slots=True)
class Waiting:
    """Recipients of a scheduled mail that fall due together; most have all of theirs in one."""

    schedule: Schedule
    message: MessageId
    due_at: datetime
    recipients: int


def put(tx: Tx, new: Schedule) -> None:
    """Keep a new schedule, or an old one as it is now."""
    row = {
        "id": new.id,
        "org": new.org,
        "author": new.author,
        "queue_id": new.queue_id,
        "due_at": to_micros(new.due_at),
        "zone": new.zone,
        "preset": new.preset or "",
        "day": (new.day - _FIRST).days,
        "version": new.version,
        "hastened": new.hastened,
        "created_at": to_micros(new.created_at),
        "changed_at": to_micros(new.changed_at),
        "counted": new.counted,
    }
    stored = tx.insert(schedule).values(row)
    tx.execute(stored.on_conflict_do_update(index_elements=["id"], set_=row))


def get(tx: Tx, org: OrgId, id: str, *, viewer: Viewer | None = None) -> Schedule:  # noqa: A002
    """A schedule by its id, or by the queue id of its content now. Raises Unknown, also where there is a viewer who may not see it."""
    found = _named(org, id)
    if viewer is not None:
        seen = select(delivery.c.id).where(delivery.c.queue_id == schedule.c.queue_id, readable_delivery(viewer))
        found = found.where(seen.exists())
    return _one(tx, found)


def locked(tx: Tx, org: OrgId, id: str) -> Schedule:  # noqa: A002
    """The same, kept as it is until the transaction ends."""
    return _one(tx, _named(org, id).with_for_update())


def of_queue_id(tx: Tx, queue_id: QueueId) -> Schedule | None:
    """The schedule whose content is this submission now."""
    row = tx.execute(select(schedule).where(schedule.c.queue_id == queue_id)).first()
    return None if row is None else _schedule(row)


def locked_deliveries(tx: Tx, queue_id: QueueId) -> list[Delivery]:
    """The deliveries of a submission in order of id, kept as they are until the transaction ends; one being claimed is waited for."""
    found = select(delivery).where(delivery.c.queue_id == queue_id).order_by(delivery.c.id).with_for_update()
    return [deliveries.from_row(row._mapping) for row in tx.execute(found)]


def list_waiting(
    tx: Tx,
    org: OrgId,
    *,
    viewer: Viewer | None = None,
    author: UserId | None = None,
    after: tuple[datetime, str] | None = None,
    limit: int = 100,
) -> list[Waiting]:
    """A page of what is scheduled, first due first, of one author or of all; `after` is the last due time and queue id seen.

    With `viewer` only what they may see.
    """
    groups = (
        select(
            delivery.c.due_at,
            delivery.c.queue_id,
            func.count().label("number"),
            func.min(delivery.c.message).label("message"),
        )
        .where(_SCHEDULED, delivery.c.org == org)
        .group_by(delivery.c.due_at, delivery.c.queue_id)
        .order_by(delivery.c.due_at, delivery.c.queue_id)
        .limit(limit)
    )
    if viewer is not None:
        groups = groups.where(readable_delivery(viewer))
    if author is not None:
        groups = groups.where(delivery.c.author == author)
    if after is not None:
        groups = groups.where(tuple_(delivery.c.due_at, delivery.c.queue_id) > (to_micros(after[0]), after[1]))
    found = tx.execute(groups).all()
    known = {
        row.queue_id: _schedule(row)
        for row in tx.execute(select(schedule).where(schedule.c.queue_id.in_({row.queue_id for row in found})))
    }
    return [
        Waiting(known[row.queue_id], MessageId(row.message), from_micros(row.due_at), row.number)
        for row in found
        if row.queue_id in known
    ]


def move(tx: Tx, held: Sequence[Delivery], *, due_at: datetime, lifetime: timedelta) -> None:
    """Let locked deliveries go at another time, together, and expire that much later."""
    tx.execute(
        update(delivery)
        .where(delivery.c.id.in_([one.id for one in held]))
        .values(due_at=to_micros(due_at), scheduled_for=to_micros(due_at), expires_at=to_micros(due_at + lifetime))
    )
    wake(tx, {one.address.domain: due_at for one in held})
    tx.ring(Bell.QUEUE)


def send(tx: Tx, held: Sequence[Delivery], *, now: datetime, lifetime: timedelta) -> None:
    """Queue locked deliveries as if they were submitted now."""
    move(tx, held, due_at=now, lifetime=lifetime)
    tx.execute(update(delivery).where(delivery.c.id.in_([one.id for one in held])).values(state=DeliveryState.QUEUED))


def cancel(tx: Tx, held: Sequence[Delivery], *, reason: str, at: datetime) -> None:
    """End locked deliveries, with their books; the journal is the caller's."""
    tx.execute(
        update(delivery)
        .where(delivery.c.id.in_([one.id for one in held]))
        .values(state=DeliveryState.CANCELLED, ended_at=to_micros(at), last_reply=reason)
    )
    for one in held:
        ledger.count_ended(tx, one.channel, ledger.Thing.DELIVERY)


def give_back(tx: Tx, ended: Sequence[Delivery]) -> None:
    """Give the quota of scheduled deliveries back, locked ones, that are ended unsent; of others nothing."""
    never_tried = Counter(one.queue_id for one in ended if one.scheduled_for is not None and not one.attempts)
    for queue_id, number in sorted(never_tried.items()):
        known = of_queue_id(tx, queue_id)
        if known is not None and known.counted:
            quotas.give_back(tx, known.org, QuotaKind.MASS, known.day, number)


def tell(tx: Tx, held: Sequence[Delivery], type: EventType, *, at: datetime, data: dict[str, str]) -> None:  # noqa: A002
    """Write down what happened to each of these."""
    for one in held:
        events.append(
            tx, org=one.org, at=at, type=type, queue_id=one.queue_id, message=one.message, delivery=one.id, data=data
        )


def parked(tx: Tx, ids: Collection[DeliveryId]) -> dict[DeliveryId, datetime]:
    """Those of these deliveries that wait, or waited, for somebody who is away, and until when."""
    if not ids:
        return {}
    found = tx.execute(select(parking).where(parking.c.delivery.in_(sorted(ids))))
    return {DeliveryId(row.delivery): from_micros(row.until_at) for row in found}


def hastened(tx: Tx, queue_ids: Collection[QueueId]) -> frozenset[QueueId]:
    """Those of these submissions that their author sent now."""
    found = select(schedule.c.queue_id).where(schedule.c.queue_id.in_(sorted(queue_ids)), schedule.c.hastened)
    return frozenset(QueueId(name) for name in tx.execute(found).scalars())


def park(tx: Tx, held: Delivery, *, until: datetime, at: datetime) -> bool:
    """Give a claimed delivery back as scheduled for `until`; False when the claim was lost, and nothing changes.

    It may expire as long after that as it might have after the time it was scheduled for.
    """
    if held.lease is None:
        return False
    later = until - held.due_at
    taken = tx.execute(
        update(delivery)
        .where(
            delivery.c.id == held.id,
            delivery.c.state == DeliveryState.SENDING,
            delivery.c.fence == held.lease.fence,
        )
        .values(
            state=DeliveryState.SCHEDULED,
            due_at=to_micros(until),
            scheduled_for=to_micros(until),
            expires_at=to_micros(held.expires_at + later),
            lease_node=None,
            lease_until=None,
        )
    )
    if not taken.rowcount:
        return False
    row = {"delivery": held.id, "until_at": to_micros(until), "parked_at": to_micros(at)}
    tx.execute(tx.insert(parking).values(row).on_conflict_do_update(index_elements=["delivery"], set_=row))
    return True


def _named(org: OrgId, id_: str) -> Select[*tuple[Any, ...]]:
    return select(schedule).where(or_(schedule.c.id == id_, schedule.c.queue_id == id_), schedule.c.org == org)


def _one(tx: Tx, wanted: Select[*tuple[Any, ...]]) -> Schedule:
    row = tx.execute(wanted).first()
    if row is None:
        raise Unknown("There is no such scheduled mail")
    return _schedule(row)


def _schedule(row: Row[Any]) -> Schedule:
    return Schedule(
        id=QueueId(row.id),
        org=OrgId(row.org),
        author=UserId(row.author),
        queue_id=QueueId(row.queue_id),
        due_at=from_micros(row.due_at),
        zone=row.zone,
        preset=Preset(row.preset) if row.preset else None,
        day=_FIRST + timedelta(days=row.day),
        counted=row.counted,
        version=row.version,
        hastened=row.hastened,
        created_at=from_micros(row.created_at),
        changed_at=from_micros(row.changed_at),
    )
