"""The content of a message on the wire: dots, line ends and the end of data (RFC 5321 §4.1.1.4, §4.5.2).

Only CRLF `.` CRLF ends a message, whatever another server may take for an end, so that nothing can be smuggled into or out
of one (S01). A message with bare CR or LF is read to its real end and then refused.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Flag, auto

from mailrelay.model.reply import Reply
from mailrelay.smtp import codes

MAX_LINE = 998  # RFC 5321 §4.5.3.1.6: 1,000 octets with CRLF, not counting a stuffed dot
END = b".\r\n"
"""What a sender writes after `stuff`'s result."""

_END = b"\r\n.\r\n"
# What may turn out to be the beginning of _END once more bytes are there, longest first.
_HELD = (b"\r\n.\r", b"\r\n.", b"\r\n", b"\r")


class DataFault(Flag):
    """What is wrong with content that was read; several can be."""

    BARE_NEWLINE = auto()  # CR without LF, or LF without CR
    NUL = auto()
    LONG_LINE = auto()
    TOO_LARGE = auto()


_NONE = DataFault(0)

# In this order: what may be an attack first, then what the author can change.
_REFUSALS = (
    (DataFault.BARE_NEWLINE, codes.BARE_NEWLINE),
    (DataFault.TOO_LARGE, codes.TOO_LARGE),
    (DataFault.LONG_LINE, codes.LINE_TOO_LONG),
    (DataFault.NUL, codes.NUL_IN_MESSAGE),
)


class BareNewline(ValueError):
    """Content to be sent holds a CR without LF or an LF without CR."""


class DataReader:
    """Reads what follows 354, in chunks of any size; the same bytes give the same result however they were cut (S08).

    `sink` receives the content in pieces, dots unstuffed. After the first fault it is called no more and what it has is
    worthless; the rest is read and dropped, so memory stays flat (S03). Its exceptions pass through.
    """

    def __init__(self, sink: Callable[[bytes], object], *, max_size: int, max_line: int = MAX_LINE) -> None:
        self._sink = sink
        self._max_size = max_size
        self._max_line = max_line
        # The CRLF of the command DATA itself is the one before the first line (RFC 5321 §4.1.1.4); it is not content.
        self._held = b"\r\n"
        self._skip = 2
        self._line = 0  # octets of the current line that were already taken
        self.size = 0
        """Octets of content so far, as RFC 1870 §5 counts them: with CRLFs, without stuffed dots."""
        self.received = 0
        """Octets that came in, kept or not: for the hard end of a session that only ever sends (S03)."""
        self.faults = _NONE
        self.ended = False

    @property
    def refusal(self) -> Reply | None:
        """What to answer after the end instead of 250, or None when the content is good."""
        if self.faults is _NONE:
            return None
        return next((refusal for fault, refusal in _REFUSALS if fault in self.faults), None)

    def feed(self, chunk: bytes) -> bytes | None:
        """Take the next bytes. Returns None while the message goes on, else the bytes that came after its end.

        Raises ValueError when the message had already ended.
        """
        if self.ended:
            raise ValueError("the message has ended")
        buffer = self._held + chunk
        end = buffer.find(_END)
        if end >= 0:
            rest = buffer[end + len(_END) :]
            self.received += len(chunk) - len(rest)
            self.ended = True
            self._take(buffer[: end + 2])
            return rest
        self.received += len(chunk)
        # Held back until the next bytes tell: so no CRLF, no stuffed dot and no end is ever cut in two.
        self._held = next((held for held in _HELD if buffer.endswith(held)), b"")
        self._take(buffer[: -len(self._held)] if self._held else buffer)
        return None

    def _take(self, raw: bytes) -> None:
        if not raw:
            return
        text = raw.replace(b"\r\n.", b"\r\n")  # RFC 5321 §4.5.2: the first dot of a line is not content
        if has_bare_newline(text):
            self.faults |= DataFault.BARE_NEWLINE
        if b"\0" in text:
            self.faults |= DataFault.NUL
        if self._is_long(text):
            self.faults |= DataFault.LONG_LINE
        if self._skip:
            text = text[self._skip :]
            self._skip = 0
        self.size += len(text)
        if self.size > self._max_size:
            self.faults |= DataFault.TOO_LARGE
        if text and self.faults is _NONE:
            self._sink(text)

    def _is_long(self, text: bytes) -> bool:
        """Whether a line of `text` goes on over the limit; notes how much of the last one is there already.

        Goes by leaps, from the start of a line to the last line end that a line within the limit can have.
        """
        reach = self._max_line + 2
        start = -self._line
        while len(text) - start >= reach:
            newline = text.rfind(b"\r\n", max(start, 0), max(start + reach, 0))
            if newline < 0:
                # Once one line is too long nothing depends on the others.
                return True
            start = newline + 2
        newline = text.rfind(b"\r\n", max(start, 0))
        self._line = len(text) - (newline + 2 if newline >= 0 else start)
        return False


def stuff(content: bytes) -> bytes:
    """`content` as DATA carries it: dots stuffed, ended by CRLF; `END` follows it (RFC 5321 §4.5.2).

    Raises BareNewline: what leaves us never holds a bare CR or LF (S02); `normalise_newlines` comes first, before signing.
    """
    if has_bare_newline(content):
        raise BareNewline("a message to be sent holds a bare CR or LF")
    stuffed = content.replace(b"\r\n.", b"\r\n..")
    if stuffed.startswith(b"."):
        stuffed = b"." + stuffed
    if stuffed and not stuffed.endswith(b"\r\n"):
        stuffed += b"\r\n"
    return stuffed


def has_bare_newline(content: bytes) -> bool:
    """Whether there is a CR without LF after it, or an LF without CR before it."""
    lines = content.count(b"\r\n")
    return lines != content.count(b"\n") or lines != content.count(b"\r")


def normalise_newlines(content: bytes) -> bytes:
    """`content` with every CRLF, bare CR and bare LF as one CRLF: for mail from the API or an import (S02)."""
    if not has_bare_newline(content):
        return content
    return content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
