"""Amazon SES by way of SNS: bounces, delays and deliveries as JSON in the mail's text (`mail/ses.py`)."""

from __future__ import annotations

from mailrelay.mail import ses
from mailrelay.mail.bounce import lines
from mailrelay.mail.bounce.report import Trouble
from mailrelay.mail.message import ParsedMessage


def recognise(parsed: ParsedMessage) -> tuple[Trouble, ...] | None:
    """The recipients of a bounce, delay or delivery notification; None for any other mail, a complaint included."""
    if lines.passed_on(parsed):
        return None
    found = ses.read(parsed)
    if found is None or found.complaint:
        return None
    return tuple(lines.trouble(one.recipient, one.words, one.action) for one in found.recipients)
