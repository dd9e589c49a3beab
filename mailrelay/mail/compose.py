"""Fields, bodies and attachments → the bytes of a mail (RFC 5322, RFC 2045–2049), with CRLF and at most 998 characters a line.

Every value is checked here, whoever gave it: nothing with CR, LF or NUL becomes a header (P09).
"""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from mailrelay.errors import Invalid
from mailrelay.mail import dates
from mailrelay.mail.addresses import format_mailbox
from mailrelay.mail.headers import LINE_LIMIT, encode_field
from mailrelay.model.address import Address
from mailrelay.smtp.address import BadAddress
from mailrelay.smtp.data import normalise_newlines

_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,64}/[a-z0-9!#$&^_.+-]{1,64}")
_ID = re.compile(r"[^\s<>\x00-\x1f\x7f]{1,900}")
# What compose or the relay itself writes; a caller's own fields may not stand beside them.
_RESERVED = frozenset(
    "from sender reply-to to cc bcc subject date message-id in-reply-to references mime-version return-path "  # noqa: SIM905
    "received dkim-signature authentication-results arc-seal arc-message-signature arc-authentication-results".split()
)


@dataclass(frozen=True, slots=True)
class Person:
    """A name, or "", and an address."""

    name: str
    address: Address


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file to attach. `type` is a media type, `name` may be any text; what cannot stand in a header is refused."""

    name: str
    type: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a mail is to say. At least one of `text` and `html` is given; Bcc is of the envelope and not part of it."""

    from_: Person
    to: Sequence[Person]
    cc: Sequence[Person] = ()
    reply_to: Sequence[Person] = ()
    sender: Person | None = None
    subject: str
    text: str | None
    html: str | None = None
    attachments: Sequence[Attachment] = ()
    headers: Sequence[tuple[str, str]] = ()
    """Further fields, in order."""
    in_reply_to: str | None = None
    references: Sequence[str] = ()
    """Message-IDs without angle brackets, oldest first, like `in_reply_to`."""
    date: datetime | None
    message_id: str | None
    """Without angle brackets. None leaves it, as `date`, to `mail.submission.complete`: so the same request gives the same bytes
    whenever it comes (O19)."""


def compose(draft: Draft) -> bytes:
    """The mail as bytes, every line ended by CRLF; the same draft gives the same bytes.

    Raises Invalid with the path of the value that cannot be sent (`subject`, `headers[2]`, `attachments[0].type`).
    """
    fields = [
        _people("From", (draft.from_,)),
        *([_people("Sender", (draft.sender,))] if draft.sender else []),
        *([_people("Reply-To", draft.reply_to)] if draft.reply_to else []),
        *([_people("To", draft.to)] if draft.to else []),
        *([_people("Cc", draft.cc)] if draft.cc else []),
        encode_field("Subject", draft.subject),
        *([encode_field("Date", dates.write(draft.date))] if draft.date else []),
        *([encode_field("Message-ID", _bracketed("message_id", draft.message_id))] if draft.message_id else []),
        *([encode_field("In-Reply-To", _bracketed("in_reply_to", draft.in_reply_to))] if draft.in_reply_to else []),
        *(
            [encode_field("References", " ".join(_bracketed("references", name) for name in draft.references))]
            if draft.references
            else []
        ),
        *(_extra(index, name, value) for index, (name, value) in enumerate(draft.headers)),
        b"MIME-Version: 1.0\r\n",
    ]
    return b"".join(fields) + _content(draft)


def _people(name: str, people: Sequence[Person]) -> bytes:
    try:
        value = ", ".join(format_mailbox(person.name, person.address) for person in people)
    except BadAddress as bad:
        raise Invalid(name, str(bad)) from bad
    for person in people:
        encode_field(name, person.name)  # before it is quoted or encoded: control characters in a name (P09)
    return encode_field(name, value, structured=True)


def is_message_id(text: str) -> bool:
    """Whether a text, without angle brackets, may be a Message-ID in a mail of ours."""
    return text.isascii() and _ID.fullmatch(text) is not None


def _bracketed(path: str, message_id: str) -> str:
    if not is_message_id(message_id):
        raise Invalid(path, "not a Message-ID: no blanks, angle brackets or control characters")
    return f"<{message_id}>"


def _extra(index: int, name: str, value: str) -> bytes:
    if name.lower() in _RESERVED or name.lower().startswith(("content-", "resent-", "x-mailrelay-")):
        raise Invalid(f"headers[{index}]", f"{name[:40]} is written by mailrelay and cannot be given here")
    return encode_field(name, value)


def _content(draft: Draft) -> bytes:
    """The header fields of the content, an empty line, and the content."""
    bodies = []
    if draft.text is not None:
        bodies.append(_text("plain", draft.text))
    if draft.html is not None:
        bodies.append(_text("html", draft.html))
    if not bodies:
        raise Invalid("text", "a mail needs a text or an HTML body")
    body = bodies[0] if len(bodies) == 1 else _multipart("alternative", bodies)
    if not draft.attachments:
        return body
    return _multipart("mixed", [body, *(_attached(index, one) for index, one in enumerate(draft.attachments))])


def _text(subtype: str, value: str) -> bytes:
    """A text part: as it is when it is ASCII with short lines, else in quoted-printable or base64, whichever is shorter."""
    if "\0" in value:
        raise Invalid("html" if subtype == "html" else "text", "the body holds a NUL character")
    data = normalise_newlines(value.encode("utf-8", "replace"))
    charset = "us-ascii" if data.isascii() else "utf-8"
    encoding, encoded = encode_body(data)
    head = f"Content-Type: text/{subtype}; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    return head.encode("ascii") + encoded


def encode_body(data: bytes) -> tuple[str, bytes]:
    """`(encoding, encoded)` for text with CRLF line ends: `7bit`, `quoted-printable` or `base64` (RFC 2045 §6)."""
    if data.isascii() and all(len(line) <= LINE_LIMIT for line in data.split(b"\r\n")):
        return "7bit", data
    high = len(data) - len(data.decode("ascii", "ignore"))
    if high * 3 > len(data):
        return "base64", base64_lines(data)
    return "quoted-printable", quoted_printable(data)


def quoted_printable(data: bytes) -> bytes:
    """Text with CRLF line ends in quoted-printable, lines of at most 76 characters (RFC 2045 §6.7)."""
    # b2a_qp takes its line ends from the first one it sees, so that one must be CRLF, also where the text has none.
    lines = (binascii.b2a_qp(line, quotetabs=False, istext=False) for line in data.split(b"\r\n"))
    return b"\r\n".join(line.replace(b"=\n", b"=\r\n") for line in lines)


def base64_lines(data: bytes) -> bytes:
    """Base64 in lines of 76 characters, each ended by CRLF (RFC 2045 §6.8)."""
    return b"".join(binascii.b2a_base64(data[at : at + 57], newline=False) + b"\r\n" for at in range(0, len(data), 57))


def _attached(index: int, attachment: Attachment) -> bytes:
    kind = attachment.type.lower()
    if not _TYPE.fullmatch(kind) or kind.startswith("multipart/"):
        raise Invalid(f"attachments[{index}].type", "not a media type such as application/pdf")
    if kind.startswith("message/"):
        kind = "application/octet-stream"  # RFC 2046 §5.2.1 allows no base64 in message/rfc822
    encode_field("Content-Disposition", attachment.name)  # control characters (P09)
    fields = (
        encode_field("Content-Type", kind),
        b"Content-Transfer-Encoding: base64\r\n",
        encode_field("Content-Disposition", f"attachment{parameter('filename', attachment.name)}"),
    )
    return b"".join(fields) + b"\r\n" + base64_lines(attachment.data)


def parameter(name: str, value: str) -> str:
    """`; name="value"`, or by RFC 2231 where the value is long or not ASCII: `; name*=utf-8''%C3%A4`; "" for an empty value."""
    if not value:
        return ""
    if value.isascii() and len(value) <= 60:
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'; {name}="{escaped}"'
    encoded = quote(value, safe="", errors="replace")
    if len(encoded) <= 60:
        return f"; {name}*=utf-8''{encoded}"
    # RFC 2231 §4.1: cut between characters, never inside a `%XX`.
    chunks = re.findall(r"(?:%[0-9A-F]{2}|[^%]){1,18}", encoded)
    start = "utf-8''"
    return "".join(f"; {name}*{number}*={start * (number == 0)}{chunk}" for number, chunk in enumerate(chunks))


def _multipart(subtype: str, parts: Sequence[bytes]) -> bytes:
    digest = hashlib.sha256(subtype.encode())
    for part in parts:
        digest.update(part)
    # `=_` can stand neither in quoted-printable nor in base64, and a text that holds its own digest is not to be had.
    boundary = f"=_{digest.hexdigest()[:40]}"
    marked = b"".join(b"\r\n--%s\r\n%s" % (boundary.encode(), part) for part in parts)
    return (
        f'Content-Type: multipart/{subtype}; boundary="{boundary}"\r\n'.encode()
        + marked
        + f"\r\n--{boundary}--\r\n".encode()
    )
