"""An SMTP sink, with the DNS of its world, in a thread of the test: it takes what a daemon delivers and survives the daemon.

with world() as around:
    daemon's smart host is 127.0.0.1:around.sink.port, its nameserver is around.nameserver
    around.sink.copies[message_id, recipient] is how often it was acknowledged
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from tests.support.zone import dns_server

ZONE = "example.com. 300 IN A 127.0.0.1"


@dataclass
class Sink:
    """What was taken. The daemon under test may be killed at any moment; this is the other side's memory."""

    port: int = 0
    copies: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(Message-ID, recipient) → how often it was answered 250."""
    contents: dict[str, set[bytes]] = field(default_factory=dict)
    """Message-ID → the bodies that came under it."""
    on_dot: Callable[[], None] | None = None
    """Called once, when a message is noted and its 250 is about to be written."""
    after_answer: Callable[[], None] | None = None
    """Called once, when the 250 has been handed to the system."""
    delay: float = 0.0
    """Seconds before each answer to a final dot."""
    holds: bool = False
    """While it is so, no final dot is answered."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One session."""
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._session(reader, writer)
        finally:
            writer.transport.abort()

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        recipients: list[str] = []
        writer.write(b"220 sink.test ESMTP\r\n")
        while line := await reader.readline():
            verb = line[:4].upper()
            if verb == b"EHLO":
                answer = b"250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 DSN\r\n"
            elif verb == b"MAIL":
                recipients, answer = [], b"250 2.1.0 ok\r\n"
            elif verb == b"RCPT":
                recipients.append(line.partition(b"<")[2].partition(b">")[0].decode())
                answer = b"250 2.1.5 ok\r\n"
            elif verb == b"DATA":
                writer.write(b"354 go on\r\n")
                content = await reader.readuntil(b"\r\n.\r\n")
                await self._take(content, recipients, writer)
                continue
            elif verb == b"QUIT":
                writer.write(b"221 2.0.0 bye\r\n")
                await writer.drain()
                return
            else:
                answer = b"250 2.0.0 ok\r\n"
            writer.write(answer)

    async def _take(self, content: bytes, recipients: list[str], writer: asyncio.StreamWriter) -> None:
        if self.delay:
            await asyncio.sleep(self.delay)
        while self.holds:  # noqa: ASYNC110 (set by another thread)
            await asyncio.sleep(0.02)
        head, _, body = content.partition(b"\r\n\r\n")
        id_ = next(one for one in head.split(b"\r\n") if one[:11].lower() == b"message-id:").split(b":", 1)[1]
        message_id = id_.strip().strip(b"<>").decode()
        for one in recipients:
            self.copies[message_id, one] += 1
        self.contents.setdefault(message_id, set()).add(body)
        if self.on_dot is not None:
            act, self.on_dot = self.on_dot, None
            act()
        writer.write(b"250 2.0.0 taken\r\n")
        if self.after_answer is not None:
            act, self.after_answer = self.after_answer, None
            act()


@dataclass(frozen=True)
class World:
    """What a daemon finds around it."""

    sink: Sink
    nameserver: str


@contextmanager
def world() -> Iterator[World]:
    """A sink and a nameserver, on free ports, as long as the block runs."""
    sink = Sink()
    found: list[World] = []
    loop = asyncio.new_event_loop()
    ready, over = threading.Event(), asyncio.Event()

    async def run() -> None:
        async with dns_server(ZONE) as dns:
            server = await asyncio.start_server(sink.serve, "127.0.0.1", 0, limit=2**26)
            sink.port = server.sockets[0].getsockname()[1]
            found.append(World(sink, dns.address))
            ready.set()
            await over.wait()
            server.close()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        await asyncio.sleep(0)  # the transports close

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), name="world")
    thread.start()
    ready.wait(10)
    try:
        yield found[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)
        loop.close()
