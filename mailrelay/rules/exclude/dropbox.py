"""Dropboxes and return paths are addresses of this installation, not people (I5)."""

from __future__ import annotations

from collections.abc import Iterator

from mailrelay.model.decision import DropReason, Finding
from mailrelay.rules import people, say
from mailrelay.rules.facts import Facts
from mailrelay.rules.registry import Progress, Stage, rule


@rule(Stage.EXCLUDE, rank=30, row="I5", miss="no dropbox or return path stands in it")
def dropbox(facts: Facts, so_far: Progress) -> Iterator[Finding]:
    """An address in the domains of dropboxes and return paths is never matched nor created."""
    for person in people.everyone(facts):
        if person.address.domain in facts.service_domains:
            because = f"{person.address.domain} is a domain of dropboxes or return paths"
            yield say.exclude(person.address, because, header=say.header(person), reason=DropReason.INTERNAL)
