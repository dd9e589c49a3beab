"""A mail that found no record and makes none waits for a person (I23)."""

from __future__ import annotations

from collections.abc import Iterator

from mailrelay.model.decision import BY_RULE, Finding, HoldReason
from mailrelay.model.envelope import OUTGOING_CHANNELS
from mailrelay.rules import people, say, unknown
from mailrelay.rules.facts import Facts
from mailrelay.rules.registry import Progress, Stage, rule

_SHOWN = 5


@rule(Stage.CREATE, rank=90, row="I23", miss="it has found or made a record")
def no_match(facts: Facts, so_far: Progress) -> Iterator[Finding]:
    """What is on no record is held, with the reason why nothing was made of its correspondents.

    What we sent ourselves, what came back to us, and mail among colleagues that the organisation has filed, is kept without a
    record; so is a mail that a person has taken off its records.
    """
    if so_far.records or so_far.creations:
        return
    outside = people.externals(facts, so_far)
    if facts.came_back or facts.channel in OUTGOING_CHANNELS:
        yield say.miss("it is on no record, which is well for what we sent or what came back")
    elif any(link.by != BY_RULE for link in facts.standing):
        yield say.miss("what a person did with it stands")
    elif not outside and people.everyone(facts) and facts.organisation.settings.file_internal and _colleagues(facts):
        yield say.miss("it is mail among colleagues")
    elif not outside:
        yield say.hold(HoldReason.NO_MATCH, "nobody from outside could be found in it")
    else:
        names = ", ".join(str(person.address) for person in outside[:_SHOWN])
        strangers = unknown.strangers(facts, so_far)
        machines = (why for person in strangers if (why := unknown.why_not(person)))
        why = (strangers and unknown.why_nobody(facts, so_far)) or next(machines, "")
        reason = HoldReason.AUTOMATIC if facts.message.automatic and strangers else HoldReason.NO_MATCH
        none = f"none was made: {why}" if why else "none is to be made"
        yield say.hold(reason, f"{names} is no address of a record, and {none}", value=names)


def _colleagues(facts: Facts) -> bool:
    persons = [person for person in people.everyone(facts) if person.address.domain not in facts.service_domains]
    return len(persons) > 1
