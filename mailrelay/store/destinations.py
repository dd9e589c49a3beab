"""Recipient domains that have something waiting, and when each is looked at next: what a claim reads instead of the whole queue.

A row's `wake_at` is no later than the earliest due of what waits for it (a destination may wake for nothing, and never sleeps past
its mail), but for one that is parked: its way takes nothing before `parked_until`, because of `because`. So a claim costs the same
with a thousand and a million deliveries, and no destination delays another.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Case, Executable, Row, and_, bindparam, case, func, select, text, update

from mailrelay.clock import from_micros, to_micros
from mailrelay.ids import NodeId
from mailrelay.model.delivery import DeliveryState
from mailrelay.store.base import Bell, InsertInto, Tx, for_both
from mailrelay.store.tables import DELIVERIES_WAITING, delivery, destination

_PARKED = text("parked_by <> ''")
_SLACK = timedelta(minutes=1)
"""By which clocks of processes differ, and a look lasts: what wakes so late is not asleep."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A recipient domain that has something waiting, or had a moment ago."""

    name: str
    site: str
    wake_at: datetime
    parked_until: datetime | None
    because: str


def get(tx: Tx, name: str) -> Destination | None:
    """How a recipient domain stands in the queue; None when nothing waits for it."""
    row = tx.execute(select(destination).where(destination.c.name == name)).first()
    if row is None:
        return None
    return Destination(
        name=row.name,
        site=row.site,
        wake_at=from_micros(row.wake_at),
        parked_until=from_micros(row.parked_until) if row.parked_until else None,
        because=row.because,
    )


def park(tx: Tx, names: Collection[str], *, until: datetime, site: str, because: str, by: NodeId) -> None:
    """Look at these destinations at `until` and no sooner, whatever wakes them: their way takes nothing before.

    A claim that names them takes from them all the same. What `by` knows of the way dies with it: see `unpark`.
    """
    at = to_micros(until)
    said = {"site": site, "wake_at": at, "parked_until": at, "because": because, "parked_by": by}
    tx.execute(_PARK[tx.dialect], [{"name": name, **said} for name in sorted(names)])


def unpark(tx: Tx, by: NodeId, *, now: datetime, limit: int = 1_000) -> int:
    """Look at once at destinations that this process parked, `limit` of them; how many, 0 when none is left. It must have ended."""
    parked = select(destination.c.name).where(_PARKED, destination.c.parked_by == by)
    names = tx.execute(parked.order_by(destination.c.name).limit(limit).with_for_update()).scalars().all()
    if names:
        free = {"wake_at": to_micros(now), "parked_until": 0, "because": "", "parked_by": ""}
        tx.execute(update(destination).where(destination.c.name.in_(names)).values(free))
        tx.ring(Bell.QUEUE)
    return len(names)


def _park(insert: InsertInto) -> Executable:
    row = insert(destination)
    said = {name: row.excluded[name] for name in ("site", "wake_at", "parked_until", "because", "parked_by")}
    return row.on_conflict_do_update(index_elements=["name"], set_=said)


_PARK = for_both(_park)


def count(tx: Tx, *, now: datetime, limit: int = 10_000) -> tuple[int, int]:
    """How many destinations have something waiting, and how many of them are parked; counted up to `limit`."""
    rows = select(destination.c.parked_until).where(destination.c.wake_at >= 0)
    first = rows.order_by(destination.c.wake_at).limit(limit).subquery()
    parked = func.sum(case((first.c.parked_until > to_micros(now), 1), else_=0))
    row = tx.execute(select(func.count(), func.coalesce(parked, 0)).select_from(first)).one()
    return int(row[0]), int(row[1])


@dataclass(frozen=True, slots=True)
class Looked:
    """A step of `look`: the destination that it came to, None at the end, and those where something is wrong."""

    last: str | None
    wrong: tuple[str, ...]


def look(tx: Tx, *, after: str, now: datetime, longest: timedelta, limit: int = 200) -> Looked:
    """Look through the destinations of what waits, `limit` of them behind `after`, for what should never be; `mend` it.

    That is one without a row, or that sleeps past its mail, and not one that waits for its turn; and no retry is further away than
    `longest`: a delivery that is has its time from a clock that has gone back since (Q01).
    """
    last, wrong = after, list[str]()
    for _ in range(limit):
        name = tx.execute(_NEXT_NAME, {"b_after": last}).scalar()
        if name is None:
            return Looked(None, tuple(wrong))
        last = name
        if _is_asleep(tx, name, now, now + longest) or _late(tx, name, now + longest):
            wrong.append(name)
    return Looked(last, tuple(wrong))


def mend(tx: Tx, names: Collection[str], *, now: datetime, longest: timedelta) -> tuple[int, int]:
    """Wake destinations that sleep past their mail, and make due what is due absurdly late; how many of either there were."""
    asleep, late = 0, 0
    for name in sorted(names):
        stuck = _late(tx, name, now + longest, limit=10_000)
        if stuck:
            tx.execute(update(delivery).where(delivery.c.id.in_(stuck)).values(_as_it_should(now)))
            late += len(stuck)
        if _is_asleep(tx, name, now, now + longest):
            asleep += not stuck
            due = tx.execute(_EARLIEST, {"b_name": name}).scalar_one()
            if due is not None:
                tx.execute(update(destination).where(destination.c.name == name).values(parked_until=0, parked_by=""))
                wake(tx, {name: from_micros(due)})
    return asleep, late


def _as_it_should(now: datetime) -> Mapping[str, Case[Any]]:
    """Due now; but mail whose time is still to come was given back under a clock ahead of it, and is as it was."""
    at = to_micros(now)
    early = and_(delivery.c.scheduled_for > at, delivery.c.attempts == 0)
    return {
        "due_at": case((early, delivery.c.scheduled_for), else_=at),
        "state": case((early, DeliveryState.SCHEDULED), else_=delivery.c.state),
    }


def _is_asleep(tx: Tx, name: str, now: datetime, furthest: datetime) -> bool:
    due = tx.execute(_EARLIEST, {"b_name": name}).scalar()
    if due is None:
        return False
    row = tx.execute(select(destination).where(destination.c.name == name)).first()
    if row is None:
        return True
    latest = max(due, row.parked_until, to_micros(now + _SLACK))
    return bool(row.parked_until > to_micros(furthest) or row.wake_at > latest)


def _late(tx: Tx, name: str, furthest: datetime, *, limit: int = 1) -> Sequence[str]:
    return tx.execute(_LATE, {"b_name": name, "b_furthest": to_micros(furthest), "b_limit": limit}).scalars().all()


_NEXT_NAME = (
    select(delivery.c.destination)
    .where(DELIVERIES_WAITING, delivery.c.destination > bindparam("b_after"))
    .order_by(delivery.c.destination)
    .limit(1)
)
_EARLIEST = select(func.min(delivery.c.due_at)).where(DELIVERIES_WAITING, delivery.c.destination == bindparam("b_name"))
_LATE = (
    select(delivery.c.id)
    .where(
        DELIVERIES_WAITING,
        delivery.c.destination == bindparam("b_name"),
        delivery.c.due_at > bindparam("b_furthest"),
        delivery.c.state == DeliveryState.QUEUED,
    )
    .limit(bindparam("b_limit"))
)
