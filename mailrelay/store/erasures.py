"""Erasing a person, by the key of their address, in pieces that may each be done again (T13).

What was recorded of them goes: opens and clicks, consents, absences, what the journal tells of these. A suppression stays, under a hash. Mail
itself, and what servers answered to it, is not of this: see `Staying`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import unquote

from sqlalchemy import delete, exists, func, or_, select, update

from mailrelay.ids import DeliveryId, OrgId
from mailrelay.model.absence import Instead
from mailrelay.model.event import EventType
from mailrelay.model.suppression import PERSON
from mailrelay.store import consents, erased, events, hits, mail_facts, rows, suppressions, unsubscriptions
from mailrelay.store.base import Tx
from mailrelay.store.tables import (
    absence,
    aggregate_hit,
    answer,
    delivery,
    event,
    given_answer,
    participant,
    record_address,
    successor,
    webhook,
    webhook_call,
)

_DELIVERIES: Final = 100
_EVENTS: Final = 10_000
"""So many at once, so that mail does not wait for long."""
_OF_HITS: Final = (EventType.DELIVERY_OPENED, EventType.DELIVERY_CLICKED, EventType.DELIVERY_JUDGED)
_OF_ADDRESSES: Final = (
    EventType.ADDRESS_SUPPRESSED,
    EventType.SUPPRESSION_LIFTED,
    EventType.ADDRESS_AWAY,
    EventType.ADDRESS_GONE,
    EventType.ADDRESS_UNSUBSCRIBED,
    EventType.ADDRESS_RESUBSCRIBED,
    EventType.CONSENT_CHANGED,
)
_TELLING_NOTHING: Final = frozenset({"reason", "list", "given", "way", "since", "until"})
"""What stays in the data of an event about an address that is a hash now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """What the first piece did: the hash that stands for the address, and how much was kept under it or went."""

    key: str
    suppressions: int
    consents: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One piece of a person's deliveries: the last of them, "" when there are no more, and how much went."""

    after: str
    hits: int
    events: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Staying:
    """What stays, as it belongs to the mail itself and to the records of the CRM."""

    deliveries: int
    messages: int
    records: int


def begin(tx: Tx, org: OrgId, key: str, *, at: datetime, by: str) -> Begun:
    """From now on nothing is recorded of mail that they have got, and all that is kept by their address goes, or is hashed."""
    name = erased.note(tx, org, key, at=at, by=by)
    gone = consents.forget(tx, org, key)
    kept = suppressions.erase(tx, org, key)
    unsubscriptions.erase(tx, org, key)
    _forget_absences(tx, org, key)
    tx.execute(delete(answer).where(answer.c.org == org, answer.c.key == key))
    _hide_in_answers(tx, org, key, name)
    return Begun(key=name, suppressions=kept, consents=gone)


def forget_deliveries(tx: Tx, org: OrgId, key: str, *, after: str) -> Piece:
    """What was done with some of the mail that they got: hits, figures, facts, and what the journal tells of it."""
    theirs = (delivery.c.org == org, delivery.c.recipient_key == key)
    found = tx.execute(
        select(delivery.c.id, delivery.c.message)
        .where(*theirs, delivery.c.id > after)
        .order_by(delivery.c.id)
        .limit(_DELIVERIES)
        .with_for_update()  # hits of theirs that are being taken at this moment come before, or not at all
    ).all()
    if not found:
        return Piece(after="", hits=0, events=0)
    ids, messages = [DeliveryId(row.id) for row in found], sorted({row.message for row in found})
    gone = hits.forget(tx, ids)
    # A count of mail that nobody else got is a count of theirs.
    others = exists().where(delivery.c.message == aggregate_hit.c.message, delivery.c.recipient_key != key)
    tx.execute(delete(aggregate_hit).where(aggregate_hit.c.message.in_(messages), ~others))
    told = select(event.c.seq).where(
        event.c.org == org, event.c.message.in_(messages), event.c.delivery.in_(ids), event.c.type.in_(_OF_HITS)
    )
    emptied = list(tx.execute(told).scalars())
    nobodys = {"data": {"erased": "true"}, "queue_id": "", "message": "", "delivery": "", "user": ""}
    for some in _some(emptied):
        tx.execute(update(event).where(event.c.org == org, event.c.seq.in_(some)).values(**nobodys))
    _hush_webhooks(tx, org, emptied)
    mail_facts.make_of(tx, org, {row.id: row.message for row in found})
    return Piece(after=ids[-1], hits=gone, events=len(emptied))


