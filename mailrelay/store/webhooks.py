"""Webhooks as organisations keep them (R6). Their secrets are sealed before they come here; see `webhook_calls` for what is sent.

Whoever changes a webhook or its calls locks its row first: their order, and how many wait, then never depend on who was faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Row, func, insert, select, update

from mailrelay import log
from mailrelay.clock import from_micros, to_micros
from mailrelay.errors import TooMany, Unknown
from mailrelay.ids import EventSeq, OrgId, TokenId, UserId, WebhookId
from mailrelay.model.event import EventType, differing
from mailrelay.model.webhook import Webhook
from mailrelay.store import events
from mailrelay.store.base import Tx
from mailrelay.store.tables import user, webhook
from mailrelay.store.visibility import Viewer

MOST = 100
"""Webhooks of an organisation."""
RECEIVER = "its receiver "
"""How every reason begins for which a webhook is disabled by itself."""
_logger = log.get(service="webhooks")
_STANDING = webhook.c.removed_at.is_(None)


def add(tx: Tx, new: Webhook) -> Webhook:
    """Keep a webhook; it is sent what happens from now on, and its own creation first. Raises TooMany."""
    standing = tx.execute(select(webhook.c.id).where(webhook.c.org == new.org, _STANDING).limit(MOST)).all()
    if len(standing) >= MOST:
        raise TooMany(f"An organisation has at most {MOST} webhooks; remove one first", limit=MOST, count=MOST)
    tx.execute(
        insert(webhook).values(
            id=new.id,
            org=new.org,
            seq=events.newest(tx, new.org),
            created_at=to_micros(new.created_at),
            created_by=new.created_by,
            waiting=0,
            paused_until=0,
            failures=0,
            failure="",
            **_given(new),
        )
    )
    tell(tx, new, EventType.WEBHOOK_CREATED, at=new.created_at, by=new.created_by)
    return get(tx, new.org, new.id)


def get(tx: Tx, org: OrgId, id: WebhookId) -> Webhook:  # noqa: A002
    """One webhook. Raises Unknown, also for one that was removed."""
    return _one(tx, org, id, lock=False)


def locked(tx: Tx, org: OrgId, id: WebhookId) -> Webhook:  # noqa: A002
    """The same, kept as it is until the transaction ends."""
    return _one(tx, org, id, lock=True)


def _one(tx: Tx, org: OrgId, id_: WebhookId, *, lock: bool) -> Webhook:
    found = select(webhook).where(webhook.c.id == id_, webhook.c.org == org, _STANDING)
    row = tx.execute(found.with_for_update() if lock else found).first()
    if row is None:
        raise Unknown("There is no such webhook")
    return from_row(row)


def list_webhooks(
    tx: Tx, org: OrgId, *, of: UserId | None = None, after: str = "", limit: int = 100
) -> Sequence[Webhook]:
    """The organisation's, oldest first; with `of` only those of that user's notices."""
    wanted = select(webhook).where(webhook.c.org == org, webhook.c.id > after, _STANDING)
    if of is not None:
        wanted = wanted.where(webhook.c.user == of)
    return [from_row(row) for row in tx.execute(wanted.order_by(webhook.c.id).limit(limit))]


def put(tx: Tx, one: Webhook, changed: Webhook, *, by: str) -> None:
    """Keep what people say of a locked webhook as it is now; how its calls go is not theirs to say. Without a difference, nothing."""
    names = [name for name in differing(one, changed).split() if name != "changed_at"]
    if names:
        tx.execute(update(webhook).where(webhook.c.id == changed.id).values(_given(changed)))
        tell(tx, changed, EventType.WEBHOOK_CHANGED, at=changed.changed_at, by=by, changed=" ".join(names))


def disable(tx: Tx, one: Webhook, *, because: str, at: datetime, by: str = "") -> None:
    """Send nothing more to a locked webhook until somebody enables it; what waits goes on waiting."""
    off = {"active": False, "because": because, "changed_at": to_micros(at)}
    tx.execute(update(webhook).where(webhook.c.id == one.id).values(off))
    tell(tx, one, EventType.WEBHOOK_DISABLED, at=at, because=because, by=by)


def failed(tx: Tx) -> int:
    """How many were disabled by themselves, and neither enabled nor switched off by hand nor removed since."""
    found = select(func.count()).where(webhook.c.active.is_(False), webhook.c.because.startswith(RECEIVER), _STANDING)
    return int(tx.execute(found).scalar_one())


def disable_all(
    tx: Tx, org: OrgId, *, because: str, at: datetime, by: str, of: UserId | None = None, token: TokenId | None = None
) -> None:
    """The same for all that are active of one user's notices, or that a token answers for."""
    whose = webhook.c.token == token if of is None else webhook.c.user == of
    found = select(webhook).where(webhook.c.org == org, whose, webhook.c.active, _STANDING)
    for row in tx.execute(found.order_by(webhook.c.id).with_for_update()).all():
        _over(tx, from_row(row), because=because, at=at, by=by)


