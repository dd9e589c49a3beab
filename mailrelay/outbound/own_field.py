"""Header fields by which an author tells us something of a mail, such as `X-Mailrelay-Job`; none of them leaves."""

from __future__ import annotations

from mailrelay.errors import Invalid
from mailrelay.mail.headers import HeaderBlock


def take_field(raw: bytes, name: str) -> tuple[bytes, str | None]:
    """The mail without this field, and what it says; None without one. Raises Invalid for one that stands more than once."""
    head_end = raw.find(b"\r\n\r\n")
    if name.lower().encode() not in raw[: head_end if head_end >= 0 else len(raw)].lower():
        return raw, None
    block = HeaderBlock.parse(raw)
    said = block.all(name)
    if not said:
        return raw, None
    if len(said) > 1:
        raise Invalid(name, "stands more than once")
    return block.without((name,)).join(raw), said[0]
