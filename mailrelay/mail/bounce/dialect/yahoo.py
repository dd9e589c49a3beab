"""Yahoo and AOL: the form of qmail with words of their own."""

from __future__ import annotations

import re

from mailrelay.mail.bounce import lines
from mailrelay.mail.bounce.report import Trouble
from mailrelay.mail.message import ParsedMessage

_SIGNS = (
    "we were unable to deliver your message to the following",
    "Unable to deliver message to the following address",
)
_ENTRY = re.compile(rf"^<{lines.ADDRESS}>:", re.MULTILINE)


def recognise(parsed: ParsedMessage) -> tuple[Trouble, ...] | None:
    """The recipients of a report of this kind; None for any other mail."""
    text = lines.said(parsed, *_SIGNS)
    return lines.troubles(text, _ENTRY) if text is not None else None