def silenced(tx: Tx, one: Webhook, *, at: datetime) -> bool:
    """Whether a locked webhook's user is deactivated: it is disabled then, if whoever did that left it on."""
    if not user_is_inactive(tx, one):
        return False
    _over(tx, one, because="its user is deactivated", at=at)
    return True


def _over(tx: Tx, one: Webhook, *, because: str, at: datetime, by: str = "") -> None:
    disable(tx, one, because=because, at=at, by=by)
    tx.afterwards(partial(_logger.info, "webhook.disabled", org=one.org, webhook=one.id, because=because))


def user_is_inactive(tx: Tx, one: Webhook) -> bool:
    """Whether it is for the notices of a user who is deactivated."""
    return one.user is not None and tx.execute(select(user.c.active).where(user.c.id == one.user)).scalar() is False


def viewer(one: Webhook) -> Viewer:
    """As whom events are read for it: those of a user's webhook as that user may see them (I16)."""
    return Viewer(org=one.org, user=one.user, all=one.user is None)


def remove(tx: Tx, gone: Webhook, *, by: str, at: datetime) -> None:
    """Send nothing more to a locked webhook, and forget its secrets."""
    ended = {"removed_at": to_micros(at), "secrets": "", "active": False, "wake_at": None, "waiting": 0}
    tx.execute(update(webhook).where(webhook.c.id == gone.id).values(ended))
    tell(tx, gone, EventType.WEBHOOK_REMOVED, at=at, by=by)


def tell(tx: Tx, one: Webhook, type: EventType, *, at: datetime, **said: str) -> None:  # noqa: A002
    """Tell the journal. Not the URL: it may have a key in it."""
    data = {"webhook": one.id, "description": one.description, **said}
    events.append(
        tx,
        org=one.org,
        at=at,
        type=type,
        data={name: value for name, value in data.items() if value},
        user=one.user or "",
    )


def _given(one: Webhook) -> dict[str, Any]:
    return {
        "user": one.user or "",
        "url": one.url,
        "types": [str(each) for each in one.types],
        "description": one.description,
        "secrets": one.secrets,
        "before_until": None if one.before_until is None else to_micros(one.before_until),
        "active": one.active,
        "because": one.because,
        "changed_at": to_micros(one.changed_at),
        "token": one.token,
    }


def from_row(row: Row[Any]) -> Webhook:
    """A row of the table as a webhook."""
    return Webhook(
        id=WebhookId(row.id),
        org=OrgId(row.org),
        user=UserId(row.user) if row.user else None,
        url=row.url,
        types=tuple(EventType(one) for one in row.types),
        description=row.description,
        secrets=row.secrets,
        before_until=_time(row.before_until),
        active=row.active,
        because=row.because,
        created_at=from_micros(row.created_at),
        created_by=row.created_by,
        changed_at=from_micros(row.changed_at),
        seq=EventSeq(row.seq),
        waiting=row.waiting,
        paused_until=_time(row.paused_until or None),
        failures=row.failures,
        failing_since=_time(row.failing_since),
        succeeded_at=_time(row.succeeded_at),
        failed_at=_time(row.failed_at),
        failure=row.failure,
        token=row.token,
    )


def _time(micros: int | None) -> datetime | None:
    return None if micros is None else from_micros(micros)
