"""What became of each mail, by the records that it is on: made of links, deliveries, attempts and hits, and found by (K2).

A row stands for one delivery of a message on one record, or for the message itself where it has no delivery of ours. Whose deliveries
are a record's: those to its own addresses, present or former, where its module is of people (it has address fields that mail is
matched by, and is not the account); of any other record, a deal or an account, all deliveries of the mail that is on it.

Each row is somebody's to see, its `author`'s: a mail that came to several users has a row for each of them. So one person's mail is
found without looking at that of all others; whether it may be seen is asked of the mail all the same (I16).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntFlag
from itertools import islice
from typing import Any, Final, TypeVar

from sqlalchemy import ColumnElement, Row, Table, and_, delete, func, or_, select, update

from mailrelay.clock import from_micros, to_micros
from mailrelay.ids import MessageId, OrgId
from mailrelay.model.delivery import DeliveryState
from mailrelay.model.envelope import OUTGOING_CHANNELS
from mailrelay.model.event import Event, EventType
from mailrelay.model.message import Direction, Kind, ParticipantRole
from mailrelay.model.record import Module, RecordRef
from mailrelay.store import events, followers, modules
from mailrelay.store.base import Tx
from mailrelay.store.tables import (
    attempt,
    delivery,
    engagement,
    event,
    event_counter,
    follower,
    former_address,
    link,
    mail_fact,
    mail_fact_again,
    message,
    message_source,
    participant,
    record_address,
    user_address,
)

FOLLOWER: Final = "mail-facts"
BATCH: Final = 500
"""Events of one transaction."""


class Flag(IntFlag):
    """What is true of a mail at all, whenever it came to be."""

    SENT = 1
    RECEIVED = 2
    DELIVERED = 4  # a success notice said so
    OPENED = 8
    CLICKED = 16
    REPLIED = 32
    BOUNCED = 64
    HARD = 128  # … for good
    COMPLAINED = 256
    UNSUBSCRIBED = 512
    DEFERRED = 1024
    FAILED = 2048
    SCHEDULED = 4096
    OURS = 8192  # it went through us, so that we would know if it had bounced


_TIMES = {
    "sent_at": Flag.SENT,
    "received_at": Flag.RECEIVED,
    "delivered_at": Flag.DELIVERED,
    "last_opened_at": Flag.OPENED,
    "last_clicked_at": Flag.CLICKED,
    "replied_at": Flag.REPLIED,
    "bounced_at": Flag.BOUNCED,
    "complained_at": Flag.COMPLAINED,
    "unsubscribed_at": Flag.UNSUBSCRIBED,
    "deferred_at": Flag.DEFERRED,
    "failed_at": Flag.FAILED,
    "scheduled_at": Flag.SCHEDULED,
}
_NOTHING: Mapping[str, Any] = dict.fromkeys((*_TIMES, "first_opened_at", "first_clicked_at")) | {
    "opens": 0,
    "clicks": 0,
    "author": "",
}
_FAILED = frozenset({DeliveryState.FAILED, DeliveryState.EXPIRED, DeliveryState.SUPPRESSED})
_FROM = frozenset(
    {ParticipantRole.FROM, ParticipantRole.SENDER, ParticipantRole.REPLY_TO, ParticipantRole.FORWARDED_FROM}
)
_NO_MAIL_OF_PEOPLE = frozenset(
    {Kind.BOUNCE, Kind.DELAY, Kind.DELIVERED, Kind.FEEDBACK, Kind.AUTO_REPLY, Kind.CHALLENGE}
)
_OF_MESSAGES = frozenset({EventType.MESSAGE_FILED, EventType.MESSAGE_LINKED, EventType.MESSAGE_UNLINKED})
_OF_ARRIVALS = frozenset({EventType.ARRIVAL_ENDED, EventType.MESSAGE_HELD})
_OF_RECORDS = frozenset({EventType.RECORD_CREATED, EventType.RECORD_CHANGED, EventType.RECORD_REMOVED})
NOBODY: Final = "-"
"""The author of what is to be seen by those only who see everything."""
_MOST_AUTHORS = 20
"""Of so many users' mail a row each is kept; of more one, of which is asked whoever wants to see it."""
_ENGAGED = ("opens", "first_opened_at", "last_opened_at", "clicks", "first_clicked_at", "last_clicked_at")
_PIECE = 400
"""Values of one IN."""
_PAIRS = 100
_T = TypeVar("_T")
_Place = tuple[str, str, str, str, str]
"""Module, record, message, delivery and author."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the facts have come: the last event that they tell of, and when it happened; how many of them are left."""

    events: int
    left: bool


