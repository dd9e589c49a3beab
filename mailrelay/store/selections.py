"""Deliveries that a `Selection` fits: one condition for lists, counts and actions, found at once however much is queued (R3).

Each way into the queue is an index that ends in the id, so that a page of it is one look. What a selection asks beside that is
compared row by row, for a bounded number of rows at a time: a page may then be short, even empty, and yet not be the last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Select,
    func,
    literal_column,
    select,
    text,
    union_all,
)

from mailrelay.ids import DeliveryId, OrgId
from mailrelay.model.delivery import (
    Delivery,
    DeliveryState,
    DeliveryStatus,
    delivery_status,
)
from mailrelay.model.operation import Selection, states_in
from mailrelay.store import deliveries
from mailrelay.store.base import Tx
from mailrelay.store.selection_ways import ALL, Condition, Fits, Way, is_silent, ways_of
from mailrelay.store.tables import delivery
from mailrelay.store.visibility import Viewer

LOOKED_AT: Final = 20_000
"""Rows that one question compares at most."""
COUNTED: Final = 10_000
"""A count is exact up to here."""
_COMPARED = (
    *("id", "org", "state", "attempts", "replied_at", "held_by", "destination", "recipient_key", "mail_from"),
    *("sender_domain", "job", "message", "queue_id", "author", "opened_at", "clicked_at", "ended_at"),
)


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
        [*ways_of(viewer, org, selection, states)],
        (*behind, *to),
        Fits(org, selection, states, viewer),
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
    for way in ways_of(viewer, org, selection, states):
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
            is_silent(window, org, selection).label("silent"),
        )
        if not way.whole:
            fits = fits.where(*Fits(org, selection, states, viewer).on(window)).limit(room)
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
        .where(delivery.c.id.in_(sorted(ids)), *Fits(org, selection, states).on(delivery))
        .order_by(delivery.c.id)
        .with_for_update()
    )
    return tuple(deliveries.from_row(row._mapping) for row in rows)


def _plan_for_values(tx: Tx) -> None:
    """Have PostgreSQL plan each question for the values it asks for: a plan for any may walk through all that is not meant."""
    if tx.dialect == "postgresql":
        tx.execute(text("SET LOCAL plan_cache_mode = force_custom_plan"))


def _look(
    tx: Tx, ways: Sequence[Way], span: tuple[Condition, ...], fits: Fits, *, oldest_first: bool, limit: int
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
