"""Mail to the address of a record that holds no more waits for a person (I21)."""

from __future__ import annotations

from collections.abc import Iterator

from mailrelay.model.decision import Finding, HoldReason
from mailrelay.model.envelope import Channel
from mailrelay.rules import say
from mailrelay.rules.facts import Facts
from mailrelay.rules.registry import Progress, Stage, rule


@rule(Stage.HOLD, rank=17, row="I21", miss="it did not come to the address of a record that is over")
def ended_address(facts: Facts, so_far: Progress) -> Iterator[Finding]:
    """The address of a record that was revoked before the mail came, or whose record is gone.

    The door refuses those that it has heard of; this is for what came in between.
    """
    if facts.channel is not Channel.RECORD:
        return
    filing = facts.filing
    if filing is None:
        because = "it came to the address of a record that is not known here, as after a restore of older data"
    elif not filing.holds(facts.message.received_at):
        because = f"it came to an address of {filing.record} that was no longer valid"
    elif facts.filing_record is None:
        because = f"it came to the address of {filing.record}, which is there no more"
    else:
        return
    if facts.released_by:
        yield say.miss(f"{because}; {facts.released_by} released it", header="RCPT TO")
    else:
        yield say.hold(HoldReason.ADDRESS_ENDED, because, header="RCPT TO")
