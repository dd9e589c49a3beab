"""What mails that came back say of their recipients: one row each, kept for good (I10)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, and_, or_, select, tuple_

from mailrelay.clock import from_micros, to_micros
from mailrelay.ids import DeliveryId, MessageId, OrgId, QueueId
from mailrelay.model.feedback import REPORTS, Action, Category, Fault, Feedback, Tie
from mailrelay.model.message import Kind
from mailrelay.store.base import InsertInto, Tx, for_both
from mailrelay.store.tables import attempt, delivery, feedback
from mailrelay.store.visibility import Viewer, readable

_OVERTAKEN = ("arrival", "delivery", "hard", "tie", "believed", "at")


def _add(insert: InsertInto) -> Any:
    row = insert(feedback)
    return row.on_conflict_do_update(
        index_elements=["message", "position"],
        set_={name: row.excluded[name] for name in _OVERTAKEN},
        where=(row.excluded.believed & ~feedback.c.believed),
    ).returning(feedback.c.position)


_ADD = for_both(_add)


def add(tx: Tx, new: Sequence[Feedback]) -> frozenset[int]:
    """Keep what one mail says; the positions of what is new.

    The same mail may arrive again, which adds nothing, unless only this time it came by a way on which it is believed.
    """
    rows = [
        {
            "message": one.message,
            "position": one.position,
            "org": one.org,
            "arrival": one.arrival,
            "delivery": one.delivery,
            "kind": one.kind,
            "recipient": one.recipient,
            "recipient_key": one.key,
            "status": one.status,
            "code": one.code,
            "diagnostic": one.diagnostic,
            "action": one.action,
            "category": one.category,
            "hard": one.hard,
            "fault": one.fault,
            "tie": one.tie,
            "believed": one.believed,
            "at": to_micros(one.at),
        }
        for one in new
    ]
    return frozenset(row.position for row in tx.execute(_ADD[tx.dialect], rows)) if rows else frozenset()


def of_message(tx: Tx, org: OrgId, message: MessageId) -> tuple[Feedback, ...]:
    """What a mail that came back says, in its order."""
    found = select(feedback).where(feedback.c.message == message, feedback.c.org == org)
    return _read(tx, found.order_by(feedback.c.position))


def of_deliveries(tx: Tx, org: OrgId, ids: Sequence[DeliveryId], *, limit: int = 1_000) -> tuple[Feedback, ...]:
    """What came back about deliveries, oldest first."""
    found = select(feedback).where(feedback.c.delivery.in_(ids)).order_by(feedback.c.at, feedback.c.message)
    return tuple(one for one in _read(tx, found.order_by(feedback.c.position).limit(limit)) if one.org == org)


def believed_of(tx: Tx, org: OrgId, sent_back: Collection[MessageId]) -> tuple[DeliveryId, ...]:
    """The deliveries that these mails are surely about, as it was found when they came."""
    if not sent_back:
        return ()
    found = select(feedback.c.delivery, feedback.c.org).where(
        feedback.c.message.in_(sorted(sent_back)), feedback.c.believed, feedback.c.delivery.is_not(None)
    )
    return tuple(sorted({DeliveryId(row.delivery) for row in tx.execute(found) if row.org == org}))


def overtaking(tx: Tx, ids: Collection[DeliveryId]) -> tuple[Feedback, ...]:
    """The believed reports that tell how deliveries went whose last attempt was only noted now, oldest first.

    A failure from before that attempt was another one's. A success is one whenever it was told.
    """
    if not ids:
        return ()
    last = and_(attempt.c.delivery == delivery.c.id, attempt.c.number == delivery.c.attempts)
    found = (
        select(*feedback.c)
        .join(delivery, and_(delivery.c.id == feedback.c.delivery, delivery.c.org == feedback.c.org))
        .join(attempt, last)
        .where(
            feedback.c.delivery.in_(sorted(ids)),
            feedback.c.believed,
            feedback.c.kind.in_(sorted(REPORTS)),
            or_(
                feedback.c.action == Action.DELIVERED,
                # The clocks of two nodes differ: of the first attempt nothing can be too early.
                and_(
                    feedback.c.action == Action.FAILED,
                    or_(attempt.c.number == 1, feedback.c.at >= attempt.c.began_at),
                ),
            ),
        )
    )
    return _read(tx, found.order_by(feedback.c.at, feedback.c.message, feedback.c.position))


def of_address(
    tx: Tx,
    org: OrgId,
    key: str,
    *,
    before: tuple[datetime, MessageId, int] | None = None,
    limit: int = 100,
    viewer: Viewer | None = None,
) -> tuple[Feedback, ...]:
    """A page of what was said of an address (by key), newest first; `before` is where the page before ended.

    Only in mail that a viewer may see, or in all.
    """
    order = (feedback.c.at, feedback.c.message, feedback.c.position)
    page = select(feedback).where(feedback.c.org == org, feedback.c.recipient_key == key)
    if viewer is not None:
        page = page.where(readable(viewer, feedback.c.message))
    if before is not None:
        # The first column by itself, for the index: a comparison of rows alone would read the address's whole history.
        page = page.where(feedback.c.at <= to_micros(before[0]))
        page = page.where(tuple_(*order) < tuple_(to_micros(before[0]), before[1], before[2]))
    return _read(tx, page.order_by(*(column.desc() for column in order)).limit(limit))


def _read(tx: Tx, wanted: Select[Any]) -> tuple[Feedback, ...]:
    return tuple(_feedback(row) for row in tx.execute(wanted))


def _feedback(row: Row[Any]) -> Feedback:
    return Feedback(
        org=OrgId(row.org),
        message=MessageId(row.message),
        position=row.position,
        arrival=QueueId(row.arrival),
        delivery=None if row.delivery is None else DeliveryId(row.delivery),
        kind=Kind(row.kind),
        recipient=row.recipient,
        key=row.recipient_key,
        status=row.status,
        code=row.code,
        diagnostic=row.diagnostic,
        action=Action(row.action),
        category=Category(row.category),
        hard=row.hard,
        fault=Fault(row.fault),
        tie=Tie(row.tie),
        believed=row.believed,
        at=from_micros(row.at),
    )
