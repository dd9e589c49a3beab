"""Service "webhooks": claims calls that are due, makes them side by side, and settles each (R6).

At least once: what a process had under way when it died is called again, by itself when it starts or by another node when the lease has
run out, with the same webhook-id.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from mailrelay import log, metrics
from mailrelay.clock import Clock
from mailrelay.errors import Fatal, Unavailable
from mailrelay.ids import NodeId
from mailrelay.model.webhook import CallState, Claimed, Result
from mailrelay.outbound.steady import Steady
from mailrelay.service import Stopping
from mailrelay.store import webhook_calls
from mailrelay.store.base import Bell, Store
from mailrelay.webhook import retry
from mailrelay.webhook.request import Poster
from mailrelay.webhook.settle import settle

_LEASE = timedelta(seconds=120)
"""For the request and its settlement."""
_RECOVER_EVERY = 10.0
_SETTLE_TRIES = 5
_logger = log.get(service="webhooks")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How much at once: `each` for one webhook, `at_once` in this process; `poll` seconds between looks when no bell rings."""

    each: int = 8
    at_once: int = 64
    poll: float = 1.0


class Deliverer:
    """Makes the calls."""

    name = "webhooks"

    def __init__(
        self,
        store: Store,
        poster: Poster,
        clock: Clock,
        *,
        node: NodeId,
        stopping: Stopping,
        timeout: float,
        disable_after: float,
        pace: Pace | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`timeout` of a request and `disable_after` in seconds."""
        self._store = store
        self._poster = poster
        self._clock = clock
        self._steady = Steady(clock)
        self._node = node
        self._stopping = stopping
        self._lease = _LEASE + timedelta(seconds=timeout)
        self._disable_after = timedelta(seconds=disable_after)
        self._pace = pace or Pace()
        self._chance = chance
        self._recovered: float | None = None

    async def run(self) -> None:
        """Claim and call until stopping is set, then finish what was claimed. Raises Fatal, or what claiming raised."""
        await self._recover(first=True)
        working: set[asyncio.Task[None]] = set()
        try:
            with self._store.bells.listening(Bell.WEBHOOKS) as bell:
                while not self._stopping.is_set():
                    working = self._finished(working)
                    claimed = await self._claim(self._pace.at_once - len(working))
                    working |= {asyncio.create_task(self._one(one), name=str(one.call.seq)) for one in claimed}
                    if len(working) >= self._pace.at_once:
                        await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
                    elif not claimed:
                        await bell.heard(timeout=await self._nap())
            while working:
                await asyncio.wait(working)
                working = self._finished(working)
        finally:
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)

    async def drain(self) -> int:
        """Make all calls that are due now, and what becomes due by that; how many those were. For tests."""
        done = 0
        while claimed := await self._claim(self._pace.at_once):
            await asyncio.gather(*(self._one(one) for one in claimed))
            done += len(claimed)
        return done

    async def _claim(self, limit: int) -> list[Claimed]:
        """What is due. Nothing is written while nothing is."""
        try:
            await self._recover()
            now = self._steady.now()
            due = await self._store.read(webhook_calls.next_wake)
            if due is None or due > now or limit <= 0:
                return []
            return await self._store.write(
                webhook_calls.claim,
                node=self._node,
                now=now,
                lease=self._lease,
                limit=limit,
                each=self._pace.each,
                trips=retry.TRIPS,
            )
        except Unavailable as error:
            _logger.warning("claim.failed", reason=str(error))
            return []

    async def _nap(self) -> float:
        """Seconds until the next call is due, the poll at most."""
        with suppress(Unavailable):
            due = await self._store.read(webhook_calls.next_wake)
            if due is not None:
                left = (due - self._steady.now()).total_seconds()
                # What is due and could not be claimed is somebody else's for the moment.
                return min(self._pace.poll, left) if left > 0 else self._pace.poll / 10
        return self._pace.poll

    async def _recover(self, *, first: bool = False) -> None:
        now = self._clock.monotonic()
        if not first and self._recovered is not None and now - self._recovered < _RECOVER_EVERY:
            return
        node = self._node if first else None
        while await self._store.write(webhook_calls.recover, now=self._steady.now(), node=node):
            pass
        self._recovered = now

    def _finished(self, working: set[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
        """Those still at work. Raises the Fatal of one that ended with it."""
        for task in working:
            if task.done():
                task.result()
        return {task for task in working if not task.done()}

    async def _one(self, claimed: Claimed) -> None:
        """Make one call and settle it. Raises Fatal only: the others go on whatever happens to it."""
        call = claimed.call
        with log.bound(org=call.org, webhook=call.webhook, seq=call.seq):
            try:
                result = await self._poster.send(claimed)
            except Exception:
                _logger.exception("webhook.failed", attempt=call.attempts)
                result = Result(status=0, failure="our own code failed on it; the log says why", said="")
            try:
                await self._settle(claimed, result)
            except Fatal:
                raise
            except Exception:
                # It is called again when the lease has run out.
                _logger.exception("webhook.failed", attempt=call.attempts)

    async def _settle(self, claimed: Claimed, result: Result) -> None:
        state: CallState | None = None
        chance = self._chance()
        for number in range(_SETTLE_TRIES):
            try:
                now = self._steady.now()
                state = await self._store.write(
                    settle, claimed, result, now=now, disable_after=self._disable_after, random=chance
                )
                break
            except Unavailable as error:
                _logger.warning("claim.failed", reason=str(error))
                await asyncio.sleep(0.2 * 2**number)
        else:
            return
        metrics.webhook_seconds.observe(result.seconds)
        if state is None:
            _logger.warning("lease.lost", attempt=claimed.call.attempts)
            return
        metrics.webhook_calls.labels("taken" if result.taken else "failed").inc()
        say = _logger.info if result.taken else _logger.warning
        say(
            "webhook.sent" if result.taken else "webhook.refused",
            type=str(claimed.call.type),
            attempt=claimed.call.attempts,
            status=result.status,
            reason=result.failure,
            seconds=round(result.seconds, 3),
        )
