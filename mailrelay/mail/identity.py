"""What makes a mail the same mail: a digest of its content, beside its Message-ID (I8)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from mailrelay.ids import Digest
from mailrelay.mail.message import ParsedMessage

_PIECE = 65_536


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
            if part.type.startswith(("text/", "message/")):
                content = part.text()
                digest.update(f"content {sum(map(len, _plain(content)))}\n".encode())
                for piece in _plain(content):
                    digest.update(piece)
            else:
                add("content", part.decoded())
    return Digest(digest.hexdigest())


def _keys(parsed: ParsedMessage, *names: str) -> bytes:
    keys = {
        entry.address.key if entry.address else entry.source
        for name in names
        for entry in parsed.addresses(name).mailboxes
    }
    return "\n".join(sorted(keys)).encode()


def _plain(content: str) -> Iterator[bytes]:
    """A text without blanks at line ends and without empty lines at the end.

    In pieces: all lines of a mail of 25 MB at once would take a hundred (D07).
    """
    at = empty = 0
    while at < len(content):
        end = content.find("\n", at + _PIECE)
        end = len(content) if end < 0 else end
        lines = "\n".join(line.rstrip() for line in content[at:end].split("\n"))
        said = lines.rstrip("\n")
        if said:
            yield ("\n" * empty + said).encode()
            empty = 0
        empty += len(lines) - len(said) + 1
        at = end + 1
