"""Addresses that are secrets of this installation, and what a copy of a mail shows of them and of its Bcc to others (I16).

A dropbox's address lets anybody file mail as its user (I1), a record's address on that record (I21). Both find their way into header
fields: into Received and Delivered-To by the hosts on the way, into To and Cc by people.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from mailrelay.mail.headers import HeaderBlock

BLANK = "hidden"
"""Stands in the place of a secret."""
_SHAPE = r"bcc-([a-z2-7]{26})(?![a-z2-7])|(r-[0-9a-z]{29}\.[0-9a-z]{20})"
_LOCAL = re.compile(_SHAPE, re.IGNORECASE)
_ANYWHERE = re.compile(_SHAPE.encode(), re.IGNORECASE)  # also inside what other hosts make of an address: SRS, VERP
_BLIND = frozenset(("bcc", "resent-bcc"))


def secret_of(local: str) -> str:
    """The secret in the local part of an address: a dropbox's token, a record address as a whole; "" where there is none."""
    found = _LOCAL.search(local)
    return "" if found is None else (found[1] or found[2]).lower()


def without(raw: bytes, *, keep: Collection[str] = (), bcc: bool = True) -> bytes:
    """A mail with the secrets in its header blanked, but for those to `keep`, and with `bcc` without its Bcc. Never raises.

    What there is nothing to hide in comes back as it is, byte for byte; the body always does.
    """
    block = HeaderBlock.parse(raw)
    kept: list[bytes] = []
    for place, field in enumerate(block.fields):
        # What is too much of a header is not taken apart, and may hold a Bcc; the first may be an mbox line.
        if bcc and (field.key in _BLIND or (place and not field.name)):
            continue
        kept.append(_ANYWHERE.sub(lambda found: _blanked(found, keep), field.raw))
    return raw[: block.start] + b"".join(kept) + raw[block.end - len(block.separator) :]


def _blanked(found: re.Match[bytes], keep: Collection[str]) -> bytes:
    secret = (found[1] or found[2]).decode("ascii").lower()
    return found[0] if secret in keep else BLANK.encode()
