"""Outcomes become rows: those that come while one transaction is written share the next (architecture: decision 4)."""

from __future__ import annotations

import asyncio

from mailrelay import log, metrics
from mailrelay.clock import Clock
from mailrelay.errors import Fatal
from mailrelay.model.delivery import Accepted, Deferred, DeliveryState, Interrupted, Outcome, Refused
from mailrelay.store import queue
from mailrelay.store.base import Store
from mailrelay.store.queue import Settlement

_PAUSE = 0.5
_LARGEST = 200
_LABELS: dict[type[Outcome], str] = {
    Accepted: "accepted",
    Deferred: "deferred",
    Refused: "refused",
    Interrupted: "interrupted",
}
_log = log.get()


class Settler:
    """Writes settlements down. While the store is away they wait here, and their leases are kept (Q05)."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._waiting: list[tuple[Settlement, asyncio.Future[None]]] = []
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
        """Write what is there, then end."""
        while self._waiting and self._task is not None and not self._task.done():
            await asyncio.wait({written for _, written in self._waiting})
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _write_forever(self) -> None:
        while True:
            await self._some.wait()
            self._some.clear()
            while self._waiting:
                await self._write(self._waiting[:_LARGEST])

    async def _write(self, batch: list[tuple[Settlement, asyncio.Future[None]]]) -> None:
        settlements = [settlement for settlement, _ in batch]
        try:
            lost = await self._store.write(queue.settle, settlements, at=self._clock.now())
        except Fatal as error:
            del self._waiting[: len(batch)]
            for _, written in batch:
                written.set_exception(error)
            return
        except Exception:
            # What the world said must not be forgotten: it is kept until the store takes it.
            _log.exception("attempt.failed", waiting=len(self._waiting))
            await asyncio.sleep(_PAUSE)
            return
        del self._waiting[: len(batch)]
        for settlement, written in batch:
            if settlement.held.id in lost:
                _log.warning("lease.lost", queue_id=settlement.held.queue_id, delivery=settlement.held.id)
            else:
                _tell(settlement)
            if not written.done():
                written.set_result(None)


def _tell(settlement: Settlement) -> None:
    """Log and count what was written down."""
    held, outcome = settlement.held, settlement.outcome
    if outcome is not None:
        metrics.attempts.labels(_LABELS[type(outcome)]).inc()
    waits = settlement.state is DeliveryState.QUEUED
    if not waits:
        metrics.delivery_ends.labels(str(settlement.state)).inc()
    event = f"delivery.{settlement.state}"
    if waits:
        event = "delivery.interrupted" if isinstance(outcome, Interrupted) else "delivery.deferred"
    _log.info(
        event,
        org=held.org,
        queue_id=held.queue_id,
        message=held.message,
        delivery=held.id,
        recipient=str(held.address),
        host=settlement.host,
        attempt=held.attempts,
        reply=settlement.last_reply,
    )
