"""Events on their way to webhooks: queued from the journal, claimed under a lease, made, and settled (R6).

The journal is the outbox: a webhook has a place in it, and its events are queued in the transaction that moves the place on, so that none
is left out and none is queued twice; only so many wait here, the rest waits in the journal (Q09). Of the calls of a chain
(`model.webhook.chain`) one at a time is WAITING or CALLING, the first; the others are BEHIND it.

Every change of calls is made with the row of their webhook locked.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, and_, bindparam, case, delete, func, or_, select, tuple_, update

from mailrelay.clock import from_micros, to_micros
from mailrelay.errors import Conflict, Invalid, Unknown
from mailrelay.ids import EventSeq, NodeId, OrgId, WebhookId
from mailrelay.model.event import Event, EventType
from mailrelay.model.webhook import LEFT, Call, CallState, Claimed, Webhook, chain
from mailrelay.store import events, webhooks
from mailrelay.store.base import Bell, Tx
from mailrelay.store.tables import (
    CALLS_LEFT,
    CALLS_UNDER_WAY,
    CALLS_WAITING,
    WEBHOOKS_AWAKE,
    event,
    event_counter,
    webhook,
    webhook_call,
)
from mailrelay.store.visibility import Viewer

WINDOW = 10_000
"""Calls that wait for one webhook at most before its events are left in the journal."""
STEP = 500
_AT_ONCE = 20
_KEPT = {CallState.TAKEN: timedelta(days=7), CallState.DEAD: timedelta(days=90)}
CUT_OFF = "the process ended during the request, which may have been taken"
_HIDDEN = "its user may not see the mail any more"
_ENDED = (CallState.TAKEN, CallState.DEAD)
_BEHIND = and_(
    WEBHOOKS_AWAKE, webhook.c.seq < event_counter.c.last, webhook.c.waiting < bindparam("window"), webhook.c.seq >= 0
)


def any_behind(tx: Tx, *, window: int = WINDOW) -> bool:
    """Whether a webhook has events in the journal that it could be sent."""
    found = select(webhook.c.id).join(event_counter, event_counter.c.org == webhook.c.org).where(_BEHIND).limit(1)
    return tx.execute(found, {"window": window}).first() is not None


def expand(tx: Tx, *, now: datetime, lifetime: timedelta, step: int = STEP, window: int = WINDOW) -> int:
    """Queue the next events of webhooks that are behind; how many events were looked at, 0 when none is behind."""
    found = (
        select(webhook)
        .join(event_counter, event_counter.c.org == webhook.c.org)
        .where(_BEHIND)
        .order_by(func.random())  # so that none waits for others that are always behind
        .limit(_AT_ONCE)
        .with_for_update(of=webhook, skip_locked=True)
    )
    looked = 0
    for each in [webhooks.from_row(row) for row in tx.execute(found, {"window": window})]:
        looked += _expand_one(tx, each, now=now, lifetime=lifetime, step=step)
    return looked


def _expand_one(tx: Tx, one: Webhook, *, now: datetime, lifetime: timedelta, step: int) -> int:
    wanted = events.Wanted(types=frozenset(one.types), user=one.user or "")
    new = events.stretch(tx, _viewer(one), one.seq, limit=step, wanted=wanted)
    at = to_micros(now)
    rows = [
        {
            "webhook": one.id,
            "seq": each.seq,
            "org": one.org,
            "type": each.type,
            "chain": chain(each),
            "state": CallState.BEHIND,
            "queued_at": at,
            "due_at": at,
            "expires_at": to_micros(now + lifetime),
            "attempts": 0,
            "status": 0,
            "failure": "",
            "said": "",
            "fence": 0,
        }
        for each in new.events
    ]
    queued = 0
    if rows:
        put = tx.insert(webhook_call).values(rows)
        again = ("state", "queued_at", "due_at", "expires_at", "attempts", "status", "failure", "said")
        queued = len(
            tx.execute(
                # What was sent before is sent again in a replay; what has not ended goes its way.
                put.on_conflict_do_update(
                    index_elements=["webhook", "seq"],
                    set_={name: put.excluded[name] for name in again} | {"ended_at": None},
                    where=webhook_call.c.state.in_(_ENDED),
                ).returning(webhook_call.c.seq)
            ).all()
        )
        _order(tx, one.id, {chain(each) for each in new.events})
    moved = {"seq": new.upto, "waiting": webhook.c.waiting + queued}
    tx.execute(update(webhook).where(webhook.c.id == one.id).values(moved))
    if queued:
        _wake(tx, one.id)
    return new.upto - one.seq


def _viewer(one: Webhook) -> Viewer:
    """As whom events are read for it: those of a user's webhook as that user may see them (I16)."""
    return Viewer(org=one.org, user=one.user, all=one.user is None)


