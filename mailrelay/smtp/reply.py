"""A Reply from wire lines, and a Reply to wire lines (RFC 5321 §4.2, RFC 2034).

What a remote says ends in logs, reports and the console: it is capped and made harmless here, at its only way in (N05).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from mailrelay.model.reply import EnhancedStatus, Reply
from mailrelay.smtp.escape import HIDDEN, escape

MAX_REPLY = 65_536
MAX_LINE = 2_048
MAX_WIRE_LINE = 510  # RFC 5321 §4.5.3.1.5: 512 octets with code and CRLF

_START = re.compile(rb"([2-5][0-9]{2})([ -]|$)")
_STATUS = re.compile(r"([245])\.([0-9]{1,3})\.([0-9]{1,3})(?:[ \t]+|$)")


class BadReply(ValueError):
    """What the remote sent is not an SMTP reply, or has no end: the connection is of no more use."""


class ReplyParser:
    """Turns what a server sends into Replies; bytes come in any portions.

    A line over 2 kB is cut; a reply over 64 kB, a code that is none or that changes between lines is BadReply.
    """

    def __init__(self) -> None:
        self._code = 0
        self._lines: list[bytes] = []
        self._partial = bytearray()  # the line that has no end yet, no more of it than can matter
        self._taken = 0  # octets of the reply that has no end yet
        self._broken = ""

    @property
    def idle(self) -> bool:
        """Whether nothing is left over: no byte has come since the last whole reply (A01, A05)."""
        return not self._taken

    def feed(self, data: bytes) -> list[Reply]:
        """Take bytes, return the replies they complete, often none.

        Raises BadReply, from then on always; replies that were whole before the fault are returned first.
        """
        replies: list[Reply] = []
        start = 0
        while start < len(data) and not self._broken:
            newline = data.find(b"\n", start)
            end = newline + 1 if newline >= 0 else len(data)
            self._taken += end - start
            if self._taken > MAX_REPLY:
                self._broken = f"The remote's reply is longer than {MAX_REPLY} octets"
                break
            self._partial += data[start : min(end, start + MAX_LINE + 2)]
            del self._partial[MAX_LINE + 2 :]
            start = end
            if newline >= 0 and (reply := self._line()) is not None:
                replies.append(reply)
        if self._broken and not replies:
            raise BadReply(self._broken)
        return replies

    def _line(self) -> Reply | None:
        line = bytes(self._partial).rstrip(b"\r\n")[:MAX_LINE]
        self._partial.clear()
        found = _START.match(line)
        if found is None:
            self._broken = f"The remote sent what is not a reply: {escape(line[:80])}"
            return None
        code = int(found[1])
        if self._lines and code != self._code:
            # RFC 5321 §4.2.1: the code is the same on each line; which of two is meant would be a guess.
            self._broken = f"The remote's reply changed its code from {self._code} to {code}"
            return None
        self._code = code
        self._lines.append(line[4:])
        if found[2] == b"-":
            return None
        reply = read_reply(code, self._lines)
        self._lines.clear()
        self._taken = 0
        return reply


def read_reply(code: int, lines: Iterable[bytes | str]) -> Reply:
    """A Reply from a code and the texts of its lines, as another SMTP library gives them; made harmless, never raises.

    The enhanced status is taken out of the lines that carry it; one that does not agree with the code stays text (RFC 2034 §4).
    """
    texts = [escape(line).strip(" ") for line in lines]
    status: EnhancedStatus | None = None
    for index, text in enumerate(texts):
        found = _STATUS.match(text)
        if found is None or int(found[1]) != code // 100:
            continue
        here = EnhancedStatus(int(found[1]), int(found[2]), int(found[3]))
        if status is None:
            status = here
        if here == status:
            texts[index] = text[found.end() :]
    return Reply(code, status, tuple(texts))


def to_wire(reply: Reply, *, smtputf8: bool = False) -> bytes:
    r"""The bytes of `reply`: code and status on each line, lines folded to 510 octets, CRLF only where a line ends.

    Without `smtputf8` what is not ASCII is written as `\xNN` (RFC 6531 §3.7.4.2 allows UTF-8 only to who asked for it).
    """
    # RFC 2034 §4: the enhanced status stands on each line of a reply.
    status = f"{reply.status} " if reply.status else ""
    room = MAX_WIRE_LINE - len(status) - 4
    texts = []
    for line in reply.lines or ("",):
        text = HIDDEN.sub(" ", line)
        texts += _fold(text.encode("utf-8" if smtputf8 else "ascii", "backslashreplace"), room)
    prefixes = [b"-"] * (len(texts) - 1) + [b" "]
    head = str(reply.code).encode()
    return b"".join(
        (head + mark + status.encode() + text).rstrip(b" ") + b"\r\n"
        for mark, text in zip(prefixes, texts, strict=True)
    )


def _fold(text: bytes, room: int) -> list[bytes]:
    folded = []
    while len(text) > room:
        cut = text.rfind(b" ", 1, room + 1)
        if cut < 0:
            cut = room
            while text[cut] & 0xC0 == 0x80:  # never inside a UTF-8 character
                cut -= 1
        folded.append(text[:cut])
        text = text[cut:].lstrip(b" ")
    folded.append(text)
    return folded
