"""A record for a correspondent whom nobody knows yet (I3, I6)."""

from __future__ import annotations

from collections.abc import Iterator

from mailrelay.mail.automatic import is_machine
from mailrelay.model.decision import Creation, Finding
from mailrelay.model.envelope import Channel
from mailrelay.model.message import Participant
from mailrelay.model.settings import Unknown
from mailrelay.rules import by_address, say, unknown
from mailrelay.rules.facts import Facts
from mailrelay.rules.registry import Progress, Stage, rule

_MAX_NAME = 200
MOST = 50
"""A mail to more unknown people than this is a mailing, and makes none of them a record."""


@rule(Stage.CREATE, rank=10, row="I6", miss="every correspondent is known")
def unknown_correspondent(facts: Facts, so_far: Progress) -> Iterator[Finding]:
    """Each unknown correspondent becomes the user's lead or contact, as the user has it.

    Whom the mail is with: of a mail of ours To and Cc, of a mail to us its author, of a forward its original sender and, when
    one of us forwarded it, whom he sent it to. Known is
    who has a record in a searched module, or whose domain is an account's. Nothing is made of automatic mail, lists and
    no-reply addresses, of what comes back to a return path, nor of a mailing to more than 50 unknown people.
    """
    strangers = unknown.strangers(facts, so_far)
    if not strangers:
        return
    because = _never(facts) or _mailing(len(strangers))
    if because:
        yield say.miss(because)
        return
    assert facts.user is not None  # noqa: S101 (_never has said so)
    for person in strangers:
        if is_machine(person.address.local):
            because = f"{person.address} is an address of a machine"
            yield say.miss(because, header=say.header(person), value=str(person.address))
            continue
        creation = Creation(
            module=by_address.settings(facts).unknown,
            address=person.address,
            name=_name(person),
            owner=facts.user.id,
        )
        yield say.create(creation, f"{person.address} is the address of no record", header=say.header(person))


def _never(facts: Facts) -> str:
    """Why nothing is made of anybody in this mail, or ""."""
    if facts.channel is Channel.BOUNCE:
        return "it came back to a return path"
    if facts.user is None:
        return "there is no user who would own a new record"
    if by_address.settings(facts).unknown is Unknown.NOTHING:
        return f"{facts.user.name} has nothing made of unknown correspondents"
    if facts.message.automatic:
        return f"it is automatic mail: {facts.message.automatic}"
    return ""


def _mailing(number: int) -> str:
    return f"it is with {number} unknown people at once" if number > MOST else ""


def _name(person: Participant) -> str:
    """The display name; the address where there is none, or where it pretends to be another address (P08)."""
    name = " ".join(person.name.split()).strip("\"' ")
    return name[:_MAX_NAME] if name and "@" not in name else str(person.address)
