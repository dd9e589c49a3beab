"""Deliveries and their attempts as they stand: what lists, journeys and metrics read. Changing them is `queue`'s."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BigInteger, ColumnElement, RowMapping, and_, case, cast, func, literal, select, text, update

from mailrelay.clock import from_micros, to_micros
from mailrelay.errors import Unknown
from mailrelay.ids import DeliveryId, Digest, MessageId, NodeId, OrgId, QueueId, UserId
from mailrelay.model.delivery import (
    Attempt,
    Delivery,
    DeliveryState,
    DeliveryStatus,
    MessageStatus,
    Notice,
    TlsProof,
    delivery_status,
    message_status,
)
from mailrelay.model.envelope import Channel, EnvelopeRecipient, Lease, MailParams
from mailrelay.model.feedback import Category, Fault
from mailrelay.model.message import BlobRef
from mailrelay.model.sending import Scope, Sending
from mailrelay.model.settings import OrganisationSettings
from mailrelay.model.tracking import Mode, Tracked
from mailrelay.store import rows
from mailrelay.store.base import Tx
from mailrelay.store.tables import attempt, delivery, destination, organisation, relay_id
from mailrelay.store.visibility import Viewer, readable_delivery

_HAS_ARRIVED = delivery.c.state.in_([DeliveryState.SENT, DeliveryState.DELIVERED])
_STATUS = case(
    (and_(delivery.c.state == DeliveryState.QUEUED, delivery.c.attempts > 0), DeliveryStatus.DEFERRED),
    (and_(_HAS_ARRIVED, delivery.c.replied_at.is_not(None)), DeliveryStatus.REPLIED),
    (and_(_HAS_ARRIVED, delivery.c.clicked_at.is_not(None)), DeliveryStatus.CLICKED),
    (and_(_HAS_ARRIVED, delivery.c.opened_at.is_not(None)), DeliveryStatus.OPENED),
    else_=delivery.c.state,
)
"""`Delivery.status`, for the database."""
_ANSWERED = sorted({DeliveryState.SENT, DeliveryState.DELIVERED, DeliveryState.BOUNCED, DeliveryState.EXPIRED})
_OF_A_JOB = text("job <> ''")  # what the index over jobs is taken for
_HELD = text("state = 'held'")
_MOST_RELAY_IDS = 3
_DAY = 86_400_000_000
_DEFAULTS = OrganisationSettings()
_LOST = text("state IN ('bounced', 'expired')")
_SENDER_AT_FAULT = text("fault = 'sender'")


@dataclass(frozen=True, slots=True)
class Blames:
    """Refusals for good that blame the sender: answers in the dialogue, reports by mail, and recipient domains these are about."""

    answers: int
    reports: int
    reported_domains: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryEnd:
    """How a delivery ended, as the soft bounces of an address are counted by."""

    state: DeliveryState
    hard: bool
    fault: Fault | None
    category: Category | None
    at: datetime
    last_reply: str


def get(tx: Tx, org: OrgId, id: DeliveryId, *, viewer: Viewer | None = None) -> Delivery:  # noqa: A002
    """One delivery. Raises Unknown, also where there is a viewer who may not see it."""
    found = select(delivery).where(delivery.c.id == id, delivery.c.org == org)
    row = tx.execute(found if viewer is None else found.where(readable_delivery(viewer))).first()
    if row is None:
        raise Unknown("There is no such delivery")
    return from_row(row._mapping)


def by_id(tx: Tx, id: DeliveryId) -> Delivery | None:  # noqa: A002
    """One delivery of any organisation, or None: for what a return path of ours names."""
    row = tx.execute(select(delivery).where(delivery.c.id == id)).first()
    return None if row is None else from_row(row._mapping)


def list_deliveries(
    tx: Tx,
    org: OrgId,
    *,
    states: Collection[DeliveryState] = (),
    statuses: Collection[DeliveryStatus] = (),
    job: str = "",
    before: DeliveryId | None = None,
    limit: int = 100,
) -> tuple[Delivery, ...]:
    """A page of deliveries, newest first, of these states and statuses or all, of a job or of all.

    `before` is the last id of the page before.
    """
    page = select(delivery).where(delivery.c.org == org)
    if states:
        page = page.where(delivery.c.state.in_(sorted(states)))
    if statuses:
        page = page.where(_STATUS.in_(sorted(statuses)))
    if job:
        page = page.where(_OF_A_JOB, delivery.c.job == job)
    if before is not None:
        page = page.where(delivery.c.id < before)
    return tuple(from_row(row._mapping) for row in tx.execute(page.order_by(delivery.c.id.desc()).limit(limit)))


def locked(tx: Tx, id: DeliveryId) -> Delivery | None:  # noqa: A002
    """The delivery as it is now, of any organisation, kept so until the transaction ends; None when there is none."""
    row = tx.execute(select(delivery).where(delivery.c.id == id).with_for_update()).first()
    return None if row is None else from_row(row._mapping)


def change(tx: Tx, id: DeliveryId, values: Mapping[str, object]) -> None:  # noqa: A002
    """Write down what was learned of a delivery that has ended, by column; times are datetimes. Its books are the caller's."""
    row = {name: to_micros(value) if isinstance(value, datetime) else value for name, value in values.items()}
    tx.execute(update(delivery).where(delivery.c.id == id).values(row))


