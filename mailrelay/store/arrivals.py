"""Arrivals: accepted, claimed by a worker under a lease, and brought to an end that says why (K8)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import RowMapping, and_, bindparam, func, or_, select, update

from mailrelay.clock import from_micros, to_micros
from mailrelay.errors import Stale
from mailrelay.ids import Digest, NodeId, OrgId, QueueId
from mailrelay.model.envelope import (
    IN_FLIGHT_ARRIVALS,
    Arrival,
    ArrivalState,
    ArrivalTarget,
    Channel,
    Envelope,
    Lease,
    Peer,
)
from mailrelay.model.event import EventType
from mailrelay.model.message import BlobRef
from mailrelay.store import events, ledger, rows
from mailrelay.store.base import Bell, Tx
from mailrelay.store.tables import arrival

_TERMINAL = frozenset(ArrivalState) - IN_FLIGHT_ARRIVALS


_CHANGE = update(arrival).where(
    arrival.c.id == bindparam("b_id"),
    arrival.c.state == ArrivalState.WORKING,
    arrival.c.fence == bindparam("b_fence"),
)


def add(tx: Tx, new: Arrival) -> None:
    """Write an accepted arrival down, count it, and ring for a worker. Its body must be put in the same transaction."""
    received = to_micros(new.received_at)
    tx.execute(
        arrival.insert(),
        {
            "id": new.id,
            "org": new.org,
            "channel": new.channel,
            "state": new.state,
            "envelope": None if new.envelope is None else rows.encode(new.envelope),
            "target": None if new.target is None else rows.encode(new.target),
            "peer": None if new.peer is None else rows.encode(new.peer),
            "digest": new.raw.digest,
            "size": new.raw.size,
            "received_at": received,
            "due_at": received,
            "attempts": new.attempts,
            "message": new.message,
        },
    )
    ledger.count_accepted(tx, new.channel, ledger.Thing.ARRIVAL)
    events.append(
        tx,
        org=new.org,
        at=new.received_at,
        type=EventType.ARRIVAL_ACCEPTED,
        queue_id=new.id,
        message=new.message or "",
        data={"channel": new.channel, "size": str(new.raw.size)},
    )
    tx.ring(Bell.FILING)


def newest(tx: Tx, org: OrgId, *, before: QueueId | None = None) -> QueueId | None:
    """The queue id given last in an organisation, or last before another; None before its first mail."""
    # Queue ids are in the order of time, and the primary key has them sorted.
    ids = select(arrival.c.id).where(arrival.c.org == org).order_by(arrival.c.id.desc()).limit(1)
    found = tx.execute(ids if before is None else ids.where(arrival.c.id < before)).scalar()
    return None if found is None else QueueId(found)


def claim(tx: Tx, *, node: NodeId, now: datetime, lease: timedelta, limit: int) -> list[Arrival]:
    """Take up to `limit` arrivals that are due, or whose worker died; oldest first. Counts the attempt."""
    at = to_micros(now)
    due = (
        select(arrival.c.id)
        .where(
            or_(
                and_(arrival.c.state == ArrivalState.ACCEPTED, arrival.c.due_at <= at),
                and_(arrival.c.state == ArrivalState.WORKING, arrival.c.lease_until <= at),
            )
        )
        .order_by(arrival.c.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)  # SQLite leaves it out: one writer
    )
    taken = (
        update(arrival)
        .where(arrival.c.id.in_(due.scalar_subquery()))
        .values(
            state=ArrivalState.WORKING,
            lease_node=node,
            lease_until=to_micros(now + lease),
            fence=arrival.c.fence + 1,
            attempts=arrival.c.attempts + 1,
        )
        .returning(*arrival.c)
    )
    claimed = [_arrival(row._mapping) for row in tx.execute(taken)]
    return sorted(claimed, key=lambda one: one.received_at)


def hasten(tx: Tx, *, now: datetime, longest: timedelta) -> int:
    """Make due what waits though nothing asked it to; how many there were.

    A clock that has gone back since said so (Q01): of what nobody has tried, that it came at a time that is still to be, or of a
    retry, that it is further away than `longest`.
    """
    at = to_micros(now)
    waits = (arrival.c.state == ArrivalState.ACCEPTED, arrival.c.due_at > at)  # an index has it, however much is due
    ahead = or_(and_(arrival.c.attempts == 0, arrival.c.received_at > at), arrival.c.due_at > to_micros(now + longest))
    return tx.execute(update(arrival).where(*waits, ahead).values(due_at=at)).rowcount


def recover(tx: Tx, node: NodeId, *, now: datetime) -> int:
    """End at once the leases of a process of this name that no longer lives; how many there were."""
    ended = tx.execute(
        update(arrival)
        .where(arrival.c.state == ArrivalState.WORKING, arrival.c.lease_node == node)
        .values(lease_until=to_micros(now))
    )
    tx.ring(Bell.FILING)
    return ended.rowcount


def renew(tx: Tx, held: Arrival, *, until: datetime) -> None:
    """Keep a claimed arrival longer. Raises Stale when the lease was lost."""
    _change(tx, held, lease_until=to_micros(until))


def end(tx: Tx, held: Arrival, *, state: ArrivalState, at: datetime, reason: str, message: str | None) -> None:
    """Bring a claimed arrival to an end. Raises Stale when the lease was lost, so that nothing of the transaction is kept."""
    if state not in _TERMINAL:
        raise ValueError(f"{state} is not an end")
    _change(
        tx,
        held,
        state=state,
        reason=reason,
        message=message or held.message,
        lease_node=None,
        lease_until=None,
        ended_at=to_micros(at),
    )
    _ended(tx, org=held.org, id=held.id, channel=held.channel, state=state, at=at, reason=reason, message=message)


def hold(tx: Tx, held: Arrival, *, reason: str, message: str | None, failure: str = "") -> None:
    """Leave a claimed arrival to a person; the caller adds the unresolved entry. Raises Stale when the lease was lost."""
    _change(
        tx,
        held,
        state=ArrivalState.UNRESOLVED,
        reason=reason,
        message=message or held.message,
        failure=failure,
        lease_node=None,
        lease_until=None,
    )


def resolve(tx: Tx, id: QueueId, *, state: ArrivalState, at: datetime, reason: str, message: str | None) -> None:  # noqa: A002
    """End an arrival that waited for a person. Raises Stale when it waits no longer."""
    changed = tx.execute(
        update(arrival)
        .where(arrival.c.id == id, arrival.c.state == ArrivalState.UNRESOLVED)
        .values(state=state, reason=reason, message=func.coalesce(message, arrival.c.message), ended_at=to_micros(at))
        .returning(arrival.c.org, arrival.c.channel)
    ).first()
    if changed is None:
        raise Stale(f"{id} is no longer unresolved")
    _ended(tx, org=changed[0], id=id, channel=changed[1], state=state, at=at, reason=reason, message=message)


def reopen(tx: Tx, id: QueueId, *, at: datetime) -> None:  # noqa: A002
    """Give an unresolved arrival back to the workers, as if it had just come (a mail an older version could not read, R8)."""
    changed = tx.execute(
        update(arrival)
        .where(arrival.c.id == id, arrival.c.state == ArrivalState.UNRESOLVED)
        .values(state=ArrivalState.ACCEPTED, attempts=0, due_at=to_micros(at))
    )
    if changed.rowcount != 1:
        raise Stale(f"{id} is no longer unresolved")
    tx.ring(Bell.FILING)


def rehome(tx: Tx, held: Arrival, *, org: OrgId, target: ArrivalTarget) -> None:
    """Give a claimed arrival, of which nothing was made yet, to the organisation whose it turns out to be.

    It is claimed anew, so that nobody goes on with it as the first one's. Raises Stale when the lease was lost.
    """
    _change(
        tx,
        held,
        org=org,
        target=rows.encode(target),
        state=ArrivalState.ACCEPTED,
        attempts=held.attempts - 1,
        lease_node=None,
        lease_until=None,
    )
    tx.ring(Bell.FILING)


def retry(tx: Tx, held: Arrival, *, due_at: datetime, at: datetime, failure: str, counts: bool = True) -> None:
    """Give a claimed arrival back after our own failure on it. Raises Stale when the lease was lost.

    Without `counts` the attempt is not held against it: something else was missing for a while.
    """
    _change(
        tx,
        held,
        state=ArrivalState.ACCEPTED,
        due_at=to_micros(due_at),
        attempts=held.attempts if counts else held.attempts - 1,
        failure=failure,
        lease_node=None,
        lease_until=None,
    )
    events.append(
        tx,
        org=held.org,
        at=at,
        type=EventType.ARRIVAL_RETRIED,
        queue_id=held.id,
        data={"attempt": str(held.attempts), "failure": failure.strip().rpartition("\n")[2]},
    )


def get(tx: Tx, id: QueueId) -> Arrival | None:  # noqa: A002
    """One arrival."""
    row = tx.execute(select(arrival).where(arrival.c.id == id)).first()
    return None if row is None else _arrival(row._mapping)


def why(tx: Tx, id: QueueId) -> tuple[str, str]:  # noqa: A002
    """The reason and the last failure's traceback of an arrival, both "" where there is none."""
    row = tx.execute(select(arrival.c.reason, arrival.c.failure).where(arrival.c.id == id)).first()
    return ("", "") if row is None else (row[0], row[1])


