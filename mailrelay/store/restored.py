"""What a queue holds that was copied while it was at work, and may have gone out since (D14, D11)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select, update

from mailrelay.clock import to_micros
from mailrelay.ids import NodeId
from mailrelay.model.delivery import UNCONFIRMED, DeliveryState
from mailrelay.store import deliveries, queue
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
    """Hold mass mail that was due by `now`, `limit` of it, as unconfirmed; how many, 0 when nothing is left.

    What is due later cannot have gone out.
    """
    found = tx.execute(
        select(delivery)
        .where(delivery.c.job != "", DELIVERIES_WAITING, delivery.c.due_at <= to_micros(now))
        .limit(limit)
        .with_for_update()
    ).mappings()
    held = [deliveries.from_row(row) for row in found]
    if held:
        tx.execute(
            update(delivery)
            .where(delivery.c.id.in_([one.id for one in held]))
            .values(state=DeliveryState.HELD, held_by=UNCONFIRMED, held_at=to_micros(now))
        )
    for one in held:
        queue.tell_held(tx, one, UNCONFIRMED, at=now, data={"why": WHY})
    return len(held)


def counts(tx: Tx, *, now: datetime) -> tuple[int, int]:
    """How many deliveries are held as unconfirmed, and how many go out at once."""
    number = select(func.count()).select_from(delivery)
    held = number.where(delivery.c.state == DeliveryState.HELD, delivery.c.held_by == UNCONFIRMED)
    due = number.where(DELIVERIES_WAITING, delivery.c.due_at <= to_micros(now))
    return tx.execute(held).scalar_one(), tx.execute(due).scalar_one()