def noticed(tx: Tx, ids: Collection[DeliveryId]) -> dict[DeliveryId, Notice]:
    """What the authors of these deliveries were last told; it stays so until the transaction ends."""
    if not ids:
        return {}
    found = tx.execute(
        select(delivery.c.id, delivery.c.noticed)
        .where(delivery.c.id.in_(sorted(ids)))
        .order_by(delivery.c.id)
        .with_for_update()
    )
    return {DeliveryId(row.id): Notice(row.noticed) for row in found}


def to_address(
    tx: Tx,
    org: OrgId,
    key: str,
    *,
    job: str = "",
    before: DeliveryId | None = None,
    limit: int = 100,
    viewer: Viewer | None = None,
) -> tuple[Delivery, ...]:
    """A page of the deliveries to an address (by key), of one job or of any, newest first; `before` is the last id seen.

    Those that a viewer may see, or all.
    """
    page = select(delivery).where(delivery.c.org == org, delivery.c.recipient_key == key)
    if viewer is not None:
        page = page.where(readable_delivery(viewer))
    if job:
        page = page.where(delivery.c.job == job)
    if before is not None:
        page = page.where(delivery.c.id < before)
    return tuple(from_row(row._mapping) for row in tx.execute(page.order_by(delivery.c.id.desc()).limit(limit)))


def ends(tx: Tx, org: OrgId, key: str, *, limit: int) -> tuple[DeliveryEnd, ...]:
    """What became of the last deliveries to an address (by key) that came to an answer, newest first (I11)."""
    found = tx.execute(
        select(
            delivery.c.state,
            delivery.c.hard,
            delivery.c.fault,
            delivery.c.category,
            delivery.c.ended_at,
            delivery.c.last_reply,
        )
        .where(
            delivery.c.org == org,
            delivery.c.recipient_key == key,
            delivery.c.state.in_(_ANSWERED),
            delivery.c.ended_at.is_not(None),
            delivery.c.category != Category.BY_HAND,
        )
        .order_by(delivery.c.id.desc())
        .limit(limit)
    )
    return tuple(
        DeliveryEnd(
            state=DeliveryState(row.state),
            hard=row.hard,
            fault=Fault(row.fault) if row.fault else None,
            category=Category(row.category) if row.category else None,
            at=from_micros(row.ended_at),
            last_reply=row.last_reply,
        )
        for row in found
    )


def soft_ends(tx: Tx, org: OrgId, keys: Collection[str], *, since: datetime | None = None) -> dict[str, int]:
    """How many deliveries to these addresses (by key) ended as soft bounces since then; those with none are left out (I11)."""
    if not keys:
        return {}
    found = select(delivery.c.recipient_key, func.count().label("number")).where(
        _LOST,
        delivery.c.org == org,
        delivery.c.recipient_key.in_(sorted(keys)),
        delivery.c.ended_at >= (0 if since is None else to_micros(since)),
        ~delivery.c.hard,
        delivery.c.fault != Fault.SENDER,
        delivery.c.category != Category.BY_HAND,
    )
    return {row.recipient_key: int(row.number) for row in tx.execute(found.group_by(delivery.c.recipient_key))}


def blamed(tx: Tx, org: OrgId, sending: Sending, *, since: datetime) -> Blames:
    """The deliveries of a job or domain that were refused after then because of their sender (O17)."""
    column = delivery.c.job if sending.scope is Scope.JOB else delivery.c.sender_domain
    by_mail = case((delivery.c.reported, 1), else_=0)
    domain = case((delivery.c.reported, delivery.c.destination))
    row = tx.execute(
        select(func.count(), func.coalesce(func.sum(by_mail), 0), func.count(domain.distinct())).where(
            _SENDER_AT_FAULT,
            delivery.c.org == org,
            delivery.c.ended_at > to_micros(since),
            column == sending.name,
            delivery.c.state == DeliveryState.BOUNCED,
        )
    ).one()
    return Blames(answers=row[0] - row[1], reports=int(row[1]), reported_domains=row[2])


