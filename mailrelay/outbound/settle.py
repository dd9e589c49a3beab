"""Outcomes become rows: those that come while one transaction is written share the next (architecture: decision 4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from mailrelay import log, metrics
from mailrelay.clock import Clock
from mailrelay.config.schema import BrakeLevels
from mailrelay.errors import Fatal, Unavailable
from mailrelay.ids import DeliveryId
from mailrelay.model.delivery import (
    IN_FLIGHT_DELIVERIES,
    Accepted,
    Deferred,
    DeliveryState,
    Interrupted,
    Outcome,
    Refused,
)
from mailrelay.outbound import consequences
from mailrelay.store import queue
from mailrelay.store.base import Store
from mailrelay.store.queue import Settlement

_PAUSE = 0.5
_LAST_WAIT = 5.0
_LARGEST = 200
_AGAIN = (0.1, 1.0, 4.0)
"""Seconds after which one that our own code failed to write is tried again."""
_LABELS: dict[type[Outcome], str] = {
    Accepted: "accepted",
    Deferred: "deferred",
    Refused: "refused",
    Interrupted: "interrupted",
}
_logger = log.get()

_Waiting = tuple[Settlement, asyncio.Future[None]]


class Settler:
    """Writes settlements down. While the store is away they wait here, and their leases are kept (Q05)."""

    def __init__(
        self, store: Store, clock: Clock, *, brakes: BrakeLevels, delay_after: timedelta, relayed: bool
    ) -> None:
        """See `consequences.settle` for the levels."""
        self._store = store
        self._clock = clock
        # How an end is written: each way does less that could fail than the one before it.
        self._ways: tuple[Callable[..., list[DeliveryId]], ...] = (
            partial(consequences.settle, brakes=brakes, delay_after=delay_after, relayed=relayed),
            partial(consequences.settle_only, delay_after=delay_after, relayed=relayed),
            queue.settle,
        )
        self._waiting: list[_Waiting] = []
        self._failed: dict[asyncio.Future[None], int] = {}
        """Those that our own code failed to write, and how often."""
        self._some = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def put(self, settlement: Settlement) -> asyncio.Future[None]:
        """Hand a settlement in; the future is done once it is durable, or raises Fatal when it never will be."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write_forever(), name="settler")
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((settlement, written))
        self._some.set()
        return written

    async def close(self) -> None:
        """Write what is there, unless the store takes nothing for seconds; then end."""
        if self._waiting or self._failed:
            await asyncio.wait({*self._failed, *(written for _, written in self._waiting)}, timeout=_LAST_WAIT)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _write_forever(self) -> None:
        while True:
            await self._some.wait()
            self._some.clear()
            while self._waiting:
                await self._write(self._waiting[:_LARGEST])

    def _later(self, settlement: Settlement, written: asyncio.Future[None]) -> bool:
        """Have one that our own code failed to write written once more, unless that was tried enough: what it says is dear."""
        times = self._failed.get(written, 0)
        if times >= len(_AGAIN):
            return False
        self._failed[written] = times + 1

        def again() -> None:
            self._waiting.append((settlement, written))
            self._some.set()

        asyncio.get_running_loop().call_later(_AGAIN[times], again)
        return True

    async def _write_singly(self, batch: list[_Waiting]) -> bool:
        for one in batch:
            if not await self._write([one]):
                return False
        return True

    async def _kept(self, settlements: list[Settlement]) -> list[DeliveryId]:
        """Write them with their consequences; a single one whose consequences fail without them, at the worst without its meaning,
        since the other side's word counts most: a mail that was taken must not go out again.
        """
        *better, last = self._ways
        for way in better:
            try:
                return await self._store.write(way, settlements, at=self._clock.now())
            except (Unavailable, Fatal):
                raise
            except Exception:
                if len(settlements) > 1:
                    raise
                one = settlements[0]
                _logger.exception("consequence.failed", delivery=one.held.id, reply=one.last_reply)
        return await self._store.write(last, settlements, at=self._clock.now())

    async def _write(self, batch: list[_Waiting]) -> bool:
        """Write a batch from the head of what waits; False when the store is away and it waits on."""
        settlements = [settlement for settlement, _ in batch]
        failure: Fatal | None = None
        lost: list[DeliveryId] = []
        try:
            lost = await self._kept(settlements)
        except Unavailable as error:
            # What the world said must not be forgotten: it is kept until the store takes it.
            _logger.warning("claim.failed", reason=str(error), waiting=len(self._waiting))
            await asyncio.sleep(_PAUSE)
            return False
        except Fatal as error:
            failure = error
        except Exception:
            if len(batch) > 1:
                return await self._write_singly(batch)
            # A fault of ours in one settlement must not hold up the others.
            _logger.exception("attempt.failed", delivery=settlements[0].held.id, reply=settlements[0].last_reply)
            if self._later(*batch[0]):
                del self._waiting[:1]
                return True
            # It is found adrift, and counts as cut off.
            lost = [settlements[0].held.id]
        del self._waiting[: len(batch)]
        for settlement, written in batch:
            self._failed.pop(written, None)
            if failure is None:
                _tell(settlement, lost=settlement.held.id in lost)
            if written.done():
                continue
            if failure is None:
                written.set_result(None)
            else:
                written.set_exception(failure)
        return True


def _tell(settlement: Settlement, *, lost: bool) -> None:
    """Log and count what was written down, or was not because the lease was lost."""
    held, outcome = settlement.held, settlement.outcome
    if lost:
        _logger.warning("lease.lost", queue_id=held.queue_id, delivery=held.id)
        return
    if outcome is not None:
        metrics.attempts.labels(_LABELS[type(outcome)]).inc()
    waits = settlement.state in IN_FLIGHT_DELIVERIES
    if not waits:
        metrics.delivery_ends.labels(str(settlement.state)).inc()
    if settlement.state is DeliveryState.SENT and settlement.tracked:
        metrics.copies.labels(str(settlement.tracked)).inc()
    event, say = f"delivery.{settlement.state}", _logger.info
    if settlement.held_by in queue.WHY:
        metrics.set_aside.labels(settlement.held_by).inc()
        event, say = "delivery.held", _logger.error
    elif waits:
        event = "delivery.interrupted" if isinstance(outcome, Interrupted) else "delivery.deferred"
    say(
        event,
        org=held.org,
        queue_id=held.queue_id,
        message=held.message,
        delivery=held.id,
        recipient=str(held.address),
        host=settlement.host,
        attempt=held.attempts,
        reply=settlement.last_reply,
        **({"held_by": settlement.held_by} if settlement.held_by else {}),
    )
