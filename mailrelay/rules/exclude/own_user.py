"""Users of the organisation are colleagues, by whichever of their addresses (I5)."""

from __future__ import annotations

from collections.abc import Iterator

from mailrelay.model.decision import DropReason, Finding
from mailrelay.rules import people, say
from mailrelay.rules.facts import Facts
from mailrelay.rules.registry import Progress, Stage, rule


@rule(Stage.EXCLUDE, rank=10, row="I5", miss="nobody in it is a user of the organisation")
def own_user(facts: Facts, so_far: Progress) -> Iterator[Finding]:
    """An address of a user, primary or alternate, is never matched nor created."""
    for person in people.everyone(facts):
        if person.address.key in facts.user_keys:
            because = f"{person.address} is an address of a user"
            yield say.exclude(person.address, because, header=say.header(person), reason=DropReason.INTERNAL)
