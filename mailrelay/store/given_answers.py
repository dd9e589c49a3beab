"""What was answered to requests that came with an Idempotency-Key, kept so that a repeat is answered the same and does nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select, tuple_, update

from mailrelay.clock import to_micros
from mailrelay.ids import OrgId
from mailrelay.store.base import Tx
from mailrelay.store.tables import given_answer

KEPT = timedelta(days=7)
"""At least so long is an answer kept."""
_TIDIED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenAnswer:
    """An answer; `request_sha256` tells the same request from another one."""

    request_sha256: str
    status: int
    body: str
    location: str
    etag: str


def take(tx: Tx, org: OrgId, by: str, key: str, request_sha256: str, *, now: datetime) -> GivenAnswer | None:
    """Take a key of somebody's for a request whose answer `keep` brings in the same transaction; when it is taken already, its answer.

    Somebody who is taking it at this moment is waited for. Some answers that are too old are forgotten.
    """
    table = given_answer.c
    old = (
        select(table.org, table.by, table.key)
        .where(table.created_at < to_micros(now - KEPT))
        .order_by(table.created_at)
        .limit(_TIDIED)
        .with_for_update(skip_locked=True)
    )
    if passed := [(row.org, row.by, row.key) for row in tx.execute(old)]:
        tx.execute(delete(given_answer).where(tuple_(table.org, table.by, table.key).in_(passed)))
    taken = tx.execute(
        tx.insert(given_answer)
        .values(org=org, by=by, key=key, request_sha256=request_sha256, created_at=to_micros(now))
        .on_conflict_do_nothing()
        .returning(table.key)
    ).first()
    if taken is not None:
        return None
    return known(tx, org, by, key)


def known(tx: Tx, org: OrgId, by: str, key: str) -> GivenAnswer | None:
    """What was answered under a key of somebody's, if anything was."""
    table = given_answer.c
    row = tx.execute(select(given_answer).where(table.org == org, table.by == by, table.key == key)).one_or_none()
    if row is None:
        return None
    return GivenAnswer(
        request_sha256=row.request_sha256, status=row.status, body=row.body, location=row.location, etag=row.etag
    )


def keep(tx: Tx, org: OrgId, by: str, key: str, answer: GivenAnswer) -> None:
    """Keep the answer of a key that was taken in this transaction."""
    tx.execute(
        update(given_answer)
        .where(given_answer.c.org == org, given_answer.c.by == by, given_answer.c.key == key)
        .values(status=answer.status, body=answer.body, location=answer.location, etag=answer.etag)
    )
