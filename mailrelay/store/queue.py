"""The queue: deliveries are enqueued, claimed under a lease, attempted, settled; nothing is taken out of it without an end (K8).

A claim is a lease with a fence that grows, so that the late settle of a lost lease changes nothing (Q05). An attempt is
written down before anybody is dialled; one without an outcome whose lease ran out was cut off at an unknown point.
"""

from __future__ import annotations

import shlex
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Executable, Row, Select, and_, bindparam, case, delete, func, insert, select, text, update
from sqlalchemy.exc import SQLAlchemyError

from mailrelay import log, metrics
from mailrelay.clock import to_micros
from mailrelay.errors import Conflict
from mailrelay.ids import DeliveryId, MessageId, NodeId, OrgId, QueueId
from mailrelay.model.delivery import (
    HELD_BY_HAND,
    IN_FLIGHT_DELIVERIES,
    POISON,
    UNCONFIRMED,
    Delivery,
    DeliveryState,
    Interrupted,
    Notice,
    Outcome,
    Stage,
    TlsProof,
)
from mailrelay.model.event import EventType
from mailrelay.model.feedback import Category, Fault
from mailrelay.model.tracking import Tracked
from mailrelay.store import deliveries, destinations, events, ledger, rows
from mailrelay.store.base import Bell, Tx
from mailrelay.store.destinations import wake
from mailrelay.store.tables import DELIVERIES_WAITING, attempt, delivery, destination

CUT_OFF = Interrupted(stage=Stage.DOT, detail="the process ended during the attempt; the message may have been taken")
"""The outcome of an attempt whose process died: it may have come as far as the final dot."""
CUT_SHORT = Interrupted(
    stage=Stage.DATA, detail="the process ended during the attempt, before the message was complete"
)
"""… when its final dot had not gone out, which is known of mass mail."""
DIED = "The process ended without a word during an attempt of this delivery."
FORGOTTEN = "The end of an attempt of this delivery could not be written down."
_UNREADABLE = "its row cannot be read"
_FRAMES = 30
WHY = {
    HELD_BY_HAND: "somebody holds it",
    POISON: "our own code failed on it again and again",
    UNCONFIRMED: "it was cut off when the next hop may have taken it already, and mass mail never goes out twice",
}
"""What holds a delivery other than a suspension, in words."""
T = TypeVar("T")
_SENDING = text("state = 'sending'")
_logger = log.get()

