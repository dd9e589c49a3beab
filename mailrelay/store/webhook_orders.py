"""What people have done with the events of a webhook: sent on, sent again, given up (R6). Each is an event of the journal."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import select, update

from mailrelay.clock import to_micros
from mailrelay.errors import Conflict, Invalid
from mailrelay.ids import EventSeq
from mailrelay.model.event import EventType
from mailrelay.model.webhook import CallState, Webhook
from mailrelay.store import events, webhooks
from mailrelay.store.base import Bell, Tx
from mailrelay.store.tables import CALLS_LEFT, webhook, webhook_call
from mailrelay.store.webhook_calls import ENDED, FREE, STEP, get, hasten, order, wake


def enable(tx: Tx, one: Webhook, *, token: str, by: str, now: datetime, lifetime: timedelta) -> None:
    """Send a locked webhook what waits for it, from now on and with its whole lifetime; `token` answers for it.

    Raises Conflict while its user is deactivated.
    """
    if webhooks.user_is_inactive(tx, one):
        raise Conflict("Its user is deactivated, and is sent nothing; make the user active first")
    fresh = {"active": True, "because": "", "failures": 0, "failing_since": None, "paused_until": 0}
    changed = fresh | {"token": token, "changed_at": to_micros(now)}
    tx.execute(update(webhook).where(webhook.c.id == one.id).values(changed))
    hasten(tx, one.id, now=now, expires_at=now + lifetime)
    tx.ring(Bell.EVENTS, one.org)
    webhooks.tell(tx, one, EventType.WEBHOOK_ENABLED, at=now, by=by)


def drop(tx: Tx, one: Webhook, *, at: datetime, because: str) -> None:
    """End all that has not ended of a locked webhook, which is being removed."""
    ended = {"state": CallState.DEAD, "ended_at": to_micros(at), "failure": because}
    tx.execute(update(webhook_call).where(webhook_call.c.webhook == one.id, CALLS_LEFT).values(ended | FREE))


def replay(tx: Tx, one: Webhook, after: int, *, by: str, now: datetime) -> int:
    """Send a locked webhook again what happened after an event; how many events of the journal are looked at for it. Raises Invalid."""
    newest = events.newest(tx, one.org)
    if after > one.seq:
        raise Invalid("after", f"must be at most {one.seq}: what is behind that is still to be sent")
    tx.execute(update(webhook).where(webhook.c.id == one.id).values(seq=after))
    tx.ring(Bell.EVENTS, one.org)
    webhooks.tell(tx, one, EventType.WEBHOOK_REPLAYED, at=now, by=by, after=str(after), events=str(newest - after))
    return newest - after


def send_again(
    tx: Tx,
    one: Webhook,
    *,
    by: str,
    now: datetime,
    lifetime: timedelta,
    seq: EventSeq | None = None,
    limit: int = STEP,
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
        if call.state not in ENDED:
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
    order(tx, one.id, set(chains))
    tx.execute(update(webhook).where(webhook.c.id == one.id).values(waiting=webhook.c.waiting + len(numbers)))
    wake(tx, one.id)
    which = "" if seq is None else str(seq)
    webhooks.tell(tx, one, EventType.WEBHOOK_RESENT, at=now, by=by, seq=which, events=str(len(numbers)))
    return len(numbers)
