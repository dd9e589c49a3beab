"""Service "filing": claims arrivals, runs the pipeline on each, and sets aside what our own code fails on (Q03, Q05)."""

from __future__ import annotations

import asyncio
import math
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from mailrelay import log, metrics
from mailrelay.clock import Clock
from mailrelay.config.schema import Filing
from mailrelay.errors import Fatal, Stale, Unavailable
from mailrelay.filing import apply
from mailrelay.ids import IdFactory, NodeId
from mailrelay.inbound.pipeline import Pipeline
from mailrelay.model.decision import HoldReason
from mailrelay.model.envelope import Arrival
from mailrelay.outbound.steady import Steady
from mailrelay.service import Stopping
from mailrelay.store import arrivals
from mailrelay.store.base import Bell, Store

_log = log.get(service="filing")

_POLL = 1.0
"""Seconds between looks at the queue when no bell rings."""
_LONGEST_PAUSE = timedelta(hours=1)
_HASTEN = 10.0
"""Seconds between looks for what a clock that was ahead made wait."""
_OUTCOMES = {"unresolved": "unresolved", "dropped": "dropped", "duplicate": "duplicate", "relayed": "relayed"}


class FilingWorker:
    """Files arrivals, `settings.workers` at a time."""

    name = "filing"

    def __init__(
        self,
        store: Store,
        pipeline: Pipeline,
        settings: Filing,
        clock: Clock,
        ids: IdFactory,
        *,
        node: NodeId,
        stopping: Stopping,
        poll: float = _POLL,
    ) -> None:
        self._store = store
        self._pipeline = pipeline
        self._settings = settings
        self._clock = clock
        self._steady = Steady(clock)
        self._ids = ids
        self._node = node
        self._stopping = stopping
        self._poll = poll
        self._hastened = -math.inf

    async def run(self) -> None:
        """Claim and file until stopping is set, then finish what was claimed. Raises Fatal, or what claiming raised."""
        await self._store.write(arrivals.recover, self._node, now=self._steady.now())
        working: set[asyncio.Task[None]] = set()
        try:
            while not self._stopping.is_set():
                working = await self._finished(working)
                claimed = await self._claim(self._settings.workers - len(working))
                working |= {asyncio.create_task(self._one(arrival), name=arrival.id) for arrival in claimed}
                if len(working) >= self._settings.workers:
                    await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
                elif not claimed:
                    await self._idle(working)
            while working:
                await asyncio.wait(working)
                working = await self._finished(working)
        finally:
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)

    async def drain(self) -> int:
        """File all that is due now, and return how many arrivals that were; for tests and one-off runs."""
        done = 0
        while claimed := await self._claim(self._settings.workers):
            await asyncio.gather(*(self._one(arrival) for arrival in claimed))
            done += len(claimed)
        return done

    async def _claim(self, limit: int) -> list[Arrival]:
        if limit <= 0:
            return []
        lease = timedelta(seconds=self._settings.lease)
        try:
            await self._hasten()
            return await self._store.write(
                arrivals.claim, node=self._node, now=self._steady.now(), lease=lease, limit=limit
            )
        except Unavailable as error:
            _log.warning("claim.failed", reason=str(error))
            return []

    async def _hasten(self) -> None:
        now = self._clock.monotonic()
        if now - self._hastened < _HASTEN:
            return
        self._hastened = now
        longest = max(_LONGEST_PAUSE, timedelta(seconds=self._settings.retry_after))
        if late := await self._store.write(arrivals.hasten, now=self._steady.now(), longest=longest):
            _log.warning("queue.late", arrivals=late)

    async def _finished(self, working: set[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
        """Those still at work. Raises the Fatal of one that ended with it."""
        for task in working:
            if task.done():
                task.result()
        return {task for task in working if not task.done()}

    async def _idle(self, working: set[asyncio.Task[None]]) -> None:
        """Wait for the bell, the next poll, a worker that is done, or the end."""
        waits = {
            asyncio.create_task(self._store.bells.heard(Bell.FILING, timeout=self._poll)),
            asyncio.create_task(self._stopping.wait()),
        }
        try:
            await asyncio.wait(waits | working, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _one(self, arrival: Arrival) -> None:
        """File one claimed arrival. Raises Fatal only: its neighbours go on whatever happens to it."""
        began = self._clock.monotonic()
        with log.bound(queue_id=arrival.id, org=arrival.org):
            try:
                if arrival.attempts > self._settings.max_attempts:
                    # Q03: the process ended on it each time, so it is not even read again.
                    tries = arrival.attempts - 1
                    await self._set_aside(arrival, f"the process ended {tries} times while it was being filed", "")
                    return
                async with self._renewed(arrival):
                    applied = await self._pipeline.process(arrival)
            except Fatal:
                raise
            except Unavailable as error:
                await self._put_back(arrival, error)
            except Exception as error:  # noqa: BLE001 (the edge of a unit of work: kept, counted, tried again)
                await self._failed(arrival, error)
            else:
                metrics.filing_seconds.observe(self._clock.monotonic() - began)
                if applied is not None:
                    metrics.filed.labels(_OUTCOMES.get(applied.state, "filed")).inc()

    async def _put_back(self, arrival: Arrival, error: Unavailable) -> None:
        """Try again later what only lacked something passing; that is no failure on this mail and never sets it aside."""
        _log.warning("arrival.retried", attempt=arrival.attempts, because=str(error))
        with suppress(Stale, Unavailable):  # else its lease runs out
            await self._store.write(
                arrivals.retry,
                arrival,
                due_at=self._steady.now() + timedelta(seconds=self._settings.retry_after),
                at=self._clock.now(),
                failure=str(error),
                counts=False,
            )

    async def _failed(self, arrival: Arrival, error: Exception) -> None:
        metrics.filing_errors.inc()
        failure = _keepable("".join(traceback.format_exception(error)))
        try:
            if arrival.attempts >= self._settings.max_attempts:
                because = f"our own code failed on it {arrival.attempts} times: {type(error).__name__}"
                await self._set_aside(arrival, because, failure)
                return
            pause = timedelta(seconds=self._settings.retry_after) * 3 ** (arrival.attempts - 1)
            _log.error("arrival.retried", attempt=arrival.attempts, exc_info=error)
            await self._store.write(
                arrivals.retry,
                arrival,
                due_at=self._steady.now() + min(pause, _LONGEST_PAUSE),
                at=self._clock.now(),
                failure=failure,
            )
        except (Stale, Unavailable):
            _log.warning("lease.lost", attempt=arrival.attempts)  # it comes again when the lease has run out
        except Fatal:
            raise
        except Exception as worse:  # noqa: BLE001 (not even that could be written down: its neighbours go on)
            _log.error("arrival.retried", attempt=arrival.attempts, exc_info=worse)  # when the lease has run out

    async def _set_aside(self, arrival: Arrival, because: str, failure: str) -> None:
        _log.error("arrival.set-aside", attempt=arrival.attempts, because=because, failure=failure)
        await self._store.write(
            apply.unreadable,
            arrival,
            reason=HoldReason.FAILED,
            explanation=f"{because}; it is kept as it came",
            failure=failure or because,
            ids=self._ids,
            at=self._clock.now(),
        )
        metrics.filed.labels("unresolved").inc()

    @asynccontextmanager
    async def _renewed(self, arrival: Arrival) -> AsyncIterator[None]:
        """Keep the lease while the body runs."""

        async def renew() -> None:
            while True:
                await asyncio.sleep(self._settings.lease / 3)
                until = self._steady.now() + timedelta(seconds=self._settings.lease)
                with suppress(Unavailable):
                    await self._store.write(arrivals.renew, arrival, until=until)

        task = asyncio.create_task(renew(), name=f"{arrival.id} lease")
        try:
            yield
        finally:
            task.cancel()
            # A lost lease ends the renewing; the settle of this arrival then finds out by its fence.
            await asyncio.gather(task, return_exceptions=True)


def _keepable(text: str) -> str:
    """`text` as both databases keep it: no NUL, no half of a surrogate pair."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
