"""What a queue holds that was copied while it was at work, and may have gone out since (D14, D11)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import and_, func, or_, select, update

from mailrelay.clock import to_micros
from mailrelay.ids import DeliveryId, MessageId, NodeId, OrgId, QueueId
from mailrelay.model.delivery import POISON, UNCONFIRMED, DeliveryState
from mailrelay.model.event import EventType
from mailrelay.store import events, queue
from mailrelay.store.base import Tx
from mailrelay.store.tables import DELIVERIES_WAITING, delivery

WHY = "it waited when the backup was made and may have gone out since, and mass mail never goes out twice"
_NO_POISON = 1 << 30


def put_back(tx: Tx, *, now: datetime) -> int:
    """Put back a piece of what was being sent when the copy was made; how many, 0 when nothing is left. Nobody sends it any more."""
    node = tx.execute(
        select(delivery.c.lease_node).where(delivery.c.state == DeliveryState.SENDING).limit(1)
    ).scalar_one_or_none()
    # Being copied is no fault of a mail.
    return 0 if node is None else queue.recover(tx, NodeId(node), now=now, max_faults=_NO_POISON)


def hold_mass_mail(tx: Tx, *, now: datetime, limit: int = 500) -> int:
    """Hold mass mail that had not ended, `limit` of it, as unconfirmed; how many, 0 when nothing is left.

    Whatever it waited for: since the copy was made it may have been hastened, sent now, resumed or released.
    """
    row = delivery.c
    waits = or_(DELIVERIES_WAITING, and_(row.state == DeliveryState.HELD, row.held_by.not_in([UNCONFIRMED, POISON])))
    ids = select(row.id).where(row.job != "", waits).limit(limit)
    held = tx.execute(
        update(delivery)
        .where(row.id.in_(ids.scalar_subquery()))
        .values(state=DeliveryState.HELD, held_by=UNCONFIRMED, held_at=func.coalesce(row.held_at, to_micros(now)))
        .returning(row.id, row.org, row.queue_id, row.message)
    ).all()
    for one in held:
        events.append(
            tx,
            org=OrgId(one.org),
            at=now,
            type=EventType.DELIVERY_HELD,
            queue_id=QueueId(one.queue_id),
            message=MessageId(one.message),
            delivery=DeliveryId(one.id),
            data={"held_by": UNCONFIRMED, "why": WHY},
        )
    return len(held)


def counts(tx: Tx, *, now: datetime) -> tuple[int, int]:
    """How many deliveries are held as unconfirmed, and how many go out at once."""
    number = select(func.count()).select_from(delivery)
    held = number.where(delivery.c.state == DeliveryState.HELD, delivery.c.held_by == UNCONFIRMED)
    due = number.where(DELIVERIES_WAITING, delivery.c.due_at <= to_micros(now))
    return tx.execute(held).scalar_one(), tx.execute(due).scalar_one()
