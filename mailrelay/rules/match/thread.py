"""A reply follows its thread to the same records, before anything else is looked for (I4)."""

from __future__ import annotations

from collections.abc import Iterator

from mailrelay.model.decision import Finding
from mailrelay.rules import say
from mailrelay.rules.facts import Facts
from mailrelay.rules.registry import Progress, Stage, rule


@rule(Stage.MATCH, rank=20, row="I4", miss="it answers no message that is on a record")
def thread(facts: Facts, so_far: Progress) -> Iterator[Finding]:
    """The links of the nearest message that In-Reply-To or References names and that has any are followed, guesses not.

    What a person linked there is followed as well.
    """
    nearest = min((earlier.distance for earlier in facts.thread), default=0)
    for earlier in facts.thread:
        if earlier.distance == nearest:
            yield say.link(
                earlier.record,
                f"it answers <{earlier.via}>, which is on {earlier.record}",
                header="In-Reply-To, References",
                value=earlier.via,
                secret=earlier.secret,
            )