def count_held(tx: Tx, org: OrgId, sending: Sending) -> int:
    """How many deliveries a suspension holds."""
    found = select(func.count()).where(_HELD, delivery.c.org == org, delivery.c.held_by == str(sending))
    return int(tx.execute(found.select_from(delivery)).scalar_one())


def note_relay_ids(tx: Tx, one: Delivery, names: Sequence[str]) -> None:
    """Keep what a relay called this delivery's mail (I12); the first few names only, or what it returns could grow for ever."""
    if not names:
        return
    # Locked, or two that note at once would each see room.
    tx.execute(select(delivery.c.id).where(delivery.c.id == one.id).with_for_update())
    known = set(
        tx.execute(select(relay_id.c.name).where(relay_id.c.org == one.org, relay_id.c.delivery == one.id)).scalars()
    )
    new = [name for name in dict.fromkeys(names) if name not in known]
    for name in new[: max(0, _MOST_RELAY_IDS - len(known))]:
        tx.execute(tx.insert(relay_id).values(org=one.org, name=name, delivery=one.id).on_conflict_do_nothing())


def by_relay_ids(tx: Tx, org: OrgId, names: Collection[str]) -> tuple[Delivery, ...]:
    """The deliveries whose mail a relay called so, oldest first."""
    if not names:
        return ()
    ids = select(relay_id.c.delivery).where(relay_id.c.org == org, relay_id.c.name.in_(sorted(names)))
    found = tx.execute(select(delivery).where(delivery.c.id.in_(ids)).order_by(delivery.c.id))
    return tuple(from_row(row._mapping) for row in found)


def relayed_as(tx: Tx, org: OrgId, names: Collection[str]) -> dict[str, tuple[Delivery, ...]]:
    """`by_relay_ids`, by the name that the relay gave."""
    found: dict[str, tuple[Delivery, ...]] = {}
    joined = select(relay_id.c.name, *delivery.c).join(delivery, delivery.c.id == relay_id.c.delivery)
    wanted = joined.where(relay_id.c.org == org, relay_id.c.name.in_(sorted(names))).order_by(delivery.c.id)
    for row in tx.execute(wanted):
        found[row.name] = (*found.get(row.name, ()), from_row(row._mapping))
    return found


def to_keys(tx: Tx, org: OrgId, sent: Collection[MessageId], keys: Collection[str]) -> tuple[Delivery, ...]:
    """The deliveries of these messages to these addresses (by key), oldest first."""
    found = select(delivery).where(
        delivery.c.org == org, delivery.c.recipient_key.in_(sorted(keys)), delivery.c.message.in_(sorted(sent))
    )
    return tuple(from_row(row._mapping) for row in tx.execute(found.order_by(delivery.c.id))) if sent and keys else ()


def first_two(tx: Tx, org: OrgId, sent: MessageId) -> tuple[Delivery, ...]:
    """Up to two deliveries of a message: enough to see whether it has only one, of the many that mass mail has."""
    found = tx.execute(select(delivery).where(delivery.c.message == sent).limit(2))
    return tuple(from_row(row._mapping) for row in found if row.org == org)


def of_message(tx: Tx, org: OrgId, message: MessageId, *, viewer: Viewer | None = None) -> tuple[Delivery, ...]:
    """The deliveries of a message, oldest first; those that a viewer may see, or all."""
    # The organisation is not asked of the database: without statistics SQLite would read all that it has.
    found = select(delivery).where(delivery.c.message == message).order_by(delivery.c.id)
    if viewer is not None:
        found = found.where(readable_delivery(viewer))
    return tuple(from_row(row._mapping) for row in tx.execute(found) if row.org == org)


def of_queue_id(tx: Tx, queue_id: QueueId) -> tuple[Delivery, ...]:
    """The deliveries of one submission, in the order of its recipients."""
    found = select(delivery).where(delivery.c.queue_id == queue_id).order_by(delivery.c.id)
    return tuple(from_row(row._mapping) for row in tx.execute(found))


def history(tx: Tx, id: DeliveryId) -> tuple[Attempt, ...]:  # noqa: A002
    """Every attempt of a delivery in order, with the remote's replies as they were."""
    found = tx.execute(select(attempt).where(attempt.c.delivery == id).order_by(attempt.c.number))
    return tuple(_attempt(row._mapping) for row in found)


