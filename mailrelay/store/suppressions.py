"""Addresses that must not be sent to, and why (O10, I11).

An address may be suppressed for several reasons at once, a row each: lifting a bounce does not undo an unsubscription.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select, tuple_, update

from mailrelay.clock import from_micros, to_micros
from mailrelay.ids import OrgId
from mailrelay.model.event import EventType
from mailrelay.model.suppression import Suppression, SuppressionReason
from mailrelay.store import events
from mailrelay.store.base import Tx
from mailrelay.store.tables import suppression


def suppress(
    tx: Tx, *, org: OrgId, key: str, reason: SuppressionReason, evidence: str, now: datetime, by: str = ""
) -> bool:
    """Suppress an address (by key); False when it is already, for this reason. `evidence` says what was seen."""
    standing = holding(tx, org, [key])
    if any(one.reason is reason for one in standing):
        return False
    since = to_micros(now)
    latest = select(suppression.c.since).where(suppression.c.org == org, suppression.c.key == key)
    last = tx.execute(latest.order_by(suppression.c.since.desc()).limit(1)).scalar()
    if last is not None:
        since = max(since, last + 1)  # two reasons at the same moment are two rows
    tx.execute(suppression.insert().values(org=org, key=key, reason=reason, since=since, evidence=evidence, by=by))
    events.append(
        tx,
        org=org,
        at=now,
        type=EventType.ADDRESS_SUPPRESSED,
        data={"address": key, "reason": reason, "evidence": evidence, "by": by},
    )
    return True


def lift(
    tx: Tx, org: OrgId, key: str, *, by: str, now: datetime, reason: SuppressionReason | None = None
) -> tuple[Suppression, ...]:
    """Let an address (by key) be sent to again, from every reason or this one; what was lifted, empty when nothing held.

    `by` is the user who did it, or a word for what did.
    """
    lifted = tuple(one for one in holding(tx, org, [key]) if reason in (None, one.reason))
    for one in lifted:
        tx.execute(
            update(suppression)
            .where(suppression.c.org == org, suppression.c.key == key, suppression.c.since == to_micros(one.since))
            .values(lifted_at=to_micros(now), lifted_by=by)
        )
        events.append(
            tx,
            org=org,
            at=now,
            type=EventType.SUPPRESSION_LIFTED,
            data={"address": key, "reason": one.reason, "by": by},
        )
    return lifted


def holding(tx: Tx, org: OrgId, keys: Sequence[str]) -> tuple[Suppression, ...]:
    """What stands against sending to these addresses (by key), by key and time; empty for none."""
    found = tx.execute(
        select(suppression)
        .where(suppression.c.org == org, suppression.c.key.in_(keys), suppression.c.lifted_at.is_(None))
        .order_by(suppression.c.key, suppression.c.since)
    )
    return tuple(_suppression(row) for row in found)


def list_suppressions(
    tx: Tx, org: OrgId, *, after: tuple[str, datetime] | None = None, search: str = "", limit: int = 100
) -> tuple[Suppression, ...]:
    """A page of what holds, by key and time, of keys that contain `search`; `after` is (key, since) of the last one seen."""
    page = select(suppression).where(suppression.c.org == org, suppression.c.lifted_at.is_(None))
    if search:
        page = page.where(suppression.c.key.contains(search.lower(), autoescape=True))
    if after is not None:
        page = page.where(tuple_(suppression.c.key, suppression.c.since) > (after[0], to_micros(after[1])))
    found = tx.execute(page.order_by(suppression.c.key, suppression.c.since).limit(limit))
    return tuple(_suppression(row) for row in found)


def history(tx: Tx, org: OrgId, key: str) -> tuple[Suppression, ...]:
    """All that ever stood against an address (by key), lifted or not, oldest first."""
    found = tx.execute(
        select(suppression).where(suppression.c.org == org, suppression.c.key == key).order_by(suppression.c.since)
    )
    return tuple(_suppression(row) for row in found)


def _suppression(row: Row[*tuple[Any, ...]]) -> Suppression:
    return Suppression(
        org=OrgId(row.org),
        key=row.key,
        reason=SuppressionReason(row.reason),
        since=from_micros(row.since),
        evidence=row.evidence,
        by=row.by,
        lifted_at=None if row.lifted_at is None else from_micros(row.lifted_at),
    )
