"""Which deal of a contact a mail shows at: what the rules for it have in common (I7).

They run one behind the other, and for each contact the first that finds one is the last: the only open deal, else the one that the
thread is on, else a guess. What a person did with the mail goes before all of them, and what a person took the mail before it off
before a guess.
"""

from __future__ import annotations

from collections.abc import Iterator

from mailrelay.model.decision import BY_RULE
from mailrelay.model.record import RecordRef
from mailrelay.rules.facts import EarlierLink, Facts, RelatedRecord
from mailrelay.rules.registry import Progress


def contacts(so_far: Progress) -> Iterator[RecordRef]:
    """The contacts that the mail is with."""
    return (record for record in so_far.records if record.module == "contact")


def of_contact(facts: Facts, contact: RecordRef) -> dict[RecordRef, RelatedRecord]:
    """The contact's deals, open or not."""
    return {one.record: one for one in facts.related if one.of == contact and one.record.module == "deal"}


def chosen_by_hand(facts: Facts, deals: dict[RecordRef, RelatedRecord]) -> str:
    """Which of these deals a person put the mail on, or took it off, in words; "" when nobody did."""
    for link in facts.standing:
        if link.record in deals and link.by != BY_RULE:
            return f"{link.by} has {'taken it off' if link.removed else 'put it on'} {link.record}, and that stands"
    return ""


def taken_off(facts: Facts, deals: dict[RecordRef, RelatedRecord]) -> dict[RecordRef, EarlierLink]:
    """Those of these deals that a person took the mail off which this one answers, or is about."""
    removed = (*facts.thread_removed, *facts.returned_removed)
    return {one.record: one for one in removed if one.record in deals}


def is_found(facts: Facts, so_far: Progress, deals: dict[RecordRef, RelatedRecord]) -> bool:
    """Whether it is clear already which of a contact's deals the mail shows at, if at any."""
    return bool(deals.keys() & set(so_far.records) or chosen_by_hand(facts, deals))


def undecided(facts: Facts, so_far: Progress, contact: RecordRef) -> dict[RecordRef, RelatedRecord]:
    """The contact's open deals where there are several, and nothing says yet which, nor that it is none; else {}."""
    deals = of_contact(facts, contact)
    if is_found(facts, so_far, deals) or taken_off(facts, deals):
        return {}
    still_open = {record: deal for record, deal in deals.items() if deal.open}
    return still_open if len(still_open) > 1 else {}
