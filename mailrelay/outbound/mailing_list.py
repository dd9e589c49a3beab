"""The list that a mass of mail is sent to, as its author names it (O15)."""

from __future__ import annotations

from mailrelay.errors import Invalid
from mailrelay.mail.headers import HeaderBlock
from mailrelay.model.mailing_list import is_list_name

LIST_FIELD = "X-Mailrelay-List"


def take_list(raw: bytes) -> tuple[bytes, str]:
    """The mail without its list field, and the list; "" without one. Raises Invalid for one that is no name, or stands twice."""
    head_end = raw.find(b"\r\n\r\n")
    if LIST_FIELD.lower().encode() not in raw[: head_end if head_end >= 0 else len(raw)].lower():
        return raw, ""
    block = HeaderBlock.parse(raw)
    lists = block.all(LIST_FIELD)
    if not lists:
        return raw, ""
    if len(lists) > 1:
        raise Invalid(LIST_FIELD, "stands more than once")
    return block.without((LIST_FIELD,)).join(raw), checked_list(lists[0].strip(), LIST_FIELD)


def checked_list(name: str, path: str) -> str:
    """The name, or Invalid at `path`."""
    if not is_list_name(name):
        raise Invalid(path, "must be the name of a mailing list: lower-case letters, digits, - and _ between them")
    return name
