"""What one of us sends to a record is filed on that record (O3)."""

from __future__ import annotations

from collections.abc import Iterator

from mailrelay.model.decision import Finding
from mailrelay.model.message import ParticipantRole
from mailrelay.model.record import RecordRef
from mailrelay.rules import say
from mailrelay.rules.facts import Facts
from mailrelay.rules.registry import Progress, Stage, rule

_CLEAR = (ParticipantRole.TO, ParticipantRole.CC)


@rule(Stage.MATCH, rank=15, row="O3", miss="its author named no record to send it to")
def addressed(facts: Facts, so_far: Progress) -> Iterator[Finding]:
    """The records that its author sent it to by name, even where others have the same address."""
    for record in facts.addressed:
        yield say.link(record, f"its author sent it to {record}", header=_field(facts, record), value=str(record))


def _field(facts: Facts, record: RecordRef) -> str:
    """Where the record's address stands: in the clear, if anywhere there. An address that it has lost since may be a secret."""
    keys = {hit.key for hit in facts.hits if hit.record == record}
    found = [one for one in facts.message.participants if one.address.key in keys]
    clear = (one for one in found if one.role in _CLEAR)
    return next((say.header(one) for one in clear), say.BCC)