@dataclass(slots=True)
class _Touched:
    """What is to be made anew."""

    messages: set[str] = field(default_factory=set)
    deliveries: dict[str, str] = field(default_factory=dict)
    """Message by delivery."""
    records: set[tuple[str, str, str]] = field(default_factory=set)
    """Message, module, record."""
    unsubscribed: dict[str, int] = field(default_factory=dict)
    readdressed: dict[tuple[str, str], int] = field(default_factory=dict)
    """When records got other addresses, by module and id."""
    arrivals: set[str] = field(default_factory=set)
    """By which mail came, perhaps such as is known and came to somebody else now."""

    def note(self, one: Event) -> None:
        """Take note of what an event changes."""
        if one.type is EventType.ADDRESS_UNSUBSCRIBED and one.delivery:
            self.unsubscribed[one.delivery] = to_micros(one.at)
        if one.type in _OF_ARRIVALS:
            self.arrivals.add(one.queue_id)
        elif one.type in _OF_RECORDS and _other_addresses(one):
            module, _, record = one.record.partition("/")
            self.readdressed[module, record] = to_micros(one.at)
        elif one.delivery and one.message:
            self.deliveries[one.delivery] = one.message
        elif one.message and one.type in _OF_MESSAGES:
            module, slash, record = one.record.partition("/")
            if one.type is not EventType.MESSAGE_FILED and slash:
                self.records.add((one.message, module, record))
            else:
                self.messages.add(one.message)


def _other_addresses(one: Event) -> bool:
    return one.type is not EventType.RECORD_CHANGED or "addresses" in dict(one.data).get("changed", "").split()


def follow(tx: Tx, org: OrgId, *, limit: int = BATCH) -> Progress:
    """Take the next events of an organisation into account; where there are none, mail of records with other addresses."""
    seen = followers.claim(tx, FOLLOWER, org)
    new = events.after(tx, org, seen, limit=limit)
    if new:
        touched = _Touched()
        for one in new:
            touched.note(one)
        touched.messages |= _known_of(tx, touched.arrivals)
        _make(tx, org, touched)
        _note_again(tx, org, touched.readdressed)
        followers.advance(tx, FOLLOWER, org, new[-1].seq)
    left = len(new) == limit
    return Progress(len(new), left=left or _made_some_again(tx, org, limit=limit))


def _known_of(tx: Tx, arrivals: Collection[str]) -> set[str]:
    """The mails that these arrivals brought, as far as there are facts of them which tell of no delivery of ours."""
    found: set[str] = set()
    for part in _pieces(arrivals):
        mine = select(message_source.c.message).where(message_source.c.arrival.in_(part)).distinct()
        known = select(mail_fact.c.message).where(mail_fact.c.message.in_(mine), mail_fact.c.delivery == "")
        found |= set(tx.execute(known.distinct()).scalars())
    return found


def unfinished(tx: Tx, *, limit: int) -> list[OrgId]:
    """Organisations with records whose mail is to be looked at again, since they have other addresses."""
    return [OrgId(one) for one in tx.execute(select(mail_fact_again.c.org).distinct().limit(limit)).scalars()]


def _note_again(tx: Tx, org: OrgId, records: Mapping[tuple[str, str], int]) -> None:
    """Have the facts of these records' mail made anew, as far as they have any."""
    by_module: defaultdict[str, list[str]] = defaultdict(list)
    for module, id_ in records:
        by_module[module].append(id_)
    row = tx.insert(mail_fact_again)
    again = row.on_conflict_do_update(
        index_elements=["org", "module", "record"], set_={"at": row.excluded.at, "after": ""}
    )
    for module, ids in sorted(by_module.items()):
        for part in _pieces(ids):
            mine = (link.c.org == org) & (link.c.module == module) & link.c.record.in_(part)
            linked = tx.execute(select(link.c.record).where(mine).distinct()).scalars().all()
            rows = [{"org": org, "module": module, "record": one, "at": records[module, one]} for one in sorted(linked)]
            if rows:
                tx.execute(again, rows)


