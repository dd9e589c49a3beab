"""Hold mail to a dropbox that neither SPF nor DKIM vouches for, where the organisation asks for that (I2)."""

from __future__ import annotations

from collections.abc import Iterator

from mailrelay.model.decision import Finding, HoldReason
from mailrelay.model.envelope import Channel
from mailrelay.model.message import AuthVerdicts
from mailrelay.model.settings import SenderCheck
from mailrelay.rules import say
from mailrelay.rules.facts import Facts
from mailrelay.rules.registry import Progress, Stage, rule


@rule(Stage.HOLD, rank=30, row="I2", miss="SPF or DKIM passed in alignment with the sender")
def unauthenticated(facts: Facts, so_far: Progress) -> Iterator[Finding]:
    """SPF or DKIM must pass for the sender's own domain (aligned, relaxed), where the organisation's check is that strict."""
    if (
        facts.channel is not Channel.DROPBOX
        or facts.organisation.settings.sender_check is not SenderCheck.AUTHENTICATED
    ):
        yield say.miss("this is not asked for")
    elif facts.auth is None or not facts.auth.aligned:
        because = f"neither SPF nor DKIM vouches for {facts.sender}: {_verdicts(facts.auth)}"
        if facts.released_by:
            yield say.miss(f"{because}; {facts.released_by} released it")
        else:
            yield say.hold(HoldReason.UNAUTHENTICATED, because, header="From", value=str(facts.sender or ""))


def _verdicts(auth: AuthVerdicts | None) -> str:
    if auth is None:
        return "nothing was verified"
    signatures = [f"DKIM of {found.domain or 'no domain'} {found.verdict}" for found in auth.dkim] or [
        "no DKIM signature"
    ]
    return ", ".join([f"SPF of {auth.spf_domain or 'no domain'} {auth.spf}", *signatures])
