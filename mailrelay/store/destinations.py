"""Recipient domains that have something waiting, and when each is looked at next: what a claim reads instead of the whole queue.

A row's `wake_at` is no later than the earliest due of what waits for it (a destination may wake for nothing, and never sleeps past
its mail), but for one that is parked: its way takes nothing before `parked_until`, because of `because`. So a claim costs the same
with a thousand and a million deliveries, and no destination delays another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Executable, Row, case

from mailrelay.clock import to_micros
from mailrelay.store.base import InsertInto, Tx, for_both
from mailrelay.store.tables import destination


def wake(tx: Tx, due: Mapping[str, datetime]) -> None:
    """Have these recipient domains looked at when something of theirs falls due, or sooner.

    Whoever makes a delivery QUEUED or SCHEDULED, or moves its `due_at`, must call it in the same transaction. It is written at the
    end of the transaction, once for all that woke in it, in an order that is the same for all writers.
    """
    for name, at in due.items():
        tx.last(_wake, (name, to_micros(at)))


def wake_rows(tx: Tx, changed: Iterable[Row[*tuple[Any, ...]]]) -> None:
    """`wake` for rows with the columns `destination` and `due_at`, as an UPDATE returns them."""
    for row in changed:
        tx.last(_wake, (row.destination, row.due_at))


def _wake(tx: Tx, calls: list[tuple[str, int]]) -> None:
    earliest: dict[str, int] = {}
    for name, at in calls:
        earliest[name] = min(at, earliest.get(name, at))
    tx.execute(_WAKE[tx.dialect], [{"name": name, "wake_at": at} for name, at in sorted(earliest.items())])


def _upsert(insert: InsertInto) -> Executable:
    row = insert(destination)
    sooner = case((destination.c.wake_at < row.excluded.wake_at, destination.c.wake_at), else_=row.excluded.wake_at)
    # What is parked stays so, or each new mail for it would be claimed in vain.
    kept = case((destination.c.parked_until > sooner, destination.c.parked_until), else_=sooner)
    return row.on_conflict_do_update(index_elements=["name"], set_={"wake_at": kept})


_WAKE = for_both(_upsert)
