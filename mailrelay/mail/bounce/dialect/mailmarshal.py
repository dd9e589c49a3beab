"""MailMarshal and m-FILTER: the server's answer in one paragraph, whom it concerns in another."""

from __future__ import annotations

import re

from mailrelay.mail.bounce import lines
from mailrelay.mail.bounce.report import Trouble
from mailrelay.mail.message import ParsedMessage

_SIGNS = ("The following recipients were affected:", "-------server message")
_REASON = re.compile(
    r"(?:could not be delivered because of:?|-------server message)\s([\s\S]{0,1000}?)(?=\n\n\S|The following|\Z)",
    re.IGNORECASE,
)
_ENTRY = re.compile(rf"^[ \t]{{0,8}}<?{lines.ADDRESS}>?[ \t]{{0,4}}$", re.MULTILINE)


def recognise(parsed: ParsedMessage) -> tuple[Trouble, ...] | None:
    """The recipients of a report of this kind; None for any other mail."""
    text = lines.said(parsed, *_SIGNS)
    if text is None:
        return None
    reason = _REASON.search(text)
    return lines.with_words(lines.troubles(text, _ENTRY), reason[1] if reason else text)
