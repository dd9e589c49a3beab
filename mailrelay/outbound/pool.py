"""Connections that are open and idle, kept a few seconds for the next message to the same host (O11)."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from dataclasses import dataclass

from mailrelay.model.way import Way
from mailrelay.outbound.connection import Connection, Hop
from mailrelay.outbound.dial import Dialler


@dataclass(frozen=True, slots=True)
class _Idle:
    way: Way
    timer: asyncio.TimerHandle


class Pool:
    """Lends connections and takes them back."""

    def __init__(self, dialler: Dialler, *, idle: float, messages: int) -> None:
        """`idle` seconds a connection waits; after `messages` transactions it is closed."""
        self._dialler = dialler
        self._idle_seconds = idle
        self._messages = messages
        self._idle: defaultdict[Hop, dict[Connection, _Idle]] = defaultdict(dict)
        self._idle_of: defaultdict[Way, dict[Connection, None]] = defaultdict(dict)
        self._lent: Counter[Way] = Counter()
        self._closing: set[asyncio.Task[None]] = set()

    def waits_for(self, hop: Hop) -> bool:
        """Whether a connection to it waits."""
        return hop in self._idle

    def full(self, way: Way, most: int) -> bool:
        """Whether one more would be more than `most` on the way, idle ones counted."""
        return self._lent[way] + len(self._idle_of.get(way, ())) >= most

    def idle(self, hop: Hop, way: Way) -> Connection | None:
        """Lend a connection that waits, the one used last first; None when there is none."""
        while hop in self._idle:
            connection = next(reversed(self._idle[hop]))
            self._take(connection)
            if connection.usable:
                self._lent[way] += 1
                return connection
            self._close(connection)
        return None

    async def dial(self, hop: Hop, way: Way, *, most: int, last: bool, within: float) -> Connection:
        """Lend a new connection, made within so many seconds. Raises Failed.

        Those that have idled longest on the way, at other hosts of it, are closed where more than `most` would be open (O11).
        """
        while (waiting := self._idle_of.get(way)) and self.full(way, most):
            self._expire(next(iter(waiting)))
        self._lent[way] += 1
        try:
            return await self._dialler.dial(hop, last=last, within=within)
        except BaseException:
            self._returned(way)
            raise

    def spent(self, connection: Connection) -> bool:
        """Whether this connection should carry no further message."""
        return not connection.usable or connection.transactions >= self._messages

    def give_back(self, connection: Connection, way: Way) -> None:
        """Keep a connection that was lent for a while, or close it when it is spent."""
        self._returned(way)
        if self.spent(connection):
            self._close(connection)
            return
        timer = asyncio.get_running_loop().call_later(self._idle_seconds, self._expire, connection)
        self._idle[connection.hop][connection] = _Idle(way, timer)
        self._idle_of[way][connection] = None

    def drop(self, connection: Connection, way: Way) -> None:
        """Close a connection that was lent at once."""
        self._returned(way)
        connection.abort()

    async def close(self) -> None:
        """Close all that wait, politely."""
        for connection in [one for waiting in self._idle.values() for one in waiting]:
            self._expire(connection)
        if self._closing:
            await asyncio.wait(self._closing)

    def _expire(self, connection: Connection) -> None:
        self._take(connection)
        self._close(connection)

    def _take(self, connection: Connection) -> None:
        """It waits no more."""
        here = self._idle[connection.hop]
        idle = here.pop(connection)
        idle.timer.cancel()
        if not here:
            del self._idle[connection.hop]
        there = self._idle_of[idle.way]
        del there[connection]
        if not there:
            del self._idle_of[idle.way]

    def _returned(self, way: Way) -> None:
        self._lent[way] -= 1
        if not self._lent[way]:
            del self._lent[way]

    def _close(self, connection: Connection) -> None:
        task = asyncio.get_running_loop().create_task(connection.quit())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
