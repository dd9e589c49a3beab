"""Which submission an idempotency key stands for: the first one of its owner that came with it, also of several at once (O19).

A key is its user's or token's own: another's is another key, and tells nobody anything of this one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, or_, select

from mailrelay.clock import to_micros
from mailrelay.ids import OrgId, QueueId
from mailrelay.store.base import Tx
from mailrelay.store.tables import idempotency


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a key stands for; `request_sha256` tells the same request from another one."""

    request_sha256: str
    queue_id: QueueId


def find(tx: Tx, org: OrgId, by: str, key: str, request_sha256: str) -> Known | None:
    """What somebody's key stands for, or None.

    Of one that an earlier release kept nobody knows whose it was: it stands for that very request, whose author is part of it.
    """
    own = idempotency.c.by == by
    earlier = and_(idempotency.c.by == "", idempotency.c.request_sha256 == request_sha256)
    found = select(idempotency).where(idempotency.c.org == org, idempotency.c.key == key, or_(own, earlier))
    row = tx.execute(found.order_by(idempotency.c.by.desc()).limit(1)).one_or_none()
    if row is None:
        return None
    return Known(request_sha256=row.request_sha256, queue_id=QueueId(row.queue_id))


def take(tx: Tx, org: OrgId, by: str, key: str, new: Known, *, now: datetime) -> Known | None:
    """Let somebody's key stand for `new`; when it stands for something already, that, and nothing is changed.

    Somebody who is taking it at this moment is waited for.
    """
    taken = tx.execute(
        tx.insert(idempotency)
        .values(
            org=org,
            by=by,
            key=key,
            request_sha256=new.request_sha256,
            queue_id=new.queue_id,
            created_at=to_micros(now),
        )
        .on_conflict_do_nothing()
        .returning(idempotency.c.key)
    ).first()
    return None if taken is not None else find(tx, org, by, key, new.request_sha256)
