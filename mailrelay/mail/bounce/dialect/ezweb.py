"""EZweb (au), and the Netscape and Openwave servers it grew from: recipients in brackets under a sentence with the reason."""

from __future__ import annotations

import re

from mailrelay.mail.bounce import lines
from mailrelay.mail.bounce.report import Trouble
from mailrelay.mail.message import ParsedMessage

_SIGNS = (
    "Each of the following recipients was rejected by a remote",
    "The following recipients did not receive ",
    "The user(s) account is disabled",
    "The user(s) account is temporarily",
    "The user's mailbox is full",
    "This Message was undeliverable due to the following reason",
)
_ENTRY = re.compile(rf"^[ \t]{{0,12}}(?:Recipient: )?<{lines.ADDRESS}>[ \t]{{0,8}}$", re.MULTILINE)


def recognise(parsed: ParsedMessage) -> tuple[Trouble, ...] | None:
    """The recipients of a report of this kind; None for any other mail."""
    text = lines.said(parsed, *_SIGNS)
    if text is None:
        return None
    # The reason stands above or below the names, so the whole report speaks for each that has no answer of its own.
    # Without the address, whose local part is no reason.
    found = lines.troubles(text, _ENTRY) or ()
    return tuple(_judged(one, text) for one in found) or None


def _judged(one: Trouble, text: str) -> Trouble:
    return one if one.code else lines.trouble(one.recipient, text.replace(one.recipient, ""), one.action)
