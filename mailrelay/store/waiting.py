"""How much waits for one destination, counted as far as people want to know (R3)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from mailrelay.clock import from_micros
from mailrelay.store.base import Tx
from mailrelay.store.tables import DELIVERIES_WAITING, delivery

MOST = 10_000
"""More are not counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What waits for a destination, of all organisations."""

    deliveries: int
    """At most MOST."""
    complete: bool
    """Whether there are no more."""
    next_due: datetime | None
    """When the first of them is due, or was."""


def of(tx: Tx, destination: str) -> Waiting:
    """What waits for a recipient domain: queued and scheduled, not what is held."""
    mine = (DELIVERIES_WAITING, delivery.c.destination == destination)
    first = select(delivery.c.due_at).where(*mine).order_by(delivery.c.due_at).limit(MOST + 1).subquery()
    row = tx.execute(select(func.count(), func.min(first.c.due_at)).select_from(first)).one()
    number = int(row[0])
    return Waiting(
        deliveries=min(number, MOST), complete=number <= MOST, next_due=None if row[1] is None else from_micros(row[1])
    )
