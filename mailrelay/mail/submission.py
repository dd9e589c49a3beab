"""A whole mail that somebody hands us to send: checked, and completed where RFC 6409 §8 lets us (O1, P13).

A mail may already be signed, so nothing is written anew: fields are added or left out, the rest stays byte for byte.
"""

from __future__ import annotations

from datetime import datetime

from mailrelay.errors import Invalid
from mailrelay.mail import dates
from mailrelay.mail.headers import LINE_LIMIT, HeaderBlock, encode_field
from mailrelay.mail.message import parse
from mailrelay.smtp.data import has_bare_newline

# RFC 5322 §3.6: at most one of each; From is required.
_ONCE = (
    *("From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Subject", "Date", "Message-ID", "In-Reply-To", "References"),
    *("MIME-Version", "Content-Type", "Content-Transfer-Encoding"),
)
_HIDDEN = ("Bcc", "Resent-Bcc", "Return-Path")


def puts_delivery_first(block: HeaderBlock) -> bool:
    """Whether the mail says `TLS-Required: No`, once: its author would rather have it arrive than encrypted (RFC 8689 §5)."""
    said = block.all("TLS-Required")
    return len(said) == 1 and said[0].strip().lower() == "no"


def validate_submission(raw: bytes) -> None:
    """Refuse what must not leave us; raises one Invalid whose path is the field at fault, or "message".

    NUL, bare CR or LF, lines of the header over 998 characters, a line that is no field, no From or an unreadable one, and
    fields that may stand once but stand twice. Date and Message-ID may be missing (`complete` adds them); long lines in the body
    are `seven_bit`'s work.
    """
    if b"\0" in raw:
        raise Invalid("message", "holds a NUL character")
    if has_bare_newline(raw):
        raise Invalid("message", "holds a CR or LF that is not part of a CRLF")
    block = HeaderBlock.parse(raw)
    if block.defects:
        raise Invalid("message", f"{block.defects[0]}: the header must be fields, then an empty line")
    if not block.separator and block.end < len(raw):
        raise Invalid("message", "no empty line ends the header")
    for field in block:
        if not field.name:
            raise Invalid("message", "begins with an mbox `From ` line")
        if any(len(line) > LINE_LIMIT for line in field.raw.split(b"\r\n")):
            raise Invalid(field.name[:40], f"a header line is longer than {LINE_LIMIT} characters")
    for name in _ONCE:
        if (count := len(block.fields_named(name))) > 1:
            raise Invalid(name, f"stands {count} times; RFC 5322 allows it once")
    _validate_from(raw, block)


def _validate_from(raw: bytes, block: HeaderBlock) -> None:
    if "From" not in block:
        raise Invalid("From", "is missing")
    found = parse(raw).addresses("From")
    if not found.mailboxes or any(entry.address is None for entry in found.mailboxes):
        raise Invalid("From", "names no readable address")
    if len(found.mailboxes) > 1 and "Sender" not in block:
        raise Invalid("From", "names several authors, so RFC 5322 §3.6.2 needs a Sender")


def complete(raw: bytes, *, now: datetime | None, message_id: str) -> bytes:
    """`raw` with Date and Message-ID where they were missing, without Bcc and Return-Path; all else byte for byte.

    With `now` None it gets no Date: a scheduled mail gets one when it goes. `message_id` comes without angle brackets. Raises Invalid
    when it is none.
    """
    block = HeaderBlock.parse(raw)
    if any(name in block for name in _HIDDEN):
        block = block.without(_HIDDEN)
    missing = []
    if not (block.get("Date") or "") and now is not None:
        block = block.without(("Date",))
        missing.append(encode_field("Date", dates.write(now)))
    if not (block.get("Message-ID") or ""):
        block = block.without(("Message-ID",))
        missing.append(encode_field("Message-ID", f"<{message_id}>"))
    return block.append(missing).join(raw) if missing else block.join(raw)


def needs_smtputf8(raw: bytes) -> bool:
    """Whether a header, the mail's or a part's, holds UTF-8, so that the next hop must know SMTPUTF8 (RFC 6531 §3.2)."""
    if raw.isascii():
        return False
    return any(not bytes(part.headers).isascii() for part in parse(raw).root.walk())
