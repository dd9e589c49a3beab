"""MX Logic, later McAfee: the greeting of Exim, but `<address>: reply` on one line."""

from __future__ import annotations

import re

from mailrelay.mail.bounce import lines
from mailrelay.mail.bounce.report import Trouble
from mailrelay.mail.message import ParsedMessage

_SIGNS = ("A message that you have sent could not be delivered",)
_ENTRY = re.compile(rf"^ {{0,3}}<{lines.ADDRESS}>:[ \t]", re.MULTILINE)


def recognise(parsed: ParsedMessage) -> tuple[Trouble, ...] | None:
    """The recipients of a report of this kind; None for any other mail."""
    text = lines.said(parsed, *_SIGNS)
    return lines.troubles(text, _ENTRY) if text is not None else None
