"""A load of mail over SMTP, the same for every server under test: N sessions that reuse their connection, one mail each in turn.

The client is raw on purpose (fixed commands, one write each) so that what is measured is the server.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail to send; `data` ends with CRLF and has its dots stuffed."""

    mail_from: str
    rcpt_to: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Result:
    """How it went: all acknowledged after `seconds`; `latencies` are the seconds from the final dot to its 250."""

    seconds: float
    latencies: tuple[float, ...]

    def percentile(self, share: float) -> float:
        """The latency that `share` of the mails stayed under."""
        return sorted(self.latencies)[min(len(self.latencies) - 1, int(len(self.latencies) * share))]


async def _expect(reader: asyncio.StreamReader, code: bytes) -> bytes:
    while True:
        line = await reader.readline()
        if line[3:4] == b"-":
            continue
        if not line.startswith(code):
            raise RuntimeError(f"expected {code!r}, got {line!r}")
        return line


async def _session(
    port: int,
    mails: asyncio.Queue[Mail],
    latencies: list[float],
    *,
    login: tuple[str, str] | None,
    tls: ssl.SSLContext | None,
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    await _expect(reader, b"220")
    writer.write(b"EHLO bench.test\r\n")
    await _expect(reader, b"250")
    if login is not None:
        token = base64.b64encode(b"\0" + login[0].encode() + b"\0" + login[1].encode())
        writer.write(b"AUTH PLAIN " + token + b"\r\n")
        await _expect(reader, b"235")
    while True:
        try:
            mail = mails.get_nowait()
        except asyncio.QueueEmpty:
            break
        writer.write(b"MAIL FROM:<%b>\r\n" % mail.mail_from.encode())
        await _expect(reader, b"250")
        writer.write(b"RCPT TO:<%b>\r\n" % mail.rcpt_to.encode())
        await _expect(reader, b"250")
        writer.write(b"DATA\r\n")
        await _expect(reader, b"354")
        began = time.perf_counter()
        writer.write(mail.data + b".\r\n")
        await _expect(reader, b"250")
        latencies.append(time.perf_counter() - began)
    writer.write(b"QUIT\r\n")
    await _expect(reader, b"221")
    writer.close()


async def send(
    port: int,
    mails: Sequence[Mail],
    *,
    sessions: int,
    login: tuple[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
) -> Result:
    """Send all mails over `sessions` connections; returns once the last is acknowledged. Raises at the first refusal."""
    waiting: asyncio.Queue[Mail] = asyncio.Queue()
    for mail in mails:
        waiting.put_nowait(mail)
    latencies: list[float] = []
    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(sessions):
            group.create_task(_session(port, waiting, latencies, login=login, tls=tls))
    return Result(time.perf_counter() - began, tuple(latencies))


def mail(number: int, *, mail_from: str, rcpt_to: str, to: str, size: int) -> Mail:
    """A mail of about `size` bytes with its own Message-ID."""
    head = (
        f"From: {mail_from}\r\nTo: {to}\r\nSubject: bench {number}\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\n"
        f"Message-ID: <bench-{number}-{time.time_ns()}@bench.test>\r\nMIME-Version: 1.0\r\n"
        "Content-Type: text/html; charset=utf-8\r\n\r\n"
    )
    line = f"<p>Line of mail {number}, long enough to look like one that a person wrote.</p>\r\n"
    body = line * max(1, (size - len(head)) // len(line))
    return Mail(mail_from, rcpt_to, (head + body).encode())
