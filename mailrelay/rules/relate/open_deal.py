"""A mail with a contact shows at the contact's only open deal (I7)."""

from __future__ import annotations

from collections.abc import Iterator

from mailrelay.model.decision import Finding
from mailrelay.rules import deals, say
from mailrelay.rules.facts import Facts
from mailrelay.rules.registry import Progress, Stage, rule


@rule(Stage.RELATE, rank=20, row="I7", miss="no contact in it has an open deal")
def open_deal(facts: Facts, so_far: Progress) -> Iterator[Finding]:
    """The one deal of a contact that is not won, lost or closed, unless a person took the mail before it off that deal.

    Where a person chose among the contact's deals for the mail itself, that stands.
    """
    for contact in deals.contacts(so_far):
        every = deals.of_contact(facts, contact)
        still_open = [record for record, deal in every.items() if deal.open]
        if because := deals.chosen_by_hand(facts, every):
            yield say.miss(because, value=str(contact))
        elif len(still_open) == 1:
            (deal,) = still_open
            off = deals.taken_off(facts, every).get(deal)
            if off is None:
                yield say.link(deal, f"{deal} is the only open deal of {contact}", value=str(contact))
            else:
                because = f"{off.removed_by} has taken <{off.via}> off {deal}, and that stands"
                yield say.miss(because, value=str(contact), secret=off.secret)
        elif still_open:
            yield say.miss(f"{contact} has {len(still_open)} open deals", value=str(contact))
