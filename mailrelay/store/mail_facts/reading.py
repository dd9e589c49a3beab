"""What facts are made of: links, deliveries, mails and whose these are, read in pieces."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Row, Table, and_, or_, select

from mailrelay.ids import OrgId
from mailrelay.model.envelope import OUTGOING_CHANNELS
from mailrelay.model.event import EventType
from mailrelay.model.message import Direction, Kind, ParticipantRole
from mailrelay.model.record import Module, RecordRef
from mailrelay.store import modules
from mailrelay.store.base import Tx
from mailrelay.store.tables import (
    delivery,
    event,
    former_address,
    link,
    mail_fact,
    message,
    message_source,
    participant,
    record_address,
    user_address,
)

PIECE = 400
"""Values of one IN."""
PAIRS = 100
_T = TypeVar("_T")
FROM = frozenset(
    {ParticipantRole.FROM, ParticipantRole.SENDER, ParticipantRole.REPLY_TO, ParticipantRole.FORWARDED_FROM}
)
_NO_MAIL_OF_PEOPLE = frozenset(
    {Kind.BOUNCE, Kind.DELAY, Kind.DELIVERED, Kind.FEEDBACK, Kind.AUTO_REPLY, Kind.CHALLENGE}
)
_MOST_AUTHORS = 20
"""Of so many users' mail a row each is kept; of more one, of which is asked whoever wants to see it."""
_LINK = (link.c.message, link.c.module, link.c.record, link.c.key, link.c.secret)
_DELIVERY = tuple(
    delivery.c[name]
    for name in (
        *(
            "id",
            "message",
            "recipient_key",
            "state",
            "attempts",
            "created_at",
            "due_at",
            "ended_at",
            "hard",
            "replied_at",
        ),
        *("complained_at", "delivered_at", "scheduled_for", "author"),
    )
)


@dataclass(frozen=True, slots=True)
class Mail:
    """A message, as far as facts are made of it."""

    id: str
    incoming: bool
    """Somebody else wrote it; a copy of what one of us sent by other means came in, and yet was sent."""
    people: bool
    """It is a person's, and no report or automatic answer."""
    at: int
    keys: Mapping[str, frozenset[str]]
    """Roles by address."""
    whose: tuple[str, ...]
    """The users whom it came to, or who sent it; "" the organisation's own."""
    shared: bool
    """It was sent for the organisation, and what became of it is everybody's to see."""


def links_of_messages(tx: Tx, org: OrgId, messages: Sequence[str]) -> Sequence[Row[Any]]:
    """The links that stand of these messages."""
    found = select(*_LINK).where(link.c.message.in_(messages), link.c.org == org, link.c.removed_at.is_(None))
    return tx.execute(found).all()


def links_of_deliveries(
    tx: Tx, org: OrgId, deliveries: Sequence[Row[Any]], people: frozenset[str]
) -> Sequence[Row[Any]]:
    """The links that tell of these deliveries, without reading all those that a mass mail has."""
    mails = sorted({one.message for one in deliveries})
    standing = (link.c.message.in_(mails), link.c.org == org, link.c.removed_at.is_(None))
    others = sorted(one.name for one in modules.list_modules(tx, org) if one.name not in people)
    found = list(tx.execute(select(*_LINK).where(*standing, link.c.module.in_(others))))
    keys = sorted({one.recipient_key for one in deliveries})
    refs: defaultdict[str, set[str]] = defaultdict(set)
    for table in (record_address, former_address):
        mine = (table.c.org == org) & table.c.key.in_(keys) & table.c.module.in_(sorted(people))
        for row in tx.execute(select(table.c.module, table.c.record).where(mine)):
            refs[row.module].add(row.record)
    for module, ids in sorted(refs.items()):
        for part in pieces(ids):
            found += tx.execute(select(*_LINK).where(*standing, link.c.module == module, link.c.record.in_(part)))
    return found


def links_of_records(tx: Tx, org: OrgId, places: Sequence[tuple[str, str, str]]) -> Sequence[Row[Any]]:
    """The links that stand at these places: message, module, record."""
    found = select(*_LINK).where(
        or_(*(at_place(link, place) for place in places)), link.c.org == org, link.c.removed_at.is_(None)
    )
    return tx.execute(found).all()


