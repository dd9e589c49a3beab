"""Zoho: `address reason, ERROR_CODE :550, …`."""

from __future__ import annotations

import re

from mailrelay.mail.bounce import lines
from mailrelay.mail.bounce.report import Trouble
from mailrelay.mail.message import ParsedMessage

_SIGNS = ("ERROR_CODE :",)
_ENTRY = re.compile(rf"^[ \t]{{0,8}}{lines.ADDRESS} (?=[^\n]{{1,400}}ERROR_CODE)", re.MULTILINE)


def recognise(parsed: ParsedMessage) -> tuple[Trouble, ...] | None:
    """The recipients of a report of this kind; None for any other mail."""
    text = lines.said(parsed, *_SIGNS)
    return lines.troubles(text, _ENTRY) if text is not None else None
