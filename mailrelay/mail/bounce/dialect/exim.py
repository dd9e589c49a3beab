"""Exim, and those who copied its words (1&1, GMX, mail.ru, Zimbra relays): an address on a line of its own, the reason below."""

from __future__ import annotations

import re

from mailrelay.mail.bounce import lines
from mailrelay.mail.bounce.report import Trouble
from mailrelay.mail.message import ParsedMessage

_SIGNS = (
    "A message that you sent could not be delivered",
    "A message that you sent has not yet been delivered",
    "A message that you sent was rejected by the local scanning",
    "has not been delivered to all of its recipients",
    "not yet been delivered is:",
    "not yet been delivered are:",
)
# At most three blanks: deeper lines are the wrapped reason. A pipe or file has its address in the line below instead.
_ENTRY = re.compile(
    rf"^(?: {{0,3}}[\"<]?|[ \t]{{2,8}}\(?(?:ultimately )?generated (?:by|from) ){lines.ADDRESS}[\">]?\)?:?[ \t]{{0,8}}$",
    re.MULTILINE,
)
# mail.ru refuses mail while it is scanned, and names the mailbox in the reply's own words.
_SCANNED = re.compile(rf"^[ \t]{{0,4}}Local mailbox {lines.ADDRESS}", re.MULTILINE)


def recognise(parsed: ParsedMessage) -> tuple[Trouble, ...] | None:
    """The recipients of a report of this kind; None for any other mail."""
    text = lines.said(parsed, *_SIGNS)
    if text is None:
        return None
    return lines.troubles(text, _ENTRY) or lines.troubles(text, _SCANNED)