def next_wake(tx: Tx) -> datetime | None:
    """When the next call is due; None when nothing waits."""
    at = tx.execute(select(func.min(webhook.c.wake_at)).where(WEBHOOKS_AWAKE)).scalar()
    return None if at is None else from_micros(at)


def claim(
    tx: Tx, *, node: NodeId, now: datetime, lease: timedelta, limit: int, each: int, trips: int, step: int = 50
) -> list[Claimed]:
    """Take calls that are due, `limit` in all; of each webhook so many that `each` are under way, and one where it only fails.

    `trips` is how many failures in a row mean that it only fails.
    """
    at = to_micros(now)
    hooks = (
        select(webhook)
        .where(WEBHOOKS_AWAKE, webhook.c.wake_at <= at)
        .order_by(webhook.c.wake_at)
        .limit(step)
        .with_for_update(skip_locked=True)
    )
    claimed: list[Claimed] = []
    for one in [webhooks.from_row(row) for row in tx.execute(hooks)]:
        room = limit - len(claimed)
        if room <= 0:
            break
        under_way = tx.execute(
            select(func.count()).where(webhook_call.c.webhook == one.id, webhook_call.c.state == CallState.CALLING)
        ).scalar_one()
        slots = (1 if one.failures >= trips else each) - under_way
        calls = _take(tx, one, node=node, at=at, until=to_micros(now + lease), limit=min(room, slots))
        if len(calls) >= slots:
            # Nothing more before one of them has ended: whoever settles it wakes the webhook.
            tx.execute(update(webhook).where(webhook.c.id == one.id).values(wake_at=None))
        else:
            _wake(tx, one.id)
        claimed += calls
    return claimed


def _take(tx: Tx, one: Webhook, *, node: NodeId, at: int, until: int, limit: int) -> list[Claimed]:
    if limit <= 0:
        return []
    due = (
        select(webhook_call.c.seq)
        .where(webhook_call.c.webhook == one.id, CALLS_WAITING, webhook_call.c.due_at <= at)
        .order_by(webhook_call.c.due_at, webhook_call.c.seq)
        .limit(limit)
    )
    numbers = tx.execute(due).scalars().all()
    if not numbers:
        return []
    taken = tx.execute(
        update(webhook_call)
        .where(webhook_call.c.webhook == one.id, webhook_call.c.seq.in_(numbers))
        .values(
            state=CallState.CALLING,
            lease_node=node,
            lease_until=until,
            fence=webhook_call.c.fence + 1,
            attempts=webhook_call.c.attempts + 1,
        )
        .returning(*webhook_call.c)
    ).all()
    read = _events(tx, one, numbers)
    ours: list[Claimed] = []
    for row in sorted(taken, key=lambda row: int(row.seq)):
        call = _call(row)
        if call.seq in read:
            ours.append(Claimed(call=call, webhook=one, event=read[call.seq], node=node, fence=row.fence))
        else:
            end(tx, call, CallState.DEAD, at=from_micros(at), status=0, failure=_HIDDEN)
    return ours


def _events(tx: Tx, one: Webhook, numbers: Collection[EventSeq]) -> dict[EventSeq, Event]:
    """Those of these events that it may be sent now."""
    if one.user is None:
        rows = tx.execute(select(event).where(event.c.org == one.org, event.c.seq.in_(numbers)))
        return {found.seq: found for found in (events.of_row(row._mapping) for row in rows)}
    stretches = (events.stretch(tx, _viewer(one), number - 1, limit=1).events for number in numbers)
    return {found.seq: found for stretch in stretches for found in stretch if found.seq in numbers}


def held(tx: Tx, claimed: Claimed) -> Webhook | None:
    """The webhook of a claimed call, locked; None when the claim was lost to somebody else, or the webhook removed."""
    row = tx.execute(_LOCKED, {"b_id": claimed.webhook.id}).one()
    mine = {"b_webhook": claimed.webhook.id, "b_seq": claimed.call.seq, "b_fence": claimed.fence}
    if row.removed_at is not None or tx.execute(_MINE, mine).first() is None:
        return None
    return webhooks.from_row(row)


