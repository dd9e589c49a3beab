"""What authors are owed to hear of their mail, and that it was told: a delivery's `notice`, and `noticed` (O11)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, tuple_, update

from mailrelay.clock import to_micros
from mailrelay.ids import DeliveryId, QueueId
from mailrelay.model.address import ReversePath
from mailrelay.model.delivery import Attempt, Delivery, Notice
from mailrelay.model.feedback import Action, Feedback
from mailrelay.model.message import Message
from mailrelay.model.organisation import Organisation
from mailrelay.model.suppression import Suppression
from mailrelay.store import (
    deliveries,
    feedback,
    messages,
    organisation_addresses,
    organisations,
    people,
    suppressions,
)
from mailrelay.store.base import Tx
from mailrelay.store.tables import HELD_UNTOLD, delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """All that one notice is made of: the deliveries of a submission whose author is owed one, and what is known of them."""

    organisation: Organisation
    deliveries: tuple[Delivery, ...]
    attempts: Mapping[DeliveryId, Attempt]
    """The last of each that was tried."""
    came_back: Mapping[DeliveryId, Feedback]
    """The believed report of each that failed after the next hop had taken it."""
    message: Message | None
    author: ReversePath
    """Whom to tell: the envelope sender; of what was sent as a shared address the user who sent it."""
    suppressed: Suppression | None
    """What stands against sending to the author."""


def waiting(tx: Tx, *, skip: Collection[QueueId] = (), limit: int = 100) -> tuple[QueueId, ...]:
    """Submissions of which a notice is owed, oldest first, without those in `skip`."""
    found = select(delivery.c.queue_id).where(delivery.c.notice != "").distinct()
    if skip:
        found = found.where(delivery.c.queue_id.not_in(sorted(skip)))
    return tuple(QueueId(row[0]) for row in tx.execute(found.order_by(delivery.c.queue_id).limit(limit)))


def owed(tx: Tx, queue_id: QueueId) -> Owed | None:
    """What is owed to the author of a submission; None when nothing is (any more)."""
    found = tuple(one for one in deliveries.of_queue_id(tx, queue_id) if one.notice is not Notice.NONE)
    if not found:
        return None
    first = found[0]
    author = _author(tx, first)
    attempts = {one.id: history[-1] for one in found if (history := deliveries.history(tx, one.id))}
    reports = feedback.of_deliveries(tx, first.org, [one.id for one in found])
    return Owed(
        organisation=organisations.get(tx, first.org),
        deliveries=found,
        attempts=attempts,
        came_back={
            one.delivery: one
            for one in reports
            if one.delivery is not None and one.believed and one.action is Action.FAILED
        },
        message=next(iter(messages.get_many(tx, first.org, [first.message])), None),
        author=author,
        suppressed=None if author is None else next(iter(suppressions.holding(tx, first.org, [author.key])), None),
    )


def _author(tx: Tx, first: Delivery) -> ReversePath:
    if first.mail_from is None or first.author is None:
        return first.mail_from
    shared = organisation_addresses.find(tx, organisation_addresses.keys_of(first.mail_from))
    # Mail to the shared address comes to us: what goes wrong with one user's mail is not for all who read there.
    if any(one.org == first.org for one in shared):
        return people.get(tx, first.org, first.author).primary
    return first.mail_from


def held_untold(tx: Tx, *, before: datetime, after: Delivery | None = None, limit: int = 100) -> tuple[Delivery, ...]:
    """A page of the held deliveries from before this moment, of no job, of which nothing is owed or was told; oldest first."""
    page = select(delivery).where(HELD_UNTOLD, delivery.c.created_at <= to_micros(before))
    if after is not None:
        page = page.where(tuple_(delivery.c.created_at, delivery.c.id) > (to_micros(after.created_at), after.id))
    found = tx.execute(page.order_by(delivery.c.created_at, delivery.c.id).limit(limit))
    return tuple(deliveries.from_row(row._mapping) for row in found)


def owe_delayed(tx: Tx, ids: Collection[DeliveryId]) -> int:
    """Note that the authors of these, where they are held still, are to be told of the delay; of how many."""
    return tx.execute(
        update(delivery).where(delivery.c.id.in_(sorted(ids)), HELD_UNTOLD).values(notice=Notice.DELAYED)
    ).rowcount


def take(tx: Tx, told: Sequence[Delivery], *, noticed: bool) -> bool:
    """Settle what these deliveries owe, all or none; whether they owed it still, as they stand in `told`.

    To be called in the transaction that queues the notice, which must not be kept when this says False: somebody else told it,
    or it is not true any more. `noticed`: whether it counts as told, so that it is not owed again.
    """
    rows = tx.execute(
        select(delivery.c.id, delivery.c.notice, delivery.c.noticed)
        .where(delivery.c.id.in_([one.id for one in told]))
        .order_by(delivery.c.id)
        .with_for_update()
    )
    standing = {row.id: (row.notice, row.noticed) for row in rows}
    if any(standing.get(one.id) != (one.notice, one.noticed) for one in told):
        return False
    settled = {"noticed": delivery.c.notice} if noticed else {}
    tx.execute(
        update(delivery).where(delivery.c.id.in_([one.id for one in told])).values(notice=Notice.NONE, **settled)
    )
    return True