def forget_events(tx: Tx, org: OrgId, key: str, *, after: int) -> tuple[int, int]:
    """Put the hash in the place of the address in a stretch of the journal; where it ends, and how many events it was in."""
    upto = min(events.newest(tx, org), after + _EVENTS)
    stretch = select(event.c.seq, event.c.data).where(event.c.org == org, event.c.seq > after, event.c.seq <= upto)
    name = erased.hashed(tx, org, key)
    changed: list[int] = []
    for row in tx.execute(stretch.where(event.c.type.in_(_OF_ADDRESSES))).all():
        data: dict[str, str] = row.data
        if data.get("address") == key:
            new = {field: value for field, value in data.items() if field in _TELLING_NOTHING}
            new |= {"address": name, "erased": "true"}
            if data.get("by") == PERSON:
                new["by"] = PERSON
        elif key in data.get("instead", "").casefold():
            new = {field: value for field, value in data.items() if field != "instead"}
        else:
            continue
        changed.append(row.seq)
        tx.execute(update(event).where(event.c.org == org, event.c.seq == row.seq).values(data=new))
    _hush_webhooks(tx, org, changed)
    return upto, len(changed)


def end(tx: Tx, org: OrgId, key: str, *, at: datetime, by: str) -> Staying:
    """Tell the journal, without the address; what stays."""
    events.append(
        tx, org=org, at=at, type=EventType.PERSON_ERASED, data={"address": erased.hashed(tx, org, key), "by": by}
    )

    def number(column: object, *where: object) -> int:
        return int(tx.execute(select(func.count(column.distinct())).where(*where)).scalar_one())  # type: ignore[attr-defined,arg-type]

    return Staying(
        deliveries=number(delivery.c.id, delivery.c.org == org, delivery.c.recipient_key == key),
        messages=number(participant.c.message, participant.c.org == org, participant.c.key == key),
        records=number(
            record_address.c.module + "/" + record_address.c.record,
            record_address.c.org == org,
            record_address.c.key == key,
        ),
    )


def _forget_absences(tx: Tx, org: OrgId, key: str) -> None:
    """When they are away and who stands in for them, and for whom they do."""
    named = select(successor.c.key).where(successor.c.org == org, successor.c.instead == key)
    for row in tx.execute(select(absence).where(absence.c.org == org, absence.c.key.in_(named))).all():
        instead = rows.decode(tuple[Instead, ...], row.instead)
        others = tuple(one for one in instead if one.address.key != key)
        this = (absence.c.org == org, absence.c.key == row.key)
        tx.execute(update(absence).where(*this).values(instead=rows.encode(others)))
    tx.execute(delete(absence).where(absence.c.org == org, absence.c.key == key))
    of_them = or_(successor.c.key == key, successor.c.instead == key)
    tx.execute(delete(successor).where(successor.c.org == org, of_them))


def _hide_in_answers(tx: Tx, org: OrgId, key: str, name: str) -> None:
    """In answers that are kept for requests that come again. One about the address itself goes: done again, it does nothing new."""
    kept = given_answer.c
    naming = func.lower(kept.body).contains(key, autoescape=True)
    for row in tx.execute(select(given_answer).where(kept.org == org, naming)).all():
        this = (kept.org == org, kept.by == row.by, kept.key == row.key)
        if key in unquote(row.location).casefold():
            tx.execute(delete(given_answer).where(*this))
            continue
        body = re.sub(re.escape(key), name, row.body, flags=re.IGNORECASE)
        tx.execute(update(given_answer).where(*this).values(body=body, etag=""))


def _hush_webhooks(tx: Tx, org: OrgId, some: list[int]) -> None:
    """Receivers may have answered with what they were sent; what is still on its way is made of the journal as it is now."""
    hooks = list(tx.execute(select(webhook.c.id).where(webhook.c.org == org)).scalars())
    for part in _some(some) if hooks else ():
        calls = (webhook_call.c.webhook.in_(hooks), webhook_call.c.seq.in_(part))
        tx.execute(update(webhook_call).where(*calls).values(said="", failure=""))


def _some(values: list[int]) -> Iterable[list[int]]:
    return (values[at : at + 400] for at in range(0, len(values), 400))
