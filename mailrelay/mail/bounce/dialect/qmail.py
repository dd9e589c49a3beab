"""qmail and what descends from it (the QSBMF form): `<address>:` on a line, the reason below."""

from __future__ import annotations

import re

from mailrelay.mail.bounce import lines
from mailrelay.mail.bounce.report import Trouble
from mailrelay.mail.message import ParsedMessage

_SIGNS = (
    "qmail-send program",
    "I wasn't able to deliver your message",
    "not able to deliver your message to the following",
    "Your mail message to the following address",
    "Your message could not be delivered.",
    "邮件无法发送到您指定的地址中",
)
_ENTRY = re.compile(rf"^<{lines.ADDRESS}>:", re.MULTILINE)


def recognise(parsed: ParsedMessage) -> tuple[Trouble, ...] | None:
    """The recipients of a report of this kind; None for any other mail."""
    text = lines.said(parsed, *_SIGNS)
    return lines.troubles(text, _ENTRY) if text is not None else None
