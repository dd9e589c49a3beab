"""The header of the mail that came back: attached whole, as its header alone, or quoted in the text."""

from __future__ import annotations

import re

from mailrelay.mail.headers import HeaderBlock
from mailrelay.mail.message import ParsedMessage

_MAX_BYTES = 100_000
_MAX_STARTS = 20
_MAILS = ("message/rfc822", "message/global", "message/partial")
_HEADERS = ("text/rfc822-headers", "text/rfc822-header", "message/global-headers", "message/rfc822-headers")
_FIRST = re.compile(
    rb"(?:\A|\n)(?=[>| \t]{0,4}(?:Return-Path|Received|Message-ID|From|To|Date|Subject|MIME-Version):)", re.IGNORECASE
)
_KNOWN = ("From", "To", "Date", "Subject", "Message-ID", "Received", "Return-Path", "MIME-Version")


def returned_headers(parsed: ParsedMessage) -> HeaderBlock | None:
    """The returned mail's fields, or None when the mail returns none. Never raises; linear in the mail's length."""
    for part in parsed.parts:
        if part.type in _MAILS:
            if part.children:
                return part.children[0].headers
            return HeaderBlock.parse(part.decoded()[:_MAX_BYTES])
        if part.type in _HEADERS:
            return HeaderBlock.parse(part.decoded()[:_MAX_BYTES].lstrip())
    return _quoted(parsed)


def _quoted(parsed: ParsedMessage) -> HeaderBlock | None:
    """The first block in the text that reads like a mail's header: three known fields, From or To among them."""
    text = parsed.text[:_MAX_BYTES].encode("utf-8", "replace")
    for count, start in enumerate(_FIRST.finditer(text)):
        if count >= _MAX_STARTS:
            break
        block = HeaderBlock.parse(_unquoted(text[start.end() : start.end() + 20_000]))
        known = [name for name in _KNOWN if name in block]
        if len(known) >= 3 and ("From" in known or "To" in known):
            return block
    return None


def _unquoted(text: bytes) -> bytes:
    """Without the marks or the indent that every line of a quoted header has."""
    mark = re.match(rb"[>| \t]{1,4}", text)
    if mark is None:
        return text
    return b"\n".join(line.removeprefix(mark[0]) for line in text.split(b"\n"))
