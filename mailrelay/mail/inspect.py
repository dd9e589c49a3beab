"""One mail looked at alone, without daemon or store: what `mailrelay message inspect` prints."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

from mailrelay.mail import automatic, away, bounce, message, reply_text
from mailrelay.mail.addresses import AddressList, Mailbox
from mailrelay.mail.away import Away
from mailrelay.mail.bounce.report import BouncedRecipient
from mailrelay.model.message import AttachmentInfo, Kind


@dataclass(frozen=True, slots=True)
class Named:
    """An entry of an address field; `address` is "" when it names none that is certain."""

    name: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What is in a mail, decoded to text that JSON can hold."""

    kind: str
    may_reply: bool
    results: tuple[BouncedRecipient, ...]
    """Of whom it reports what, when it is a mail that came back (I10)."""
    subject: str
    message_id: str
    from_: tuple[Named, ...]
    to: tuple[Named, ...]
    cc: tuple[Named, ...]
    text: str
    html: str
    attachments: tuple[AttachmentInfo, ...]
    reply: str
    """The new text without quotes and signature; "" of a report, which nobody wrote."""
    away: Away | None
    """What an automatic reply says of being away or gone (I25)."""
    defects: tuple[str, ...]


def inspect(raw: bytes, *, today: date | None = None) -> Inspection:
    """Read a mail; never raises, whatever the bytes.

    `today` is taken for the day of a mail without a Date; without either nothing is read of an absence.
    """
    parsed = message.parse(raw)
    report = bounce.classify(parsed)
    kind = report.kind if report else automatic.kind(parsed)
    received = parsed.sent_at.date() if parsed.sent_at else today
    return Inspection(
        kind=kind,
        may_reply=report is None and automatic.may_reply(parsed),
        results=report.recipients if report else (),
        subject=parsed.subject,
        message_id=parsed.message_id or "",
        from_=_named(parsed.addresses("From")),
        to=_named(parsed.addresses("To")),
        cc=_named(parsed.addresses("Cc")),
        text=parsed.text,
        html=parsed.html,
        attachments=parsed.attachments,
        reply="" if report else reply_text.reply(parsed),
        away=away.read(parsed, received=received) if received and kind is Kind.AUTO_REPLY else None,
        defects=parsed.defects,
    )


# RFC 5322 wants a domain; local mail has none, and a reader still wants to see who it was.
_LOCAL = re.compile(r"<([A-Za-z0-9._+-]{1,64})>\Z")


def _named(found: AddressList) -> tuple[Named, ...]:
    return tuple(Named(entry.name, _shown(entry)) for entry in found.mailboxes)


def _shown(entry: Mailbox) -> str:
    if entry.address is not None:
        return str(entry.address)
    local = _LOCAL.search(entry.source)
    return local[1] if local else ""
