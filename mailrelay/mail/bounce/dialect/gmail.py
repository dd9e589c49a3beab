"""Gmail: `Delivery to the following recipient …` until 2016, then sentences under a bold headline."""

from __future__ import annotations

import re

from mailrelay.mail.bounce import lines
from mailrelay.mail.bounce.report import Trouble
from mailrelay.mail.message import ParsedMessage
from mailrelay.model.feedback import Action

_OLD_SIGN = "Delivery to the following recipient"
_NEW_SIGNS = (
    "Your message wasn't delivered to ",
    "Your message to ",
    "Your message couldn't be delivered to ",
    "There was a problem delivering your message to ",
    "There was a temporary problem delivering your message to ",
    "there was a problem delivering your message",
)
_OLD = re.compile(rf"^[ \t]{{1,12}}(?:\* )?{lines.ADDRESS}[ \t]{{0,8}}$", re.MULTILINE)
_NEW = re.compile(
    rf"\b(?:delivered to|message to|delivering your message to)\s{{1,4}}\*{{0,2}}<?{lines.ADDRESS}", re.IGNORECASE
)
_BY_GOOGLE = re.compile(r"daemon@(?:[\w-]{1,63}\.)?(?:google|googlemail|gmail)\.com>?\s*\Z", re.IGNORECASE)


def recognise(parsed: ParsedMessage) -> tuple[Trouble, ...] | None:
    """The recipients of a report of this kind; None for any other mail."""
    if not _BY_GOOGLE.search(parsed.headers.get("From") or ""):
        return None
    text = lines.said(parsed, _OLD_SIGN)
    if text is not None:
        # Until the technical details, which may quote other addresses, are the recipients; the reason holds for all of them.
        head, _, details = text.partition("Technical details")
        action = Action.DELAYED if "been delayed" in head else Action.FAILED
        found = lines.troubles(head, _OLD, action=action)
        return lines.with_words(found, details) if details else found
    text = lines.said(parsed, *_NEW_SIGNS)
    return lines.troubles(text, _NEW) if text is not None else None
