"""Postfix, where its delivery-status part is missing: `<address>: reason` after a greeting."""

from __future__ import annotations

import re

from mailrelay.mail.bounce import lines
from mailrelay.mail.bounce.report import Trouble
from mailrelay.mail.message import ParsedMessage

_SIGNS = (
    "the Postfix program at host",
    "This is the mail system at host",
    "I'm sorry to have to inform you that",
)
_ENTRY = re.compile(rf"^<{lines.ADDRESS}>(?: \(expanded from [^\n]{{1,320}}\))?:", re.MULTILINE)


def recognise(parsed: ParsedMessage) -> tuple[Trouble, ...] | None:
    """The recipients of a report of this kind; None for any other mail."""
    text = lines.said(parsed, *_SIGNS)
    return lines.troubles(text, _ENTRY) if text is not None else None
