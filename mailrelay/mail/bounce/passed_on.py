"""Reports that reach us inside something else: a whole one that a person forwards, several in one mailbox file (I10)."""

from __future__ import annotations

import re
from itertools import islice, pairwise

from mailrelay.mail import forwarded, message
from mailrelay.mail.message import ParsedMessage

MAX_CHARS = 64_000
MAX_MAILS = 20

_FROM_DAEMON = re.compile(r"^(>[ \t]?)From:[^\n]{0,200}(?:mailer-?daemon|postmaster)", re.IGNORECASE | re.MULTILINE)
_FIELDS = tuple(
    re.compile(rf"^{name}[ \t]*:[ \t]*\S", re.IGNORECASE | re.MULTILINE)
    for name in ("final-recipient", "action", "status")
)
_NEXT = re.compile(rb"(?:\r\n?|\n){2}(?=From [^\s]{1,320} [^\r\n]{10,60}\d{4}(?:\r\n?|\n)[!-9;-~]{1,60}:)")


def whole_report(parsed: ParsedMessage) -> ParsedMessage | None:
    """The report in a forward that holds all of it, fields included, below at most a line of the forwarder's; else None.

    A person who writes about a bounce, or quotes some of it, has something to say: that is mail of his.
    """
    if forwarded.subject_kind(parsed.subject) != "forward":
        return None
    text = parsed.opening[:MAX_CHARS]
    start = _FROM_DAEMON.search(text)
    if start is None:
        return None
    note = [line for line in text[: start.start()].split("\n") if line.strip("> \t")]
    if len(note) > 2 or any("?" in line for line in note):
        return None
    quoted = (
        line.removeprefix(start[1]) if line.startswith(start[1]) else line[1:] for line in _quoted(text, start.start())
    )
    inner = "\n".join(quoted)
    if not all(field.search(inner) for field in _FIELDS):
        return None
    return message.parse(inner.encode("utf-8", "replace"))


def _quoted(text: str, start: int) -> list[str]:
    return [line for line in text[start:].split("\n") if line.startswith(">")]


def mails(parsed: ParsedMessage) -> tuple[ParsedMessage, ...]:
    """The first mails of a mailbox file (RFC 4155), each by itself; a mail alone is its only one."""
    raw = parsed.raw
    starts = [found.end() for found in islice(_NEXT.finditer(raw), MAX_MAILS)] if raw.startswith(b"From ") else []
    if not starts:
        return (parsed,)
    bounds = islice(pairwise((0, *starts, len(raw))), MAX_MAILS)
    return tuple(message.parse(raw[start:end]) for start, end in bounds)
