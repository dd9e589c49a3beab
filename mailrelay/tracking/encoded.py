"""Changes to decoded bytes made in their transfer encoding, so that what is not changed keeps its spelling too (RFC 2045 §6)."""

from __future__ import annotations

import binascii
import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from mailrelay.mail.compose import base64_lines
from mailrelay.tracking.rewrite import Splice, apply

_IDENTITY = frozenset(("", "7bit", "8bit", "binary"))
_EQUALS, _LF = 0x3D, 0x0A
_CHUNK = 75
"""RFC 2045 §6.7 (5): lines of 76 characters, the `=` of a soft line break among them."""
_ODD_ESCAPE = re.compile(rb"=(?![0-9A-Fa-f]{2}|\r\n)")
_TO_ESCAPE = re.compile(rb"[=\x00-\x1f\x7f-\xff]")
_BLANKS_AT_END = (b" \r\n", b"\t\r\n")


class Body:
    """A body in its transfer encoding, and what it decodes to."""

    __slots__ = ("_body", "_encoding", "_places", "decoded")

    def __init__(self, body: bytes, encoding: str, decoded: bytes) -> None:
        self._body = body
        self._encoding = encoding
        self._places: _Places | None = None
        self.decoded = decoded

    def spliced(self, splices: Sequence[Splice]) -> bytes:
        """The body with these changes to what it decodes to, in order.

        Their new bytes are text in lines that end in CRLF, none of them in a blank. In quoted-printable each stands on lines of its
        own, between soft breaks; lines of base64 are broken anew.
        """
        if self._encoding in _IDENTITY:
            return apply(self._body, splices)
        if self._encoding == "base64":
            lines = base64_lines(apply(self.decoded, splices)).rstrip(b"\r\n")
            return lines + self._body[len(self._body.rstrip(b"\r\n")) :]
        places = self._places = self._places or _Places(self._body)
        return apply(self._body, [_quoted(self._body, places, one) for one in splices])


def read(body: bytes, encoding: str) -> Body | None:
    """A body with its encoding; None where readers could disagree about what it says."""
    if encoding in _IDENTITY:
        return Body(body, encoding, body)
    if encoding == "quoted-printable":
        return None if _is_odd(body) else Body(body, encoding, binascii.a2b_qp(body))
    if encoding == "base64":
        try:
            return Body(body, encoding, binascii.a2b_base64(body.translate(None, b"\r\n"), strict_mode=True))
        except binascii.Error:
            return None
    return None


def _is_odd(body: bytes) -> bool:
    """Whether quoted-printable has what is no escape and no soft break, or blanks before a line's end: readers disagree about these."""
    lines = body.count(b"\r\n")
    return (
        body.count(b"\r") != lines
        or body.count(b"\n") != lines
        or any(blanks in body for blanks in _BLANKS_AT_END)
        or body.endswith((b" ", b"\t"))
        or _ODD_ESCAPE.search(body) is not None
    )


class _Places:
    """Where decoded bytes stand in quoted-printable: between escapes, which are three octets for one, or for none at a line's end."""

    def __init__(self, body: bytes) -> None:
        pieces = body.split(b"=")
        ends = list(accumulate(map(len, pieces[:-1])))
        soft = accumulate(piece.startswith(b"\r") for piece in pieces[1:])
        self._decoded = [at - index + 1 - breaks for index, (at, breaks) in enumerate(zip(ends, soft, strict=True))]
        self._encoded = [at + index + 3 for index, at in enumerate(ends)]

    def begin(self, decoded: int) -> int:
        """The place in the body of a decoded byte; what breaks the line before it stands before that."""
        found = bisect_right(self._decoded, decoded) - 1
        return decoded if found < 0 else self._encoded[found] + decoded - self._decoded[found]


def _quoted(body: bytes, places: _Places, one: Splice) -> Splice:
    start = end = places.begin(one.start)
    if one.end > one.start:
        last = places.begin(one.end - 1)
        end = last + (3 if body[last] == _EQUALS else 1)
    lines = [_soft_lines(line) for line in one.new.split(b"\r\n")]
    if lines[0] and start and body[start - 1] != _LF:
        before = body.rfind(b"\n", 0, start) + 1
        if start - before > _CHUNK:  # a whole line, which has no room for a soft break: its last character goes on
            at = start - (3 if body[start - 3] == _EQUALS else 1)
            lines[0].insert(0, body[at:start])
            start = at
        lines[0].insert(0, b"")
    if lines[-1] and end < len(body) and not body.startswith((b"\r\n", b"=\r\n"), end):
        lines[-1].append(b"")
    return Splice(start, end, b"\r\n".join(b"=\r\n".join(soft) for soft in lines))


def _soft_lines(line: bytes) -> list[bytes]:
    """A line in quoted-printable, to stand between soft breaks; none for an empty one."""
    text = _TO_ESCAPE.sub(lambda found: b"=%02X" % found[0][0], line)
    lines = []
    while text:
        cut = min(len(text), _CHUNK)
        if cut < len(text) and (split := text.rfind(b"=", cut - 2, cut)) >= 0:
            cut = split
        lines.append(text[:cut])
        text = text[cut:]
    return lines
