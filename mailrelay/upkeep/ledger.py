"""Watches the books all the time: the balance becomes metrics, and a difference becomes a line in the log (K8).

A look reads what is in flight, so it takes longer the more there is. It is made every few seconds, and less often where it would
take more than a fiftieth of the time: with a million deliveries a few times a minute.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from mailrelay import log, metrics
from mailrelay.clock import Clock
from mailrelay.errors import StoreDamaged
from mailrelay.filing.bodies import Bodies, BodyMissing
from mailrelay.ids import Digest
from mailrelay.model.delivery import DeliveryStatus
from mailrelay.model.envelope import ArrivalState, Channel
from mailrelay.model.message import BlobRef
from mailrelay.model.sending import Scope
from mailrelay.service import Stopping
from mailrelay.store import arrivals, delivery_counts, destinations, ledger, suspensions, unresolved
from mailrelay.store.base import Store, Tx

INTERVAL = 5.0
_SHARE = 0.02
"""Of the time, that looking may take."""
_LONGEST = 300.0
"""Seconds between looks at most: a store that was away once is no reason to look away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """The sums of every channel, and each thing that the books do not agree on."""

    balances: tuple[ledger.Balance, ...]
    discrepancies: tuple[ledger.Discrepancy, ...]

    @property
    def balanced(self) -> bool:
        """Whether nothing is missing."""
        return not self.discrepancies and all(one.unaccounted == 0 for one in self.balances)


async def audit(store: Store, bodies: Bodies) -> Audit:
    """Compare the books one by one, and read every blob that something in flight or stored needs. Slow: for a person who asks."""
    sums, found, large = await store.read(_compare)
    for id_, channel, digest, size in large:
        try:
            await bodies.read(BlobRef(digest=Digest(digest), size=size))
        except (BodyMissing, StoreDamaged) as error:
            found.append(ledger.Discrepancy(id=id_, channel=channel, what=str(error)))
    return Audit(balances=tuple(sums), discrepancies=tuple(found))


def _compare(
    tx: Tx,
) -> tuple[Sequence[ledger.Balance], list[ledger.Discrepancy], Sequence[tuple[str, str, str, int]]]:
    return ledger.balance(tx), list(ledger.audit(tx)), ledger.bodies_elsewhere(tx)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Figures:
    balances: Sequence[ledger.Balance]
    queue: Sequence[delivery_counts.StatusCount]
    held: Mapping[str, int]
    destinations: tuple[int, int]
    waiting: Mapping[ArrivalState, tuple[int, datetime | None]]
    unresolved: int
    suspended: Mapping[Scope, int]


def _figures(tx: Tx, now: datetime) -> _Figures:
    flying = delivery_counts.flying(tx)
    by_channel = Counter[Channel]()
    for one in flying:
        by_channel[one.channel] += one.count
    return _Figures(
        balances=ledger.balance(tx, deliveries=by_channel),
        queue=delivery_counts.by_status(flying),
        held=delivery_counts.held_counts(tx),
        destinations=destinations.count(tx, now=now),
        waiting=arrivals.waiting(tx),
        unresolved=unresolved.count(tx),
        suspended=suspensions.count(tx),
    )


class LedgerKeeper:
    """The service "ledger"."""

    name = "ledger"

    def __init__(self, store: Store, clock: Clock, stopping: Stopping, *, interval: float = INTERVAL) -> None:
        self._store = store
        self._clock = clock
        self._stopping = stopping
        self._interval = interval
        self.pause = interval
        """Seconds until the next look, by how long the last one took."""
        self._unbalanced: frozenset[tuple[str, str, int]] = frozenset()
        self._log = log.get(service=self.name)

    async def run(self) -> None:
        """Look at the books until a stop is asked for."""
        while not self._stopping.is_set():
            await self.look()
            await self._stopping.wait(self.pause)

    async def look(self) -> None:
        """Look at the books once."""
        now, began = self._clock.now(), self._clock.monotonic()
        figures = await self._store.read(_figures, now)
        self.pause = max(self._interval, min(_LONGEST, (self._clock.monotonic() - began) * (1 / _SHARE - 1)))
        missing = dict.fromkeys(Channel, 0)
        for one in figures.balances:
            missing[one.channel] += abs(one.unaccounted)
        for channel, number in missing.items():
            metrics.unaccounted.labels(channel).set(number)
        _tell_of_queue(figures, now)
        for arrival_state, (count, _) in figures.waiting.items():
            metrics.arrivals_waiting.labels(arrival_state).set(count)
        metrics.arrivals_age.set(_age(now, [oldest for _, oldest in figures.waiting.values()]))
        metrics.unresolved.set(figures.unresolved)
        for scope, number in figures.suspended.items():
            metrics.suspended.labels(scope).set(number)
        metrics.looked()
        self._tell(figures.balances)

    def _tell(self, balances: Sequence[ledger.Balance]) -> None:
        """A line for each difference that is new, not one every five seconds."""
        unbalanced = frozenset((one.channel, one.thing, one.unaccounted) for one in balances if one.unaccounted)
        for channel, thing, number in sorted(unbalanced - self._unbalanced):
            self._log.error("audit.unbalanced", channel=channel, thing=thing, unaccounted=number)
        self._unbalanced = unbalanced


def _tell_of_queue(figures: _Figures, now: datetime) -> None:
    """The metrics of what is in flight: what was put off is queued, too."""
    states = dict.fromkeys(("scheduled", "held", "queued", "sending"), 0)
    for one in figures.queue:
        states["queued" if one.status is DeliveryStatus.DEFERRED else str(one.status)] += one.count
        metrics.queue_status_age.labels(str(one.status)).set(_age(now, [one.oldest_due]))
    for state, number in states.items():
        metrics.queue_length.labels(state).set(number)
    # What is held waits for a person, and what is scheduled for its time.
    moving = (one for one in figures.queue if one.status not in (DeliveryStatus.HELD, DeliveryStatus.SCHEDULED))
    metrics.queue_age.set(_age(now, [one.oldest_due for one in moving]))
    for by, number in figures.held.items():
        metrics.queue_held.labels(by).set(number)
    for name, number in zip(("waiting", "parked"), figures.destinations, strict=True):
        metrics.queue_destinations.labels(name).set(number)


def _age(now: datetime, since: Sequence[datetime | None]) -> float:
    """Seconds since the oldest; 0 when there is none, or when it is not due yet."""
    oldest = min((at for at in since if at is not None), default=now)
    return max(0.0, (now - oldest).total_seconds())
