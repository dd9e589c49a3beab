"""A mail with a contact shows at the contact's account (I7)."""

from __future__ import annotations

from collections.abc import Iterator

from mailrelay.model.decision import Finding
from mailrelay.rules import say
from mailrelay.rules.facts import Facts
from mailrelay.rules.registry import Progress, Stage, rule


@rule(Stage.RELATE, rank=10, row="I7", miss="no contact in it has an account")
def account(facts: Facts, so_far: Progress) -> Iterator[Finding]:
    """The account that a contact of the mail is linked to in the CRM."""
    for tied in facts.related:
        if tied.record.module == "account" and tied.of.module == "contact" and tied.of in so_far.records:
            yield say.link(tied.record, f"{tied.record} is the {tied.role} of {tied.of}", value=str(tied.of))