_LOCKED = select(webhook).where(webhook.c.id == bindparam("b_id")).with_for_update()
_MINE = select(webhook_call.c.fence).where(
    webhook_call.c.webhook == bindparam("b_webhook"),
    webhook_call.c.seq == bindparam("b_seq"),
    webhook_call.c.state == CallState.CALLING,
    webhook_call.c.fence == bindparam("b_fence"),
)


def end(tx: Tx, call: Call, state: CallState, *, at: datetime, status: int, failure: str = "", said: str = "") -> None:
    """A claimed call of a locked webhook has ended; the next of its chain may go. `went` is to follow."""
    ended = {"state": state, "ended_at": to_micros(at), "status": status, "failure": failure, "said": said}
    mine = {"b_webhook": call.webhook, "b_seq": call.seq}
    name = tx.execute(_END, mine | ended | _FREE).scalar_one()
    tx.execute(_ONE_LESS, {"b_id": call.webhook})
    tx.execute(_NEXT, {"b_webhook": call.webhook, "b_chain": name})


_END = (
    update(webhook_call)
    .where(webhook_call.c.webhook == bindparam("b_webhook"), webhook_call.c.seq == bindparam("b_seq"))
    .values(
        {
            name: bindparam(name)
            for name in ("state", "ended_at", "status", "failure", "said", "lease_node", "lease_until")
        }
    )
    .returning(webhook_call.c.chain)
)
_ONE_LESS = update(webhook).where(webhook.c.id == bindparam("b_id")).values(waiting=webhook.c.waiting - 1)


def again(tx: Tx, call: Call, *, due_at: datetime, status: int, failure: str, said: str = "") -> None:
    """A call of a locked webhook is made again later."""
    later = {"state": CallState.WAITING, "due_at": to_micros(due_at), "status": status, "failure": failure}
    _order(tx, call.webhook, _change(tx, call, later | {"said": said} | _FREE))


_FREE: dict[str, Any] = {"lease_node": None, "lease_until": None}


def _change(tx: Tx, call: Call, values: dict[str, Any]) -> Collection[str]:
    mine = update(webhook_call).where(webhook_call.c.webhook == call.webhook, webhook_call.c.seq == call.seq)
    return tx.execute(mine.values(values).returning(webhook_call.c.chain)).scalars().all()


def went(tx: Tx, one: Webhook, *, paused_until: datetime | None, **how: object) -> None:
    """Keep how a locked webhook fares, the last thing of a settlement; `how` are columns of it."""
    paused = 0 if paused_until is None else to_micros(paused_until)
    tx.execute(update(webhook).where(webhook.c.id == one.id).values(paused_until=paused, **how))
    _wake(tx, one.id)


def disable(tx: Tx, one: Webhook, because: str) -> None:
    """Send nothing more to a locked webhook until somebody enables it; what waits goes on waiting."""
    tx.execute(update(webhook).where(webhook.c.id == one.id).values(active=False, because=because))


def enable(tx: Tx, one: Webhook, *, now: datetime, lifetime: timedelta) -> None:
    """Send a locked webhook what waits for it, from now on and with its whole lifetime."""
    fresh = {"active": True, "because": "", "failures": 0, "failing_since": None, "paused_until": 0}
    tx.execute(update(webhook).where(webhook.c.id == one.id).values(fresh))
    hasten(tx, one.id, now=now, expires_at=now + lifetime)
    tx.ring(Bell.EVENTS, one.org)


def hasten(tx: Tx, id: WebhookId, *, now: datetime, expires_at: datetime | None = None) -> None:  # noqa: A002
    """All that waits for a locked webhook is due now, and with `expires_at` has until then."""
    values = {"due_at": to_micros(now)} | ({} if expires_at is None else {"expires_at": to_micros(expires_at)})
    tx.execute(
        update(webhook_call)
        .where(webhook_call.c.webhook == id, CALLS_LEFT, webhook_call.c.state != CallState.CALLING)
        .values(values)
    )
    _wake(tx, id)


def give_up(tx: Tx, one: Webhook, *, now: datetime, failure: str) -> int:
    """End what has waited too long for a locked webhook that takes nothing; how many those were."""
    at = to_micros(now)
    gone = tx.execute(
        update(webhook_call)
        .where(
            webhook_call.c.webhook == one.id,
            CALLS_LEFT,
            webhook_call.c.state != CallState.CALLING,
            webhook_call.c.expires_at <= at,
        )
        .values(
            state=CallState.DEAD,
            ended_at=at,
            failure=case((webhook_call.c.failure == "", failure), else_=webhook_call.c.failure),
        )
        .returning(webhook_call.c.chain)
    ).scalars()
    chains = list(gone)
    if chains:
        tx.execute(update(webhook).where(webhook.c.id == one.id).values(waiting=webhook.c.waiting - len(chains)))
        _order(tx, one.id, set(chains))
    return len(chains)


