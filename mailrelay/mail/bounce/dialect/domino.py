"""Lotus Notes and Domino: `was not delivered to: … because: …`, and the `Failure Reasons` of the older SMTP MTA."""

from __future__ import annotations

import re

from mailrelay.mail.bounce import lines
from mailrelay.mail.bounce.report import Trouble
from mailrelay.mail.message import ParsedMessage

_SIGNS = ("was not delivered to:", "Failure Reasons  -", "Failure Reasons -")
_ENTRY = re.compile(rf"^[ \t]{{0,8}}<?{lines.ADDRESS}>?[ \t]{{0,8}}$", re.MULTILINE)


def recognise(parsed: ParsedMessage) -> tuple[Trouble, ...] | None:
    """The recipients of a report of this kind; None for any other mail."""
    text = lines.said(parsed, *_SIGNS)
    if text is None:
        return None
    head, because, reason = text.partition("because:")
    if because:
        _, _, names = head.partition("was not delivered to:")
        return lines.with_words(lines.troubles(names, _ENTRY), reason)
    # The old MTA writes the reason first, then whom it concerns.
    return lines.with_words(lines.troubles(text, _ENTRY), text)
