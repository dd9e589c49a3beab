"""A scripted SMTP server on 127.0.0.1: it answers by script, can do TLS, and keeps the dialogue and what it took.

async with remote() as sink:
    sink.say("RCPT", "250 2.1.5 ok", "450 4.2.0 later")    # one answer each time, then the usual one again
    sink.say("DOT", CLOSE)                                 # or CLOSE, SILENCE, bytes as they are
"""

from __future__ import annotations

import asyncio
import ssl
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto


class Act(Enum):
    """What is done instead of answering."""

    CLOSE = auto()
    SILENCE = auto()


CLOSE, SILENCE = Act.CLOSE, Act.SILENCE
Answer = str | bytes | Act

_USUAL: dict[str, str] = {
    "CONNECT": "220 remote.test ESMTP",
    "HELO": "250 remote.test",
    "STARTTLS": "220 2.0.0 go ahead",
    "AUTH": "235 2.7.0 welcome",
    "MAIL": "250 2.1.0 ok",
    "RCPT": "250 2.1.5 ok",
    "DATA": "354 go on",
    "DOT": "250 2.0.0 taken",
    "RSET": "250 2.0.0 forgotten",
    "QUIT": "221 2.0.0 bye",
}


@dataclass
class Taken:
    """A message that was answered 250, as it came: arguments of MAIL and RCPT, content without stuffing."""

    mail: str
    rcpt: list[str]
    content: bytes
    tls: str


