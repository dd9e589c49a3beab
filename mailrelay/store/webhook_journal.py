"""The journal as the outbox of webhooks: what happens is queued for those that want it (R6).

A webhook has a place in the journal, and its events are queued in the transaction that moves the place on, so that none is left out and
none is queued twice; only so many wait as calls, the rest waits in the journal (Q09).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import and_, bindparam, case, func, select, update

from mailrelay.clock import to_micros
from mailrelay.model.webhook import CallState, Webhook, chain
from mailrelay.store import events, webhooks
from mailrelay.store.base import Tx
from mailrelay.store.tables import WEBHOOKS_AWAKE, event_counter, webhook, webhook_call
from mailrelay.store.webhook_calls import ENDED, STEP, order, wake

WINDOW = 10_000
"""Calls that wait for one webhook at most before its events are left in the journal."""
_AT_ONCE = 20
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
        if not webhooks.silenced(tx, each, at=now):
            looked += _expand_one(tx, each, now=now, lifetime=lifetime, step=step)
    return looked


def _expand_one(tx: Tx, one: Webhook, *, now: datetime, lifetime: timedelta, step: int) -> int:
    wanted = events.Wanted(types=frozenset(one.types), user=one.user or "")
    new = events.stretch(tx, webhooks.viewer(one), one.seq, limit=step, wanted=wanted)
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
            "again": False,
        }
        for each in new.events
    ]
    queued = 0
    if rows:
        queued = _put(tx, rows)
        order(tx, one.id, {chain(each) for each in new.events})
    moved = {"seq": new.upto, "waiting": webhook.c.waiting + queued}
    tx.execute(update(webhook).where(webhook.c.id == one.id).values(moved))
    if queued:
        wake(tx, one.id)
    return new.upto - one.seq


def _put(tx: Tx, rows: list[dict[str, object]]) -> int:
    """Queue calls of one webhook; how many more wait then.

    In a replay some are there already. One that has ended starts anew; one that waits goes its way, behind those before it; one that is
    under way is to be made once more: it may be taken any moment, before those that happened earlier.
    """
    put = tx.insert(webhook_call).values(rows)
    ended = webhook_call.c.state.in_(ENDED)
    anew = ("state", "due_at", "attempts", "status", "failure", "said")
    done = tx.execute(
        put.on_conflict_do_update(
            index_elements=["webhook", "seq"],
            set_={name: case((ended, put.excluded[name]), else_=webhook_call.c[name]) for name in anew}
            | {name: put.excluded[name] for name in ("queued_at", "expires_at")}
            | {"ended_at": None, "again": webhook_call.c.state == CallState.CALLING},
            where=webhook_call.c.state.in_((*ENDED, CallState.CALLING)),
        ).returning(webhook_call.c.again)
    ).scalars()
    return sum(1 for again in done if not again)
