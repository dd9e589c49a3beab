"""Apache James, and the gateways to telephones built on it: the reason first, the recipients in a list or in the dialogue's words."""

from __future__ import annotations

import re

from mailrelay.mail.bounce import lines
from mailrelay.mail.bounce.report import Trouble
from mailrelay.mail.message import ParsedMessage
from mailrelay.model.feedback import Action

_SIGNS = ("Error message below:", "Failed recipient(s):")
_ENTRY = re.compile(rf"^[ \t]{{0,8}}(?:RCPT TO:[ \t]{{1,4}})?<?{lines.ADDRESS}>?[ \t]{{0,8}}$", re.MULTILINE)


def recognise(parsed: ParsedMessage) -> tuple[Trouble, ...] | None:
    """The recipients of a report of this kind; None for any other mail."""
    text = lines.said(parsed, *_SIGNS)
    if text is None:
        return None
    reason, _, details = text.partition("Message details:")
    named = details or text[text.find("Failed recipient(s):") :]
    _, _, reply = reason.partition("Error message below:")
    return lines.with_words(lines.troubles(named, _ENTRY, action=Action.FAILED), reply or reason)
