"""A mail's bytes → what it says: fields, bodies, attachments, each read on first use.

A hostile or broken mail is never an exception and never slow: what was odd is named in `ParsedMessage.defects`, and the raw bytes
are always there. Line ends may be CRLF, LF or CR.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from functools import cached_property

from mailrelay.ids import Digest
from mailrelay.mail import dates, message_ids, text
from mailrelay.mail.addresses import AddressList
from mailrelay.mail.addresses import read as read_addresses
from mailrelay.mail.headers import HeaderBlock
from mailrelay.mail.structure import Part, find_parts
from mailrelay.model.message import AttachmentInfo

MAX_OPENING = 256 * 1024
MAX_OPENING_TAGS = 3_000


class ParsedMessage:
    """A mail taken apart. Everything but the structure is read on first use and then kept."""

    def __init__(self, raw: bytes, root: Part, defects: tuple[str, ...]) -> None:
        self.raw = raw
        self.root = root
        self._defects = defects

    @property
    def headers(self) -> HeaderBlock:
        """The mail's own header block."""
        return self.root.headers

    @property
    def defects(self) -> tuple[str, ...]:
        """What was odd, as short sentences without data of the mail; () for a clean mail. Address lists included."""
        found = list(self._defects)
        for name in ("From", "To", "Cc", "Reply-To"):
            found.extend(f"{name}: {defect}" for defect in self.addresses(name).defects)
        if (count := len(self.headers.fields_named("From"))) != 1:
            found.append("no From" if count == 0 else "several From")
        elif not self.addresses("From").mailboxes:
            found.append("empty From")
        return tuple(dict.fromkeys(found))

    def addresses(self, name: str) -> AddressList:
        """The address list of a header field; several fields of the name are read as one list."""
        if name not in self._lists:
            values = self.headers.all(name)
            self._lists[name] = read_addresses(values[0] if len(values) == 1 else ", ".join(values))
        return self._lists[name]

    @cached_property
    def _lists(self) -> dict[str, AddressList]:
        return {}

    @cached_property
    def subject(self) -> str:
        """The Subject for a reader, or ""."""
        return self.headers.text("Subject")

    @cached_property
    def message_id(self) -> str | None:
        """The Message-ID without angle brackets, or None."""
        return message_ids.message_id(self.headers)

    @cached_property
    def parents(self) -> tuple[str, ...]:
        """Message-IDs that it answers, nearest first."""
        return message_ids.parents(self.headers)

    @cached_property
    def sent_at(self) -> datetime | None:
        """The Date field's moment in UTC, or None."""
        return dates.read(self.headers.get("Date") or "")

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """All parts of this mail itself in order; a mail inside it is one part, not taken apart here."""
        found: list[Part] = []
        waiting = [self.root]
        while waiting:
            part = waiting.pop()
            found.append(part)
            if part.type.startswith("multipart/"):
                waiting.extend(reversed(part.children))
        return tuple(found)

    @cached_property
    def text_parts(self) -> tuple[Part, ...]:
        """What a reader without HTML is shown: the text of each alternative, in order."""
        return tuple(part for part in _bodies(self.root, "text/plain") if part.type != "text/html")

    @cached_property
    def html_parts(self) -> tuple[Part, ...]:
        """The HTML bodies, in order."""
        return tuple(part for part in _bodies(self.root, "text/html") if part.type == "text/html")

    @cached_property
    def text(self) -> str:
        """The body as text: the text parts, joined; where there are none, the HTML's text."""
        shown = [
            text.from_html(part.text()) if part.type == "text/html" else part.text()
            for part in _bodies(self.root, "text/plain")
        ]
        return "\n".join(shown)

    @cached_property
    def opening(self) -> str:
        """`text`, of each body the first `MAX_OPENING` bytes only: what a report of 50 MB has to say stands there (B09)."""
        bodies = _bodies(self.root, "text/plain")
        if all(part.end - part.start <= MAX_OPENING for part in bodies):
            return self.text
        shown = [
            text.from_html(part.beginning(MAX_OPENING), tags=MAX_OPENING_TAGS)
            if part.type == "text/html"
            else part.beginning(MAX_OPENING)
            for part in bodies
        ]
        return "\n".join(shown)

    @cached_property
    def html(self) -> str:
        """The HTML bodies, joined, not sanitised; "" when there are none."""
        return "\n".join(part.text() for part in self.html_parts)

    @cached_property
    def attachment_parts(self) -> tuple[Part, ...]:
        """Every leaf that is not shown as a body: files, inline images, attached mails; not an empty form of the text."""
        shown = {id(part) for wanted in ("text/plain", "text/html") for part in _bodies(self.root, wanted)}
        return tuple(
            part
            for part in self.parts
            if not (part.is_multipart or id(part) in shown or (_is_body(part) and not bytes(part.body).strip()))
        )

    @cached_property
    def attachments(self) -> tuple[AttachmentInfo, ...]:
        """`attachment_parts` with their decoded size and SHA-256."""
        return tuple(_info(part) for part in self.attachment_parts)

    @cached_property
    def attached_messages(self) -> tuple[bytes, ...]:
        """The mails attached as `message/rfc822`, each byte for byte as it was attached (I22)."""
        return tuple(part.decoded() for part in self.parts if part.type in ("message/rfc822", "message/global"))


def _info(part: Part) -> AttachmentInfo:
    data = part.decoded()
    return AttachmentInfo(part.filename, part.type, len(data), Digest(hashlib.sha256(data).hexdigest()))


def _bodies(root: Part, wanted: str) -> list[Part]:
    """The text parts that are shown when `wanted` is preferred in each multipart/alternative (RFC 2046 §5.1.4)."""
    found: list[Part] = []
    waiting: list[Part] = [root]
    while waiting:
        part = waiting.pop()
        if part.type == "multipart/alternative" and part.children:
            waiting.extend(reversed(_alternative(part, wanted)))
        elif part.type.startswith("multipart/"):
            waiting.extend(reversed(part.children))
        elif _is_body(part):
            found.append(part)
        elif part.type.startswith("text/") and part.path == "" and part.disposition != "attachment":
            found.append(part)  # the whole mail is one text of an odd kind: shown, there is nothing else
    return found


def _is_body(part: Part) -> bool:
    """Whether it is a text to be read and no file."""
    return part.type in ("text/plain", "text/html") and part.disposition != "attachment" and not part.filename


def _alternative(part: Part, wanted: str) -> list[Part]:
    """The children of an alternative to show: those holding the wanted text, else the last that holds any.

    An empty form says nothing, and is shown only where all are empty.
    """
    said = [[leaf.type for leaf in child.walk() if bytes(leaf.body).strip()] for child in part.children]
    holds = [child for child, types in zip(part.children, said, strict=True) if wanted in types]
    if holds:
        return holds
    other = [
        child for child, types in zip(part.children, said, strict=True) if any(one.startswith("text/") for one in types)
    ]
    return (other or list(part.children))[-1:]


def parse(raw: bytes) -> ParsedMessage:
    """Take a mail apart. Never raises, whatever the bytes; linear in their length."""
    root, defects = find_parts(raw)
    return ParsedMessage(raw, root, defects)
