"""Lets go of what resumed jobs and domains still hold, piece by piece: a resumption itself takes only the first of it (O17, O18)."""

from __future__ import annotations

from mailrelay import log
from mailrelay.clock import Clock
from mailrelay.errors import Unavailable
from mailrelay.service import Stopping
from mailrelay.store import suspensions
from mailrelay.store.base import Store

_logger = log.get()


class Releaser:
    """The service that leaves nothing held for a suspension that is over, whoever held it and however late."""

    name = "release"

    def __init__(self, store: Store, clock: Clock, *, stopping: Stopping, poll: float = 1.0) -> None:
        """`poll` seconds between looks."""
        self._store = store
        self._clock = clock
        self._stopping = stopping
        self._poll = poll

    async def run(self) -> None:
        """Work until stopping is set. Raises Fatal."""
        while not self._stopping.is_set():
            await self.look()
            await self._stopping.wait(self._poll)

    async def look(self) -> None:
        """Release all that is left behind now, unless a stop is asked for. Raises Fatal."""
        try:
            for org, sending in await self._store.read(suspensions.left_behind):
                while not self._stopping.is_set():
                    if not await self._store.write(suspensions.release, org, sending, at=self._clock.now()):
                        break
        except Unavailable as error:
            _logger.warning("claim.failed", reason=str(error))
