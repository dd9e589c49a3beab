"""Addresses on the organisation's exclude list (I5)."""

from __future__ import annotations

from collections.abc import Iterator

from mailrelay.model.decision import DropReason, Finding
from mailrelay.model.organisation import ExclusionKind
from mailrelay.rules import people, say
from mailrelay.rules.facts import Facts
from mailrelay.rules.registry import Progress, Stage, rule


@rule(Stage.EXCLUDE, rank=40, row="I5", miss="no address in it is on the exclude list")
def excluded_address(facts: Facts, so_far: Progress) -> Iterator[Finding]:
    """An address on the exclude list is never matched nor created."""
    listed = {entry.value for entry in facts.exclusions if entry.kind is ExclusionKind.ADDRESS}
    for person in people.everyone(facts):
        if person.address.key in listed:
            because = f"{person.address} is on the exclude list"
            yield say.exclude(person.address, because, header=say.header(person), reason=DropReason.EXCLUDED)
