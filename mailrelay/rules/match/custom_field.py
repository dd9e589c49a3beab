"""Records by an address in a custom field, where the field's preference is on (I4)."""

from __future__ import annotations

from collections.abc import Iterator

from mailrelay.model.decision import Finding
from mailrelay.model.record import AddressKind
from mailrelay.rules import by_address, people, say
from mailrelay.rules.facts import Facts
from mailrelay.rules.registry import Progress, Stage, rule


@rule(Stage.MATCH, rank=50, row="I4", miss="nobody's address in it is in a custom field of a record")
def custom_field(facts: Facts, so_far: Progress) -> Iterator[Finding]:
    """An external's address is in a custom field of a record in the first of the user's modules that knows it."""
    yield from by_address.links(facts, so_far, AddressKind.CUSTOM)
    externals = {person.address.key: person for person in people.externals(facts, so_far)}
    for hit in facts.hits:
        if not hit.matched and hit.key in externals:
            person = externals[hit.key]
            because = f"{person.address} is {hit.field} of {hit.record}, and that field is not matched"
            yield say.miss(because, header=say.header(person), value=str(person.address))
