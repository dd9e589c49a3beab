"""A person outside wrote: every user whom that concerns hears of it at once (I19)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from mailrelay.filing.apply import Judged
from mailrelay.filing.gather import user_of
from mailrelay.ids import UserId
from mailrelay.model.address import Address
from mailrelay.model.decision import Disposition
from mailrelay.model.envelope import OUTGOING_CHANNELS, Arrival
from mailrelay.model.event import EventType
from mailrelay.model.message import Kind, Message, ParticipantRole
from mailrelay.model.notice import Why
from mailrelay.rules.facts import Facts
from mailrelay.store import events, people, records
from mailrelay.store.base import Tx
from mailrelay.store.visibility import Viewer

_TOLD = "for"
"""In an event's data: whom the mail concerns. The event names the user where it is their notice, too."""


def tell(tx: Tx, arrival: Arrival, one: Judged, *, replied_to: str, known: bool, at: datetime) -> None:
    """Tell those whom a filed mail concerns; each hears of it once, however many copies come. Automatic mail and colleagues' tells nobody.

    `replied_to` heard of it already, as the answer to their own mail.
    """
    facts, message = one.facts, one.facts.message
    author = _author(facts)
    if arrival.channel in OUTGOING_CHANNELS or author is None or one.decision.disposition is not Disposition.FILE:
        return
    concerned = _concerned(tx, arrival, one)
    if not concerned and not replied_to:
        return
    users = {*concerned, *((UserId(replied_to),) if replied_to else ())}
    heard = _heard(tx, message, users) if known else frozenset()
    for user in sorted(users - heard):
        data = {_TOLD: user, "why": concerned.get(user, Why.RECIPIENT), "from": str(author)}
        events.append(
            tx,
            org=message.org,
            at=at,
            type=EventType.MESSAGE_RECEIVED,
            queue_id=arrival.id,
            message=message.id,
            user="" if user == replied_to else user,
            data=data,
        )


def _author(facts: Facts) -> Address | None:
    """The person outside who wrote it and sent it; None for a machine, for colleagues, and for what a colleague forwards."""
    message = facts.message
    authors = {one.address.key: one.address for one in message.participants if one.role is ParticipantRole.FROM}
    if message.kind is not Kind.NORMAL or message.automatic or message.part or len(authors) != 1:
        return None
    author = next(iter(authors.values()))
    senders = [author, *([facts.sender] if facts.sender is not None else [])]
    inside = any(one.key in facts.user_keys or one.domain in facts.organisation.domains for one in senders)
    return None if inside else author


def _concerned(tx: Tx, arrival: Arrival, one: Judged) -> Mapping[UserId, Why]:
    facts = one.facts
    found: dict[UserId, Why] = {}
    user = user_of(arrival)
    if user is not None:
        found[user] = Why.DROPBOX
    named = [
        person.address.key
        for person in facts.message.participants
        if person.role in (ParticipantRole.TO, ParticipantRole.CC) and person.address.key in facts.user_keys
    ]
    if named:
        for colleague in people.by_addresses(tx, facts.message.org, sorted(set(named))):
            if colleague.active:
                found.setdefault(colleague.id, Why.RECIPIENT)
    for owner in _owners(tx, one):
        found.setdefault(owner, Why.RECORD)
    return found


def _owners(tx: Tx, one: Judged) -> list[UserId]:
    """Who owns the records that it was filed to; they are known but for those that only its thread led to."""
    facts = one.facts
    linked = {link.record for link in one.decision.links if not link.guess}
    owners = {hit.record: hit.owner for hit in (*facts.hits, *facts.domain_hits)}
    missing = [record for record in linked if record not in owners]
    if missing:
        owners |= {record.ref: record.owner for record in records.get_many(tx, facts.message.org, missing)}
    made = [each.creation.owner for each in one.decision.creations]
    return [UserId(owner) for owner in (*(owners.get(record) for record in sorted(linked)), *made) if owner]


def _heard(tx: Tx, message: Message, users: Collection[UserId]) -> frozenset[UserId]:
    """Those of these users who were told of it already. What was told of a copy that they may not see they did not hear (I16)."""

    def told(user: UserId) -> bool:
        seen = events.of_message(tx, message.org, message.id, viewer=Viewer(org=message.org, user=user))
        return any(one.type is EventType.MESSAGE_RECEIVED and dict(one.data).get(_TOLD) == user for one in seen)

    return frozenset(filter(told, users))
