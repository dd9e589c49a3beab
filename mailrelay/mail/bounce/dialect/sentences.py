"""Servers and gateways that say it in one sentence and little else: each a sign and how the address follows it."""

from __future__ import annotations

import re

from mailrelay.mail.bounce import lines
from mailrelay.mail.bounce.report import Trouble
from mailrelay.mail.message import ParsedMessage

_ALONE = rf"^[ \t]{{0,12}}(?:\* {{0,3}}|(?!>)[^\n<]{{0,80}}<)?[\"<]?{lines.ADDRESS}[\">]?[ \t]{{0,8}}$"
# The sign, and the entry's pattern, which is looked for from the sign's line on.
_FORMS = tuple(
    (sign, re.compile(pattern, re.MULTILINE))
    for sign, pattern in (
        ("Failed Recipients -", rf"^<{lines.ADDRESS}>:"),
        ("Failed addresses follow", rf"^ {{0,4}}{lines.ADDRESS} \.\.\. "),
        ("Failed Recipient: ", rf"^[ \t]{{0,12}}Failed Recipient: {lines.ADDRESS}"),
        ("Intended recipient: ", rf"^[ \t]{{0,12}}Intended recipient: {lines.ADDRESS}"),
        (
            "The following recipients returned permanent errors: ",
            rf"^The following recipients returned permanent errors: {lines.ADDRESS}",
        ),
        ("Duplicated Message-ID in <", rf"^[ \t]{{0,12}}Duplicated Message-ID in <{lines.ADDRESS}>"),
        ("(Originally addressed to ", rf"^[ \t]{{0,12}}\(Originally addressed to {lines.ADDRESS}\)"),
        ("to the following recipients failed", _ALONE),
        ("to the following recipients was aborted", _ALONE),
        ("could not be delivered to the following recipient", _ALONE),
        ("could not be delivered to the following user", _ALONE),
        ("Could not deliver message to the following recipient", _ALONE),
        ("Your message could not be delivered to", _ALONE),
        ("trying to deliver the mail to the following recipients", _ALONE),
        ("Delivery of email to this address", _ALONE),
        ("Unable to deliver to the following recipient", _ALONE),
    )
)


def recognise(parsed: ParsedMessage) -> tuple[Trouble, ...] | None:
    """The recipients of a report of this kind; None for any other mail."""
    text = lines.said(parsed, *(sign for sign, _ in _FORMS))
    if text is None:
        return None
    for sign, entry in _FORMS:
        start = text.find(sign)
        line = text.rfind("\n", 0, max(start, 0)) + 1
        if start >= 0 and (found := lines.troubles(text[line:], entry, action=lines.action_of(text))):
            return found
    return None
