"""What each host's TLS was like the last time: in memory, and in the store for after a restart (O11)."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from datetime import timedelta

from mailrelay.clock import Clock
from mailrelay.errors import Unavailable
from mailrelay.model.tls import HostTls, TlsLevel
from mailrelay.store import tls_memory
from mailrelay.store.base import Store

Place = tuple[str, str, int]
"""Host, address, port."""

REMEMBERED = timedelta(hours=1)
"""How long a host that failed at something better is not asked for it again."""
_SEEN = timedelta(days=1)
_MAX_KNOWN = 10_000
_MAX_UNWRITTEN = 2_000
_WRITE_AFTER = 0.5


class TlsMemory:
    """Remembers; one for the life of the process. Without a store, only for that long."""

    def __init__(self, clock: Clock, store: Store | None = None) -> None:
        self._clock = clock
        self._store = store
        self._known: OrderedDict[Place, HostTls | None] = OrderedDict()
        self._unwritten: dict[Place, HostTls] = {}
        self._writing: asyncio.Task[None] | None = None

    async def recall(self, place: Place) -> HostTls | None:
        """What is remembered of a host; None when nothing is."""
        if place not in self._known:
            found = None
            if self._store is not None:
                try:
                    found = await self._store.read(tls_memory.get, *place)
                except Unavailable:
                    return None
            if place not in self._known:  # else somebody noted it meanwhile
                self._keep(place, found)
        self._known.move_to_end(place)
        return self._known[place]

    async def note(self, place: Place, level: TlsLevel, *, protocol: str, reason: str, fell: bool) -> HostTls:
        """Remember how it went. `fell`: something better was tried and failed, so that it is let be for an hour.

        Written down at a change, and once a day.
        """
        now = self._clock.now()
        before = await self.recall(place)
        same = before is not None and (before.level, before.protocol, before.reason) == (level, protocol, reason)
        look_at = now + REMEMBERED if fell else before.look_at if same and before is not None else None
        if same and before is not None and before.look_at == look_at and now - before.seen_at < _SEEN:
            return before
        host, ip, port = place
        seen = HostTls(
            host=host,
            ip=ip,
            port=port,
            level=level,
            protocol=protocol,
            reason=reason,
            since=before.since if same and before is not None else now,
            seen_at=now,
            look_at=look_at,
        )
        self._keep(place, seen)
        self._write_down(place, seen)
        return seen

    async def forget(self, host: str) -> int:
        """Forget a host, so that the next connection tries the best; how many of its addresses were known."""
        places = [place for place, one in self._known.items() if place[0] == host and one is not None]
        for place in [place for place in self._known if place[0] == host]:
            del self._known[place]
            self._unwritten.pop(place, None)
        if self._store is None:
            return len(places)
        return await self._store.write(tls_memory.forget, host)

    async def close(self) -> None:
        """Write down what is not."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
        await self._write()

    def _keep(self, place: Place, seen: HostTls | None) -> None:
        self._known[place] = seen
        self._known.move_to_end(place)
        if len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)

    def _write_down(self, place: Place, seen: HostTls) -> None:
        if self._store is None:
            return
        if len(self._unwritten) < _MAX_UNWRITTEN or place in self._unwritten:
            self._unwritten[place] = seen
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._soon())

    async def _soon(self) -> None:
        await asyncio.sleep(_WRITE_AFTER)  # what many connections saw goes down at once
        await self._write()

    async def _write(self) -> None:
        if self._store is None or not self._unwritten:
            return
        seen, self._unwritten = self._unwritten, {}
        try:
            await self._store.write(tls_memory.put, list(seen.values()), now=self._clock.now())
        except Unavailable:
            self._unwritten = {**seen, **self._unwritten}  # with the next change
