"""Trend Micro InterScan: one command and the answer to it."""

from __future__ import annotations

import re

from mailrelay.mail.bounce import lines
from mailrelay.mail.bounce.report import Trouble
from mailrelay.mail.message import ParsedMessage

_SIGNS = (
    "Sent >>> RCPT TO:",
    "Sent <<< RCPT TO:",
)
_ENTRY = re.compile(rf"^Sent [<>]{{3}} RCPT TO:[ \t]{{0,2}}<{lines.ADDRESS}>", re.MULTILINE)


def recognise(parsed: ParsedMessage) -> tuple[Trouble, ...] | None:
    """The recipients of a report of this kind; None for any other mail."""
    text = lines.said(parsed, *_SIGNS)
    return lines.troubles(text, _ENTRY) if text is not None else None
