"""Sun and Oracle Messaging Server: labelled lines for each recipient."""

from __future__ import annotations

import re

from mailrelay.mail.bounce import lines
from mailrelay.mail.bounce.report import Trouble
from mailrelay.mail.message import ParsedMessage

_SIGNS = ("  Recipient address: ",)
_ENTRY = re.compile(rf"^[ \t]{{0,8}}Recipient address: {lines.ADDRESS}", re.MULTILINE)


def recognise(parsed: ParsedMessage) -> tuple[Trouble, ...] | None:
    """The recipients of a report of this kind; None for any other mail."""
    text = lines.said(parsed, *_SIGNS)
    return lines.troubles(text, _ENTRY) if text is not None else None
