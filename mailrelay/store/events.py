"""The journal: events are appended in the transaction that makes them true, and never changed.

Each organisation's events are numbered 1, 2, 3, … without a gap. A transaction takes its numbers as the last thing that it does, and
keeps the counter until it is durable, so that the order of the numbers is the order in which things became true: who has read up to
a number has seen all before it (K9).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, RowMapping, Select, and_, bindparam, literal, or_, select, true

from mailrelay.clock import from_micros, to_micros
from mailrelay.errors import Invalid
from mailrelay.ids import EventSeq, MessageId, OrgId, UserId
from mailrelay.model.delivery import Delivery
from mailrelay.model.event import Event, EventType
from mailrelay.model.notice import NoticeKind, types_of
from mailrelay.store import visibility
from mailrelay.store.base import Bell, Tx, for_both
from mailrelay.store.tables import (
    EVENTS_OF_RECORDS,
    EVENTS_OF_USERS,
    delivery,
    event,
    event_counter,
    link,
    message_source,
)
from mailrelay.store.visibility import Viewer

_LONGEST_STRETCH = 20_000
"""So many events are looked through at once for what is rare among them."""
_FARTHEST = 200_000
"""… and so many at most to find the newest of them."""


def append(
    tx: Tx,
    *,
    org: str,
    at: datetime,
    type: EventType,  # noqa: A002 (the glossary's word)
    queue_id: str = "",
    message: str = "",
    delivery: str = "",
    data: Mapping[str, str] | None = None,
    user: str = "",
    record: str = "",
) -> None:
    """Write down that something happened, at the end of the transaction. `user` is whose notice it is; see `Event`."""
    row = {
        "org": org,
        "at": to_micros(at),
        "type": type,
        "queue_id": queue_id,
        "message": message,
        "delivery": delivery,
        "data": dict(data or {}),
        "user": user,
        "record": record,
    }
    tx.last(_append, row)


def about(
    tx: Tx,
    one: Delivery,
    type: EventType,  # noqa: A002 (the glossary's word)
    *,
    at: datetime,
    data: Mapping[str, str] | None = None,
) -> None:
    """Write down what happened to a delivery. Where that is a notice it is its author's (I19)."""
    append(
        tx,
        org=one.org,
        at=at,
        type=type,
        queue_id=one.queue_id,
        message=one.message,
        delivery=one.id,
        data=data,
        user=hearer(type, one.author or "", one.job, data or {}),
    )


def hearer(type: EventType, author: str, job: str, data: Mapping[str, str]) -> str:  # noqa: A002
    """Whose notice it is that something happened to a delivery: its author's, or nobody's, "".

    Of mass mail only an answer is one, and of opens and clicks a person's first.
    """
    if type is EventType.MESSAGE_REPLIED:
        return author
    if job or type not in _NOTICES:
        return ""
    if type in _BY_PERSONS and not (data.get("by") == "person" and data.get("first") == "true"):
        return ""
    return author


_NOTICES = types_of(tuple(NoticeKind))
_BY_PERSONS = types_of((NoticeKind.OPENED, NoticeKind.CLICKED))


_COUNT = for_both(
    lambda insert: (
        (counting := insert(event_counter).values(org=bindparam("org"), last=bindparam("more")))
        .on_conflict_do_update(index_elements=["org"], set_={"last": event_counter.c.last + counting.excluded.last})
        .returning(event_counter.c.last)
    )
)


def _append(tx: Tx, new: list[dict[str, Any]]) -> None:
    numbers: dict[str, int] = {}
    counts = Counter(row["org"] for row in new)
    for org in sorted(counts):  # every transaction in the same order, so that two never wait for each other
        last = tx.execute(_COUNT[tx.dialect], {"org": org, "more": counts[org]}).scalar_one()
        numbers[org] = last - counts[org]
        tx.ring(Bell.EVENTS, org)
    for row in new:
        numbers[row["org"]] += 1
        row["seq"] = numbers[row["org"]]
    tx.execute(event.insert(), new)


def of_message(tx: Tx, org: OrgId, message: str, *, viewer: Viewer | None = None) -> Sequence[Event]:
    """Everything that happened to a message and its deliveries, in order, as far as a viewer may see it, or all."""
    viewer = viewer or Viewer(org=org, all=True)
    found = select(event).where(event.c.org == org, event.c.message == message, visible(viewer))
    return shown(tx, viewer, tx.execute(found.order_by(event.c.seq)).all())


def of_delivery(tx: Tx, org: str, message: str, delivery: str) -> Sequence[Event]:
    """Everything that happened to one delivery of a message, in order."""
    # By the message, whose index there is: a delivery has few siblings.
    found = select(event).where(event.c.message == message, event.c.delivery == delivery).order_by(event.c.seq)
    return [of_row(row._mapping) for row in tx.execute(found) if row.org == org]


