"""Tells organisations when the smart host of the installation refuses us, once until it takes mail again (N11)."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from mailrelay import log, metrics
from mailrelay.clock import Clock
from mailrelay.ids import OrgId
from mailrelay.store import smart_hosts
from mailrelay.store.base import Store, Tx

_logger = log.get()


class NextHops:
    """Who has been told; in memory, so that after a restart it is said once more."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._told: set[tuple[OrgId, str]] = set()

    async def shut_out(self, orgs: Collection[OrgId], host: str, because: str) -> None:
        """The mail of these waits for the host, which says why; or it takes mail again, when `because` is empty."""
        if not because:
            self._told = {(org, told) for org, told in self._told if told != host} if self._told else self._told
            return
        new = [org for org in orgs if (org, host) not in self._told]
        if not new:
            return
        self._told.update((org, host) for org in new)
        metrics.next_hops_paused.inc()
        _logger.warning("smart-host.shut", host=host, organisations=len(new), reason=because)
        await self._store.write(_tell, new, host, because, at=self._clock.now())


def _tell(tx: Tx, orgs: Collection[OrgId], host: str, because: str, *, at: datetime) -> None:
    for org in sorted(orgs):
        smart_hosts.tell(tx, org, host, because, at=at)