def deliveries_where(tx: Tx, org: OrgId, which: Any) -> list[Row[Any]]:
    """The organisation's deliveries of which this holds."""
    return [row for row in tx.execute(select(*_DELIVERY, delivery.c.org).where(which)) if row.org == org]


def mails_of(tx: Tx, org: OrgId, ids: Collection[str]) -> dict[str, Mail]:
    """These messages, by id, as far as they are the organisation's."""
    found: dict[str, Mail] = {}
    columns = (message.c.id, message.c.org, message.c.direction, message.c.kind, message.c.received_at)
    for part in pieces(ids):
        roles: defaultdict[str, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        people = select(participant.c.message, participant.c.key, participant.c.role)
        for row in tx.execute(people.where(participant.c.message.in_(part))):
            roles[row.message][row.key].add(row.role)
        ours = _of_users(tx, org, (key for each in roles.values() for key in each))
        whose: defaultdict[str, set[str]] = defaultdict(set)
        shared: set[str] = set()
        of_source = (message_source.c.message, message_source.c.user, message_source.c.channel)
        for row in tx.execute(select(*of_source).where(message_source.c.message.in_(part))):
            whose[row.message].add(row.user or "")
            if row.user is None and row.channel in OUTGOING_CHANNELS:
                shared.add(row.message)
        for row in tx.execute(select(*columns).where(message.c.id.in_(part))):
            if row.org == org:
                users = whose[row.id]
                wrote = {key for key, each in roles[row.id].items() if each & FROM}
                found[row.id] = Mail(
                    id=row.id,
                    incoming=row.direction == Direction.IN and not wrote & ours,
                    people=Kind(row.kind) not in _NO_MAIL_OF_PEOPLE,
                    at=row.received_at,
                    keys={key: frozenset(each) for key, each in roles[row.id].items()},
                    whose=tuple(sorted(users)) if 0 < len(users) <= _MOST_AUTHORS else ("",),
                    shared=row.id in shared,
                )
    return found


def _of_users(tx: Tx, org: OrgId, keys: Iterable[str]) -> set[str]:
    """Those of these addresses that are users'."""
    found: set[str] = set()
    for part in pieces(keys):
        mine = select(user_address.c.key).where(user_address.c.org == org, user_address.c.key.in_(part))
        found |= set(tx.execute(mine).scalars())
    return found


def unsubscribed_by(tx: Tx, deliveries: Sequence[Row[Any]], *, whole: bool) -> dict[str, int]:
    """When somebody unsubscribed by these deliveries, as far as it was known before; with `whole` also by the journal."""
    found: dict[str, int] = {}
    pairs = {(one.message, one.id) for one in deliveries}
    for part in pieces(pairs, PAIRS):
        known = select(mail_fact.c.delivery, mail_fact.c.unsubscribed_at).where(
            or_(*(of_pair(pair) for pair in part)), mail_fact.c.unsubscribed_at.is_not(None)
        )
        found |= {row.delivery: row.unsubscribed_at for row in tx.execute(known)}
    for part in pieces({mail for mail, _ in pairs} if whole else ()):
        told = select(event.c.delivery, event.c.at).where(event.c.message.in_(part), event.c.delivery != "")
        found |= {
            row.delivery: row.at for row in tx.execute(told.where(event.c.type == EventType.ADDRESS_UNSUBSCRIBED))
        }
    return found


def is_of_people(module: Module) -> bool:
    """That a record of the module is a person, whose mail is what went to its own addresses."""
    return module.name != "account" and any(one.matched for one in module.address_fields)


def ref_of(to: Row[Any]) -> RecordRef:
    """The record of a link."""
    return RecordRef(to.module, to.record)


def at_place(table: Table, place: tuple[str, str, str]) -> ColumnElement[bool]:
    """That a row is of this message, module and record."""
    return and_(table.c.message == place[0], table.c.module == place[1], table.c.record == place[2])


def of_pair(pair: tuple[str, str]) -> ColumnElement[bool]:
    """That a fact is of this message and delivery."""
    return and_(mail_fact.c.message == pair[0], mail_fact.c.delivery == pair[1])


def pieces(values: Iterable[_T], size: int = PIECE) -> Iterator[list[_T]]:
    """In pieces that one statement takes, in order, each once."""
    ordered = iter(sorted(set(values)))  # type: ignore[type-var]
    while part := list(islice(ordered, size)):
        yield part
