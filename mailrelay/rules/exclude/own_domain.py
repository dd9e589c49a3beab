"""Addresses in the organisation's own domains are colleagues, user or not (I5)."""

from __future__ import annotations

from collections.abc import Iterator

from mailrelay.model.decision import DropReason, Finding
from mailrelay.rules import domains, people, say
from mailrelay.rules.facts import Facts
from mailrelay.rules.registry import Progress, Stage, rule


@rule(Stage.EXCLUDE, rank=20, row="I5", miss="nobody in it is in a domain of the organisation")
def own_domain(facts: Facts, so_far: Progress) -> Iterator[Finding]:
    """An address in a domain of the organisation, or below one, is never matched nor created."""
    for person in people.everyone(facts):
        own = domains.covering(person.address.domain, facts.organisation.domains)
        if own:
            because = f"{own} is a domain of the organisation"
            yield say.exclude(person.address, because, header=say.header(person), reason=DropReason.INTERNAL)
