"""Service "webhook-queue": follows the journal, and queues each event for the webhooks that want it."""

from __future__ import annotations

from datetime import timedelta

from mailrelay import log, metrics
from mailrelay.clock import Clock
from mailrelay.errors import Unavailable
from mailrelay.outbound.steady import Steady
from mailrelay.service import Stopping
from mailrelay.store import webhook_calls, webhook_journal, webhooks
from mailrelay.store.base import Bell, Store

_POLL = 1.0
_BREATH = 0.05
"""Seconds between two looks at least: the events of a burst are queued together."""
_SHARE = 0.1
"""Of the time, that looking may take: with many webhooks, a look is longer."""
_MEASURE_EVERY = 5.0
_TIDY_EVERY = 600.0
_logger = log.get(service="webhook-queue")


class Expander:
    """One of many may run at a time: each takes the webhooks that no other has."""

    name = "webhook-queue"

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        lifetime: float,
        stopping: Stopping,
        poll: float = _POLL,
        window: int = webhook_journal.WINDOW,
    ) -> None:
        """`lifetime` in seconds, of a call that is not taken; `window` calls of a webhook wait outside the journal at most."""
        self._store = store
        self._clock = clock
        self._steady = Steady(clock)
        self._lifetime = timedelta(seconds=lifetime)
        self._stopping = stopping
        self._poll = poll
        self._window = window
        self._measured: float | None = None
        self._tidied: float | None = None

    async def run(self) -> None:
        """Follow until stopping is set. Raises what the store raises for good."""
        with self._store.bells.listening(Bell.EVENTS) as bell:
            while not self._stopping.is_set():
                began = self._clock.monotonic()
                try:
                    await self.look()
                    await self._tidy()
                except Unavailable as error:
                    _logger.warning("claim.failed", reason=str(error))
                took = self._clock.monotonic() - began
                await self._stopping.wait(max(_BREATH, min(self._poll, took / _SHARE)))
                await bell.heard(timeout=self._poll)

    async def look(self) -> int:
        """Queue all that there is now; how many events were looked at. Without a webhook that is behind, nothing is written."""
        looked = 0
        while not self._stopping.is_set() and await self._store.read(webhook_journal.any_behind, window=self._window):
            now = self._steady.now()
            step = await self._store.write(
                webhook_journal.expand, now=now, lifetime=self._lifetime, window=self._window
            )
            if not step:
                break  # another node has them
            looked += step
        return looked

    async def _tidy(self) -> None:
        now = self._clock.monotonic()
        if self._measured is None or now - self._measured >= _MEASURE_EVERY:
            waiting, since = await self._store.read(webhook_calls.oldest)
            metrics.webhook_waiting.set(waiting)
            age = 0.0 if since is None else (self._clock.now() - since).total_seconds()
            metrics.webhook_oldest.set(max(0.0, age))
            metrics.webhooks_failed.set(await self._store.read(webhooks.failed))
            self._measured = now
        if self._tidied is None or now - self._tidied >= _TIDY_EVERY:
            while await self._store.write(webhook_calls.prune, now=self._clock.now()):
                pass
            self._tidied = now