@dataclass
class Remote:
    """The server's state; change it at any time."""

    certificate: ssl.SSLContext | None = None
    implicit: bool = False
    extensions: list[str] = field(
        default_factory=lambda: ["PIPELINING", "SIZE 50000000", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES"]
    )
    port: int = 0
    sessions: int = 0
    open: int = 0
    peers: list[str] = field(default_factory=list)
    """The addresses that sessions came from, in order."""
    dialogue: list[str] = field(default_factory=list)
    """What clients said, all sessions together; content as `(n bytes)`."""
    messages: list[Taken] = field(default_factory=list)
    segments: list[bytes] = field(default_factory=list)
    """What single reads brought, outside content."""
    script: defaultdict[str, deque[Answer]] = field(default_factory=lambda: defaultdict(deque))
    handshakes_fail: bool = False

    def say(self, verb: str, *answers: Answer) -> None:
        """Answer the next times `verb` comes (CONNECT, DOT and the commands) with these."""
        self.script[verb].extend(answers)

    def verbs(self) -> list[str]:
        """The commands that came, in order."""
        return [line.split(" ")[0].upper() for line in self.dialogue if not line.startswith("(")]

    def arguments(self, verb: str) -> list[str]:
        """What stood behind each `verb`."""
        return [line[len(verb) + 1 :] for line in self.dialogue if line.upper().startswith(verb)]


class _Gone(Exception):
    pass


class _Session:
    def __init__(self, remote: Remote, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.remote = remote
        self.reader = reader
        self.writer = writer
        self.buffer = b""
        self.mail = ""
        self.rcpt: list[str] = []
        self.tls = "TLS" if remote.implicit else ""

    async def run(self) -> None:
        await self.answer("CONNECT")
        while True:
            line = await self.line()
            self.remote.dialogue.append(line)
            verb = line.split(" ")[0].upper()
            if verb == "EHLO":
                await self.ehlo()
            elif verb == "STARTTLS":
                await self.starttls()
            elif verb == "DATA":
                await self.data()
            elif verb == "QUIT":
                await self.answer("QUIT")
                return
            elif verb in ("MAIL", "RCPT"):
                await self.envelope(verb, line)
            elif line.upper() == "AUTH LOGIN":
                for prompt in ("334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6"):
                    await self.answer("", prompt)
                    self.remote.dialogue.append(f"AUTH {await self.line()}")
                await self.answer("AUTH")
            elif verb in _USUAL:
                if verb == "RSET":
                    self.mail, self.rcpt = "", []
                await self.answer(verb)
            else:
                await self.answer(verb, "500 5.5.2 what?")

    async def envelope(self, verb: str, line: str) -> None:
        argument = line.partition(":")[2]
        if verb == "RCPT" and not self.mail:
            await self.answer("RCPT", "503 5.5.1 MAIL first")
            return
        code = await self.answer(verb)
        if code.startswith("2"):
            if verb == "MAIL":
                self.mail, self.rcpt = argument, []
            else:
                self.rcpt.append(argument)

    async def ehlo(self) -> None:
        names = [name for name in self.remote.extensions if not (self.tls and name == "STARTTLS")]
        lines = ["remote.test", *names]
        usual = "\r\n".join(f"250{'-' if at < len(lines) - 1 else ' '}{line}" for at, line in enumerate(lines))
        await self.answer("EHLO", usual)

    async def starttls(self) -> None:
        code = await self.answer("STARTTLS")
        if not code.startswith("220") or self.remote.certificate is None:
            return
        if self.remote.handshakes_fail:
            await self.reader.read(1)  # a ClientHello has come; before it, these bytes would be an injection (A03)
            self.writer.write(b"this is not TLS\r\n" * 20)
            raise _Gone
        await self.writer.start_tls(self.remote.certificate)
        self.tls = "TLS"
        self.buffer = b""

    async def data(self) -> None:
        if not self.rcpt:
            await self.answer("DATA", "503 5.5.1 RCPT first")
            return
        code = await self.answer("DATA")
        if not code.startswith("354"):
            return
        while b"\r\n.\r\n" not in b"\r\n" + self.buffer:
            await self.more()
        content, _, self.buffer = (b"\r\n" + self.buffer).partition(b"\r\n.\r\n")
        content = (content + b"\r\n")[2:].replace(b"\r\n..", b"\r\n.")
        content = content[1:] if content.startswith(b"..") else content
        self.remote.dialogue.append(f"({len(content)} bytes)")
        taken = Taken(self.mail, self.rcpt, content, self.tls)
        self.mail, self.rcpt = "", []
        # Noted before the answer: a test that closes instead of answering has a server that took the message.
        self.remote.messages.append(taken)
        code = await self.answer("DOT")
        if code[:1] in ("4", "5"):
            self.remote.messages.remove(taken)

    async def answer(self, verb: str, usual: str | None = None) -> str:
        scripted = self.remote.script[verb]
        answer: Answer = scripted.popleft() if scripted else (usual or _USUAL.get(verb, "250 ok"))
        if answer is CLOSE:
            raise _Gone
        if answer is SILENCE:
            await asyncio.Event().wait()
        assert not isinstance(answer, Act)
        wire = answer if isinstance(answer, bytes) else answer.encode() + b"\r\n"
        self.writer.write(wire)
        with suppress(ConnectionError):
            await self.writer.drain()
        return wire.decode("latin-1")

    async def line(self) -> str:
        while b"\r\n" not in self.buffer:
            await self.more(note=True)
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line.decode("utf-8", "replace")

    async def more(self, *, note: bool = False) -> None:
        data = await self.reader.read(65536)
        if not data:
            raise _Gone
        if note:
            self.remote.segments.append(data)
        self.buffer += data


@asynccontextmanager
async def remote(
    *, certificate: ssl.SSLContext | None = None, implicit: bool = False, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Remote]:
    """A running server. With a certificate it offers STARTTLS, or speaks TLS from the first byte when `implicit`."""
    state = Remote(certificate=certificate, implicit=implicit)
    if certificate is not None and not implicit:
        state.extensions.append("STARTTLS")
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        state.sessions += 1
        state.peers.append(writer.get_extra_info("peername")[0])
        state.open += 1
        try:
            with suppress(_Gone, ConnectionError, ssl.SSLError, asyncio.IncompleteReadError):
                await _Session(state, reader, writer).run()
        except asyncio.CancelledError:
            pass
        finally:
            state.open -= 1
            running.discard(task)
            with suppress(ConnectionError, ssl.SSLError, TimeoutError):
                writer.close()
                # On Python 3.11 a writer whose handshake failed is never told that it is closed.
                async with asyncio.timeout(0.05):
                    await writer.wait_closed()

    server = await asyncio.start_server(serve, host, port, ssl=certificate if implicit else None, limit=2**20, family=2)
    state.port = server.sockets[0].getsockname()[1]
    try:
        yield state
    finally:
        server.close()
        for task in list(running):
            task.cancel()
        if running:
            await asyncio.wait(running)
        await server.wait_closed()
