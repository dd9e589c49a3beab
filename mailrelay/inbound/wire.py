"""The bytes of an SMTP session: command lines and content out of one bounded buffer, answers that leave together (RFC 2920)."""

from __future__ import annotations

import asyncio
from functools import lru_cache

from mailrelay.inbound.commands import PROXY_V2, other_protocol
from mailrelay.model.reply import Reply
from mailrelay.smtp import codes
from mailrelay.smtp.reply import to_wire

CHUNK = 65_536
_LONGEST_SKIPPED_LINE = 65_536

wire_form = lru_cache(maxsize=256)(to_wire)


class Over(Exception):
    """The session ends; what was said so far is still sent. `reason` is for the log, "" for an end in order."""

    def __init__(self, reason: str = "", answer: Reply | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.answer = answer


class Wire:
    """What came and was not looked at yet, what was said and not sent yet. It never holds more than two chunks and a line."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, idle: float) -> None:
        self._reader = reader
        self._writer = writer
        self._idle = idle
        self._input = b""
        self._at = 0  # what lies before it in `_input` has been dealt with
        self._output: list[bytes] = []
        self._opening = b""  # the session's first bytes
        self.waits = False
        """Whether it waits for the client, with everything sent."""
        self.utf8 = False
        """Whether answers may hold UTF-8 (RFC 6531 §3.7.4.2)."""

    @property
    def unread(self) -> int:
        """Bytes that came and were not looked at."""
        behind: bytearray = self._reader._buffer  # type: ignore[attr-defined]  # as aiosmtpd does; there is no other way to ask
        return len(self._input) - self._at + len(behind)

    def say(self, answer: Reply) -> None:
        """Answer; it is sent before the next wait for input."""
        self._output.append(wire_form(answer, smtputf8=self.utf8))

    def say_raw(self, line: bytes) -> None:
        """Say a line that is not a Reply of ours, with its CRLF."""
        self._output.append(line)

    def unsent(self) -> bytes:
        """What was said and not sent yet; it is taken out."""
        data = b"".join(self._output)
        self._output.clear()
        return data

    async def flush(self) -> None:
        """Send what was said. Raises Over when the client does not read it, or is gone."""
        if not self._output:
            return
        self._writer.write(self.unsent())
        try:
            async with asyncio.timeout(self._idle):
                await self._writer.drain()
        except TimeoutError:
            raise Over("the client does not read") from None
        except OSError:
            raise Over from None

    async def fill(self, deadline: float, late: Reply = codes.IDLE_TOO_LONG) -> None:
        """Flush, then wait for more input. Raises Over at its end, and at the deadline with `late` as the last word."""
        await self.flush()
        self.waits = True
        try:
            async with asyncio.timeout_at(deadline):
                chunk = await self._reader.read(CHUNK)
        except TimeoutError:
            raise Over("too slow", late) from None
        except OSError:  # reset, or a broken TLS record
            raise Over from None
        finally:
            self.waits = False
        if not chunk:
            raise Over
        self._input = self._input[self._at :] + chunk
        self._at = 0
        if len(self._opening) < len(PROXY_V2):
            # S27: sent slowly, its lines are answered one by one before they are known for what they are.
            self._opening += chunk[: len(PROXY_V2) - len(self._opening)]
            if self._opening == PROXY_V2:
                raise Over("PROXY, not SMTP")

    def take(self) -> bytes:
        """All input that is here, perhaps none: for content, which has no lines."""
        taken, self._input, self._at = self._input[self._at :], b"", 0
        return taken

    def put_back(self, rest: bytes) -> None:
        """What came behind the content."""
        self._input, self._at = rest + self._input[self._at :], 0

    async def line(self, cap: int, deadline: float) -> bytes | Reply:
        """The next line, without its CRLF and no longer than `cap`, or what is wrong with it. Raises Over."""
        while (end := self._input.find(b"\n", self._at)) < 0 and len(self._input) - self._at <= cap + 1:
            await self.fill(deadline)
            if protocol := other_protocol(self._input):
                raise Over(f"{protocol}, not SMTP")  # a ClientHello, say, has no line end to wait for (S28)
        if end < 0 or end - self._at > cap + 1:
            is_auth = self._input[self._at : self._at + 5].upper() == b"AUTH "
            await self._skip_line(deadline)
            return codes.AUTH_TOO_LONG if is_auth else codes.COMMAND_TOO_LONG
        line = self._input[self._at : end + 1]
        self._at = end + 1
        if not line.endswith(b"\r\n"):
            return codes.COMMAND_LINE_END
        if protocol := other_protocol(line):  # it came behind another line
            raise Over(f"{protocol}, not SMTP")
        return line[:-2]

    async def skip(self, size: int, deadline: float) -> None:
        """Drop the next `size` bytes."""
        while size > (here := len(self._input) - self._at):
            size -= here
            self.take()
            await self.fill(deadline)
        self._at += size

    async def _skip_line(self, deadline: float) -> None:
        """Drop a line that is too long; one that does not end soon ends the session (S04)."""
        skipped = 0
        while (end := self._input.find(b"\n", self._at)) < 0:
            skipped += len(self.take())
            if skipped > _LONGEST_SKIPPED_LINE:
                raise Over("endless command line", codes.COMMAND_TOO_LONG)
            await self.fill(deadline)
        self._at = end + 1
