"""Which egress sources are suspended, as couriers ask it for each delivery: what they know is a second old at most (O11)."""

from __future__ import annotations

from collections.abc import Collection

from mailrelay.clock import Clock
from mailrelay.ids import OrgId
from mailrelay.model.sending import EVERYBODY, Scope, Sending
from mailrelay.store import suspensions
from mailrelay.store.base import Store, Tx

KEPT = 1.0
"""Seconds after which everybody knows of a change."""
_MOST = 1_000


class SuspendedSources:
    """Asked for an organisation, though only the operator suspends sources, for all."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._known: Collection[str] = frozenset()
        self._until = 0.0

    async def of(self, _: OrgId) -> Collection[str]:
        """Their names. Raises Unavailable."""
        now = self._clock.monotonic()
        if now >= self._until:
            self._known = await self._store.read(names)
            self._until = now + KEPT
        return self._known


def names(tx: Tx) -> Collection[str]:
    """Those that are suspended now."""
    found = suspensions.list_standing(tx, EVERYBODY, after=Sending(Scope.SOURCE, ""), limit=_MOST)
    return frozenset(one.sending.name for one in found if one.sending.scope is Scope.SOURCE)
