"""Mail among colleagues, or with nobody but excluded people, is not filed (I5)."""

from __future__ import annotations

from collections.abc import Iterator

from mailrelay.model.decision import DropReason, Finding
from mailrelay.model.envelope import Channel
from mailrelay.rules import people, say
from mailrelay.rules.facts import Facts
from mailrelay.rules.registry import Progress, Stage, rule


@rule(Stage.EXCLUDE, rank=90, row="I5", miss="somebody from outside is in it")
def internal_only(facts: Facts, so_far: Progress) -> Iterator[Finding]:
    """Mail whose people are all excluded is dropped; mail among colleagues is filed where the organisation says so.

    It takes two colleagues. A mail that names only its author and a dropbox is more likely a forward that we could not read:
    that one goes on, and is held for a person when nothing matches. What came back to a return path, and what was sent to the
    address of a record or by its author to a record, is never dropped.
    """
    excluded = so_far.excluded
    persons = [person for person in people.everyone(facts) if person.address.domain not in facts.service_domains]
    reasons = {excluded.get(person.address.key, "") for person in persons}
    meant = facts.channel in (Channel.BOUNCE, Channel.RECORD) or facts.addressed
    if not persons or "" in reasons or meant:
        return
    if DropReason.EXCLUDED in reasons:
        yield say.drop(DropReason.EXCLUDED, "everybody in it is a colleague or on the exclude list")
    elif len(persons) < 2:
        yield say.miss("it names nobody but its author")
    elif facts.organisation.settings.file_internal:
        yield say.miss("it is mail among colleagues, which the organisation has filed")
    else:
        yield say.drop(DropReason.INTERNAL, "it is mail among colleagues")
