"""Mail to postmaster is anybody's, and waits for a person (I23)."""

from __future__ import annotations

from collections.abc import Iterator

from mailrelay.model.decision import Finding, HoldReason
from mailrelay.model.envelope import Channel
from mailrelay.rules import say
from mailrelay.rules.facts import Facts
from mailrelay.rules.registry import Progress, Stage, rule


@rule(Stage.HOLD, rank=15, row="I23", miss="it was not sent to postmaster")
def postmaster(facts: Facts, so_far: Progress) -> Iterator[Finding]:
    """What came to postmaster, an address without a secret, is put on no record unless a person says so."""
    if facts.channel is not Channel.ORGANISATION:
        return
    because = "it was sent to postmaster, where anybody can write to"
    if facts.released_by:
        yield say.miss(f"{because}; {facts.released_by} released it", header="RCPT TO")
    else:
        yield say.hold(HoldReason.POSTMASTER, because, header="RCPT TO")
