"""Records by their primary address (I4)."""

from __future__ import annotations

from collections.abc import Iterator

from mailrelay.model.decision import Finding
from mailrelay.model.record import AddressKind
from mailrelay.rules import by_address
from mailrelay.rules.facts import Facts
from mailrelay.rules.registry import Progress, Stage, rule


@rule(Stage.MATCH, rank=30, row="I4", miss="nobody's address in it is the primary address of a record")
def primary(facts: Facts, so_far: Progress) -> Iterator[Finding]:
    """An external's address is the primary address of a record in the first of the user's modules that knows it."""
    yield from by_address.links(facts, so_far, AddressKind.PRIMARY)
