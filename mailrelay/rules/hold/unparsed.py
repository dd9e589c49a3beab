"""Bytes that are no mail wait for a person (I23)."""

from __future__ import annotations

from collections.abc import Iterator

from mailrelay.model.decision import Finding, HoldReason
from mailrelay.rules import say
from mailrelay.rules.facts import Facts
from mailrelay.rules.registry import Progress, Stage, rule

_NO_MAIL = "no mail header"


@rule(Stage.HOLD, rank=10, row="I23", miss="it could be read")
def unparsed(facts: Facts, so_far: Progress) -> Iterator[Finding]:
    """What has no mail header could not be read, and is held with all its bytes."""
    if _NO_MAIL in facts.defects:
        yield say.hold(HoldReason.UNPARSED, "it has no mail header, so that nobody can tell whom it is with")