def waiting(tx: Tx) -> dict[ArrivalState, tuple[int, datetime | None]]:
    """For ACCEPTED and WORKING: how many there are, and since when the oldest has been here (for the metrics)."""
    states = (ArrivalState.ACCEPTED, ArrivalState.WORKING)
    counts: Sequence[tuple[str, int, int]] = [
        (row[0], row[1], row[2])
        for row in tx.execute(
            select(arrival.c.state, func.count(), func.min(arrival.c.received_at))
            .where(arrival.c.state.in_([ArrivalState.ACCEPTED, ArrivalState.WORKING]))
            .group_by(arrival.c.state)
        )
    ]
    found = {ArrivalState(state): (count, from_micros(oldest)) for state, count, oldest in counts}
    return {state: found.get(state, (0, None)) for state in states}


def _change(tx: Tx, held: Arrival, **values: object) -> None:
    fence = held.lease.fence if held.lease is not None else -1
    changed = tx.execute(_CHANGE, {"b_id": held.id, "b_fence": fence, **values})
    if changed.rowcount != 1:
        raise Stale(f"{held.id} was taken over by another worker")


def _ended(
    tx: Tx,
    *,
    org: str,
    id: QueueId,  # noqa: A002
    channel: str,
    state: ArrivalState,
    at: datetime,
    reason: str,
    message: str | None,
) -> None:
    ledger.count_ended(tx, Channel(channel), ledger.Thing.ARRIVAL)
    events.append(
        tx,
        org=org,
        at=at,
        type=EventType.ARRIVAL_ENDED,
        queue_id=id,
        message=message or "",
        data={"state": state, "reason": reason, "channel": channel},
    )


def _arrival(row: RowMapping) -> Arrival:
    lease = None
    if row["lease_until"] is not None:
        lease = Lease(node=NodeId(row["lease_node"]), until=from_micros(row["lease_until"]), fence=row["fence"])
    return Arrival(
        id=QueueId(row["id"]),
        org=OrgId(row["org"]),
        channel=Channel(row["channel"]),
        state=ArrivalState(row["state"]),
        envelope=None if row["envelope"] is None else rows.decode(Envelope, row["envelope"]),
        target=None if row["target"] is None else rows.decode(ArrivalTarget, row["target"]),
        peer=None if row["peer"] is None else rows.decode(Peer, row["peer"]),
        raw=BlobRef(digest=Digest(row["digest"]), size=row["size"]),
        received_at=from_micros(row["received_at"]),
        attempts=row["attempts"],
        lease=lease,
        message=row["message"],
    )
