"""Accepted = ended + in flight, for every channel and at every moment (K8).

Two books are kept apart on purpose: `ledger` counts what was accepted and what ended, each in the transaction that does it;
the rows themselves say what is in flight. `balance` compares the sums (cheap, for the metric); `audit` compares the journal
with the rows one by one and names what is missing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Executable, Table, TextClause, and_, func, not_, or_, select, union_all

from mailrelay.model.decision import DropReason, HoldReason
from mailrelay.model.delivery import IN_FLIGHT_DELIVERIES
from mailrelay.model.envelope import IN_FLIGHT_ARRIVALS, ArrivalState, Channel
from mailrelay.model.event import EventType
from mailrelay.store.base import InsertInto, Tx, for_both
from mailrelay.store.tables import (
    ARRIVALS_IN_FLIGHT,
    DELIVERIES_IN_FLIGHT,
    arrival,
    body,
    delivery,
    event,
    ledger,
    message,
    message_source,
    unresolved,
)

_Entry = tuple[Channel, "Thing", int, int]
"""What was accepted, and what ended, of a channel's things."""


class Thing(StrEnum):
    """What is counted: receptions, and recipients of what goes out."""

    ARRIVAL = "arrival"
    DELIVERY = "delivery"


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """One channel's sums; `unaccounted` must be 0."""

    channel: Channel
    thing: Thing
    accepted: int
    ended: int
    in_flight: int

    @property
    def unaccounted(self) -> int:
        """Accepted minus ended minus in flight."""
        return self.accepted - self.ended - self.in_flight


@dataclass(frozen=True, slots=True, kw_only=True)
class Discrepancy:
    """One message, arrival or delivery that the books do not agree on."""

    id: str
    channel: str
    what: str


def count_accepted(tx: Tx, channel: Channel, thing: Thing, number: int = 1) -> None:
    """To be called in the transaction that accepts."""
    tx.last(_add, (channel, thing, number, 0))


def count_ended(tx: Tx, channel: Channel, thing: Thing, number: int = 1) -> None:
    """To be called in the transaction that ends; a negative number takes an end back (an unresolved entry reopened)."""
    tx.last(_add, (channel, thing, 0, number))


def _add(tx: Tx, entries: list[_Entry]) -> None:
    """All that a transaction counted, each row of the books once, in an order that is the same for all writers."""
    sums: defaultdict[tuple[Channel, Thing], list[int]] = defaultdict(lambda: [0, 0])
    for channel, thing, accepted, ended in entries:
        sums[channel, thing][0] += accepted
        sums[channel, thing][1] += ended
    tx.execute(
        _COUNT[tx.dialect],
        [
            {"channel": channel, "thing": thing, "accepted": accepted, "ended": ended}
            for (channel, thing), (accepted, ended) in sorted(sums.items())
        ],
    )


def _count(insert: InsertInto) -> Executable:
    row = insert(ledger)
    more = {name: ledger.c[name] + row.excluded[name] for name in ("accepted", "ended")}
    return row.on_conflict_do_update(index_elements=["channel", "thing"], set_=more)


_COUNT = for_both(_count)


def balance(tx: Tx, *, deliveries: Mapping[Channel, int] | None = None) -> Sequence[Balance]:
    """The sums of every channel that ever accepted anything, arrivals before deliveries.

    `deliveries` are those in flight, by channel, if this transaction has counted them already.
    """
    counted: dict[Thing, Mapping[Channel, int]] = {Thing.ARRIVAL: _count_flying(tx, arrival, ARRIVALS_IN_FLIGHT)}
    counted[Thing.DELIVERY] = _count_flying(tx, delivery, DELIVERIES_IN_FLIGHT) if deliveries is None else deliveries
    flying = {(str(channel), str(thing)): number for thing, each in counted.items() for channel, number in each.items()}
    books = {(row.channel, row.thing): (row.accepted, row.ended) for row in tx.execute(select(ledger))}
    return [
        Balance(
            channel=Channel(channel),
            thing=Thing(thing),
            accepted=books.get((channel, thing), (0, 0))[0],
            ended=books.get((channel, thing), (0, 0))[1],
            in_flight=flying.get((channel, thing), 0),
        )
        for channel, thing in sorted(books.keys() | flying.keys(), key=lambda pair: (pair[1], pair[0]))
    ]


def _count_flying(tx: Tx, table: Table, in_flight: TextClause) -> dict[Channel, int]:
    counts = select(table.c.channel, func.count()).where(in_flight).group_by(table.c.channel)
    return {Channel(channel): int(number) for channel, number in tx.execute(counts)}


