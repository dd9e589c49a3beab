"""What comes back to our own return path follows what was sent (I4, I10)."""

from __future__ import annotations

from collections.abc import Iterator

from mailrelay.model.decision import Finding
from mailrelay.rules import say
from mailrelay.rules.facts import Facts
from mailrelay.rules.registry import Progress, Stage, rule


@rule(Stage.MATCH, rank=10, row="I4", miss="it is about no delivery of ours")
def return_path(facts: Facts, so_far: Progress) -> Iterator[Finding]:
    """A mail to the signed return path of a delivery, or with our token in it, goes to the records of the message that was delivered."""
    for earlier in facts.returned:
        yield say.link(
            earlier.record,
            f"it is about delivery {earlier.via}, whose message is on {earlier.record}",
            header="return path",
            value=earlier.via,
            secret=earlier.secret,
        )