_EVENTS = {
    DeliveryState.QUEUED: EventType.DELIVERY_DEFERRED,
    DeliveryState.HELD: EventType.DELIVERY_DEFERRED,
    DeliveryState.SENT: EventType.DELIVERY_SENT,
    DeliveryState.BOUNCED: EventType.DELIVERY_BOUNCED,
    DeliveryState.EXPIRED: EventType.DELIVERY_EXPIRED,
    DeliveryState.FAILED: EventType.DELIVERY_FAILED,
    DeliveryState.SUPPRESSED: EventType.DELIVERY_SUPPRESSED,
    DeliveryState.CANCELLED: EventType.DELIVERY_CANCELLED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """How an attempt of a claimed delivery ended, and what follows.

    `state` is QUEUED or HELD with its `due_at`, or an end. `outcome` None when nobody was asked (suppressed meanwhile); then
    `reason` is what the books say.
    """

    held: Delivery
    state: DeliveryState
    outcome: Outcome | None
    host: str = ""
    tls: TlsProof | None = None
    due_at: datetime | None = None
    reason: str = ""
    category: Category | None = None
    """What the answer means; `hard` and `fault` with it, `notice` what its author is owed now."""
    hard: bool = False
    fault: Fault | None = None
    notice: Notice = Notice.NONE
    held_by: str = ""
    """Of a HELD one: the suspension that holds it, `scope:name`; POISON or UNCONFIRMED."""
    faults: int = 0
    """What `Delivery.faults` is now; `trace` what our code said when it failed last."""
    trace: str = ""
    expires_at: datetime | None = None
    """When it expires now, if that has changed."""
    tracked: Tracked = Tracked.NOT_SENT
    """What became of the copy that the next hop got (O9)."""
    relayed: bool = False
    """A relay answered, or should have, that takes mail on for us (`courier.base.Report`)."""

    @property
    def last_reply(self) -> str:
        """One line for lists and logs."""
        return self.reason if self.outcome is None else reply_line(self.outcome)


class LeaseLost(Exception):
    """A claimed delivery is not ours any more; nothing of it may be sent."""


def reply_line(outcome: Outcome) -> str:
    """An outcome in one line, for lists and logs."""
    if isinstance(outcome, Interrupted):
        return f"interrupted at {outcome.stage}: {outcome.detail}"
    return str(outcome.reply)


def enqueue(tx: Tx, new: Sequence[Delivery]) -> None:
    """Write deliveries down, count them, tell the journal, and ring. Their body and message must be put in the same transaction."""
    if not new:
        return
    tx.execute(
        insert(delivery),
        [
            {
                "id": one.id,
                "org": one.org,
                "message": one.message,
                "queue_id": one.queue_id,
                "channel": one.channel,
                "mail_from": rows.encode_address(one.mail_from),
                "params": rows.encode(one.params),
                "recipient": rows.encode(one.recipient),
                "recipient_key": one.address.key,
                "destination": one.address.domain,
                "state": one.state,
                "digest": one.raw.digest,
                "size": one.raw.size,
                "created_at": to_micros(one.created_at),
                "due_at": to_micros(one.due_at),
                "expires_at": to_micros(one.expires_at),
                "attempts": one.attempts,
                "last_reply": one.last_reply,
                "job": one.job,
                "sender_domain": one.sender_domain,
                "author": one.author or "",
                "scheduled_for": None if one.scheduled_for is None else to_micros(one.scheduled_for),
                "tracking": one.tracking or "",
                "list": one.list,
            }
            for one in new
        ],
    )
    for channel, number in Counter(one.channel for one in new).items():
        ledger.count_accepted(tx, channel, ledger.Thing.DELIVERY, number)
    for one in new:
        _tell(
            tx, one, EventType.DELIVERY_QUEUED, one.created_at, {"channel": one.channel, "recipient": str(one.address)}
        )
    wake_for(tx, new)
    tx.ring(Bell.QUEUE)


def wake_for(tx: Tx, waiting: Iterable[Delivery]) -> None:
    """`wake` for deliveries that wait, each due as it says."""
    due: dict[str, datetime] = {}
    for one in waiting:
        name = one.address.domain
        due[name] = min(one.due_at, due.get(name, one.due_at))
    wake(tx, due)


def claim(
    tx: Tx,
    *,
    node: NodeId,
    now: datetime,
    lease: timedelta,
    limit: int,
    chunk: int | None = None,
    skip: Collection[str] = (),
    only: Sequence[str] = (),
) -> list[Delivery]:
    """Take up to `limit` deliveries that are due, `chunk` of each destination at most (None: all), longest due first.

    Destinations that wait longest are looked at first, none of those in `skip`; those that have more go behind the others, so that
    none delays another however much waits for it. Where few are awake, each gets its share of `limit`. With `only`, these
    destinations are looked at and no others, though they may be parked.
    """
    at = to_micros(now)
    names = _awake(tx, at, limit=limit, skip=skip, only=only)
    # Where few wait, each gets more.
    share = limit if chunk is None else max(chunk, limit // max(1, len(names)))
    found: list[str] = []
    seen: list[str] = []
    for name in names:
        room = min(share, limit - len(found))
        if room <= 0:
            break
        found.extend(tx.execute(_DUE, {"b_destination": name, "b_at": at, "b_limit": room}).scalars())
        seen.append(name)
    claimed: list[Delivery] = []
    if found:
        taken = (
            update(delivery)
            .where(delivery.c.id.in_(found))
            .values(
                state=DeliveryState.SENDING,
                lease_node=node,
                lease_until=to_micros(now + lease),
                fence=delivery.c.fence + 1,
            )
            .returning(*delivery.c)
        )
        claimed = _readable(tx, taken, select(delivery), found, lambda row: deliveries.from_row(row._mapping), now)
    _put_behind(tx, seen, at, _KEEP_PARKED if only else _WAKE_AT)
    return sorted(claimed, key=lambda one: (one.due_at, one.id))


def _awake(tx: Tx, at: int, *, limit: int, skip: Collection[str], only: Sequence[str]) -> Sequence[str]:
    """The destinations to look at, locked: no other process looks at them meanwhile, and who wakes them waits for us."""
    names = select(destination.c.name)
    if only:
        names = names.where(destination.c.name.in_(sorted(only))).order_by(destination.c.name)
    else:
        names = names.where(destination.c.wake_at <= at).order_by(destination.c.wake_at)
        if skip:
            names = names.where(destination.c.name.not_in(sorted(skip)))
    return tx.execute(names.limit(limit).with_for_update(skip_locked=True)).scalars().all()


def _put_behind(tx: Tx, names: Sequence[str], at: int, wake_at: Executable) -> None:
    """Have these destinations wake for what they have left: now, but behind all others that are awake; and those with none go."""
    left: list[dict[str, Any]] = []
    empty: list[dict[str, Any]] = []
    for name in sorted(names):
        # Without SKIP LOCKED: what somebody else has locked for a moment still waits.
        due = tx.execute(_NEXT_DUE, {"b_destination": name}).scalar()
        if due is None:
            empty.append({"b_name": name})
        else:
            left.append({"b_name": name, "b_wake_at": max(due, at)})
    if left:
        tx.execute(wake_at, left)
    if empty:
        tx.execute(_FORGET, empty)


_WAITS = (DELIVERIES_WAITING, delivery.c.destination == bindparam("b_destination"))
_DUE = (
    select(delivery.c.id)
    .where(*_WAITS, delivery.c.due_at <= bindparam("b_at"))
    .order_by(delivery.c.due_at)
    .limit(bindparam("b_limit"))
    .with_for_update(skip_locked=True)  # SQLite leaves it out: one writer
)
_NEXT_DUE = select(func.min(delivery.c.due_at)).where(*_WAITS)
_WAKE_AT = (
    update(destination)
    .where(destination.c.name == bindparam("b_name"))
    .values(wake_at=bindparam("b_wake_at"), parked_until=0, because="", parked_by="")
)
_KEEP_PARKED = (
    update(destination)
    .where(destination.c.name == bindparam("b_name"))
    .values(
        wake_at=case(
            (destination.c.parked_until > bindparam("b_wake_at"), destination.c.parked_until),
            else_=bindparam("b_wake_at"),
        )
    )
)
_FORGET = delete(destination).where(destination.c.name == bindparam("b_name"))


def begin_attempts(tx: Tx, held: Sequence[Delivery], *, host: str, at: datetime, source: str = "") -> list[Delivery]:
    """Write down an attempt at `host` from an egress source for each, before dialling; the deliveries with it counted.

    Those whose lease was lost, or that were cancelled meanwhile, are left out: they must not be sent.
    """
    mine = _still_held(tx, held)
    begun = [replace(one, attempts=one.attempts + 1) for one in held if one.id in mine]
    if begun:
        tx.execute(
            insert(attempt),
            [
                {"delivery": one.id, "number": one.attempts, "began_at": to_micros(at), "host": host, "source": source}
                for one in begun
            ],
        )
        _change(tx, [{"b_id": one.id, "attempts": one.attempts} for one in begun])
    return begun


def settle(tx: Tx, settlements: Sequence[Settlement], *, at: datetime) -> list[DeliveryId]:
    """Write the ends of attempts, with their events and books; returns those whose lease was lost, of which nothing is kept."""
    mine = _still_held(tx, [one.held for one in settlements])
    kept = [one for one in settlements if one.held.id in mine]
    if kept:
        _settle_rows(tx, kept, at)
        _settle_attempts(tx, [one for one in kept if one.outcome is not None], at)
    wake_for(
        tx,
        [replace(one.held, due_at=one.due_at or one.held.due_at) for one in kept if one.state is DeliveryState.QUEUED],
    )
    ended = Counter(one.held.channel for one in kept if one.state not in IN_FLIGHT_DELIVERIES)
    for channel, number in ended.items():
        ledger.count_ended(tx, channel, ledger.Thing.DELIVERY, number)
    for one in kept:
        data = {"reply": one.last_reply, "host": one.host, "attempt": str(one.held.attempts)}
        if one.due_at is not None:
            data["due_at"] = one.due_at.isoformat()
        if one.category is not None and one.fault is not None:
            data |= {"category": one.category, "class": "hard" if one.hard else "soft", "fault": one.fault}
        if one.tracked not in (Tracked.NOT_SENT, Tracked.OFF):
            data["tracked"] = one.tracked
        if one.held_by:
            data["held_by"] = one.held_by
        if one.held_by in WHY:
            tell_held(tx, one.held, one.held_by, at=at, data=data | ({"trace": one.trace} if one.trace else {}))
        else:
            _tell(tx, one.held, _EVENTS[one.state], at, data)
    return [one.held.id for one in settlements if one.held.id not in mine]


def hold(tx: Tx, held: Sequence[tuple[Delivery, str]], *, at: datetime) -> None:
    """Put claimed deliveries aside, each for the suspension named with it; of those that were lost, nothing changes."""
    mine = _still_held(tx, [one for one, _ in held])
    free = {"state": DeliveryState.HELD, "lease_node": None, "lease_until": None, "held_at": to_micros(at)}
    if mine:
        _change(tx, [{"b_id": one.id, "held_by": by, **free} for one, by in held if one.id in mine])


def release(tx: Tx, held: Sequence[Delivery], *, until: datetime | None = None, now: datetime | None = None) -> None:
    """Give claimed deliveries back, due as they were, or at `until`; of those that were lost, nothing changes.

    None sleeps past its expiry. What was claimed before the time that its author chose, as `now` knows, is SCHEDULED for it again.
    """
    mine = _still_held(tx, held)
    if mine:
        given = [_given_back(one, until, now) for one in held if one.id in mine]
        free = {"lease_node": None, "lease_until": None}
        _change(tx, [{"b_id": one.id, "state": one.state, "due_at": to_micros(one.due_at), **free} for one in given])
        wake_for(tx, given)
        tx.ring(Bell.QUEUE)


def _given_back(one: Delivery, until: datetime | None, now: datetime | None) -> Delivery:
    due = one.due_at
    if until is not None:
        # What has expired already is put off too: else it would be claimed, and given back, without end.
        due = min(until, one.expires_at) if due < one.expires_at else until
    planned = one.scheduled_for
    if planned is not None and not one.attempts and now is not None and planned > now:
        return replace(one, state=DeliveryState.SCHEDULED, due_at=planned)
    return replace(one, state=DeliveryState.QUEUED, due_at=due)


def park(
    tx: Tx,
    held: Sequence[Delivery],
    *,
    until: datetime,
    site: str,
    because: str,
    by: NodeId,
    now: datetime | None = None,
) -> None:
    """`release` claimed deliveries, due as they were, and let nobody look at their destinations before `until`.

    That delays all mail for these destinations: only for a way that all of it takes.
    """
    release(tx, held, now=now)
    destinations.park(tx, {one.address.domain for one in held}, until=until, site=site, because=because, by=by)


def lost(tx: Tx, held: Sequence[Delivery]) -> list[DeliveryId]:
    """Those of these claims that are not ours any more."""
    mine = _still_held(tx, held)
    return [one.id for one in held if one.id not in mine]


def recover(tx: Tx, node: NodeId, *, now: datetime, max_faults: int = 3, limit: int = 500) -> int:
    """Put back what a process of this name had taken, `limit` of it; how many, 0 when nothing is left. It must be dead.

    An attempt that it had begun is closed: it stays counted, and counts as a fault, since it may be what the process died of: at `max_faults`
    in a row the delivery is set aside (Q03).
    Mass mail whose final dot may have gone out is held as unconfirmed: nobody gets it twice (D11, M09).
    """
    mine = select(delivery.c.id).where(_SENDING, delivery.c.lease_node == node).limit(limit).with_for_update()
    ids = tx.execute(mine).scalars().all()
    if ids:
        _put_back(tx, _taken(tx, ids, now), now, max_faults, died=DIED)
    return len(ids)


def claims(tx: Tx, node: NodeId) -> dict[DeliveryId, int]:
    """What a process has claimed, each with its fence."""
    found = select(delivery.c.id, delivery.c.fence).where(_SENDING, delivery.c.lease_node == node)
    return {DeliveryId(row.id): int(row.fence) for row in tx.execute(found)}


def take_up(
    tx: Tx, node: NodeId, claimed: Mapping[DeliveryId, int], *, now: datetime, max_faults: int, limit: int = 500
) -> int:
    """As `recover`, of a process that lives and has forgotten these claims; those with another fence are left alone."""
    mine = select(delivery.c.id, delivery.c.fence).where(
        _SENDING, delivery.c.lease_node == node, delivery.c.id.in_(sorted(claimed)[:limit])
    )
    ids = [row.id for row in tx.execute(mine.with_for_update()) if claimed[row.id] == row.fence]
    if ids:
        _put_back(tx, _taken(tx, ids, now), now, max_faults, died=FORGOTTEN)
    return len(ids)


_Taken = tuple[Delivery, bool, bool]
"""A claimed delivery, whether it has an open attempt, and whether that was dotted."""


def _taken(tx: Tx, ids: Sequence[str], now: datetime) -> list[_Taken]:
    with_attempt = select(*delivery.c, attempt.c.number, attempt.c.dotted).outerjoin_from(
        delivery,
        attempt,
        and_(
            attempt.c.delivery == delivery.c.id,
            attempt.c.number == delivery.c.attempts,
            attempt.c.outcome.is_(None),
        ),
    )

    def of(row: Row[Any]) -> _Taken:
        return deliveries.from_row(row._mapping), row.number is not None, bool(row.dotted)

    return _readable(tx, with_attempt.where(delivery.c.id.in_(ids)), with_attempt, ids, of, now)


def _readable(
    tx: Tx, asked: Executable, each: Select[Any], ids: Sequence[str], of: Callable[[Row[Any]], T], now: datetime
) -> list[T]:
    """What `asked` says of the rows with these ids, or `each` of one. One that cannot be read is set aside, and stops no other."""
    try:
        return [of(row) for row in tx.execute(asked).all()]
    except SQLAlchemyError:
        raise
    except Exception:  # noqa: BLE001 (which one it is comes next)
        found: list[T] = []
    for id_ in ids:
        try:
            found.extend([of(row) for row in tx.execute(each.where(delivery.c.id == id_)).all()])
        except SQLAlchemyError:
            raise
        except Exception:  # noqa: BLE001 (it is kept with the row)
            _set_aside(tx, DeliveryId(id_), traceback.format_exc(limit=-_FRAMES), now)
    return found


def _set_aside(tx: Tx, id_: DeliveryId, trace: str, now: datetime) -> None:
    """Hold a delivery that cannot be read, by its id alone; an open attempt of it may have come as far as its final dot."""
    at = to_micros(now)
    changed = tx.execute(
        update(delivery)
        .where(delivery.c.id == id_)
        .values(
            state=DeliveryState.HELD,
            held_by=POISON,
            held_at=at,
            lease_node=None,
            lease_until=None,
            trace=trace,
            last_reply=_UNREADABLE,
        )
        .returning(delivery.c.org, delivery.c.queue_id, delivery.c.message)
    ).one()
    tx.execute(
        update(attempt)
        .where(attempt.c.delivery == id_, attempt.c.outcome.is_(None))
        .values(ended_at=at, outcome=rows.encode_outcome(CUT_OFF))
    )
    events.append(
        tx,
        org=OrgId(changed.org),
        at=now,
        type=EventType.DELIVERY_HELD,
        queue_id=QueueId(changed.queue_id),
        message=MessageId(changed.message),
        delivery=id_,
        data={"held_by": POISON, "why": WHY[POISON], "trace": trace},
    )
    tx.afterwards(metrics.set_aside.labels(POISON).inc)
    told = {"org": changed.org, "queue_id": changed.queue_id, "delivery": id_, "held_by": POISON}
    tx.afterwards(partial(_logger.error, "delivery.held", reply=_UNREADABLE, **told))


def _put_back(tx: Tx, taken: Sequence[_Taken], now: datetime, max_faults: int, *, died: str) -> None:
    """`died` is what is said of those with an open attempt."""
    at = to_micros(now)
    changes: list[dict[str, Any]] = []
    closed: list[dict[str, Any]] = []
    for one, begun, dotted in taken:
        state, by = DeliveryState.QUEUED, ""
        outcome = CUT_SHORT if one.job and not dotted else CUT_OFF
        faults = one.faults + begun
        if begun and one.job and dotted:
            state, by = DeliveryState.HELD, UNCONFIRMED
        elif begun and faults >= max_faults:
            state, by = DeliveryState.HELD, POISON
        trace = one.trace or died if begun else one.trace
        changes.append(
            {
                "b_id": one.id,
                "state": state,
                "held_by": by,
                "held_at": at if by else None,
                "lease_node": None,
                "lease_until": None,
                "faults": faults,
                "trace": trace,
                "last_reply": reply_line(outcome) if begun else one.last_reply,
            }
        )
        if begun:
            encoded = rows.encode_outcome(outcome)
            closed.append({"b_delivery": one.id, "b_number": one.attempts, "ended_at": at, "outcome": encoded})
        if by:
            tx.afterwards(partial(_told_held, one, by))
            tell_held(tx, one, by, at=now, data={"attempt": str(one.attempts), "trace": trace} if by == POISON else {})
    _change(tx, changes)
    if closed:
        tx.execute(
            update(attempt).where(
                attempt.c.delivery == bindparam("b_delivery"), attempt.c.number == bindparam("b_number")
            ),
            closed,
        )
    wake_for(tx, [one for (one, _, _), change in zip(taken, changes, strict=True) if not change["held_by"]])
    tx.ring(Bell.QUEUE)


def dot(tx: Tx, held: Sequence[Delivery]) -> None:
    """Write down that the final dot of these attempts is about to go out. Raises LeaseLost unless all of them are still ours."""
    mine = _still_held(tx, held)
    if len(mine) < len(held):
        raise LeaseLost(", ".join(sorted(one.id for one in held if one.id not in mine)))
    tx.execute(
        update(attempt)
        .where(attempt.c.delivery == bindparam("b_delivery"), attempt.c.number == bindparam("b_number"))
        .values(dotted=True),
        [{"b_delivery": one.id, "b_number": one.attempts} for one in held],
    )


def tell_held(tx: Tx, one: Delivery, by: str, *, at: datetime, data: Mapping[str, str] | None = None) -> None:
    """Tell the journal that a delivery is held by something else than a suspension, and why."""
    _tell(tx, one, EventType.DELIVERY_HELD, at, {"held_by": by, "why": WHY[by], **(data or {})})


def retry_now(tx: Tx, org: OrgId, id: DeliveryId, *, now: datetime) -> None:  # noqa: A002
    """Make a waiting delivery due. Raises Unknown, or Conflict when it is not waiting."""
    changed = tx.execute(
        update(delivery)
        .where(delivery.c.id == id, delivery.c.org == org, delivery.c.state == DeliveryState.QUEUED)
        .values(due_at=to_micros(now))
        .returning(delivery.c.destination)
    ).first()
    if changed is None:
        found = deliveries.get(tx, org, id)
        raise Conflict(f"{id} is {found.state}{_until(found)}")
    wake(tx, {changed.destination: now})
    tx.ring(Bell.QUEUE)


def _until(found: Delivery) -> str:
    """What a delivery that is not queued waits for, for a sentence."""
    if found.state is not DeliveryState.HELD or not found.held_by:
        return " and waits for nothing"
    scope, _, name = found.held_by.partition(":")
    return f" by {found.held_by}; resume it with mailrelay suspension resume {scope} {shlex.quote(name)}"


def _still_held(tx: Tx, held: Sequence[Delivery]) -> set[DeliveryId]:
    """Those of these claims that are still ours; their rows stay locked until the transaction ends."""
    found = tx.execute(
        select(delivery.c.id, delivery.c.fence)
        .where(delivery.c.id.in_([one.id for one in held]), delivery.c.state == DeliveryState.SENDING)
        .order_by(delivery.c.id)
        .with_for_update()
    )
    fences = {row[0]: row[1] for row in found}
    return {one.id for one in held if one.lease is not None and fences.get(one.id) == one.lease.fence}


def _change(tx: Tx, values: Sequence[dict[str, Any]]) -> None:
    """One UPDATE for many rows, by `b_id`; the other names are columns."""
    tx.execute(update(delivery).where(delivery.c.id == bindparam("b_id")), values)


def _settle_rows(tx: Tx, kept: Iterable[Settlement], at: datetime) -> None:
    values = [
        {
            "b_id": one.held.id,
            "state": one.state,
            "due_at": to_micros(one.due_at or one.held.due_at),
            "last_reply": one.last_reply,
            "ended_at": None if one.state in IN_FLIGHT_DELIVERIES else to_micros(at),
            "lease_node": None,
            "lease_until": None,
            "category": one.category or "",
            "hard": one.hard,
            "fault": one.fault or "",
            "notice": one.notice,
            "held_by": one.held_by,
            "held_at": to_micros(at) if one.held_by else None,
            "faults": one.faults,
            "trace": one.trace,
            "expires_at": to_micros(one.expires_at or one.held.expires_at),
            "tracked": one.tracked or one.held.tracked,
        }
        for one in kept
    ]
    _change(tx, values)


def _settle_attempts(tx: Tx, kept: Sequence[Settlement], at: datetime) -> None:
    if not kept:
        return
    tx.execute(
        update(attempt).where(attempt.c.delivery == bindparam("b_delivery"), attempt.c.number == bindparam("b_number")),
        [
            {
                "b_delivery": one.held.id,
                "b_number": one.held.attempts,
                "ended_at": to_micros(at),
                "host": one.host,
                "tls": None if one.tls is None else rows.encode(one.tls),
                "outcome": None if one.outcome is None else rows.encode_outcome(one.outcome),
            }
            for one in kept
        ],
    )


def _told_held(one: Delivery, by: str) -> None:
    metrics.set_aside.labels(by).inc()
    _logger.error("delivery.held", org=one.org, queue_id=one.queue_id, delivery=one.id, held_by=by)


def _tell(tx: Tx, one: Delivery, type: EventType, at: datetime, data: dict[str, str]) -> None:  # noqa: A002
    events.about(tx, one, type, at=at, data=data)
