"""One mail looked at alone, without daemon or store: what `mailrelay message inspect` prints."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mailrelay.mail import automatic, bounce, message, reply_text
from mailrelay.mail.addresses import AddressList, Mailbox
from mailrelay.mail.bounce.report import BouncedRecipient
from mailrelay.model.message import AttachmentInfo


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
    """The new text without quotes and signature."""
    defects: tuple[str, ...]


def inspect(raw: bytes) -> Inspection:
    """Read a mail; never raises, whatever the bytes."""
    parsed = message.parse(raw)
    report = bounce.classify(parsed)
    return Inspection(
        kind=report.kind if report else automatic.kind(parsed),
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
        reply=reply_text.reply(parsed),
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
