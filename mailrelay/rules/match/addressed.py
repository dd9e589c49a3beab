"""What one of us sends to a record is filed on that record (O3)."""

from __future__ import annotations

from collections.abc import Iterator

from mailrelay.model.decision import Finding
from mailrelay.rules import say
from mailrelay.rules.facts import Facts
from mailrelay.rules.registry import Progress, Stage, rule


@rule(Stage.MATCH, rank=15, row="O3", miss="its author named no record to send it to")
def addressed(facts: Facts, so_far: Progress) -> Iterator[Finding]:
    """The records that its author sent it to by name, even where others have the same address."""
    for record in facts.addressed:
        yield say.link(record, f"its author sent it to {record}", header="To, Cc, Bcc", value=str(record))
