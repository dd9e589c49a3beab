"""IMail (smtp32): the reason and the address on one line, in a dozen wordings."""

from __future__ import annotations

import re

from mailrelay.mail.bounce import lines
from mailrelay.mail.bounce.report import Trouble
from mailrelay.mail.message import ParsedMessage

_SIGNS = (
    "Unknown user:",
    "User mailbox exceeds allowed size",
    "Delivery failed ",
    "undeliverable ",
    "Invalid final delivery userid",
    "Unknown host:",
    "Mailbox full:",
)
_ENTRY = re.compile(
    r"^(?:Unknown (?:user|host)|User mailbox exceeds allowed size|Mailbox full|Delivery failed \d{1,4} attempts"
    rf"|Invalid final delivery userid|undeliverable {{1,4}}to)[: ]{{1,4}}<?{lines.ADDRESS}",
    re.MULTILINE,
)


def recognise(parsed: ParsedMessage) -> tuple[Trouble, ...] | None:
    """The recipients of a report of this kind; None for any other mail."""
    text = lines.said(parsed, *_SIGNS)
    return lines.troubles(text, _ENTRY) if text is not None else None