def _made_some_again(tx: Tx, org: OrgId, *, limit: int) -> bool:
    """Make the facts of so many mails anew whose records have other addresses; whether more are left."""
    first = select(mail_fact_again).where(mail_fact_again.c.org == org).order_by(mail_fact_again.c.at).limit(1)
    row = tx.execute(first).first()
    if row is None:
        return False
    mine = (link.c.org == org, link.c.module == row.module, link.c.record == row.record, link.c.message > row.after)
    page = select(link.c.message).where(*mine).order_by(link.c.message).limit(limit)
    mails = tx.execute(page).scalars().all()
    _make(tx, org, _Touched(records={(one, row.module, row.record) for one in mails}))
    this = and_(
        mail_fact_again.c.org == org,
        mail_fact_again.c.module == row.module,
        mail_fact_again.c.record == row.record,
    )
    if len(mails) == limit:
        tx.execute(update(mail_fact_again).where(this).values(after=mails[-1]))
    else:
        tx.execute(delete(mail_fact_again).where(this))
    return True


def make_again(tx: Tx, org: OrgId, *, after: MessageId | None = None, limit: int = BATCH) -> MessageId | None:
    """Make the facts of some messages anew, by id behind `after`; the last id, None at the end."""
    page = select(message.c.id).where(message.c.org == org)
    if after is not None:
        page = page.where(message.c.id > after)
    ids = tx.execute(page.order_by(message.c.id).limit(limit)).scalars().all()
    _make(tx, org, _Touched(messages=set(ids)))
    return MessageId(ids[-1]) if len(ids) == limit else None


def make_of(tx: Tx, org: OrgId, deliveries: Mapping[str, str]) -> None:
    """Make the facts of these deliveries (their messages, by id) anew, when something of them went that no event tells of (T13)."""
    _make(tx, org, _Touched(deliveries=dict(deliveries)))


def as_of(tx: Tx, org: OrgId, *, now: datetime) -> tuple[bool, datetime]:
    """Whether the facts tell of everything until now, and otherwise until when they do."""
    last = tx.execute(select(event_counter.c.last).where(event_counter.c.org == org)).scalar() or 0
    seen = followers.position(tx, FOLLOWER, org)
    again = select(func.min(mail_fact_again.c.at)).where(mail_fact_again.c.org == org)
    first_left = select(event.c.at).where(event.c.org == org, event.c.seq > seen).order_by(event.c.seq).limit(1)
    left = [tx.execute(again).scalar(), tx.execute(first_left).scalar() if seen < last else None]
    since = min((one for one in left if one is not None), default=None)
    return (True, now) if since is None else (False, from_micros(since))


def behind_by(tx: Tx) -> int:
    """How many events the facts do not tell of yet, of all organisations."""
    ours = and_(follower.c.org == event_counter.c.org, follower.c.name == FOLLOWER)
    both = select(event_counter.c.last, follower.c.seq).select_from(event_counter.outerjoin(follower, ours))
    return sum(row.last - (row.seq or 0) for row in tx.execute(both))


# --- making them ---


@dataclass(frozen=True, slots=True)
class _Mail:
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


def _make(tx: Tx, org: OrgId, touched: _Touched) -> None:
    """Write the facts of what was touched in place of those that are there."""
    people = frozenset(one.name for one in modules.list_modules(tx, org) if _of_people(one))
    whole = touched.messages
    singly = {id_: mail for id_, mail in touched.deliveries.items() if mail not in whole}
    by_record = {one for one in touched.records if one[0] not in whole}
    mails = _mails(tx, org, whole | set(singly.values()) | {one[0] for one in by_record})
    made: dict[_Place, dict[str, Any]] = {}
    superseded: set[tuple[str, str, str]] = set()
    maker = _Maker(tx, org, people, mails, touched.unsubscribed)
    for part in _pieces(whole):
        deliveries = _deliveries(tx, org, delivery.c.message.in_(part))
        made |= maker.facts(_links(tx, org, part), deliveries, whole=True)
    for part in _pieces(singly):
        deliveries = _deliveries(tx, org, delivery.c.id.in_(part))
        of_these = maker.facts(_links_of_deliveries(tx, org, deliveries, people), deliveries, only_deliveries=True)
        made |= of_these
        superseded |= {(mail, module, record) for module, record, mail, _, _ in of_these}
    for places in _pieces(by_record, _PAIRS):
        links = _links_of_records(tx, org, places)
        made |= maker.facts(links, maker.deliveries_for(links))
    _forget(tx, org, whole, singly, by_record)
    for places in _pieces(superseded, _PAIRS):
        without = and_(mail_fact.c.org == org, mail_fact.c.delivery == "")
        tx.execute(delete(mail_fact).where(without, or_(*(_at(mail_fact, place) for place in places))))
    rows = list(made.values())
    for first in range(0, len(rows), _PIECE):
        tx.execute(mail_fact.insert(), rows[first : first + _PIECE])


