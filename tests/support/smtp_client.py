"""A client that says exactly the bytes it is told to, whole, in pieces, or at the wrong moment; it understands replies only."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from mailrelay.model.reply import Reply
from mailrelay.smtp.reply import read_reply

LATE = 30.0


class SmtpClient:
    """A connection to a server on this machine."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def reply(self) -> Reply:
        """The next reply. Raises EOFError when the server closes instead."""
        lines: list[bytes] = []
        while True:
            async with asyncio.timeout(LATE):
                line = await self.reader.readline()
            if not line.endswith(b"\r\n"):
                raise EOFError(line)
            lines.append(line[4:-2])
            if line[3:4] != b"-":
                return read_reply(int(line[:3]), lines)

    async def replies(self, count: int) -> list[Reply]:
        """The next `count` replies."""
        return [await self.reply() for _ in range(count)]

    def send(self, data: bytes | str) -> None:
        """Send bytes as they are."""
        self.writer.write(data.encode() if isinstance(data, str) else data)

    async def send_slowly(self, data: bytes) -> None:
        """Send each byte as a segment of its own (S08)."""
        for octet in data:
            self.writer.write(bytes((octet,)))
            await asyncio.sleep(0)

    async def say(self, line: bytes | str) -> Reply:
        """A command line, with CRLF added, and its reply."""
        self.send((line.encode() if isinstance(line, str) else line) + b"\r\n")
        return await self.reply()

    async def ehlo(self, name: str = "client.test") -> Reply:
        """EHLO."""
        return await self.say(f"EHLO {name}")

    async def mail(
        self, recipients: str | Sequence[str], content: bytes, *, sender: str = "anna@example.com", params: str = ""
    ) -> Reply:
        """A whole transaction after EHLO; the reply to the final dot, or the first refusal."""
        answer = await self.say(f"MAIL FROM:<{sender}>{params}")
        for one in [recipients] if isinstance(recipients, str) else recipients:
            if answer.is_positive:
                answer = await self.say(f"RCPT TO:<{one}>")
        if answer.is_positive:
            answer = await self.say("DATA")
        if answer.code != 354:
            return answer
        return await self.content(content)

    async def content(self, content: bytes) -> Reply:
        """What follows 354, dots not stuffed, with the end; and its reply."""
        self.send(content + b".\r\n")
        return await self.reply()

    async def starttls(self, context: ssl.SSLContext | None = None, *, ask: bool = True) -> None:
        """Go under TLS; without a context, trust anybody. Without `ask` the handshake begins at once."""
        if ask:
            answer = await self.say("STARTTLS")
            assert answer.code == 220, answer
        await self.writer.start_tls(context or trusting(), server_hostname="localhost")

    async def log_in(self, user: str, password: str) -> Reply:
        """AUTH PLAIN with an initial response."""
        return await self.say(b"AUTH PLAIN " + plain(user, password))

    async def closed(self) -> bool:
        """Whether the server closes, without another word, before it is late."""
        try:
            async with asyncio.timeout(LATE):
                return await self.reader.read() == b""
        except TimeoutError:
            return False
        except ConnectionError:
            return True

    async def close(self) -> None:
        """Hang up."""
        self.writer.close()
        with suppress(OSError, ssl.SSLError):
            await self.writer.wait_closed()


def plain(user: str, password: str, identity: str = "") -> bytes:
    """The response of AUTH PLAIN (RFC 4616)."""
    return base64.b64encode(f"{identity}\0{user}\0{password}".encode())


def trusting() -> ssl.SSLContext:
    """A context that trusts anybody."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@asynccontextmanager
async def connected(
    port: int, *, banner: bool = True, tls: bool = False, source: str = "127.0.0.1"
) -> AsyncIterator[SmtpClient]:
    """A client of `127.0.0.1:port`, which by default has read the banner; `tls` from the first byte; `source` is its address."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20, local_addr=(source, 0))
    client = SmtpClient(reader, writer)
    try:
        if tls:
            await client.starttls(ask=False)
        if banner:
            greeting = await client.reply()
            assert greeting.code == 220, greeting
        yield client
    finally:
        await client.close()
