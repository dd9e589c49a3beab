"""Which submission an idempotency key stands for: the first one that came with it, whoever comes at the same moment (O19)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from mailrelay.clock import to_micros
from mailrelay.ids import OrgId, QueueId
from mailrelay.store.base import Tx
from mailrelay.store.tables import idempotency


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a key stands for; `request_sha256` tells the same request from another one."""

    request_sha256: str
    queue_id: QueueId


def find(tx: Tx, org: OrgId, key: str) -> Known | None:
    """What the key stands for, or None."""
    found = select(idempotency).where(idempotency.c.org == org, idempotency.c.key == key)
    row = tx.execute(found).one_or_none()
    if row is None:
        return None
    return Known(request_sha256=row.request_sha256, queue_id=QueueId(row.queue_id))


def take(tx: Tx, org: OrgId, key: str, new: Known, *, now: datetime) -> Known | None:
    """Let the key stand for `new`; when it stands for something already, that, and nothing is changed.

    Somebody who is taking it at this moment is waited for.
    """
    taken = tx.execute(
        tx.insert(idempotency)
        .values(
            org=org,
            key=key,
            request_sha256=new.request_sha256,
            queue_id=new.queue_id,
            created_at=to_micros(now),
        )
        .on_conflict_do_nothing()
        .returning(idempotency.c.key)
    ).first()
    return None if taken is not None else find(tx, org, key)