def after(tx: Tx, org: OrgId, seq: int, *, limit: int) -> Sequence[Event]:
    """Events behind a cursor, oldest first."""
    rows = tx.execute(select(event).where(event.c.org == org, event.c.seq > seq).order_by(event.c.seq).limit(limit))
    return [of_row(row._mapping) for row in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which events somebody asks for; "" and () are all."""

    types: frozenset[EventType] = frozenset()
    message: str = ""
    record: str = ""
    user: str = ""

    @property
    def is_sparse(self) -> bool:
        """Whether what is wanted may lie far apart, with no index that leads from one to the next."""
        return bool(self.types) and not (self.message or self.record or self.user)


ALL = Wanted()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A stretch of the journal: what was asked for in it, in order, and that it ends with the event `upto`."""

    events: tuple[Event, ...]
    upto: int
    newest: int


def stretch(tx: Tx, viewer: Viewer, seq: int, *, limit: int, wanted: Wanted = ALL) -> Stretch:
    """What the viewer may see behind a cursor, oldest first. Raises Invalid for a cursor past the newest event.

    Reading on from `upto` misses nothing. It may lie before `newest` although fewer than `limit` were found: what is rare is
    looked for in stretches.
    """
    end = newest(tx, viewer.org)
    if seq > end:
        raise Invalid("after", f"is past the newest event, {end}: an older state of the journal may have been restored")
    upto = min(end, seq + _LONGEST_STRETCH) if wanted.is_sparse or not viewer.all else end
    found = _asked(viewer, wanted).where(event.c.seq > seq, event.c.seq <= upto).order_by(event.c.seq).limit(limit)
    events = shown(tx, viewer, tx.execute(found).all())
    if len(events) == limit:
        upto = events[-1].seq
    return Stretch(events=events, upto=upto, newest=end)


def latest(tx: Tx, viewer: Viewer, number: int, *, before: int | None = None, wanted: Wanted = ALL) -> Stretch:
    """The newest that the viewer may see, or the newest before one, oldest first; of what is rare, as far back as `_FARTHEST`."""
    end = newest(tx, viewer.org)
    top = end + 1 if before is None else min(before, end + 1)
    found = _asked(viewer, wanted).where(event.c.seq < top)
    if wanted.is_sparse or not viewer.all:
        found = found.where(event.c.seq >= top - _FARTHEST)
    rows = tx.execute(found.order_by(event.c.seq.desc()).limit(number)).all()
    upto = end if before is None else max(0, min(end, before - 1))
    return Stretch(events=shown(tx, viewer, rows[::-1]), upto=upto, newest=end)


def _asked(viewer: Viewer, wanted: Wanted) -> Select[Any]:
    found = select(event).where(event.c.org == viewer.org, visible(viewer))
    if wanted.types:
        found = found.where(event.c.type.in_(sorted(wanted.types)))
    if wanted.message:
        found = found.where(event.c.message == wanted.message)
    if wanted.record:
        found = found.where(event.c.record == wanted.record, EVENTS_OF_RECORDS)
    if wanted.user:
        found = found.where(event.c.user == wanted.user, EVENTS_OF_USERS)
    return found


def visible(viewer: Viewer) -> ColumnElement[bool]:
    """That the viewer may see an event, a row of `event` (I16).

    One about no mail is its user's and administrators', or everybody's; one of a delivery is for those who may see the delivery;
    one of a mail for those who see the mail, as it came by the arrival and with the link that the event is about.
    """
    if viewer.all:
        return true()
    about_no_mail = and_(event.c.message == "", event.c.queue_id == "")
    theirs = or_(event.c.user == "", *(event.c.user == who for who in _of(viewer)), visibility.administers(viewer))
    this = select(literal(1)).where(delivery.c.id == event.c.delivery, visibility.readable_delivery(viewer))
    of_delivery = visibility.there_is(this)
    of_mail = and_(visibility.readable(viewer, event.c.message), ~_by_hidden_arrival(viewer), ~_of_hidden_link(viewer))
    return and_(
        visibility.active(viewer),
        or_(
            and_(about_no_mail, theirs),
            and_(event.c.delivery != "", of_delivery),
            and_(event.c.delivery == "", event.c.message != "", of_mail),
        ),
    )


def _of(viewer: Viewer) -> Iterator[UserId]:
    if viewer.user is not None:
        yield viewer.user


def _by_hidden_arrival(viewer: Viewer) -> ColumnElement[bool]:
    source = message_source.alias()
    this = and_(source.c.message == event.c.message, source.c.arrival == event.c.queue_id)
    return visibility.there_is(select(literal(1)).where(this, ~visibility.readable_source(viewer, source)))


def _of_hidden_link(viewer: Viewer) -> ColumnElement[bool]:
    on = link.alias()
    this = and_(on.c.message == event.c.message, on.c.module + "/" + on.c.record == event.c.record)
    return visibility.there_is(select(literal(1)).where(this, ~visibility.told(viewer, on)))


def shown(tx: Tx, viewer: Viewer, found: Sequence[Row[Any]]) -> tuple[Event, ...]:
    """The events of rows. Of a reply that the viewer may not see nothing is shown but that it came."""
    read = tuple(of_row(row._mapping) for row in found)
    if viewer.all:
        return read
    replies = {MessageId(dict(one.data).get("reply", "")) for one in read if one.type is EventType.MESSAGE_REPLIED}
    hidden = replies - visibility.of_these(tx, viewer, replies)
    return tuple(replace(one, data=()) if hidden and dict(one.data).get("reply") in hidden else one for one in read)


def last(tx: Tx, org: OrgId, number: int, *, before: int | None = None) -> Sequence[Event]:
    """The newest events, or the newest before one, oldest first."""
    found = select(event).where(event.c.org == org)
    if before is not None:
        found = found.where(event.c.seq < before)
    rows = tx.execute(found.order_by(event.c.seq.desc()).limit(number)).all()
    return [of_row(row._mapping) for row in reversed(rows)]


def newest(tx: Tx, org: OrgId) -> EventSeq:
    """The number of an organisation's newest event, 0 before the first."""
    return EventSeq(tx.execute(select(event_counter.c.last).where(event_counter.c.org == org)).scalar() or 0)


def of_row(row: RowMapping) -> Event:
    """The event of a whole row."""
    return Event(
        seq=EventSeq(row["seq"]),
        org=OrgId(row["org"]),
        at=from_micros(row["at"]),
        type=EventType(row["type"]),
        queue_id=row["queue_id"],
        message=row["message"],
        delivery=row["delivery"],
        data=tuple(sorted(row["data"].items())),
        user=row["user"],
        record=row["record"],
    )
