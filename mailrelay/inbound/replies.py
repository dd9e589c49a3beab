"""A person's answer marks the delivery that it answers (I12)."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from mailrelay.filing import thread
from mailrelay.filing.reading import Case
from mailrelay.ids import DeliveryId, MessageId, OrgId
from mailrelay.inbound.tie import NOT_VOUCHED_FOR, Signs
from mailrelay.model.address import Address
from mailrelay.model.delivery import Delivery
from mailrelay.model.envelope import OUTGOING_CHANNELS, Arrival
from mailrelay.model.event import EventType
from mailrelay.model.message import Kind, Message, ParticipantRole
from mailrelay.outbound import consequences
from mailrelay.rules import domains
from mailrelay.rules.facts import Facts
from mailrelay.store import deliveries, events
from mailrelay.store.base import Tx

MAX_TEXT = 4_000
"""Characters of the answer that its event carries."""


def mark(
    tx: Tx, arrival: Arrival, case: Case, facts: Facts, signs: Signs, *, held: str, known: bool, at: datetime
) -> str:
    """Mark what a person's mail answers. `held`: why it waits for a person, or ""; `known`: a copy of it was filed before.

    By its return path; else by In-Reply-To and References, nearest first, the Message-IDs of relays included: the delivery to its
    author, or else the only one. A user's own answers and copies mark nothing, nor does a mail whose sender nobody vouches for.

    Returns the user who hears of it, the author of what it answers; "" for nobody.
    """
    message = facts.message
    if arrival.channel in OUTGOING_CHANNELS or known or held in NOT_VOUCHED_FOR or not _is_by_a_person(case, message):
        return ""
    author, is_forwarded = _author(case)
    if author is None or author.key in facts.user_keys or author.domain in facts.organisation.domains:
        return ""
    delivery, sent = _answered(tx, message, author, signs.return_path, is_forwarded=is_forwarded)
    text = message.reply[:MAX_TEXT]
    if delivery is not None:
        consequences.replied(tx, delivery, message=message.id, text=text, by=arrival.id, at=at)
        return delivery.author or ""
    if sent is not None:
        # Several got it, none of them the author: all that can be said is that somebody answered.
        events.append(
            tx,
            org=message.org,
            at=at,
            type=EventType.MESSAGE_REPLIED,
            queue_id=arrival.id,
            message=sent,
            data={"reply": message.id, "arrival": arrival.id, "text": text},
        )
    return ""


def _is_by_a_person(case: Case, message: Message) -> bool:
    back = case.came_back
    if back is not None and back.answers_invitation:
        return True
    return message.kind is Kind.NORMAL and not message.automatic


def _author(case: Case) -> tuple[Address | None, bool]:
    """Who wrote it; and whether that is told by a colleague who forwarded it inline (I22)."""
    inline = [
        person for original in case.originals if not original.chain and not original.level for person in original.people
    ]
    for person in inline:
        if person.role is ParticipantRole.FORWARDED_FROM:
            return person.address, True
    authors = {one.address.key: one.address for one in case.message.participants if one.role is ParticipantRole.FROM}
    return (next(iter(authors.values())), False) if len(authors) == 1 else (None, False)


def _answered(
    tx: Tx, message: Message, author: Address, return_path: DeliveryId | None, *, is_forwarded: bool
) -> tuple[Delivery | None, MessageId | None]:
    """The delivery that a mail answers; or only the message, where that was sent to several."""
    org = message.org
    if return_path is not None:
        own = deliveries.by_id(tx, return_path)
        if own is not None and own.org == org:
            return own, own.message
    stored = thread.answered(tx, org, message.parents, by=[author.key])
    every = [id_ for parent in message.parents for id_ in stored.get(parent, ()) if id_ != message.id]
    to_author = {one.message: one for one in deliveries.to_keys(tx, org, every, [author.key])}
    for id_ in every:
        if id_ in to_author:
            return to_author[id_], id_
    if is_forwarded:
        return None, None
    # A relay names each delivery otherwise, so that its name says which, whoever of the domain writes.
    relayed = [
        one
        for one in deliveries.by_relay_ids(tx, org, thread.names(message.parents))
        if one.message in every and domains.is_one_of(one.address, [author.key])
    ]
    if len(relayed) == 1:
        return relayed[0], relayed[0].message
    return _sent_to_others(tx, org, every)


def _sent_to_others(tx: Tx, org: OrgId, every: Collection[MessageId]) -> tuple[Delivery | None, MessageId | None]:
    """The only delivery of the nearest message that has any; somebody answers from another address than was written to."""
    for id_ in every:
        if found := deliveries.first_two(tx, org, id_):
            return (found[0] if len(found) == 1 else None), id_
    return None, None
