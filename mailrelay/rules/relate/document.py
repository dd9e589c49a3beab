"""A mail with a quote, an invoice or an order shows at whom it was made out to (I7)."""

from __future__ import annotations

from collections.abc import Iterator

from mailrelay.model.decision import Finding
from mailrelay.rules import documents, say
from mailrelay.rules.facts import Facts
from mailrelay.rules.registry import Progress, Stage, rule


@rule(Stage.RELATE, rank=5, row="I7", miss="no quote, invoice or order is in it")
def document(facts: Facts, so_far: Progress) -> Iterator[Finding]:
    """A quote, invoice or sales order resolves to its contact; a purchase order to its contact, or without one to its vendor."""
    for record in so_far.records:
        if record.module not in documents.PARTIES:
            continue
        tied = [one for one in facts.related if one.of == record]
        parties = documents.parties(record.module, [(one.role, one.record) for one in tied])
        for party in parties:
            yield say.link(party, f"{party} is the {party.module} of {record}", value=str(record))
        if not parties:
            yield say.miss(f"{record} has no {' and no '.join(documents.PARTIES[record.module])}", value=str(record))
