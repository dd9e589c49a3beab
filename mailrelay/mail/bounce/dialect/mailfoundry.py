"""MailFoundry and the gateways of Trend Micro: `Unable to deliver message to <address>`."""

from __future__ import annotations

import re

from mailrelay.mail.bounce import lines
from mailrelay.mail.bounce.report import Trouble
from mailrelay.mail.message import ParsedMessage

_SIGNS = ("Unable to deliver message to",)
_ENTRY = re.compile(rf"^Unable to deliver message to:? <{lines.ADDRESS}>", re.MULTILINE)


def recognise(parsed: ParsedMessage) -> tuple[Trouble, ...] | None:
    """The recipients of a report of this kind; None for any other mail."""
    text = lines.said(parsed, *_SIGNS)
    if text is None:
        return None
    # What follows is the same under every reason.
    reasons, _, _ = text.partition("This has been a permanent failure")
    return lines.troubles(reasons, _ENTRY)
