"""A TCP proxy that spoils what passes: slow, late, cut at a byte, reset, half-open.

async with fault_proxy(server_port) as proxy:
    proxy.to_server.cut_at = 120          # the client's 120th byte is the last that comes through; then both sides are closed
    proxy.to_client.bytes_per_second = 1  # answers trickle
    connect to 127.0.0.1:proxy.port

What is set holds for connections that begin later; `sever` and `half_open` act on those that are open.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from copy import copy
from dataclasses import dataclass, field
from enum import Enum, auto


class Cut(Enum):
    """What happens at the byte where a connection is cut."""

    CLOSE = auto()
    """Both sides see an orderly end (FIN)."""
    RESET = auto()
    """Both sides see a reset (RST)."""
    SILENCE = auto()
    """Nothing more comes through, and nobody is told: a half-open connection."""


@dataclass
class Direction:
    """What is done to the bytes of one direction."""

    delay: float = 0.0
    """Seconds before anything read is passed on."""
    bytes_per_second: float = 0.0
    """0 is as fast as it goes; else every byte is a segment of its own."""
    cut_at: int | None = None
    """So many bytes pass, then the connection is cut; 0 cuts at the first."""
    cut: Cut = Cut.CLOSE
    passed: int = 0
    """Bytes that came through, over all connections."""


@dataclass
class FaultProxy:
    """A running proxy; change it at any time."""

    port: int = 0
    to_server: Direction = field(default_factory=Direction)
    to_client: Direction = field(default_factory=Direction)
    connections: int = 0
    """How many there were."""
    _open: list[_Connection] = field(default_factory=list)

    @property
    def open(self) -> int:
        """How many are open."""
        return len(self._open)

    def sever(self, how: Cut = Cut.RESET) -> None:
        """Cut every open connection now."""
        for one in list(self._open):
            one.end(how)

    def half_open(self) -> None:
        """From now on nothing of the open connections passes, not even their end."""
        self.sever(Cut.SILENCE)


class _Connection:
    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self._writers = (client, server)
        self._over = asyncio.Event()
        self._silent = False

    def end(self, how: Cut) -> None:
        if how is Cut.SILENCE:
            self._silent = True
            return
        if how is Cut.RESET:
            for one in self._writers:
                # A zero linger time makes close() a reset.
                made: socket.socket = one.get_extra_info("socket")
                made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._over.set()

    async def run(self, *pumps: asyncio.Task[None]) -> None:
        over = asyncio.create_task(self._over.wait())
        try:
            await asyncio.wait({over, *pumps}, return_when=asyncio.FIRST_COMPLETED)
            if not self._over.is_set() and not self._silent:
                # One side has ended: what the other still says may pass.
                await asyncio.wait({over, *pumps}, timeout=5, return_when=asyncio.ALL_COMPLETED)
            if self._silent:
                await self._over.wait()
        finally:
            for task in (over, *pumps):
                task.cancel()
            await asyncio.gather(over, *pumps, return_exceptions=True)
            for writer in self._writers:
                with suppress(OSError, RuntimeError):
                    writer.close()

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Direction) -> None:
        """Pass bytes on until the end, or the cut. `seen` is the proxy's own; what it says is taken as it was at the start."""
        plan = copy(seen)
        left = plan.cut_at
        with suppress(OSError):
            if left == 0:
                self.end(plan.cut)
            while data := await reader.read(65_536):
                if plan.delay:
                    await asyncio.sleep(plan.delay)
                piece = data if left is None else data[:left]
                for part in [piece[at : at + 1] for at in range(len(piece))] if plan.bytes_per_second else [piece]:
                    if self._silent:
                        break
                    writer.write(part)
                    await writer.drain()
                    seen.passed += len(part)
                    if plan.bytes_per_second:
                        await asyncio.sleep(1 / plan.bytes_per_second)
                if left is not None:
                    left -= len(piece)
                    if not left:
                        self.end(plan.cut)
                        left = None if plan.cut is Cut.SILENCE else 0
                        if plan.cut is not Cut.SILENCE:
                            return
            if not self._silent:
                writer.write_eof()


@asynccontextmanager
async def fault_proxy(
    server_port: int, *, server_host: str = "127.0.0.1", host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[FaultProxy]:
    """A proxy on `host:port` before a server; everything ends with the block."""
    proxy = FaultProxy()
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        proxy.connections += 1
        connection: _Connection | None = None
        try:
            far_reader, far_writer = await asyncio.open_connection(server_host, server_port)
            connection = _Connection(writer, far_writer)
            proxy._open.append(connection)
            await connection.run(
                asyncio.create_task(connection.pump(reader, far_writer, proxy.to_server)),
                asyncio.create_task(connection.pump(far_reader, writer, proxy.to_client)),
            )
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            if connection is not None:
                proxy._open.remove(connection)
            running.discard(task)

    server = await asyncio.start_server(serve, host, port)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await server.wait_closed()
