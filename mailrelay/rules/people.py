"""Whom a mail is between: the people that rules look at, and the correspondents among them (I4, I22)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import groupby

from mailrelay.model.message import Direction, Participant, ParticipantRole
from mailrelay.rules import domains
from mailrelay.rules.facts import Facts
from mailrelay.rules.registry import Progress

_LOOKED_AT = frozenset(
    # I4 names From, To, Cc, Reply-To; Bcc stands in the users' own sent copies. Sender only pressed the button.
    (ParticipantRole.FROM, ParticipantRole.REPLY_TO, ParticipantRole.TO, ParticipantRole.CC, ParticipantRole.BCC)
)
_SENT_TO = frozenset((ParticipantRole.TO, ParticipantRole.CC, ParticipantRole.BCC))
_AUTHOR = frozenset((ParticipantRole.FROM,))
_FORWARDED = frozenset((ParticipantRole.FORWARDED_FROM,))


def everyone(facts: Facts) -> tuple[Participant, ...]:
    """All who count, once for each address.

    In a forward they are those of the mails inside it and those whom it was sent to, but never the forwarder, nor where he
    wants answers to go (I22).
    """
    if facts.originals:
        inside = (person for original in facts.originals for person in original.people)
        return _once((*inside, *_of(facts.message.participants, _SENT_TO)))
    return _once(_of(facts.message.participants, _LOOKED_AT))


def externals(facts: Facts, so_far: Progress) -> tuple[Participant, ...]:
    """Those who are looked up among the records: nobody excluded.

    Inside a forward it is those of the nearest mail that names an external at all: a colleague may have forwarded the
    customer's mail before the user did.
    """
    excluded = so_far.excluded
    if facts.originals:
        inside = (person for people in _nearest(facts, so_far) for person in people)
        sent_to = (one for one in _of(facts.message.participants, _SENT_TO) if one.address.key not in excluded)
        return _once((*inside, *sent_to))
    return tuple(person for person in everyone(facts) if person.address.key not in excluded)


def correspondents(facts: Facts, so_far: Progress) -> tuple[Participant, ...]:
    """Those of the externals whom the mail is with, who may become records (I6).

    Of a mail of ours To, Cc and Bcc; of a mail to us its author alone, and not the strangers he copied. Of a forward its
    original sender, or whom that mail was sent to when the sender is one of us; and, when one of us forwarded it, whom he sent
    it to. An address that stands in Reply-To only is nobody's name.
    """
    excluded = so_far.excluded
    outside = [person for person in facts.message.participants if person.address.key not in excluded]
    sent_to = _of(outside, _SENT_TO) if outgoing(facts) else ()
    if facts.originals:
        authors = (_of(people, _FORWARDED) or people for people in _nearest(facts, so_far))
        return _once((*(person for people in authors for person in people), *sent_to))
    return _once(sent_to if outgoing(facts) else _of(outside, _AUTHOR))


def outgoing(facts: Facts) -> bool:
    """Whether one of us wrote it, or forwarded it."""
    if facts.message.direction is Direction.OUT:
        return True
    return any(
        author.address.key in facts.user_keys or domains.covering(author.address.domain, facts.organisation.domains)
        for author in _of(facts.message.participants, _AUTHOR)
    )


def _nearest(facts: Facts, so_far: Progress) -> Iterable[tuple[Participant, ...]]:
    """For each chain, the externals of the nearest level that has some."""
    excluded = so_far.excluded
    ordered = sorted(facts.originals, key=lambda original: (original.chain, original.level))
    for _, chain in groupby(ordered, key=lambda original: original.chain):
        levels = (
            tuple(person for person in original.people if person.address.key not in excluded) for original in chain
        )
        yield next((people for people in levels if people), ())


def _of(people: Iterable[Participant], roles: Collection[ParticipantRole]) -> tuple[Participant, ...]:
    return tuple(person for person in people if person.role in roles)


def _once(people: Iterable[Participant]) -> tuple[Participant, ...]:
    """Each address once, by its first role and with a name if it has one anywhere."""
    found: dict[str, Participant] = {}
    for person in people:
        known = found.setdefault(person.address.key, person)
        if not known.name and person.name:
            found[person.address.key] = Participant(known.role, known.address, person.name)
    return tuple(found.values())
