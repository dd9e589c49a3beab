"""Whom a document is made out to: what a mail with it resolves to, and where a mail to it is sent (I7, O3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mailrelay.model.record import RecordRef

PARTIES: Mapping[str, tuple[str, ...]] = {
    "quote": ("contact",),
    "invoice": ("contact",),
    "sales_order": ("contact",),
    "purchase_order": ("contact", "vendor"),
}
"""By module of the document: the modules of those whom it may be made out to, the first that there is counts."""


def parties(module: str, links: Iterable[tuple[str, RecordRef]]) -> tuple[RecordRef, ...]:
    """Whom a document of this module with these links (role and record) is made out to; () for anything else.

    Of several contacts those that the CRM links as `contact`, if it does.
    """
    links = list(links)
    for party in PARTIES.get(module, ()):
        found = {(role, record) for role, record in links if record.module == party}
        named = {record for role, record in found if role == party}
        if found:
            return tuple(sorted(named or {record for _, record in found}))
    return ()
