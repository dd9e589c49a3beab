"""Events on their way to webhooks: claimed under a lease, made, and settled (R6).

`webhook_journal` queues them, `webhook_orders` does with them what people ask for. Of the calls of a chain (`model.webhook.chain`) one at
a time is WAITING or CALLING, the first; the others are BEHIND it.

Every change of calls is made with the row of their webhook locked.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, and_, bindparam, case, delete, func, or_, select, tuple_, update

from mailrelay.clock import from_micros, to_micros
from mailrelay.errors import Unknown
from mailrelay.ids import EventSeq, NodeId, OrgId, WebhookId
from mailrelay.model.event import Event, EventType
from mailrelay.model.webhook import LEFT, Call, CallState, Claimed, Webhook
from mailrelay.store import events, webhooks
from mailrelay.store.base import Bell, Tx
from mailrelay.store.tables import (
    CALLS_LEFT,
    CALLS_UNDER_WAY,
    CALLS_WAITING,
    WEBHOOKS_AWAKE,
    event,
    webhook,
    webhook_call,
)

STEP = 500
"""Calls, at most, that one transaction changes."""
_KEPT = {CallState.TAKEN: timedelta(days=7), CallState.DEAD: timedelta(days=90)}
CUT_OFF = "the process ended during the request, which may have been taken"
_HIDDEN = "its user may not see the mail any more"
ENDED = (CallState.TAKEN, CallState.DEAD)
FREE: dict[str, Any] = {"lease_node": None, "lease_until": None}
"""Columns of a call that nobody makes any more."""


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
        if webhooks.silenced(tx, one, at=now):
            continue
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
            wake(tx, one.id)
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
    stretches = (events.stretch(tx, webhooks.viewer(one), number - 1, limit=1).events for number in numbers)
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
    """A claimed call of a locked webhook has ended; the next of its chain may go. `went` is to follow.

    One that a replay came upon meanwhile is made again, when those before it have been.
    """
    ended = {"state": state, "ended_at": to_micros(at), "status": status, "failure": failure, "said": said}
    mine = {"b_webhook": call.webhook, "b_seq": call.seq}
    row = tx.execute(_END, mine | ended | FREE).one()
    if row.again:
        _change(tx, call, {"state": CallState.BEHIND, "ended_at": None, "due_at": to_micros(at), "attempts": 0} | _ONCE)
    else:
        tx.execute(_ONE_LESS, {"b_id": call.webhook})
    tx.execute(_NEXT, {"b_webhook": call.webhook, "b_chain": row.chain})


_END = (
    update(webhook_call)
    .where(webhook_call.c.webhook == bindparam("b_webhook"), webhook_call.c.seq == bindparam("b_seq"))
    .values(
        {
            name: bindparam(name)
            for name in ("state", "ended_at", "status", "failure", "said", "lease_node", "lease_until")
        }
    )
    .returning(webhook_call.c.chain, webhook_call.c.again)
)
_ONCE: dict[str, Any] = {"again": False}
_ONE_LESS = update(webhook).where(webhook.c.id == bindparam("b_id")).values(waiting=webhook.c.waiting - 1)


def again(tx: Tx, call: Call, *, due_at: datetime, status: int, failure: str, said: str = "") -> None:
    """A call of a locked webhook is made again later."""
    later = {"state": CallState.WAITING, "due_at": to_micros(due_at), "status": status, "failure": failure}
    order(tx, call.webhook, _change(tx, call, later | {"said": said} | FREE | _ONCE))


def _change(tx: Tx, call: Call, values: dict[str, Any]) -> Collection[str]:
    mine = update(webhook_call).where(webhook_call.c.webhook == call.webhook, webhook_call.c.seq == call.seq)
    return tx.execute(mine.values(values).returning(webhook_call.c.chain)).scalars().all()


def went(tx: Tx, one: Webhook, *, paused_until: datetime | None, **how: object) -> None:
    """Keep how a locked webhook fares, the last thing of a settlement; `how` are columns of it."""
    paused = 0 if paused_until is None else to_micros(paused_until)
    tx.execute(update(webhook).where(webhook.c.id == one.id).values(paused_until=paused, **how))
    wake(tx, one.id)


def hasten(tx: Tx, id: WebhookId, *, now: datetime, expires_at: datetime | None = None) -> None:  # noqa: A002
    """All that waits for a locked webhook is due now, and with `expires_at` has until then."""
    values = {"due_at": to_micros(now)} | ({} if expires_at is None else {"expires_at": to_micros(expires_at)})
    tx.execute(
        update(webhook_call)
        .where(webhook_call.c.webhook == id, CALLS_LEFT, webhook_call.c.state != CallState.CALLING)
        .values(values)
    )
    wake(tx, id)


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
        order(tx, one.id, set(chains))
    return len(chains)


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
            .values(waiting | FREE | _ONCE)
            .returning(webhook_call.c.chain)
        ).scalars()
        ours = list(chains)
        put_back += len(ours)
        order(tx, id_, set(ours))
        wake(tx, id_)
    return put_back


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


def waited_since(tx: Tx, one: Webhook) -> datetime | None:
    """Since when the oldest waits of what has not ended for a webhook; None when nothing does."""
    since = tx.execute(
        select(func.min(webhook_call.c.queued_at)).where(webhook_call.c.webhook == one.id, CALLS_LEFT)
    ).scalar()
    return None if since is None else from_micros(since)


def order(tx: Tx, id_: str, chains: Collection[str]) -> None:
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


def wake(tx: Tx, id_: str) -> None:
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
