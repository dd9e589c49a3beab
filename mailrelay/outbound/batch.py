"""One batch on its way: suppression once more, attempts written down, the courier, the outcomes (O10, O11).

Nothing is sent before its attempt is written down, and no outcome waits for another: each is settled as it is reported.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from mailrelay import log, metrics
from mailrelay.clock import Clock
from mailrelay.config.schema import Delivery as DeliverySettings
from mailrelay.errors import Fatal, Suppressed
from mailrelay.ids import DeliveryId
from mailrelay.model.delivery import Delivery, DeliveryState, Outcome
from mailrelay.outbound import brake, scheduled
from mailrelay.outbound.courier.base import OUR_FAULT, Courier, DeliveryBatch, Report
from mailrelay.outbound.letters import LetterMaker
from mailrelay.outbound.policy import retry
from mailrelay.outbound.settle import Settler
from mailrelay.store import queue, suppressions
from mailrelay.store.base import Store, Tx
from mailrelay.store.queue import Settlement

_logger = log.get()


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
    ) -> None:
        self._store = store
        self._courier = courier
        self._letters = letters
        self._settler = settler
        self._clock = clock
        self._schedule = retry.Schedule(
            first=timedelta(seconds=settings.first_retry), longest=timedelta(seconds=settings.longest_retry)
        )

    async def run(self, destination: str, held: Sequence[Delivery]) -> None:
        """Deliver claimed deliveries; on return each of them is settled.

        Raises what the store raises before anything was begun, and Fatal. Cancelled, it settles what it does not know the
        end of as cut off.
        """
        begun, stopped = await self._store.write(_begin, held, host=destination, now=self._clock.now())
        batch = _Attempts(begun, self._clock)
        written = [self._settler.put(settlement) for settlement in stopped]

        def report(one: Report) -> None:
            written.append(self._settler.put(self._settlement(batch.ended(one.delivery), one)))

        def end(outcome: Outcome) -> None:
            for one in batch.open:
                report(Report(delivery=one.id, outcome=outcome, host=destination, tls=None))

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
                        way=await self._courier.way(begun[0]),
                        before_dot=_before_dot,
                    )
                )
        except asyncio.CancelledError:
            end(queue.CUT_OFF)
            raise
        except Fatal:
            raise
        except Exception:
            metrics.delivery_errors.inc()
            _logger.exception("attempt.failed", destination=destination, deliveries=[one.id for one in batch.open])
        finally:
            end(OUR_FAULT)
            await asyncio.gather(*written)

    def _settlement(self, held: Delivery, report: Report) -> Settlement:
        following = retry.after(
            report.outcome,
            attempts=held.attempts,
            expires_at=held.expires_at,
            now=self._clock.now(),
            schedule=self._schedule,
            jitter=random.uniform(-1, 1),  # noqa: S311 (jitter)
        )
        return Settlement(
            held=held,
            state=DeliveryState.QUEUED if isinstance(following, retry.Again) else following.state,
            outcome=report.outcome,
            host=report.host,
            tls=report.tls,
            due_at=following.due_at if isinstance(following, retry.Again) else None,
        )


class _Attempts:
    """The attempts that were begun and have no outcome yet, and how long each takes."""

    def __init__(self, begun: Iterable[Delivery], clock: Clock) -> None:
        self._open = {one.id: one for one in begun}
        self._clock = clock
        self._since = clock.monotonic()

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


async def _before_dot(_: Sequence[DeliveryId]) -> None:
    """Nothing is written down yet."""


def _begin(tx: Tx, held: Sequence[Delivery], *, host: str, now: datetime) -> tuple[list[Delivery], list[Settlement]]:
    """Write attempts down for all but those suppressed since they were queued, which end (O10, Q06), and those now held."""
    reasons: dict[tuple[str, str], str] = {}
    for org in {one.org for one in held}:
        keys = sorted({one.address.key for one in held if one.org == org})
        for found in suppressions.holding(tx, org, keys):
            reasons[org, found.key] = str(Suppressed(found.key, found.reason, found.since))
    stopped = [
        Settlement(held=one, state=DeliveryState.SUPPRESSED, outcome=None, reason=reasons[one.org, one.address.key])
        for one in held
        if (one.org, one.address.key) in reasons
    ]
    gone = {settlement.held.id for settlement in stopped}
    left = [one for one in held if one.id not in gone]
    # O17, O18: what came after its job or domain was suspended waits with the rest of it.
    by = brake.suspended_by(tx, left)
    queue.hold(tx, [(one, str(by[one.id])) for one in left if one.id in by], at=now)
    left = [one for one in left if one.id not in by]
    # I25: what was scheduled for somebody who is away waits until they are back.
    parked = {one.id for one in scheduled.park_absent(tx, left, now)}
    return queue.begin_attempts(tx, [one for one in left if one.id not in parked], host=host, at=now), stopped
