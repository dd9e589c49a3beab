"""How many deliveries are in flight, and how they stand (K1): for metrics and operators."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import case, func, select, text

from mailrelay.clock import from_micros
from mailrelay.model.delivery import (
    HELD_BY_HAND,
    IN_FLIGHT_DELIVERIES,
    POISON,
    UNCONFIRMED,
    DeliveryState,
    DeliveryStatus,
    delivery_status,
)
from mailrelay.model.envelope import Channel
from mailrelay.store.base import Tx
from mailrelay.store.tables import DELIVERIES_IN_FLIGHT, delivery

_ASIDE = frozenset({HELD_BY_HAND, POISON, UNCONFIRMED})
_IN_FLIGHT = frozenset(map(str, IN_FLIGHT_DELIVERIES))
_HELD = text("state = 'held'")


@dataclass(frozen=True, slots=True)
class StateCount:
    """Deliveries of a state that are in flight, and since when the oldest of them is due."""

    state: DeliveryState
    count: int
    oldest_due: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Flying:
    """Some of the deliveries of a channel and status that are in flight, and since when the oldest of them is due."""

    channel: Channel
    status: DeliveryStatus
    count: int
    oldest_due: datetime


@dataclass(frozen=True, slots=True)
class StatusCount:
    """Deliveries of a status that are in flight, and since when the oldest of them is due."""

    status: DeliveryStatus
    count: int
    oldest_due: datetime | None


def counts(tx: Tx) -> tuple[StateCount, ...]:
    """What is in flight, for each state, nought included (for the metrics)."""
    found = {
        row[0]: (row[1], row[2])
        for row in tx.execute(
            select(delivery.c.state, func.count(), func.min(delivery.c.due_at))
            .where(DELIVERIES_IN_FLIGHT)
            .group_by(delivery.c.state)
        )
    }
    return tuple(
        StateCount(state, number, None if oldest is None else from_micros(oldest))
        for state in DeliveryState
        if state in IN_FLIGHT_DELIVERIES
        for number, oldest in [found.get(state, (0, None))]
    )


def flying(tx: Tx) -> tuple[Flying, ...]:
    """What is in flight, counted. It reads all of an index, in its order: some tenths of a second for a million."""
    columns = (delivery.c.channel, delivery.c.state, delivery.c.attempts)
    found = tx.execute(
        select(*columns, func.count().label("number"), func.min(delivery.c.due_at).label("oldest"))
        .where(DELIVERIES_IN_FLIGHT)
        .group_by(*columns)
    )
    return tuple(
        Flying(
            channel=Channel(row.channel),
            status=delivery_status(DeliveryState(row.state), row.attempts, replied=False),
            count=int(row.number),
            oldest_due=from_micros(row.oldest),
        )
        for row in found
    )


def status_counts(tx: Tx) -> tuple[StatusCount, ...]:
    """What is in flight, for each status, nought included (K1: what waits for its first attempt, and what was put off)."""
    return by_status(flying(tx))


def by_status(found: Iterable[Flying]) -> tuple[StatusCount, ...]:
    """`status_counts` of what was counted already."""
    numbers: Counter[DeliveryStatus] = Counter()
    oldest: dict[DeliveryStatus, datetime] = {}
    for one in found:
        numbers[one.status] += one.count
        oldest[one.status] = min(one.oldest_due, oldest.get(one.status, one.oldest_due))
    return tuple(
        StatusCount(status, numbers[status], oldest.get(status))
        for status in DeliveryStatus
        if status is DeliveryStatus.DEFERRED or status in _IN_FLIGHT
    )


def held_counts(tx: Tx) -> dict[str, int]:
    """How many deliveries are held in the whole installation, by hand, as poison, unconfirmed, or by a suspension (`suspension`)."""
    by = case((delivery.c.held_by.in_(sorted(_ASIDE)), delivery.c.held_by), else_="suspension")
    found = tx.execute(select(by.label("by"), func.count().label("number")).where(_HELD).group_by("by"))
    return dict.fromkeys(("suspension", *sorted(_ASIDE)), 0) | {row.by: int(row.number) for row in found}
