"""Hold mail to a dropbox that its user did not send (I2)."""

from __future__ import annotations

from collections.abc import Iterator

from mailrelay.model.decision import Finding, HoldReason
from mailrelay.model.envelope import Channel
from mailrelay.model.settings import SenderCheck
from mailrelay.rules import say
from mailrelay.rules.facts import Facts
from mailrelay.rules.registry import Progress, Stage, rule


@rule(Stage.HOLD, rank=20, row="I2", miss="the sender is one whom the dropbox permits")
def unpermitted_sender(facts: Facts, so_far: Progress) -> Iterator[Finding]:
    """The header sender must be an address of the dropbox's user, unless its secret alone is enough.

    For a forward, and for each mail attached to one, that is the forwarder.
    """
    if facts.channel is not Channel.DROPBOX:
        yield say.miss("it did not come to a dropbox")
    elif facts.user is None:
        yield say.hold(HoldReason.UNPERMITTED_SENDER, "the user of the dropbox that it came to is gone")
    elif facts.organisation.settings.sender_check is SenderCheck.TOKEN:
        yield say.miss("the dropbox's secret alone is enough in this organisation")
    elif facts.sender is None:
        because = "it does not name exactly one author, so that nobody can tell whether the dropbox's user sent it"
        if facts.released_by:
            yield say.miss(f"{because}; {facts.released_by} released it", header="From")
        else:
            yield say.hold(HoldReason.UNPERMITTED_SENDER, because, header="From")
    elif facts.sender.key not in {address.key for address in facts.user.addresses}:
        because = f"{facts.sender} is not an address of {facts.user.name}, whose dropbox it came to"
        value = str(facts.sender)
        if facts.released_by:
            yield say.miss(f"{because}; {facts.released_by} released it", header="From", value=value)
        else:
            yield say.hold(HoldReason.UNPERMITTED_SENDER, because, header="From", value=value)
