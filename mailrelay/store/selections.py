"""Deliveries that a `Selection` fits: one condition for lists, counts and actions, found at once however much is queued (R3).

Each way into the queue is an index that ends in the id, so that a page of it is one look. What a selection asks beside that is
compared row by row, for a bounded number of rows at a time: a page may then be short, even empty, and yet not be the last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    TextClause,
    and_,
    false,
    func,
    literal_column,
    or_,
    select,
    text,
    union_all,
)

from mailrelay.ids import DeliveryId, OrgId, first_delivery
from mailrelay.model.delivery import (
    IN_FLIGHT_DELIVERIES,
    REACTIONS,
    Delivery,
    DeliveryState,
    DeliveryStatus,
    delivery_status,
)
from mailrelay.model.operation import Selection, states_in
from mailrelay.store import deliveries
from mailrelay.store.base import Tx
from mailrelay.store.tables import DELIVERIES_DEFERRED, DELIVERIES_IN_FLIGHT, DELIVERIES_NOT_JUST_SENT, delivery
from mailrelay.store.visibility import Viewer, readable_delivery

LOOKED_AT: Final = 20_000
"""Rows that one question compares at most."""
COUNTED: Final = 10_000
"""A count is exact up to here."""
ALL = frozenset(DeliveryState)
NOBODY = "<>"
"""The null reverse-path as a sender."""
_OF_A_JOB = text("job <> ''")
_HELD = text("state = 'held'")
_MOST_END_AS = frozenset({DeliveryState.SENT})
_REACHED = frozenset({DeliveryStatus.SENT, DeliveryStatus.DELIVERED, *REACTIONS})
_COMPARED = (
    *("id", "org", "state", "attempts", "replied_at", "held_by", "destination", "recipient_key", "mail_from"),
    *("sender_domain", "job", "message", "queue_id", "author", "opened_at", "clicked_at", "ended_at"),
)
_Condition = ColumnElement[bool] | TextClause


@dataclass(frozen=True, slots=True)
class Found:
    """A page of deliveries; `next` is the cursor of the following page, None at the end."""

    deliveries: tuple[Delivery, ...]
    next: DeliveryId | None


@dataclass(frozen=True, slots=True)
class Counted:
    """How many deliveries are selected, by status and by what holds them; at least so many where it is not `complete`."""

    number: int
    complete: bool
    by: Mapping[tuple[DeliveryStatus, str], int]


@dataclass(frozen=True, slots=True)
class _Way:
    """An index into the queue: its name, its conditions, and whether they say all that the selection does."""

    index: str
    conditions: tuple[_Condition, ...]
    whole: bool

    def select(self, *columns: Any) -> Select[*tuple[Any, ...]]:
        """These columns of all that it leads to."""
        found = select(*columns).where(*self.conditions)
        # SQLite counts nothing beforehand, and would as soon walk through all mail of the organisation.
        return found.with_hint(delivery, f"INDEXED BY {self.index}", "sqlite") if self.index else found


def find(
    tx: Tx,
    org: OrgId,
    selection: Selection,
    *,
    viewer: Viewer | None = None,
    after: DeliveryId | None = None,
    oldest_first: bool = False,
    limit: int = 100,
) -> Found:
    """A page of what is selected, newest first unless said otherwise; `after` is the cursor of the page before.

    With `viewer` only what they may see.
    """
    page, end = ids(tx, org, selection, after=after, oldest_first=oldest_first, limit=limit, viewer=viewer)
    order = delivery.c.id if oldest_first else delivery.c.id.desc()
    rows = tx.execute(select(delivery).where(delivery.c.id.in_(page)).order_by(order)) if page else ()
    return Found(tuple(deliveries.from_row(row._mapping) for row in rows), end)


def ids(
    tx: Tx,
    org: OrgId,
    selection: Selection,
    *,
    within: Collection[DeliveryState] = ALL,
    after: DeliveryId | None = None,
    until: DeliveryId | None = None,
    oldest_first: bool = False,
    limit: int = 100,
    viewer: Viewer | None = None,
) -> tuple[list[DeliveryId], DeliveryId | None]:
    """A page of ids of what is selected and in one of the states `within`, and the cursor of the next page; None at the end.

    With `until` nothing newer than that is found, with `viewer` only what they may see.
    """
    states = states_in(selection) & frozenset(within)
    behind = () if after is None else (delivery.c.id > after if oldest_first else delivery.c.id < after,)
    to = () if until is None else (delivery.c.id <= until,)
    _plan_for_values(tx)
    found, horizons = _look(
        tx,
        [*_ways_of(viewer, org, selection, states)],
        (*behind, *to),
        _Fits(org, selection, states, viewer),
        oldest_first=oldest_first,
        limit=limit,
    )
    # What one of the ways has behind its horizon is not known, so the page ends at the nearest.
    end = (min if oldest_first else max)(horizons, default=None)
    page = sorted(found, reverse=not oldest_first)
    if end is not None:
        page = [one for one in page if (one <= end if oldest_first else one >= end)]
    if len(page) > limit:
        page = page[:limit]
        end = page[-1]
    return page, end


def count(
    tx: Tx,
    org: OrgId,
    selection: Selection,
    *,
    within: Collection[DeliveryState] = ALL,
    viewer: Viewer | None = None,
) -> Counted:
    """How many are selected: exactly, unless there are more than `COUNTED`, or too many to compare for a quick answer.

    With `viewer` only what they may see.
    """
    states = states_in(selection) & frozenset(within)
    by: Counter[tuple[DeliveryStatus, str]] = Counter()
    complete = True
    _plan_for_values(tx)
    for way in _ways_of(viewer, org, selection, states):
        room = COUNTED + 1 - by.total()
        looked_at = room if way.whole else LOOKED_AT
        window = way.select(*_compared()).order_by(delivery.c.id).limit(looked_at).subquery()
        tried, replied = window.c.attempts > 0, window.c.replied_at.is_not(None)
        clicked, opened = window.c.clicked_at.is_not(None), window.c.opened_at.is_not(None)
        fits = select(
            window.c.state,
            window.c.held_by,
            tried.label("tried"),
            replied.label("replied"),
            clicked.label("clicked"),
            opened.label("opened"),
            _is_silent(window, org, selection).label("silent"),
        )
        if not way.whole:
            fits = fits.where(*_Fits(org, selection, states, viewer).on(window)).limit(room)
        each = fits.subquery()
        for row in tx.execute(select(*each.c, func.count().label("number")).group_by(*each.c)):
            status = delivery_status(
                DeliveryState(row.state),
                int(row.tried),
                replied=bool(row.replied),
                clicked=bool(row.clicked),
                opened=bool(row.opened),
                silent=bool(row.silent),
            )
            by[status, row.held_by] += row.number
        if by.total() > COUNTED:
            # One more than the bound was looked for, to know that there are more.
            by[by.most_common(1)[0][0]] -= by.total() - COUNTED
            return Counted(COUNTED, complete=False, by=by)
        if not way.whole:
            complete = complete and tx.execute(select(func.count()).select_from(window)).scalar_one() < looked_at
    return Counted(by.total(), complete=complete, by=by)


def locked(
    tx: Tx, org: OrgId, selection: Selection, ids: Collection[DeliveryId], *, within: Collection[DeliveryState] = ALL
) -> tuple[Delivery, ...]:
    """Those of these deliveries that are selected still, by id, kept as they are until the transaction ends."""
    states = states_in(selection) & frozenset(within)
    if not ids or not states:
        return ()
    rows = tx.execute(
        select(delivery)
        .where(delivery.c.id.in_(sorted(ids)), *_Fits(org, selection, states).on(delivery))
        .order_by(delivery.c.id)
        .with_for_update()
    )
    return tuple(deliveries.from_row(row._mapping) for row in rows)


def _plan_for_values(tx: Tx) -> None:
    """Have PostgreSQL plan each question for the values it asks for: a plan for any may walk through all that is not meant."""
    if tx.dialect == "postgresql":
        tx.execute(text("SET LOCAL plan_cache_mode = force_custom_plan"))


def _look(
    tx: Tx, ways: Sequence[_Way], span: tuple[_Condition, ...], fits: _Fits, *, oldest_first: bool, limit: int
) -> tuple[list[DeliveryId], list[DeliveryId]]:
    """The next of each way, and how far those were looked at that have more.

    In one statement: each of several would see another moment, and miss what goes from a way still to be looked at to one that was.
    """

    def ordered(column: ColumnElement[Any]) -> ColumnElement[Any]:
        return column if oldest_first else column.desc()

    def some(number: int, rows: Select[*tuple[Any, ...]], *, fit: bool) -> Select[*tuple[Any, ...]]:
        return select(
            literal_column(str(number)).label("way"), literal_column(str(int(fit))).label("fit"), rows.subquery().c.id
        )

    looks = []
    for number, way in enumerate(ways):
        first = way.select(delivery.c.id).where(*span).order_by(ordered(delivery.c.id))
        if way.whole:
            looks.append(some(number, first.limit(limit), fit=True))
            continue
        compared = way.select(*_compared()).where(*span).order_by(ordered(delivery.c.id))
        window = compared.limit(LOOKED_AT).subquery()
        fitting = select(window.c.id).where(*fits.on(window)).order_by(ordered(window.c.id)).limit(limit)
        looks += [
            some(number, fitting, fit=True),
            some(number, first.offset(LOOKED_AT - 1).limit(1), fit=False),
        ]
    if not looks:
        return [], []
    found: dict[int, list[DeliveryId]] = {number: [] for number in range(len(ways))}
    horizons: list[DeliveryId] = []
    for row in tx.execute(union_all(*looks)):
        (found[row.way] if row.fit else horizons).append(DeliveryId(row.id))
    furthest = max if oldest_first else min
    horizons += [furthest(ours) for ours in found.values() if len(ours) == limit]
    return [one for ours in found.values() for one in ours], horizons


def _compared() -> Iterator[ColumnElement[Any]]:
    """The columns that a selection may ask for."""
    return (delivery.c[name] for name in _COMPARED)


@dataclass(frozen=True, slots=True)
class _Fits:
    """All that a selection says, as conditions."""

    org: OrgId
    selection: Selection
    states: frozenset[DeliveryState]
    viewer: Viewer | None = None

    def on(self, table: FromClause) -> Iterator[_Condition]:
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
            silent = _is_silent(table, self.org, said)
            yield or_(*(_of_status(table, one, silent) for one in sorted(said.statuses)))
        if self.viewer is not None:
            yield readable_delivery(self.viewer, table)
        yield from _span(table, said)


def _ways_of(viewer: Viewer | None, org: OrgId, said: Selection, states: frozenset[DeliveryState]) -> Iterator[_Way]:
    """The ways to what is selected, of which somebody who may not see all must look at each."""
    some = viewer is not None and not viewer.all
    return (replace(way, whole=False) if some else way for way in _ways(org, said, states))


def _ways(org: OrgId, said: Selection, states: frozenset[DeliveryState]) -> Iterator[_Way]:
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
        yield _Way(index.name, conditions, whole=False)
        return
    conditions = (delivery.c.org == org, *conditions, *_span(delivery, said))
    for state in sorted(states) if index.each_state else []:
        yield _Way(index.name, (*conditions, delivery.c.state == state), whole)
    if not index.each_state:
        yield _Way(index.name, conditions, whole)


def _ways_by_state(org: OrgId, said: Selection, states: frozenset[DeliveryState]) -> Iterator[_Way]:
    """The parts of the indexes by state, where no field leaves fewer."""
    ours = (delivery.c.org == org, *_span(delivery, said))
    alone = _said(said) <= {"statuses"}
    asked = said.statuses & {DeliveryStatus.QUEUED, DeliveryStatus.DEFERRED}
    for state in sorted(states):
        if state is DeliveryState.QUEUED and asked == {DeliveryStatus.DEFERRED}:
            yield _Way("ix_delivery_deferred", (*ours, DELIVERIES_DEFERRED), whole=alone)
            continue
        name, kept = (
            ("ix_delivery_by_state", DELIVERIES_IN_FLIGHT)
            if state in IN_FLIGHT_DELIVERIES
            else ("ix_delivery_ended", DELIVERIES_NOT_JUST_SENT)
        )
        compared = (state is DeliveryState.QUEUED and len(asked) == 1) or (
            state is DeliveryState.DELIVERED and bool(said.statuses)
        )
        yield _Way(name, (*ours, kept, delivery.c.state == state), whole=alone and not compared)


@dataclass(frozen=True, slots=True)
class _Index:
    """An index of the deliveries, and when it serves."""

    name: str
    field: str
    serves: bool
    conditions: tuple[_Condition, ...] = ()
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


def _of_sender(table: FromClause, sender: str) -> _Condition:
    if sender == NOBODY:
        return table.c.mail_from.is_(None)
    column: ColumnElement[str] = table.c.mail_from if _is_address(sender) else table.c.sender_domain
    return column == sender


def _is_silent(table: FromClause, org: OrgId, said: Selection) -> ColumnElement[bool]:
    """That it ended so long ago that a bounce of what was sent would have come back by now (K1)."""
    if said.as_of is None:
        return false()
    since = deliveries.silent_micros(org, said.as_of)
    return func.coalesce(table.c.ended_at <= since, false())


def _of_status(table: FromClause, status: DeliveryStatus, silent: ColumnElement[bool]) -> _Condition:
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


def _span(table: FromClause, said: Selection) -> Iterator[_Condition]:
    """Ids begin with the millisecond that they were made in, so that any way ends in the times as well."""
    if said.created_from is not None:
        yield table.c.id >= first_delivery(said.created_from)
    if said.created_before is not None:
        yield table.c.id < first_delivery(said.created_before)