def drop(tx: Tx, one: Webhook, *, at: datetime, because: str) -> None:
    """End all that has not ended of a locked webhook, which is being removed."""
    ended = {"state": CallState.DEAD, "ended_at": to_micros(at), "failure": because}
    tx.execute(update(webhook_call).where(webhook_call.c.webhook == one.id, CALLS_LEFT).values(ended | _FREE))


def recover(tx: Tx, *, now: datetime, node: NodeId | None = None, limit: int = STEP) -> int:
    """Make due again what a process of this name had taken, which must be dead, or whatever has a lease that ran out."""
    lost = webhook_call.c.lease_until <= to_micros(now)
    if node is not None:
        lost = or_(lost, webhook_call.c.lease_node == node)
    found = tx.execute(
        select(webhook_call.c.webhook, webhook_call.c.seq).where(CALLS_UNDER_WAY, lost).limit(limit)
    ).all()
    put_back = 0
    for id_ in sorted({row.webhook for row in found}):
        tx.execute(select(webhook.c.id).where(webhook.c.id == id_).with_for_update())
        waiting = {"state": CallState.WAITING, "due_at": to_micros(now), "failure": CUT_OFF, "status": 0, "said": ""}
        chains = tx.execute(
            update(webhook_call)
            .where(
                webhook_call.c.webhook == id_,
                webhook_call.c.seq.in_([row.seq for row in found if row.webhook == id_]),
                CALLS_UNDER_WAY,
                lost,
            )
            .values(waiting | _FREE)
            .returning(webhook_call.c.chain)
        ).scalars()
        ours = list(chains)
        put_back += len(ours)
        _order(tx, id_, set(ours))
        _wake(tx, id_)
    return put_back


def replay(tx: Tx, one: Webhook, after: int) -> int:
    """Send a locked webhook again what happened after an event; how many events of the journal are looked at for it. Raises Invalid."""
    newest = events.newest(tx, one.org)
    if after > one.seq:
        raise Invalid("after", f"must be at most {one.seq}: what is behind that is still to be sent")
    tx.execute(update(webhook).where(webhook.c.id == one.id).values(seq=after))
    tx.ring(Bell.EVENTS, one.org)
    return newest - after


def send_again(
    tx: Tx, one: Webhook, *, now: datetime, lifetime: timedelta, seq: EventSeq | None = None, limit: int = STEP
) -> int:
    """Queue a call of a locked webhook that has ended, or up to `limit` of its dead letters; how many those are.

    Raises Unknown for a call that there is not, Conflict for one that has not ended.
    """
    mine = webhook_call.c.webhook == one.id
    if seq is None:
        dead = select(webhook_call.c.seq).where(mine, webhook_call.c.state == CallState.DEAD)
        numbers = tx.execute(dead.order_by(webhook_call.c.seq).limit(limit)).scalars().all()
    else:
        call = get(tx, one, seq)
        if call.state not in _ENDED:
            raise Conflict(f"Event {seq} has not ended: it is {call.state}")
        numbers = [seq]
    if not numbers:
        return 0
    values = {
        "state": CallState.BEHIND,
        "queued_at": to_micros(now),
        "due_at": to_micros(now),
        "expires_at": to_micros(now + lifetime),
        "attempts": 0,
        "ended_at": None,
    }
    chains = tx.execute(
        update(webhook_call).where(mine, webhook_call.c.seq.in_(numbers)).values(values).returning(webhook_call.c.chain)
    ).scalars()
    _order(tx, one.id, set(chains))
    tx.execute(update(webhook).where(webhook.c.id == one.id).values(waiting=webhook.c.waiting + len(numbers)))
    _wake(tx, one.id)
    return len(numbers)


def get(tx: Tx, one: Webhook, seq: int) -> Call:
    """One call. Raises Unknown."""
    row = tx.execute(select(webhook_call).where(webhook_call.c.webhook == one.id, webhook_call.c.seq == seq)).first()
    if row is None:
        raise Unknown(f"Event {seq} was not sent to this webhook, or so long ago that it is not kept")
    return _call(row)


