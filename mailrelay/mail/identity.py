"""What makes a mail the same mail: Message-ID, thread parents, and a digest of its content (I4, I8)."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from mailrelay.ids import Digest

if TYPE_CHECKING:
    from mailrelay.mail.message import ParsedMessage
from mailrelay.mail.structure import Part

MAX_PARENTS = 50
MAX_ID_CHARS = 998

_BRACKETED = re.compile(r"<([^<>]{1,998})>")
_BARE = re.compile(r"[^\s<>,;\"()]+@[^\s<>,;\"()]+")
_BLANKS = re.compile(r"\s+")


def message_id(parsed: ParsedMessage) -> str | None:
    """The Message-ID without angle brackets and inner white space, or None; several fields: the first."""
    value = parsed.headers.get("Message-ID")
    if value is None:
        return None
    found = _ids(value)
    if found:
        return found[0]
    # Some mailers write neither brackets nor an @: one word is still a name.
    word = value.strip().strip("<>")
    return word[:MAX_ID_CHARS] if word and not _BLANKS.search(word) else None


def parents(parsed: ParsedMessage) -> tuple[str, ...]:
    """Message-IDs this mail answers, nearest first: In-Reply-To, then References backwards (RFC 5322 §3.6.4); at most 50."""
    replied = [name for value in parsed.headers.all("In-Reply-To") for name in _ids(value)]
    referenced = [name for value in parsed.headers.all("References") for name in _ids(value)]
    own = parsed.message_id
    unique = dict.fromkeys(name for name in (*replied, *reversed(referenced)) if name != own)
    return tuple(unique)[:MAX_PARENTS]


def _ids(value: str) -> list[str]:
    """Message-IDs in a field; In-Reply-To of old mailers holds phrases too (RFC 5322 §4.5.4)."""
    found = [_BLANKS.sub("", match) for match in _BRACKETED.findall(value)]
    found = [name for name in found if name]
    return found or [name[:MAX_ID_CHARS] for name in _BARE.findall(value[:16_384])]


def content_digest(parsed: ParsedMessage) -> Digest:
    """SHA-256 over what a mail says, the same for every way a copy of it can reach us, another for another content (I8).

    In it: From, To and Cc as sets of compared addresses, Subject, Date as a moment, and each leaf's type, name and decoded
    content, text with plain line ends, without blanks at line ends and without empty lines at the end. Not in it, because it
    differs between copies: Received and other trace fields, signatures, list fields, Bcc, Message-ID, field order and folding,
    transfer encodings and charsets, boundaries, newline style. Raising its version changes every digest.
    """
    digest = hashlib.sha256(b"mailrelay content 1\n")

    def add(kind: str, value: bytes) -> None:
        digest.update(f"{kind} {len(value)}\n".encode())
        digest.update(value)

    add("from", _keys(parsed, "From"))
    add("to", _keys(parsed, "To", "Cc"))
    add("subject", " ".join(parsed.subject.split()).encode())
    sent_at = parsed.sent_at
    add("date", (sent_at.isoformat() if sent_at else " ".join((parsed.headers.get("Date") or "").split())).encode())
    for part in parsed.parts:
        if not part.is_multipart:
            add(f"part {part.type}", part.filename.encode())
            add("content", _content(part))
    return Digest(digest.hexdigest())


def _keys(parsed: ParsedMessage, *names: str) -> bytes:
    keys = {
        entry.address.key if entry.address else entry.source
        for name in names
        for entry in parsed.addresses(name).mailboxes
    }
    return "\n".join(sorted(keys)).encode()


def _content(part: Part) -> bytes:
    if not part.type.startswith(("text/", "message/")):
        return part.decoded()
    lines = [line.rstrip() for line in part.text().split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return "\n".join(lines).encode()
