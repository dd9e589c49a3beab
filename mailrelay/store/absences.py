"""Who is away or gone, by address, and whom that makes a successor of (I25)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, delete, or_, select

from mailrelay.clock import from_micros, to_micros
from mailrelay.ids import MessageId, OrgId, UnresolvedId
from mailrelay.model.absence import Absence, Instead
from mailrelay.store import rows
from mailrelay.store.base import Tx
from mailrelay.store.tables import absence, successor
from mailrelay.store.visibility import Viewer, readable


def note(tx: Tx, new: Absence) -> bool:
    """Keep what an address's newest automatic reply says; whether it says anything new. An older one changes nothing."""
    known = tx.execute(_of_keys(new.org, [new.key]).with_for_update()).first()
    old = None if known is None else _absence(known)
    if old is not None and old.noted_at > new.noted_at:
        return False
    put = tx.insert(absence).values(
        org=new.org,
        key=new.key,
        until_at=None if new.until is None else to_micros(new.until),
        since_at=None if new.since is None else to_micros(new.since),
        gone=new.gone,
        noted_at=to_micros(new.noted_at),
        message=new.message,
        instead=rows.encode(new.instead),
    )
    changed = ("until_at", "since_at", "gone", "noted_at", "message", "instead")
    tx.execute(
        put.on_conflict_do_update(index_elements=["org", "key"], set_={name: put.excluded[name] for name in changed})
    )
    return old is None or replace(old, noted_at=new.noted_at, message=new.message) != new


def of(tx: Tx, org: OrgId, keys: Sequence[str], now: datetime) -> tuple[Absence, ...]:
    """Who of these addresses (by key) is gone, or away at `now` until a day that is known, by key."""
    at = to_micros(now)
    there = _of_keys(org, keys).where(
        or_(
            absence.c.gone,
            (absence.c.until_at > at) & (absence.c.since_at.is_(None) | (absence.c.since_at <= at)),
        )
    )
    return tuple(_absence(row) for row in tx.execute(there.order_by(absence.c.key)))


def clear(tx: Tx, org: OrgId, key: str) -> bool:
    """Forget the absence of an address (by key), whose owner has written; False when none was noted."""
    return tx.execute(delete(absence).where(absence.c.org == org, absence.c.key == key)).rowcount > 0


def list_absences(
    tx: Tx, org: OrgId, *, viewer: Viewer | None = None, after: str = "", search: str = "", limit: int = 100
) -> tuple[Absence, ...]:
    """A page of what is noted, past absences too, by key; of keys that contain `search`; `after` is the last key seen.

    With `viewer` only what mail says that they may see.
    """
    page = select(absence).where(absence.c.org == org, absence.c.key > after)
    if viewer is not None:
        page = page.where(readable(viewer, absence.c.message))
    if search:
        page = page.where(absence.c.key.contains(search.lower(), autoescape=True))
    return tuple(_absence(row) for row in tx.execute(page.order_by(absence.c.key).limit(limit)))


def propose(tx: Tx, org: OrgId, key: str, instead: Instead, entry: UnresolvedId) -> bool:
    """Write down that `entry` proposes somebody in the place of the owner of an address (by key); False when one did before."""
    put = tx.insert(successor).values(
        org=org,
        key=key,
        instead=instead.address.key,
        name=instead.name,
        address=rows.encode_address(instead.address),
        entry=entry,
    )
    return tx.execute(put.on_conflict_do_nothing().returning(successor.c.entry)).first() is not None


def proposed(tx: Tx, org: OrgId, entry: UnresolvedId) -> tuple[str, Instead] | None:
    """In whose place (by key) an entry proposes whom; None when it proposes nobody."""
    row = tx.execute(select(successor).where(successor.c.entry == entry, successor.c.org == org)).first()
    return None if row is None else (row.key, Instead(row.name, rows.decode_address(row.address)))


def _of_keys(org: OrgId, keys: Sequence[str]) -> Select[*tuple[Any, ...]]:
    return select(absence).where(absence.c.org == org, absence.c.key.in_(keys))


def _absence(row: Row[Any]) -> Absence:
    return Absence(
        org=OrgId(row.org),
        key=row.key,
        until=None if row.until_at is None else from_micros(row.until_at),
        since=None if row.since_at is None else from_micros(row.since_at),
        gone=row.gone,
        noted_at=from_micros(row.noted_at),
        message=MessageId(row.message),
        instead=rows.decode(tuple[Instead, ...], row.instead),
    )