def list_calls(
    tx: Tx, one: Webhook, *, state: CallState | None = None, before: int | None = None, limit: int = 100
) -> Sequence[Call]:
    """A page of its calls, newest event first; those that were taken are kept for a week, dead letters for ninety days."""
    found = select(webhook_call).where(webhook_call.c.webhook == one.id)
    if state is not None:
        found = found.where(webhook_call.c.state == state)
    if before is not None:
        found = found.where(webhook_call.c.seq < before)
    return [_call(row) for row in tx.execute(found.order_by(webhook_call.c.seq.desc()).limit(limit))]


def oldest(tx: Tx) -> tuple[int, datetime | None]:
    """How many calls wait for webhooks that are active, and since when the oldest does."""
    waiting = tx.execute(select(func.coalesce(func.sum(webhook.c.waiting), 0)).where(WEBHOOKS_AWAKE)).scalar_one()
    since = tx.execute(
        select(webhook_call.c.queued_at)
        .join(webhook, webhook.c.id == webhook_call.c.webhook)
        .where(CALLS_LEFT, WEBHOOKS_AWAKE)
        .order_by(webhook_call.c.queued_at)
        .limit(1)
    ).scalar()
    return int(waiting), None if since is None else from_micros(since)


def prune(tx: Tx, *, now: datetime, limit: int = STEP) -> int:
    """Forget calls that ended long ago; how many those were. The journal keeps their events."""
    gone = 0
    for state, span in _KEPT.items():
        old = (
            select(webhook_call.c.webhook, webhook_call.c.seq)
            .where(webhook_call.c.ended_at < to_micros(now - span), webhook_call.c.state == state)
            .limit(limit)
        )
        gone += tx.execute(
            delete(webhook_call).where(tuple_(webhook_call.c.webhook, webhook_call.c.seq).in_(old))
        ).rowcount
    return gone


def _order(tx: Tx, id_: str, chains: Collection[str]) -> None:
    """Of each of these chains let the first call wait for its time, unless one is under way, and the others behind it."""
    if not chains:
        return
    these = and_(webhook_call.c.webhook == id_, webhook_call.c.chain.in_(sorted(chains)), CALLS_LEFT)
    tx.execute(update(webhook_call).where(these, webhook_call.c.state == CallState.WAITING).values(state="behind"))
    tx.execute(update(webhook_call).where(these, _FIRST).values(state=CallState.WAITING))


_others = webhook_call.alias("others")
_same = and_(
    _others.c.webhook == webhook_call.c.webhook,
    _others.c.chain == webhook_call.c.chain,
    _others.c.state.in_(LEFT),
)
_FIRST = and_(
    webhook_call.c.state == CallState.BEHIND,
    webhook_call.c.seq == select(func.min(_others.c.seq)).where(_same).scalar_subquery(),
    ~select(_others.c.seq).where(_same, _others.c.state == CallState.CALLING).exists(),
)
_NEXT = (
    update(webhook_call)
    .where(
        webhook_call.c.webhook == bindparam("b_webhook"),
        webhook_call.c.chain == bindparam("b_chain"),
        CALLS_LEFT,
        _FIRST,
    )
    .values(state=CallState.WAITING)
)
"""Of one chain of which a call has just ended: none of it waits, so that the first of it may."""


def _wake(tx: Tx, id_: str) -> None:
    """Have a locked webhook looked at when its next call is due, and not before its pause is over."""
    tx.execute(_WAKE, {"b_id": id_})
    tx.ring(Bell.WEBHOOKS)


_next_due = (
    select(func.min(webhook_call.c.due_at))
    .where(webhook_call.c.webhook == webhook.c.id, CALLS_WAITING)
    .scalar_subquery()
)
_WAKE = (
    update(webhook)
    .where(webhook.c.id == bindparam("b_id"))
    .values(wake_at=case((_next_due < webhook.c.paused_until, webhook.c.paused_until), else_=_next_due))
)


def _call(row: Row[Any]) -> Call:
    return Call(
        webhook=WebhookId(row.webhook),
        org=OrgId(row.org),
        seq=EventSeq(row.seq),
        type=EventType(row.type),
        state=CallState(row.state),
        queued_at=from_micros(row.queued_at),
        due_at=from_micros(row.due_at),
        expires_at=from_micros(row.expires_at),
        attempts=row.attempts,
        status=row.status,
        failure=row.failure,
        said=row.said,
        ended_at=None if row.ended_at is None else from_micros(row.ended_at),
    )
