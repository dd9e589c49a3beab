"""Service "hit-keeper": the raw signal of opens and clicks is not kept longer than their organisation says (O9)."""

from __future__ import annotations

from mailrelay import log
from mailrelay.clock import Clock
from mailrelay.errors import Unavailable
from mailrelay.service import Stopping
from mailrelay.store import hit_keeping
from mailrelay.store.base import Store

_EVERY = 3600.0
_BREATH = 0.1
"""Seconds between two steps: what has grown old in a year must not keep mail waiting."""
_logger = log.get(service="hit-keeper")


class HitKeeper:
    """Every node has one; what one has done is not there for another."""

    name = "hit-keeper"

    def __init__(self, store: Store, clock: Clock, *, stopping: Stopping) -> None:
        self._store = store
        self._clock = clock
        self._stopping = stopping

    async def run(self) -> None:
        """Look once an hour until stopping is set. Raises Fatal."""
        while not self._stopping.is_set():
            await self.look()
            await self._stopping.wait(_EVERY)

    async def look(self) -> None:
        """Forget what is too old now, unless a stop is asked for. Raises Fatal."""
        number = 0
        try:
            for org in await self._store.read(hit_keeping.overdue, now=self._clock.now()):
                while not self._stopping.is_set():
                    step = await self._store.write(hit_keeping.strip, org, now=self._clock.now())
                    if not step:
                        break
                    number += step
                    await self._stopping.wait(_BREATH)
        except Unavailable as error:
            _logger.warning("claim.failed", reason=str(error))
        if number:
            _logger.info("hits.stripped", hits=number)
