"""CommuniGate Pro: `Failed to deliver to 'address'`, then which module reports what."""

from __future__ import annotations

import re

from mailrelay.mail.bounce import lines
from mailrelay.mail.bounce.report import Trouble
from mailrelay.mail.message import ParsedMessage

_SIGNS = ("Failed to deliver to '",)
_ENTRY = re.compile(rf"^[ \t]{{0,8}}Failed to deliver to '{lines.ADDRESS}'", re.MULTILINE)


def recognise(parsed: ParsedMessage) -> tuple[Trouble, ...] | None:
    """The recipients of a report of this kind; None for any other mail."""
    text = lines.said(parsed, *_SIGNS)
    return lines.troubles(text, _ENTRY) if text is not None else None
