"""A record for a correspondent whom nobody knows yet (I3, I6)."""

from __future__ import annotations

from collections.abc import Iterator

from mailrelay.model.decision import Creation, Finding
from mailrelay.model.message import Participant
from mailrelay.rules import by_address, say, unknown
from mailrelay.rules.facts import Facts
from mailrelay.rules.registry import Progress, Stage, rule

_MAX_NAME = 200


@rule(Stage.CREATE, rank=10, row="I6", miss="every correspondent is known")
def unknown_correspondent(facts: Facts, so_far: Progress) -> Iterator[Finding]:
    """Each unknown correspondent becomes the user's lead or contact, as the user has it, or as the shared address has it.

    Whom the mail is with: of a mail of ours To and Cc, of a mail to us its author, of a forward its original sender and, when
    one of us forwarded it, whom he sent it to. Known is
    who has a record in a searched module, or whose domain is an account's. Nothing is made of automatic mail, lists and
    no-reply addresses, of what comes back to a return path, nor of a mailing to more than 50 unknown people.
    """
    strangers = unknown.strangers(facts, so_far)
    if not strangers:
        return
    because = unknown.why_nobody(facts, so_far)
    if because:
        yield say.miss(because)
        return
    for person in strangers:
        if because := unknown.why_not(person):
            yield say.miss(because, header=say.header(person), value=str(person.address))
            continue
        creation = Creation(
            module=by_address.settings(facts).unknown,
            address=person.address,
            name=_name(person),
            owner=unknown.owner(facts),
        )
        yield say.create(creation, f"{person.address} is the address of no record", header=say.header(person))


def _name(person: Participant) -> str:
    """The display name; the address where there is none, or where it pretends to be another address (P08)."""
    name = " ".join(person.name.split()).strip("\"' ")
    return name[:_MAX_NAME] if name and "@" not in name else str(person.address)