def of_messages(
    tx: Tx, viewer: Viewer, sent: Collection[MessageId], *, now: datetime
) -> dict[MessageId, MessageStatus]:
    """The status of each of these messages that has deliveries which the viewer may see."""
    org = viewer.org
    silent = to_micros(silent_since(tx, org, now=now))
    found: dict[MessageId, set[DeliveryStatus]] = {}
    columns = select(
        delivery.c.org,
        delivery.c.message,
        delivery.c.state,
        delivery.c.attempts,
        delivery.c.replied_at,
        delivery.c.clicked_at,
        delivery.c.opened_at,
        delivery.c.ended_at,
    )
    for row in tx.execute(columns.where(delivery.c.message.in_(sorted(sent)), readable_delivery(viewer))):
        if row.org == org:
            told = delivery_status(
                DeliveryState(row.state),
                row.attempts,
                replied=row.replied_at is not None,
                clicked=row.clicked_at is not None,
                opened=row.opened_at is not None,
                silent=row.ended_at is not None and row.ended_at <= silent,
            )
            found.setdefault(MessageId(row.message), set()).add(told)
    return {message: status for message, each in found.items() if (status := message_status(each)) is not None}


def silent_since(tx: Tx, org: OrgId, *, now: datetime) -> datetime:
    """What was sent by then, and did not bounce, counts as delivered now (K1)."""
    return from_micros(tx.execute(select(silent_micros(org, now))).scalar_one())


def silent_micros(org: OrgId, now: datetime) -> ColumnElement[int]:
    """`silent_since`, for the database."""
    wait = literal(_DEFAULTS.delivered_after_days, BigInteger)
    days = func.coalesce(cast(organisation.c.settings["delivered_after_days"].as_integer(), BigInteger), wait)
    kept = select(days).where(organisation.c.id == org).scalar_subquery()
    return literal(to_micros(now), BigInteger) - func.coalesce(kept, wait) * literal(_DAY, BigInteger)


def next_due(tx: Tx) -> datetime | None:
    """When the next destination is looked at, or None when nothing waits."""
    due = tx.execute(select(func.min(destination.c.wake_at))).scalar()
    return None if due is None else from_micros(due)


def from_row(row: RowMapping) -> Delivery:
    """The delivery of a whole row."""
    lease = None
    if row["lease_until"] is not None:
        lease = Lease(node=NodeId(row["lease_node"]), until=from_micros(row["lease_until"]), fence=row["fence"])
    return Delivery(
        id=DeliveryId(row["id"]),
        org=OrgId(row["org"]),
        message=MessageId(row["message"]),
        queue_id=QueueId(row["queue_id"]),
        channel=Channel(row["channel"]),
        mail_from=None if row["mail_from"] is None else rows.decode_address(row["mail_from"]),
        params=rows.decode(MailParams, row["params"]),
        recipient=rows.decode(EnvelopeRecipient, row["recipient"]),
        state=DeliveryState(row["state"]),
        raw=BlobRef(digest=Digest(row["digest"]), size=row["size"]),
        created_at=from_micros(row["created_at"]),
        due_at=from_micros(row["due_at"]),
        expires_at=from_micros(row["expires_at"]),
        attempts=row["attempts"],
        last_reply=row["last_reply"],
        lease=lease,
        job=row["job"],
        held_by=row["held_by"],
        ended_at=None if row["ended_at"] is None else from_micros(row["ended_at"]),
        category=Category(row["category"]) if row["category"] else None,
        hard=row["hard"],
        fault=Fault(row["fault"]) if row["fault"] else None,
        replied_at=None if row["replied_at"] is None else from_micros(row["replied_at"]),
        complained_at=None if row["complained_at"] is None else from_micros(row["complained_at"]),
        delivered_at=None if row["delivered_at"] is None else from_micros(row["delivered_at"]),
        notice=Notice(row["notice"]),
        noticed=Notice(row["noticed"]),
        author=UserId(row["author"]) if row["author"] else None,
        scheduled_for=None if row["scheduled_for"] is None else from_micros(row["scheduled_for"]),
        faults=row["faults"],
        trace=row["trace"],
        tracking=Mode(row["tracking"]) if row["tracking"] else None,
        tracked=Tracked(row["tracked"]),
        opened_at=None if row["opened_at"] is None else from_micros(row["opened_at"]),
        clicked_at=None if row["clicked_at"] is None else from_micros(row["clicked_at"]),
        list=row["list"],
    )


def _attempt(row: RowMapping) -> Attempt:
    return Attempt(
        delivery=DeliveryId(row["delivery"]),
        number=row["number"],
        began_at=from_micros(row["began_at"]),
        ended_at=None if row["ended_at"] is None else from_micros(row["ended_at"]),
        host=row["host"],
        tls=None if row["tls"] is None else rows.decode(TlsProof, row["tls"]),
        outcome=rows.decode_outcome(row["outcome"]),
        source=row["source"],
        dotted=row["dotted"],
    )
