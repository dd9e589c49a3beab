"""hMailServer and MailEnable: recipients that could not be reached, each with its error below."""

from __future__ import annotations

import re

from mailrelay.mail.bounce import lines
from mailrelay.mail.bounce.report import Trouble
from mailrelay.mail.message import ParsedMessage

_SIGNS = ("The following recipient(s) could not be reached",)
_ENTRY = re.compile(rf"^[ \t]{{0,8}}(?:Recipient: \[SMTP:)?{lines.ADDRESS}\]?[ \t]{{0,4}}$", re.MULTILINE)


def recognise(parsed: ParsedMessage) -> tuple[Trouble, ...] | None:
    """The recipients of a report of this kind; None for any other mail."""
    text = lines.said(parsed, *_SIGNS)
    return lines.troubles(text, _ENTRY) if text is not None else None
