"""Service "record-addresses": which signed addresses of records are over before their time, known without a look-up (I21, S21).

A revocation is heard of at once where it was made, and within seconds by other nodes. What comes in between waits for a person.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from mailrelay import log, metrics
from mailrelay.clock import Clock
from mailrelay.errors import Unavailable
from mailrelay.ids import OrgId
from mailrelay.service import Stopping
from mailrelay.store import filing_addresses
from mailrelay.store.base import Bell, Store

_POLL = 1.0
_AGAIN = timedelta(minutes=5)
"""So far back each look begins: another node's clock, and a transaction that took long."""
_BEGINNING = datetime.fromtimestamp(0, UTC)

_logger = log.get(service="record-addresses")


class EndedAddresses:
    """Those that were revoked, or were regenerated and are in their overlap."""

    name = "record-addresses"

    def __init__(self, store: Store, clock: Clock, *, stopping: Stopping | None = None, poll: float = _POLL) -> None:
        self._store = store
        self._clock = clock
        self._stopping = stopping or Stopping()
        self._poll = poll
        self._until: dict[tuple[OrgId, int], datetime] = {}
        self._since = _BEGINNING

    def is_over(self, org: OrgId, number: int) -> bool:
        """Whether an address is known to hold no more."""
        until = self._until.get((org, number))
        return until is not None and self._clock.now() >= until

    async def run(self) -> None:
        """Look until stopping is set. Raises Fatal."""
        with self._store.bells.listening(Bell.ENDED) as bell:
            while not self._stopping.is_set():
                try:
                    await self.look()
                except Unavailable as error:
                    _logger.warning("claim.failed", reason=str(error))
                await bell.heard(timeout=self._poll)

    async def look(self) -> None:
        """Read what has ended since the last look. Raises Unavailable."""
        now = self._clock.now()
        for one in await self._store.read(filing_addresses.ended, since=self._since):
            if one.valid_until is not None:
                self._until[one.org, one.number] = one.valid_until
        self._since = now - _AGAIN
        metrics.ended_addresses.set(len(self._until))
