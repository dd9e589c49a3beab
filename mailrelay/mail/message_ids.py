"""The names of mails: a mail's own Message-ID, and those of the mails that it answers (I4, RFC 5322 §3.6.4)."""

from __future__ import annotations

import re

from mailrelay.mail.headers import HeaderBlock

MAX_PARENTS = 50
MAX_ID_CHARS = 998

_BRACKETED = re.compile(r"<([^<>]{1,998})>")
_BARE = re.compile(r"[^\s<>,;\"()]+@[^\s<>,;\"()]+")
_BLANKS = re.compile(r"\s+")


def message_id(headers: HeaderBlock) -> str | None:
    """The Message-ID without angle brackets and inner white space, or None; several fields: the first."""
    value = headers.get("Message-ID")
    if value is None:
        return None
    found = _ids(value)
    if found:
        return found[0]
    # Some mailers write neither brackets nor an @: one word is still a name.
    word = value.strip().strip("<>")
    return word[:MAX_ID_CHARS] if word and not _BLANKS.search(word) else None


def parents(headers: HeaderBlock) -> tuple[str, ...]:
    """Message-IDs this mail answers, nearest first: In-Reply-To, then References backwards (RFC 5322 §3.6.4); at most 50."""
    replied = [name for value in headers.all("In-Reply-To") for name in _ids(value)]
    referenced = [name for value in headers.all("References") for name in _ids(value)]
    own = message_id(headers)
    unique = dict.fromkeys(name for name in (*replied, *reversed(referenced)) if name != own)
    return tuple(unique)[:MAX_PARENTS]


def _ids(value: str) -> list[str]:
    """Message-IDs in a field; In-Reply-To of old mailers holds phrases too (RFC 5322 §4.5.4)."""
    found = [_BLANKS.sub("", match) for match in _BRACKETED.findall(value)]
    found = [name for name in found if name]
    return found or [name[:MAX_ID_CHARS] for name in _BARE.findall(value[:16_384])]
