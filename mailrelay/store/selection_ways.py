"""Ways into the queue for a `Selection`: the index that leaves the fewest, and the conditions that it does not say itself (R3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, TextClause, and_, false, func, or_, select, text

from mailrelay.ids import OrgId, first_delivery
from mailrelay.model.delivery import IN_FLIGHT_DELIVERIES, REACTIONS, DeliveryState, DeliveryStatus
from mailrelay.model.operation import Selection
from mailrelay.store import deliveries
from mailrelay.store.tables import DELIVERIES_DEFERRED, DELIVERIES_IN_FLIGHT, DELIVERIES_NOT_JUST_SENT, delivery
from mailrelay.store.visibility import Viewer, readable_delivery

NOBODY = "<>"
"""The null reverse-path as a sender."""
ALL = frozenset(DeliveryState)
_OF_A_JOB = text("job <> ''")
_HELD = text("state = 'held'")
_MOST_END_AS = frozenset({DeliveryState.SENT})
_REACHED = frozenset({DeliveryStatus.SENT, DeliveryStatus.DELIVERED, *REACTIONS})
Condition = ColumnElement[bool] | TextClause


@dataclass(frozen=True, slots=True)
class Way:
    """An index into the queue: its name, its conditions, and whether they say all that the selection does."""

    index: str
    conditions: tuple[Condition, ...]
    whole: bool

    def select(self, *columns: Any) -> Select[*tuple[Any, ...]]:
        """These columns of all that it leads to."""
        found = select(*columns).where(*self.conditions)
        # SQLite counts nothing beforehand, and would as soon walk through all mail of the organisation.
        return found.with_hint(delivery, f"INDEXED BY {self.index}", "sqlite") if self.index else found


@dataclass(frozen=True, slots=True)
class Fits:
    """All that a selection says, as conditions."""

    org: OrgId
    selection: Selection
    states: frozenset[DeliveryState]
    viewer: Viewer | None = None

    def on(self, table: FromClause) -> Iterator[Condition]:
        """The conditions for the deliveries of this table or window."""
        yield table.c.org == self.org
        yield table.c.state.in_(sorted(self.states))
        said = self.selection
        if said.deliveries:
            yield table.c.id.in_(sorted(said.deliveries))
        for name, value in (
            ("message", said.message),
            ("queue_id", said.queue_id),
            ("destination", said.destination),
            ("recipient_key", said.recipient),
            ("job", said.job),
            ("held_by", said.held_by),
        ):
            if value:
                yield table.c[name] == value
        if said.sender:
            yield _of_sender(table, said.sender)
        if said.statuses:
            silent = is_silent(table, self.org, said)
            yield or_(*(_of_status(table, one, silent) for one in sorted(said.statuses)))
        if self.viewer is not None:
            yield readable_delivery(self.viewer, table)
        yield from _span(table, said)


def ways_of(viewer: Viewer | None, org: OrgId, said: Selection, states: frozenset[DeliveryState]) -> Iterator[Way]:
    """The ways to what is selected, of which somebody who may not see all must look at each."""
    some = viewer is not None and not viewer.all
    return (replace(way, whole=False) if some else way for way in _ways(org, said, states))


def _ways(org: OrgId, said: Selection, states: frozenset[DeliveryState]) -> Iterator[Way]:
    """The index, or the parts of one, that hold all that is selected: by the field that leaves the fewest."""
    if not states:
        return
    flying = states <= IN_FLIGHT_DELIVERIES
    index = next(one for one in _indexes(said) if one.serves and (flying or not one.in_flight))
    if index.field == "" and states.isdisjoint(_MOST_END_AS):
        yield from _ways_by_state(org, said, states)
        return
    whole = _said(said) <= {index.field} and (index.each_state or states == (IN_FLIGHT_DELIVERIES if flying else ALL))
    conditions = (*([DELIVERIES_IN_FLIGHT] if index.in_flight else []), *index.conditions)
    if not index.ends_in_id:
        yield Way(index.name, conditions, whole=False)
        return
    conditions = (delivery.c.org == org, *conditions, *_span(delivery, said))
    for state in sorted(states) if index.each_state else []:
        yield Way(index.name, (*conditions, delivery.c.state == state), whole)
    if not index.each_state:
        yield Way(index.name, conditions, whole)


def _ways_by_state(org: OrgId, said: Selection, states: frozenset[DeliveryState]) -> Iterator[Way]:
    """The parts of the indexes by state, where no field leaves fewer."""
    ours = (delivery.c.org == org, *_span(delivery, said))
    alone = _said(said) <= {"statuses"}
    asked = said.statuses & {DeliveryStatus.QUEUED, DeliveryStatus.DEFERRED}
    for state in sorted(states):
        if state is DeliveryState.QUEUED and asked == {DeliveryStatus.DEFERRED}:
            yield Way("ix_delivery_deferred", (*ours, DELIVERIES_DEFERRED), whole=alone)
            continue
        name, kept = (
            ("ix_delivery_by_state", DELIVERIES_IN_FLIGHT)
            if state in IN_FLIGHT_DELIVERIES
            else ("ix_delivery_ended", DELIVERIES_NOT_JUST_SENT)
        )
        compared = (state is DeliveryState.QUEUED and len(asked) == 1) or (
            state is DeliveryState.DELIVERED and bool(said.statuses)
        )
        yield Way(name, (*ours, kept, delivery.c.state == state), whole=alone and not compared)


@dataclass(frozen=True, slots=True)
class _Index:
    """An index of the deliveries, and when it serves."""

    name: str
    field: str
    serves: bool
    conditions: tuple[Condition, ...] = ()
    in_flight: bool = False
    """It holds only what has not ended."""
    each_state: bool = False
    """It has the state before the id."""
    ends_in_id: bool = True
    """Otherwise it leaves few."""


def _indexes(said: Selection) -> Iterator[_Index]:
    """All of them, the one that leaves the fewest first."""
    column = delivery.c
    address = _is_address(said.sender)
    sender = _of_sender(delivery, said.sender)
    job = (_OF_A_JOB, column.job == said.job)
    yield _Index("", "deliveries", bool(said.deliveries), (column.id.in_(sorted(said.deliveries)),), ends_in_id=False)
    yield _Index(
        "ix_delivery_message", "message", bool(said.message), (column.message == said.message,), ends_in_id=False
    )
    yield _Index(
        "ix_delivery_queue_id", "queue_id", bool(said.queue_id), (column.queue_id == said.queue_id,), ends_in_id=False
    )
    yield _Index("ix_delivery_recipient", "recipient", bool(said.recipient), (column.recipient_key == said.recipient,))
    yield _Index(
        "ix_delivery_held", "held_by", bool(said.held_by), (_HELD, column.held_by == said.held_by), each_state=True
    )
    yield _Index("ix_delivery_by_sender", "sender", address, (sender,), in_flight=True)
    yield _Index(
        "ix_delivery_by_destination",
        "destination",
        bool(said.destination),
        (column.destination == said.destination,),
        in_flight=True,
    )
    yield _Index("ix_delivery_job", "job", bool(said.job), job, each_state=True)
    yield _Index("ix_delivery_by_sender_domain", "sender", bool(said.sender), (sender,), in_flight=True)
    yield _Index("ix_delivery_org", "", serves=True)


def _said(said: Selection) -> set[str]:
    """The fields that rows must be compared by, but for states and times, which each way says itself."""
    fields = ("deliveries", "message", "queue_id", "destination", "recipient", "sender", "job", "held_by")
    named = {name for name in fields if getattr(said, name)}
    # Deferred and queued are one state; what became of what arrived may be in two.
    tried = {DeliveryStatus.QUEUED, DeliveryStatus.DEFERRED}
    if said.statuses & (_REACHED | tried) and not (tried <= said.statuses and not said.statuses & _REACHED):
        named.add("statuses")
    return named


def _is_address(sender: str) -> bool:
    return "@" in sender or sender == NOBODY


def _of_sender(table: FromClause, sender: str) -> Condition:
    if sender == NOBODY:
        return table.c.mail_from.is_(None)
    column: ColumnElement[str] = table.c.mail_from if _is_address(sender) else table.c.sender_domain
    return column == sender


def is_silent(table: FromClause, org: OrgId, said: Selection) -> ColumnElement[bool]:
    """That it ended so long ago that a bounce of what was sent would have come back by now (K1)."""
    if said.as_of is None:
        return false()
    since = deliveries.silent_micros(org, said.as_of)
    return func.coalesce(table.c.ended_at <= since, false())


def _of_status(table: FromClause, status: DeliveryStatus, silent: ColumnElement[bool]) -> Condition:
    """A delivery's status, for the database: `delivery_status`."""
    arrived = table.c.state.in_([DeliveryState.DELIVERED, DeliveryState.SENT])
    replied, clicked, opened = (
        column.is_not(None) for column in (table.c.replied_at, table.c.clicked_at, table.c.opened_at)
    )
    match status:
        case DeliveryStatus.QUEUED:
            return and_(table.c.state == DeliveryState.QUEUED, table.c.attempts == 0)
        case DeliveryStatus.DEFERRED:
            return and_(table.c.state == DeliveryState.QUEUED, table.c.attempts > 0)
        case DeliveryStatus.REPLIED:
            return and_(arrived, replied)
        case DeliveryStatus.CLICKED:
            return and_(arrived, clicked, ~replied)
        case DeliveryStatus.OPENED:
            return and_(arrived, opened, ~clicked, ~replied)
        case DeliveryStatus.SENT:
            return and_(table.c.state == DeliveryState.SENT, ~silent, ~replied, ~clicked, ~opened)
        case DeliveryStatus.DELIVERED:
            counts = or_(table.c.state == DeliveryState.DELIVERED, and_(table.c.state == DeliveryState.SENT, silent))
            return and_(counts, ~replied, ~clicked, ~opened)
        case _:
            return table.c.state == DeliveryState(status)


def _span(table: FromClause, said: Selection) -> Iterator[Condition]:
    """Ids begin with the millisecond that they were made in, so that any way ends in the times as well."""
    if said.created_from is not None:
        yield table.c.id >= first_delivery(said.created_from)
    if said.created_before is not None:
        yield table.c.id < first_delivery(said.created_before)
