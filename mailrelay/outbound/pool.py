"""Connections that are open and idle, kept a few seconds for the next message to the same host (O11)."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from mailrelay.outbound.connection import Connection, Hop
from mailrelay.outbound.dial import Dialler


class Pool:
    """Lends connections and takes them back."""

    def __init__(self, dialler: Dialler, *, idle: float, messages: int) -> None:
        """`idle` seconds a connection waits; after `messages` transactions it is closed."""
        self._dialler = dialler
        self._idle_seconds = idle
        self._messages = messages
        self._idle: defaultdict[Hop, dict[Connection, asyncio.TimerHandle]] = defaultdict(dict)
        self._closing: set[asyncio.Task[None]] = set()

    def idle(self, hop: Hop) -> Connection | None:
        """A connection that waits, the one used last first; None when there is none."""
        waiting = self._idle.get(hop, {})
        while waiting:
            connection, timer = waiting.popitem()
            timer.cancel()
            if connection.usable:
                return connection
            self._close(connection)
        self._idle.pop(hop, None)
        return None

    async def dial(self, hop: Hop, *, last: bool, within: float) -> Connection:
        """A new connection, made within so many seconds. Raises Failed."""
        return await self._dialler.dial(hop, last=last, within=within)

    def spent(self, connection: Connection) -> bool:
        """Whether this connection should carry no further message."""
        return not connection.usable or connection.transactions >= self._messages

    def give_back(self, connection: Connection) -> None:
        """Keep it for a while, or close it when it is spent."""
        if self.spent(connection):
            self._close(connection)
            return
        timer = asyncio.get_running_loop().call_later(self._idle_seconds, self._expire, connection)
        self._idle[connection.hop][connection] = timer

    async def close(self) -> None:
        """Close all that wait, politely."""
        for waiting in self._idle.values():
            for connection, timer in waiting.items():
                timer.cancel()
                self._close(connection)
        self._idle.clear()
        if self._closing:
            await asyncio.wait(self._closing)

    def _expire(self, connection: Connection) -> None:
        waiting = self._idle.get(connection.hop, {})
        if waiting.pop(connection, None) is not None:
            self._close(connection)
        if not waiting:
            self._idle.pop(connection.hop, None)

    def _close(self, connection: Connection) -> None:
        task = asyncio.get_running_loop().create_task(connection.quit())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