def _of_people(module: Module) -> bool:
    return module.name != "account" and any(one.matched for one in module.address_fields)


class _Maker:
    def __init__(
        self, tx: Tx, org: OrgId, people: frozenset[str], mails: Mapping[str, _Mail], unsubscribed: dict[str, int]
    ) -> None:
        self._tx = tx
        self._org = org
        self._people = people
        self._mails = mails
        self._unsubscribed = unsubscribed
        self._addresses: dict[RecordRef, frozenset[str]] = {}
        self._whose_secret: dict[str, frozenset[str]] = {}

    def deliveries_for(self, links: Sequence[Row[Any]]) -> list[Row[Any]]:
        """The deliveries that these links may tell of: of a mass mail on a person not those to all the others."""
        self._know_addresses(links)
        whole = {one.message for one in links if one.module not in self._people}
        keys = {key for one in links if one.module in self._people for key in self._addresses[_ref(one)]}
        found = [
            row for part in _pieces(whole) for row in _deliveries(self._tx, self._org, delivery.c.message.in_(part))
        ]
        mails = sorted({one.message for one in links} - whole)
        for part in _pieces(keys):
            mine = and_(delivery.c.recipient_key.in_(part), delivery.c.message.in_(mails))
            found += _deliveries(self._tx, self._org, mine)
        return found

    def facts(
        self,
        links: Sequence[Row[Any]],
        deliveries: Sequence[Row[Any]],
        *,
        only_deliveries: bool = False,
        whole: bool = False,
    ) -> dict[_Place, dict[str, Any]]:
        """Rows by their places."""
        self._know_addresses(links)
        accepted, tried = self._attempts(deliveries)
        engaged = self._engaged([one.id for one in deliveries])
        unsubscribed = _unsubscribed(self._tx, deliveries, whole=whole) | self._unsubscribed
        of_message: defaultdict[str, list[Row[Any]]] = defaultdict(list)
        for one in deliveries:
            of_message[one.message].append(one)
        found = {}
        for to in links:
            mail = self._mails.get(to.message)
            if mail is None:
                continue
            mine = [one for one in of_message[mail.id] if self._is_of(to, one)]
            for one in mine:
                told = _of_delivery(one, accepted.get(one.id), tried.get(one.id))
                told |= engaged.get(one.id, {}) | {"unsubscribed_at": unsubscribed.get(one.id)}
                (author,) = self._of_those_who_know(to, ("" if mail.shared else one.author,))
                place = (to.module, to.record, mail.id, one.id, author)
                found[place] = self._row(to, mail, one.id, told | {"author": author}, hard=one.hard)
            if not mine and not only_deliveries:
                row = self._row(to, mail, "", self._of_mail(to, mail))
                whose = self._of_those_who_know(to, mail.whose)
                found |= {(to.module, to.record, mail.id, "", who): row | {"author": who} for who in whose}
        return found

    def _of_those_who_know(self, to: Row[Any], whose: Collection[str]) -> list[str]:
        """Of those whose mail it is the ones who know of a link; nobody where none does, so that who sees everything sees it."""
        if not to.secret:
            return sorted(whose)
        if to.secret not in self._whose_secret:
            mine = (message_source.c.arrival == to.secret, message_source.c.org == self._org)
            users = self._tx.execute(select(message_source.c.user).where(*mine)).scalars()
            self._whose_secret[to.secret] = frozenset(one or "" for one in users)
        known = self._whose_secret[to.secret]
        if "" in known:  # by mail of the organisation's own, which is everybody's
            return sorted(whose)
        return sorted(known if "" in whose else known & set(whose)) or [NOBODY]

    def _is_of(self, to: Row[Any], one: Row[Any]) -> bool:
        return to.module not in self._people or one.recipient_key in self._addresses[_ref(to)]

    def _of_mail(self, to: Row[Any], mail: _Mail) -> dict[str, Any]:
        """What is known of a mail without a delivery of ours to the record: that it came from it, or went to it."""
        mine = self._addresses.get(_ref(to), frozenset()) & mail.keys.keys()
        wrote = any(mail.keys[key] & _FROM for key in mine)
        # A record that stands in the mail elsewhere neither wrote it nor got it; one that a person put it on has it so.
        if mail.incoming:
            return {"received_at": mail.at if mail.people and (wrote or not mine) else None}
        got = any(mail.keys[key] - _FROM for key in mine)
        return {"sent_at": mail.at if got or not mine else None}

    def _row(
        self, to: Row[Any], mail: _Mail, of: str, told: Mapping[str, Any], *, hard: bool = False
    ) -> dict[str, Any]:
        row = {**_NOTHING, **told}
        flags = Flag.OURS if of else Flag(0)
        for name, flag in _TIMES.items():
            if row[name] is not None:
                flags |= flag
        if hard and row["bounced_at"] is not None:
            flags |= Flag.HARD
        place = {"org": self._org, "module": to.module, "record": to.record, "message": mail.id, "delivery": of}
        return row | place | {"at": mail.at, "key": to.key, "flags": int(flags)}

    def _know_addresses(self, links: Iterable[Row[Any]]) -> None:
        """The addresses, present and former, of the people among the linked records."""
        unknown = {_ref(one) for one in links if one.module in self._people} - self._addresses.keys()
        keys: defaultdict[RecordRef, set[str]] = defaultdict(set)
        by_module: defaultdict[str, list[str]] = defaultdict(list)
        for ref in sorted(unknown):
            by_module[ref.module].append(ref.id)
        for module, ids in by_module.items():
            for part in _pieces(ids):
                for table in (record_address, former_address):
                    mine = (table.c.org == self._org) & (table.c.module == module) & table.c.record.in_(part)
                    for row in self._tx.execute(select(table.c.record, table.c.key).where(mine)):
                        keys[RecordRef(module, row.record)].add(row.key)
        self._addresses |= {ref: frozenset(keys[ref]) for ref in unknown}

    def _attempts(self, deliveries: Sequence[Row[Any]]) -> tuple[dict[str, int], dict[str, int]]:
        """When a next hop took each delivery, and when each was tried last."""
        accepted: dict[str, int] = {}
        tried: dict[str, int] = {}
        columns = (attempt.c.delivery, attempt.c.number, attempt.c.ended_at, attempt.c.outcome)
        for part in _pieces(one.id for one in deliveries if one.attempts):
            wanted = select(*columns).where(attempt.c.delivery.in_(part), attempt.c.ended_at.is_not(None))
            for row in self._tx.execute(wanted.order_by(attempt.c.delivery, attempt.c.number)):
                tried[row.delivery] = row.ended_at
                if row.outcome is not None and row.outcome["kind"] == "accepted":
                    accepted[row.delivery] = row.ended_at
        return accepted, tried

    def _engaged(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        found = {}
        for part in _pieces(ids):
            for row in self._tx.execute(select(engagement).where(engagement.c.delivery.in_(part))):
                found[row.delivery] = {name: row._mapping[name] for name in _ENGAGED}
        return found


def _of_delivery(one: Row[Any], accepted: int | None, tried: int | None) -> dict[str, Any]:
    state = DeliveryState(one.state)
    sent = accepted
    if sent is None and state in (DeliveryState.SENT, DeliveryState.DELIVERED):
        sent = one.ended_at
    return {
        "sent_at": sent,
        "delivered_at": one.delivered_at if state is DeliveryState.DELIVERED else None,
        "bounced_at": one.ended_at if state is DeliveryState.BOUNCED else None,
        "failed_at": one.ended_at if state in _FAILED else None,
        "deferred_at": (tried or one.created_at) if state is DeliveryState.QUEUED and one.attempts else None,
        "scheduled_at": (one.scheduled_for or one.due_at) if state is DeliveryState.SCHEDULED else None,
        "replied_at": one.replied_at,
        "complained_at": one.complained_at,
    }


def _ref(to: Row[Any]) -> RecordRef:
    return RecordRef(to.module, to.record)


# --- reading what they are made of ---

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


def _links(tx: Tx, org: OrgId, messages: Sequence[str]) -> Sequence[Row[Any]]:
    found = select(*_LINK).where(link.c.message.in_(messages), link.c.org == org, link.c.removed_at.is_(None))
    return tx.execute(found).all()


def _links_of_deliveries(
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
        for part in _pieces(ids):
            found += tx.execute(select(*_LINK).where(*standing, link.c.module == module, link.c.record.in_(part)))
    return found


def _links_of_records(tx: Tx, org: OrgId, places: Sequence[tuple[str, str, str]]) -> Sequence[Row[Any]]:
    found = select(*_LINK).where(
        or_(*(_at(link, place) for place in places)), link.c.org == org, link.c.removed_at.is_(None)
    )
    return tx.execute(found).all()


def _deliveries(tx: Tx, org: OrgId, which: Any) -> list[Row[Any]]:
    return [row for row in tx.execute(select(*_DELIVERY, delivery.c.org).where(which)) if row.org == org]


def _mails(tx: Tx, org: OrgId, ids: Collection[str]) -> dict[str, _Mail]:
    found: dict[str, _Mail] = {}
    columns = (message.c.id, message.c.org, message.c.direction, message.c.kind, message.c.received_at)
    for part in _pieces(ids):
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
                wrote = {key for key, each in roles[row.id].items() if each & _FROM}
                found[row.id] = _Mail(
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
    for part in _pieces(keys):
        mine = select(user_address.c.key).where(user_address.c.org == org, user_address.c.key.in_(part))
        found |= set(tx.execute(mine).scalars())
    return found


def _unsubscribed(tx: Tx, deliveries: Sequence[Row[Any]], *, whole: bool) -> dict[str, int]:
    """When somebody unsubscribed by these deliveries, as far as it was known before; with `whole` also by the journal."""
    found: dict[str, int] = {}
    pairs = {(one.message, one.id) for one in deliveries}
    for part in _pieces(pairs, _PAIRS):
        known = select(mail_fact.c.delivery, mail_fact.c.unsubscribed_at).where(
            or_(*(_of_pair(pair) for pair in part)), mail_fact.c.unsubscribed_at.is_not(None)
        )
        found |= {row.delivery: row.unsubscribed_at for row in tx.execute(known)}
    for part in _pieces({mail for mail, _ in pairs} if whole else ()):
        told = select(event.c.delivery, event.c.at).where(event.c.message.in_(part), event.c.delivery != "")
        found |= {
            row.delivery: row.at for row in tx.execute(told.where(event.c.type == EventType.ADDRESS_UNSUBSCRIBED))
        }
    return found


def _forget(
    tx: Tx,
    org: OrgId,
    whole: Collection[str],
    singly: Mapping[str, str],
    by_record: Collection[tuple[str, str, str]],
) -> None:
    for part in _pieces(whole):
        tx.execute(delete(mail_fact).where(mail_fact.c.message.in_(part)))
    for pairs in _pieces(((mail, id_) for id_, mail in singly.items()), _PAIRS):
        tx.execute(delete(mail_fact).where(or_(*(_of_pair(pair) for pair in pairs))))
    for places in _pieces(by_record, _PAIRS):
        tx.execute(delete(mail_fact).where(mail_fact.c.org == org, or_(*(_at(mail_fact, place) for place in places))))


def _at(table: Table, place: tuple[str, str, str]) -> ColumnElement[bool]:
    return and_(table.c.message == place[0], table.c.module == place[1], table.c.record == place[2])


def _of_pair(pair: tuple[str, str]) -> ColumnElement[bool]:
    return and_(mail_fact.c.message == pair[0], mail_fact.c.delivery == pair[1])


def _pieces(values: Iterable[_T], size: int = _PIECE) -> Iterator[list[_T]]:
    """In pieces that one statement takes, in order, each once."""
    ordered = iter(sorted(set(values)))  # type: ignore[type-var]
    while part := list(islice(ordered, size)):
        yield part
