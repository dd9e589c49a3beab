"""What is sent to the signed address of a record is filed on that record (I21)."""

from __future__ import annotations

from collections.abc import Iterator

from mailrelay.model.decision import Finding
from mailrelay.rules import say
from mailrelay.rules.facts import Facts
from mailrelay.rules.registry import Progress, Stage, rule


@rule(Stage.MATCH, rank=5, row="I21", miss="it did not come to the address of a record")
def record_address(facts: Facts, so_far: Progress) -> Iterator[Finding]:
    """The record whose signed address it came to, whatever else matches and whoever wrote it.

    The address is the permission: nothing is asked of the sender.
    """
    if facts.filing is not None and facts.filing_record is not None:
        yield say.link(
            facts.filing_record,
            f"it came to address {facts.filing.number} of {facts.filing_record}",
            header="RCPT TO",
            value=f"record address {facts.filing.number}",
        )
