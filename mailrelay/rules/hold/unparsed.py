"""Bytes that are no mail wait for a person (I23)."""

from __future__ import annotations

from collections.abc import Iterator

from mailrelay.model.decision import Finding, HoldReason
from mailrelay.model.envelope import Channel
from mailrelay.rules import say
from mailrelay.rules.facts import Facts
from mailrelay.rules.registry import Progress, Stage, rule


@rule(Stage.HOLD, rank=10, row="I23", miss="it could be read")
def unparsed(facts: Facts, so_far: Progress) -> Iterator[Finding]:
    """What names nobody, in no header field, could not be read as a mail; it is held with all its bytes.

    Not so what came back to a return path, or to the address of a record: that says what it belongs to.
    """
    if not facts.message.participants and facts.channel not in (Channel.BOUNCE, Channel.RECORD):
        odd = f" ({'; '.join(facts.defects[:3])})" if facts.defects else ""
        yield say.hold(HoldReason.UNPARSED, f"it names nobody in From, To or Cc{odd}")
