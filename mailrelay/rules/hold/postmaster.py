"""Mail to postmaster, or to the address for complaints, is anybody's, and waits for a person (I23)."""

from __future__ import annotations

from collections.abc import Iterator

from mailrelay.model.decision import Finding, HoldReason
from mailrelay.model.envelope import Channel
from mailrelay.rules import say
from mailrelay.rules.facts import Facts
from mailrelay.rules.registry import Progress, Stage, rule


@rule(Stage.HOLD, rank=15, row="I23", miss="it was not sent to an address that anybody may write to")
def postmaster(facts: Facts, so_far: Progress) -> Iterator[Finding]:
    """What came to an address without a secret is put on no record unless a person says so.

    That is postmaster, and the address for complaints unless the mail names a delivery of ours there.
    """
    if facts.untied:
        because = "it was sent to the address for complaints, where anybody can write to, and names no delivery of ours"
    elif facts.channel is Channel.ORGANISATION and facts.shared is None:
        because = "it was sent to postmaster, where anybody can write to"
    else:
        return
    if facts.released_by:
        yield say.miss(f"{because}; {facts.released_by} released it", header="RCPT TO")
    else:
        yield say.hold(HoldReason.POSTMASTER, because, header="RCPT TO")
