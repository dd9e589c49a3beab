"""The list that a mass of mail is sent to, as its author names it (O15)."""

from __future__ import annotations

from mailrelay.errors import Invalid
from mailrelay.model.mailing_list import is_list_name
from mailrelay.outbound.own_field import take_field

LIST_FIELD = "X-Mailrelay-List"


def take_list(raw: bytes) -> tuple[bytes, str]:
    """The mail without its list field, and the list; "" without one. Raises Invalid for one that is no name, or stands twice."""
    left, said = take_field(raw, LIST_FIELD)
    return left, "" if said is None else checked_list(said.strip(), LIST_FIELD)


def checked_list(name: str, path: str) -> str:
    """The name, or Invalid at `path`."""
    if not is_list_name(name):
        raise Invalid(path, "must be the name of a mailing list: lower-case letters, digits, - and _ between them")
    return name
