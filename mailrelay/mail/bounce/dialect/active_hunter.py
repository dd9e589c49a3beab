"""TransWARE Active!hunter: recipients behind `>>>`."""

from __future__ import annotations

import re

from mailrelay.mail.bounce import lines
from mailrelay.mail.bounce.report import Trouble
from mailrelay.mail.message import ParsedMessage

_SIGNS = ("I wasn't able to deliver your message",)
_ENTRY = re.compile(rf"^>>> (?:[^\n<]{{0,160}}<)?{lines.ADDRESS}", re.MULTILINE)


def recognise(parsed: ParsedMessage) -> tuple[Trouble, ...] | None:
    """The recipients of a report of this kind; None for any other mail."""
    text = lines.said(parsed, *_SIGNS)
    return lines.troubles(text, _ENTRY) if text is not None else None
