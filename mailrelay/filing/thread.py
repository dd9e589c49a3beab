"""Which stored messages a mail answers, and on what records they are (I4, I7, I12)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from mailrelay.ids import MessageId, OrgId
from mailrelay.model.decision import Link
from mailrelay.model.message import Message, ParticipantRole
from mailrelay.model.record import RecordRef
from mailrelay.rules import domains
from mailrelay.rules.facts import EarlierLink
from mailrelay.store import deliveries, links, messages
from mailrelay.store.base import Tx

WouldBe = Mapping[MessageId, Mapping[RecordRef, bool]]
"""Links that a dry run has decided on and not made, each with whether it is a guess: they stand in for the stored ones."""


def answered(tx: Tx, org: OrgId, parents: Sequence[str], *, by: Collection[str]) -> dict[str, tuple[MessageId, ...]]:
    """The stored messages that these Message-IDs name: as they were sent, else as a relay named them on their way (I12).

    `by` are the keys of who names them. A relay's name counts only where it is known: with the recipient and in his domain. A server
    that takes our mail may call it what it likes, and must not draw other people's threads to itself.
    """
    if not parents:
        return {}
    stored = messages.by_message_ids(tx, org, parents)
    unknown = [parent for parent in parents if parent not in stored]
    if not unknown:
        return stored
    relayed = deliveries.relayed_as(tx, org, names(unknown))
    for parent in unknown:
        found = {*relayed.get(parent, ()), *relayed.get(_local(parent), ())}
        if sent := {one.message for one in found if domains.is_one_of(one.address, by)}:
            stored[parent] = tuple(sorted(sent))
    return stored


def names(message_ids: Sequence[str]) -> frozenset[str]:
    """What a relay may have called the mails with these Message-IDs."""
    return frozenset(name for one in message_ids for name in (one, _local(one)))


def _local(message_id: str) -> str:
    """What stands before the @: some relays put their own domain behind the id that their 250 gave."""
    return message_id.partition("@")[0]


def earlier(tx: Tx, message: Message, *, would_be: WouldBe) -> tuple[EarlierLink, ...]:
    """The links of the stored messages that this one answers, nearest first; which of them are guesses is said (I4, I7).

    What a person took one of them off is said as well, where none as near is on it; from further ones it is not followed.
    """
    authors = {person.address.key for person in message.participants if person.role is ParticipantRole.FROM}
    stored = answered(tx, message.org, message.parents, by=authors)
    ids = {id_ for found in stored.values() for id_ in found if id_ != message.id}
    if not ids:
        return ()
    known = _Known(links.of_thread(tx, message.org, ids), would_be)
    every: list[EarlierLink] = []
    on: set[RecordRef] = set()
    off: set[RecordRef] = set()
    distance = 0
    for parent in message.parents:
        named = [id_ for id_ in stored.get(parent, ()) if id_ in ids]
        standing = [one for one in known.standing(named, via=parent, distance=distance) if one.record not in off]
        on.update(one.record for one in standing)
        removed = [one for one in known.removed(named, via=parent, distance=distance) if one.record not in on | off]
        off.update(one.record for one in removed)
        every += sorted((*standing, *removed), key=lambda one: one.record)
        distance += 1 if standing or removed else 0
    return tuple(every)


class _Known:
    """What is known of the links of several messages."""

    def __init__(self, found: Collection[Link], would_be: WouldBe) -> None:
        self._would_be = would_be
        self._standing: dict[MessageId, dict[RecordRef, bool]] = {}
        self._secrets = {(one.message, one.record): one.secret for one in found}
        self._removed = [one for one in found if one.removed_at is not None]
        for one in found:
            if one.removed_at is None:
                self._standing.setdefault(one.message, {})[one.record] = one.guess

    def standing(self, named: Collection[MessageId], *, via: str, distance: int) -> list[EarlierLink]:
        """The records that these are on: surely if one is surely, a secret if all are."""
        found: dict[RecordRef, EarlierLink] = {}
        for id_ in named:
            on: Mapping[RecordRef, bool] = self._would_be.get(id_, self._standing.get(id_, {}))
            for record, guess in on.items():
                before = found.get(record)
                secret = self._secrets.get((id_, record), "")
                found[record] = EarlierLink(
                    record=record,
                    via=via,
                    distance=distance,
                    guess=guess and (before is None or before.guess),
                    secret=secret if before is None or before.secret else "",
                )
        return list(found.values())

    def removed(self, named: Collection[MessageId], *, via: str, distance: int) -> list[EarlierLink]:
        """The records that a person took one of these off."""
        found = {one.record: one for one in self._removed if one.message in named}
        return [as_removed(one, via=via, distance=distance) for one in found.values()]


def as_removed(found: Link, *, via: str, distance: int) -> EarlierLink:
    """A link that a person took away, as one that is not followed."""
    return EarlierLink(
        record=found.record, via=via, distance=distance, secret=found.secret, removed_by=found.removed_by or ""
    )
