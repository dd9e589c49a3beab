"""One batch on its way: suppression once more, attempts written down, the courier, the outcomes (O10, O11).

Nothing is sent before its attempt is written down, and no outcome waits for another: each is settled as it is reported.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from mailrelay import log, metrics
from mailrelay.clock import Clock
from mailrelay.config.schema import Delivery as DeliverySettings
from mailrelay.errors import Fatal, Suppressed, Unavailable
from mailrelay.ids import DeliveryId
from mailrelay.model.delivery import (
    POISON,
    UNCONFIRMED,
    Accepted,
    Delivery,
    DeliveryState,
    Interrupted,
    Outcome,
    Refused,
    Stage,
)
from mailrelay.model.sending import Scope
from mailrelay.model.way import Way
from mailrelay.outbound import brake, scheduled
from mailrelay.outbound.courier.base import OUR_FAULT, Courier, DeliveryBatch, Report
from mailrelay.outbound.courier.sources import offers
from mailrelay.outbound.leases import Leases
from mailrelay.outbound.letters import LetterMaker
from mailrelay.outbound.policy import retry, source
from mailrelay.outbound.policy.source import Offer
from mailrelay.outbound.settle import Settler
from mailrelay.outbound.steady import Steady
from mailrelay.outbound.stops import Stops
from mailrelay.outbound.suspended_sources import KEPT, names
from mailrelay.store import queue, suppressions
from mailrelay.store.base import Store, Tx
from mailrelay.store.queue import Settlement

_SPOKEN = frozenset({Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.DOT})
_logger = log.get()


class NotBegun(Exception):
    """Our own code failed before anything of a batch was begun; that is its cause."""


class BatchRunner:
    """Brings batches of claimed deliveries to their outcomes."""

    def __init__(
        self,
        store: Store,
        courier: Courier,
        letters: LetterMaker,
        settler: Settler,
        clock: Clock,
        settings: DeliverySettings,
        *,
        steady: Steady,
        leases: Leases,
        stops: Stops,
    ) -> None:
        self._store = store
        self._courier = courier
        self._letters = letters
        self._settler = settler
        self._clock = clock
        self._steady = steady
        self._leases = leases
        self._stops = stops
        self._offers = offers(settings.sources, "")
        self._lifetime = timedelta(seconds=settings.lifetime)
        self._max_faults = settings.max_faults
        self._schedule = retry.Schedule(
            first=timedelta(seconds=settings.first_retry), longest=timedelta(seconds=settings.longest_retry)
        )

    async def run(self, way: Way, held: Sequence[Delivery], said: list[Outcome], *, connections: int) -> None:
        """Deliver claimed deliveries; on return each of them is settled, and `said` is what the world answered.

        It uses one connection of the `connections` that may be open on the way.

        Raises what the store raises before anything was begun, NotBegun, and Fatal. Cancelled, it settles what it does not
        know the end of as cut off.
        """
        destination = way.site if way.relay else held[0].address.domain
        lapses = self._leases.lapses
        begun, stopped = await self._begin(way, held, destination)
        batch = _Attempts(begun, self._clock)
        written = [self._settler.put(settlement) for settlement in stopped]

        def report(one: Report) -> None:
            trace = self._letters.trace_of(one.delivery)
            dotted = one.delivery in batch.dotted
            if not trace and one.outcome is not OUR_FAULT:
                said.append(one.outcome)
            written.append(self._settler.put(self._settlement(batch.ended(one.delivery), one, trace, dotted=dotted)))

        def end(outcome: Outcome) -> None:
            for one in batch.open:
                settlement = self._settlement(
                    one,
                    Report(delivery=one.id, outcome=_as_known(outcome, one, batch.dotted), host=destination, tls=None),
                    self._letters.trace_of(one.id),
                    dotted=one.id in batch.dotted,
                )
                batch.ended(one.id)
                written.append(self._settler.put(settlement))

        async def before_dot(ids: Sequence[DeliveryId]) -> None:
            self._stops.check(ids)
            await self._before_dot([one for one in batch.open if one.id in ids], lapses)
            batch.dotted.update(ids)

        try:
            if begun:
                for one in begun:
                    _logger.debug(
                        "attempt.began",
                        queue_id=one.queue_id,
                        delivery=one.id,
                        destination=destination,
                        attempt=one.attempts,
                    )
                parcels = tuple(self._letters.parcel(one) for one in begun)
                await self._courier.deliver(
                    DeliveryBatch(
                        destination=destination,
                        parcels=parcels,
                        letters=self._letters,
                        report=report,
                        way=way,
                        connections=connections,
                        before_dot=before_dot,
                    )
                )
        except asyncio.CancelledError:
            end(queue.CUT_OFF)
            raise
        except Fatal:
            raise
        except (queue.LeaseLost, Unavailable, OSError) as error:  # no mail is to blame
            _logger.warning("attempt.stopped", destination=destination, reason=str(error))
        except Exception:
            # Of the way, which others take as well: only what `letters` fails on is a mail's own fault (Q03).
            metrics.delivery_errors.inc()
            _logger.exception("attempt.failed", destination=destination, deliveries=[one.id for one in batch.open])
        finally:
            end(OUR_FAULT)
            await asyncio.gather(*written)

    async def echo(self, way: Way, held: Sequence[Delivery], outcome: Outcome) -> None:
        """Settle claimed deliveries with what an attempt on this way would meet with, as one has for all (N14).

        Raises what the store raises before anything was begun, NotBegun, and Fatal.
        """
        begun, stopped = await self._begin(way, held, way.site)
        settlements = [
            *stopped,
            *(
                self._settlement(one, Report(delivery=one.id, outcome=outcome, host=way.site, tls=None), "")
                for one in begun
            ),
        ]
        await asyncio.gather(*(self._settler.put(one) for one in settlements))

    async def _begin(
        self, way: Way, held: Sequence[Delivery], host: str
    ) -> tuple[Sequence[Delivery], Sequence[Settlement]]:
        try:
            return await self._store.write(_begin, held, way=way, host=host, now=self._clock.now(), offers=self._offers)
        except (Fatal, Unavailable):
            raise
        except Exception as error:
            raise NotBegun from error

    async def _before_dot(self, held: Sequence[Delivery], lapses: int) -> None:
        """See `DeliveryBatch.before_dot`. Raises LeaseLost when somebody may have taken us for dead, and has taken these over.

        `lapses` is how often that may have been when these were begun: a sign of life since then makes nothing of it undone.
        """
        jobs = [one for one in held if one.job]
        if jobs:
            await self._store.write(queue.dot, jobs)
        doubtful = not self._leases.sure or self._leases.lapses != lapses
        if doubtful and (lost := await self._store.write(queue.lost, held)):
            raise queue.LeaseLost(", ".join(lost))

    def _settlement(self, held: Delivery, report: Report, trace: str, *, dotted: bool = False) -> Settlement:
        now = self._steady.now()
        expires_at = self._steady.expires(held.expires_at, lifetime=self._lifetime)
        following = retry.after(
            report.outcome,
            attempts=held.attempts,
            expires_at=expires_at,
            now=now,
            schedule=self._schedule,
            jitter=random.uniform(-1, 1),  # noqa: S311 (jitter)
        )
        again = isinstance(following, retry.Again)
        faults = held.faults + 1 if trace else 0 if _was_prepared(report.outcome) else held.faults
        held_by = ""
        if again and held.job and dotted and _may_be_taken(report.outcome):
            held_by = UNCONFIRMED
        elif again and trace and faults >= self._max_faults:
            held_by = POISON
        state = DeliveryState.HELD if held_by else DeliveryState.QUEUED
        return Settlement(
            held=held,
            state=following.state if isinstance(following, retry.Ended) else state,
            outcome=report.outcome,
            host=report.host,
            tls=report.tls,
            due_at=following.due_at if isinstance(following, retry.Again) else None,
            held_by=held_by,
            faults=faults,
            trace=trace or held.trace,
            expires_at=None if expires_at == held.expires_at else expires_at,
            tracked=self._letters.tracked_of(held.id),
            relayed=report.relayed,
        )


class _Attempts:
    """The attempts that were begun and have no outcome yet, and how long each takes."""

    def __init__(self, begun: Iterable[Delivery], clock: Clock) -> None:
        self._open = {one.id: one for one in begun}
        self._clock = clock
        self._since = clock.monotonic()
        self.dotted: set[DeliveryId] = set()
        """Those whose final dot went out, or was about to."""

    @property
    def open(self) -> tuple[Delivery, ...]:
        """Those without an outcome."""
        return tuple(self._open.values())

    def ended(self, id_: DeliveryId) -> Delivery:
        """Take one out. Raises KeyError when it has an outcome already."""
        now = self._clock.monotonic()
        metrics.delivery_seconds.observe(now - self._since)
        self._since = now
        return self._open.pop(id_)


def _as_known(outcome: Outcome, one: Delivery, dotted: Collection[DeliveryId]) -> Outcome:
    """What a batch that was cut off means for one: it may have been taken, unless we know that its dot had not gone out.

    Whatever cut off mass mail behind its dot, it is not sent again by itself.
    """
    if one.id in dotted:
        return queue.CUT_OFF
    return queue.CUT_SHORT if outcome is queue.CUT_OFF and one.job else outcome


def _may_be_taken(outcome: Outcome) -> bool:
    """Whether nobody has said what became of the mail after its final dot."""
    return isinstance(outcome, Interrupted) and outcome.stage is Stage.DOT


def _was_prepared(outcome: Outcome) -> bool:
    """Whether the mail was made ready for it, so that what failed in that before is no matter any more."""
    if isinstance(outcome, Refused) and outcome.by_us:
        return False
    return isinstance(outcome, Accepted) or outcome.stage in _SPOKEN


def _begin(
    tx: Tx, held: Sequence[Delivery], *, way: Way, host: str, now: datetime, offers: Sequence[Offer] = ()
) -> tuple[list[Delivery], list[Settlement]]:
    """Write attempts down for all but those suppressed since they were queued, which end (O10, Q06), and those now held."""
    reasons: dict[tuple[str, str, str], str] = {}
    for org in {one.org for one in held}:
        mine = [one for one in held if one.org == org]
        keys = sorted({one.address.key for one in mine})
        for found in suppressions.holding(tx, org, keys, lists={one.list for one in mine}):
            said = Suppressed(found.key, found.reason, found.since, list_=found.list)
            reasons[org, found.key, found.list] = str(said)
    stopped = [
        Settlement(held=one, state=DeliveryState.SUPPRESSED, outcome=None, reason=reason)
        for one in held
        if (reason := _suppressed(one, reasons))
    ]
    gone = {settlement.held.id for settlement in stopped}
    left = [one for one in held if one.id not in gone]
    # O17, O18: what came after its job or domain was suspended waits with the rest of it.
    by = brake.suspended_by(tx, left, way=way)
    moved = _served_by_others(
        tx, [one for one in left if one.id in by and by[one.id].scope is Scope.SOURCE], way, offers
    )
    queue.release(tx, moved, until=now + timedelta(seconds=KEPT))
    queue.hold(tx, [(one, str(by[one.id])) for one in left if one.id in by and one not in moved], at=now)
    left = [one for one in left if one.id not in by]
    # I25: what was scheduled for somebody who is away waits until they are back.
    parked = {one.id for one in scheduled.park_absent(tx, left, now)}
    left = [one for one in left if one.id not in parked]
    return queue.begin_attempts(tx, left, host=host, source=way.source, at=now), stopped


def _suppressed(one: Delivery, reasons: Mapping[tuple[str, str, str], str]) -> str:
    """Why it is suppressed, "" when it is not; by what is against all mail to it, else against its list's."""
    key = (one.org, one.address.key)
    return reasons.get((*key, "")) or reasons.get((*key, one.list), "")


def _served_by_others(tx: Tx, held: Sequence[Delivery], way: Way, offers: Sequence[Offer]) -> list[Delivery]:
    """Those of a suspended source that another one serves: their way was chosen before the suspension was known."""
    suspended = names(tx) if held else ()
    chosen = [
        source.choose(offers, sender_domain=one.sender_domain, key=one.queue_id, suspended=suspended) for one in held
    ]
    return [one for one, other in zip(held, chosen, strict=True) if other is not None and other.name != way.source]
