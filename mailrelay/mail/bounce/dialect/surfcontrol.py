"""SurfControl: how often it was tried, and what came of it."""

from __future__ import annotations

import re

from mailrelay.mail.bounce import lines
from mailrelay.mail.bounce.report import Trouble
from mailrelay.mail.message import ParsedMessage

_SIGNS = ("Addressed To: ",)
_ENTRY = re.compile(rf"^Addressed To: {lines.ADDRESS}", re.MULTILINE)


def recognise(parsed: ParsedMessage) -> tuple[Trouble, ...] | None:
    """The recipients of a report of this kind; None for any other mail."""
    text = lines.said(parsed, *_SIGNS)
    return lines.troubles(text, _ENTRY) if text is not None else None