def audit(tx: Tx, *, limit: int = 1000) -> Sequence[Discrepancy]:
    """Every thing that the journal and the rows disagree on, at most `limit`, worst kinds first.

    Reads whole tables: it is for a person who was told that the balance is off, not for a timer.
    """
    found: list[Discrepancy] = []
    for what, statement in _CHECKS:
        for row in tx.execute(statement.limit(limit - len(found))):
            found.append(Discrepancy(id=row[0], channel=row[1], what=what))  # noqa: PERF401 (the limit shrinks)
        if len(found) >= limit:
            break
    return found


_ENDED_ARRIVALS = sorted(set(ArrivalState) - IN_FLIGHT_ARRIVALS)

_CHECKS = (
    (
        "was accepted, and its arrival is gone",
        select(event.c.queue_id, event.c.data["channel"].as_string()).where(
            event.c.type == EventType.ARRIVAL_ACCEPTED,
            not_(select(arrival.c.id).where(arrival.c.id == event.c.queue_id).exists()),
        ),
    ),
    (
        "was queued, and its delivery is gone",
        select(event.c.delivery, event.c.data["channel"].as_string()).where(
            event.c.type == EventType.DELIVERY_QUEUED,
            not_(select(delivery.c.id).where(delivery.c.id == event.c.delivery).exists()),
        ),
    ),
    (
        "is an arrival that the journal never accepted",
        select(arrival.c.id, arrival.c.channel).where(
            not_(
                select(event.c.seq)
                .where(event.c.queue_id == arrival.c.id, event.c.type == EventType.ARRIVAL_ACCEPTED)
                .exists()
            )
        ),
    ),
    (
        "has ended, and the journal does not say how",
        select(arrival.c.id, arrival.c.channel).where(
            arrival.c.state.in_(_ENDED_ARRIVALS),
            not_(
                select(event.c.seq)
                .where(event.c.queue_id == arrival.c.id, event.c.type == EventType.ARRIVAL_ENDED)
                .exists()
            ),
        ),
    ),
    (
        "has ended, and no message came of it",
        select(arrival.c.id, arrival.c.channel).where(
            arrival.c.state.in_(_ENDED_ARRIVALS),
            arrival.c.reason != DropReason.UNSUBSCRIBED,  # O15: it says one thing, and is no message
            not_(select(message_source.c.message).where(message_source.c.arrival == arrival.c.id).exists()),
            or_(
                arrival.c.message.is_(None),
                not_(select(message.c.id).where(message.c.id == arrival.c.message).exists()),
            ),
        ),
    ),
    (
        "waits for a person, and is not on the unresolved list",
        select(arrival.c.id, arrival.c.channel).where(
            arrival.c.state == ArrivalState.UNRESOLVED,
            not_(
                select(unresolved.c.id)
                .where(
                    unresolved.c.arrival == arrival.c.id,
                    unresolved.c.resolved_at.is_(None),
                    unresolved.c.reason != HoldReason.GONE,
                )
                .exists()
            ),
        ),
    ),
    (
        "is a delivery whose message is gone",
        select(delivery.c.id, delivery.c.channel).where(
            not_(select(message.c.id).where(message.c.id == delivery.c.message).exists())
        ),
    ),
)


def bodies_elsewhere(tx: Tx) -> Sequence[tuple[str, str, str, int]]:
    """(id, channel, digest, size) of everything in flight or stored whose bytes are not in the store: they must be blobs."""
    known = select(body.c.digest)
    came_by = select(message_source.c.channel).where(message_source.c.message == message.c.id).limit(1)
    things = union_all(
        select(arrival.c.id, arrival.c.channel, arrival.c.digest, arrival.c.size).where(
            and_(arrival.c.state.in_(sorted(IN_FLIGHT_ARRIVALS)), arrival.c.digest.not_in(known))
        ),
        select(delivery.c.id, delivery.c.channel, delivery.c.digest, delivery.c.size).where(
            and_(delivery.c.state.in_(sorted(IN_FLIGHT_DELIVERIES)), delivery.c.digest.not_in(known))
        ),
        select(
            message.c.id, func.coalesce(came_by.scalar_subquery(), ""), message.c.raw_digest, message.c.raw_size
        ).where(message.c.raw_digest.not_in(known)),
    )
    return [(row[0], row[1], row[2], row[3]) for row in tx.execute(things)]
