"""Whom a mail is between: the people that rules look at, and the correspondents among them (I4, I22)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from mailrelay.model.decision import DropReason
from mailrelay.model.message import Direction, Participant, ParticipantRole
from mailrelay.rules.facts import Facts
from mailrelay.rules.registry import Progress

_LOOKED_AT = frozenset(
    # I4 names From, To, Cc, Reply-To; Bcc stands in the users' own sent copies. Sender only pressed the button.
    (ParticipantRole.FROM, ParticipantRole.REPLY_TO, ParticipantRole.TO, ParticipantRole.CC, ParticipantRole.BCC)
)
_SENT_TO = frozenset((ParticipantRole.TO, ParticipantRole.CC, ParticipantRole.BCC))


def everyone(facts: Facts) -> tuple[Participant, ...]:
    """All who count, once for each address: in a forward those of the mails inside it, never the forwarder (I22)."""
    if facts.originals:
        return _once(person for original in facts.originals for person in original.people)
    return _once(person for person in facts.message.participants if person.role in _LOOKED_AT)


def externals(facts: Facts, so_far: Progress) -> tuple[Participant, ...]:
    """Those who are looked up among the records: nobody excluded.

    In a forward it is those of the nearest mail inside that names an external at all: a colleague may have forwarded the
    customer's mail before the user did.
    """
    if facts.originals:
        return _once(person for people in _nearest(facts, so_far) for person in people)
    excluded = so_far.excluded
    return tuple(person for person in everyone(facts) if person.address.key not in excluded)


def correspondents(facts: Facts, so_far: Progress) -> tuple[Participant, ...]:
    """Those of the externals whom the mail is with, who may become records (I6).

    Of a forward its original sender, or whom it was sent to when the sender is one of us; of a mail of ours To, Cc and Bcc; of
    a mail to us its author alone, and not the strangers he copied. An address that stands in Reply-To only is nobody's name.
    """
    if facts.originals:
        authors = (_of(people, ParticipantRole.FORWARDED_FROM) or people for people in _nearest(facts, so_far))
        return _once(person for people in authors for person in people)
    excluded = so_far.excluded
    outside = [person for person in facts.message.participants if person.address.key not in excluded]
    if outgoing(facts, so_far):
        return _once(person for person in outside if person.role in _SENT_TO)
    return _once(person for person in outside if person.role is ParticipantRole.FROM)


def outgoing(facts: Facts, so_far: Progress) -> bool:
    """Whether one of us wrote it."""
    if facts.message.direction is Direction.OUT:
        return True
    excluded = so_far.excluded
    authors = [person for person in facts.message.participants if person.role is ParticipantRole.FROM]
    return any(excluded.get(author.address.key) == DropReason.INTERNAL for author in authors)


def _nearest(facts: Facts, so_far: Progress) -> Iterable[tuple[Participant, ...]]:
    """For each chain, the externals of the nearest level that has some."""
    excluded = so_far.excluded
    ordered = sorted(facts.originals, key=lambda original: (original.chain, original.level))
    for _, chain in groupby(ordered, key=lambda original: original.chain):
        levels = (
            tuple(person for person in original.people if person.address.key not in excluded) for original in chain
        )
        yield next((people for people in levels if people), ())


def _of(people: tuple[Participant, ...], role: ParticipantRole) -> tuple[Participant, ...]:
    return tuple(person for person in people if person.role is role)


def _once(people: Iterable[Participant]) -> tuple[Participant, ...]:
    """Each address once, by its first role and with a name if it has one anywhere."""
    found: dict[str, Participant] = {}
    for person in people:
        known = found.setdefault(person.address.key, person)
        if not known.name and person.name:
            found[person.address.key] = Participant(known.role, known.address, person.name)
    return tuple(found.values())
