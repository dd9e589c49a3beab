"""Domains on the organisation's exclude list (I5)."""

from __future__ import annotations

from collections.abc import Iterator

from mailrelay.model.decision import DropReason, Finding
from mailrelay.model.organisation import ExclusionKind
from mailrelay.rules import domains, people, say
from mailrelay.rules.facts import Facts
from mailrelay.rules.registry import Progress, Stage, rule


@rule(Stage.EXCLUDE, rank=50, row="I5", miss="no domain in it is on the exclude list")
def excluded_domain(facts: Facts, so_far: Progress) -> Iterator[Finding]:
    """An address in a domain on the exclude list, or below one, is never matched nor created."""
    listed = [entry.value for entry in facts.exclusions if entry.kind is ExclusionKind.DOMAIN]
    for person in people.everyone(facts):
        entry = domains.covering(person.address.domain, listed)
        if entry:
            because = f"the domain {entry} is on the exclude list"
            yield say.exclude(person.address, because, header=say.header(person), reason=DropReason.EXCLUDED)
