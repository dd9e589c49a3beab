"""A mail with a contact shows at the contact's only open deal (I7)."""

from __future__ import annotations

from collections.abc import Iterator

from mailrelay.model.decision import Finding
from mailrelay.rules import say
from mailrelay.rules.facts import Facts
from mailrelay.rules.registry import Progress, Stage, rule


@rule(Stage.RELATE, rank=20, row="I7", miss="no contact in it has an open deal")
def open_deal(facts: Facts, so_far: Progress) -> Iterator[Finding]:
    """The one deal of a contact that is not won, lost or closed; with several open ones none is chosen."""
    for contact in so_far.records:
        if contact.module != "contact":
            continue
        deals = {
            tied.record: tied
            for tied in facts.related
            if tied.of == contact and tied.record.module == "deal" and tied.open
        }
        if len(deals) == 1:
            (deal,) = deals
            yield say.link(deal, f"{deal} is the only open deal of {contact}", value=str(contact))
        elif deals:
            yield say.miss(f"{contact} has {len(deals)} open deals", value=str(contact))
