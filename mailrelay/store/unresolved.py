"""The list of what could not be filed and waits for a person (I23), and of successors that are proposed (I25).

An entry of the reason `gone` proposes somebody and holds nothing: its mail is filed, or held by another entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, func, select, update

from mailrelay.clock import from_micros, to_micros
from mailrelay.errors import Conflict, Unknown
from mailrelay.ids import MessageId, OrgId, QueueId, UnresolvedId, UserId
from mailrelay.model.decision import HoldReason
from mailrelay.model.envelope import Arrival
from mailrelay.store import organisations
from mailrelay.store.base import Tx
from mailrelay.store.tables import message_source, unresolved
from mailrelay.store.visibility import Viewer, readable_entry


class Resolution(StrEnum):
    """What a person, or a rerun of the rules, made of an entry."""

    FILED = "filed"
    DISMISSED = "dismissed"
    RELEASED = "released"  # given back to the rules, the sender permitted this once
    RETRIED = "retried"  # given back to the rules after our code failed on it


@dataclass(frozen=True, slots=True, kw_only=True)
class Unresolved:
    """One entry. `message` is None when the mail could not be read at all; `user` is whose dropbox it came to."""

    id: UnresolvedId
    org: OrgId
    arrival: QueueId
    message: MessageId | None
    user: UserId | None
    reason: str
    """A HoldReason value."""
    explanation: str
    since: datetime
    resolved_at: datetime | None = None
    resolved_by: str | None = None
    resolution: str = ""


_HOLDS = unresolved.c.reason != HoldReason.GONE


def add(tx: Tx, new: Unresolved) -> None:
    """Put an entry on the list."""
    tx.execute(
        unresolved.insert().values(
            id=new.id,
            org=new.org,
            arrival=new.arrival,
            message=new.message,
            user=new.user,
            reason=new.reason,
            explanation=new.explanation,
            since=to_micros(new.since),
        )
    )


def get(tx: Tx, org: OrgId, id: UnresolvedId, *, viewer: Viewer | None = None) -> Unresolved:  # noqa: A002
    """The entry, open or resolved. Raises Unknown, also where there is a viewer who may not see it."""
    found = select(unresolved).where(unresolved.c.id == id, unresolved.c.org == org)
    row = tx.execute(found if viewer is None else found.where(readable_entry(viewer))).first()
    if row is None:
        raise Unknown(f"There is no entry {id} on the unresolved list")
    return _entry(row)


def list_open(
    tx: Tx,
    org: OrgId,
    *,
    viewer: Viewer | None = None,
    user: UserId | None = None,
    after: UnresolvedId | None = None,
    limit: int = 100,
    nobodys: bool = True,
) -> tuple[Unresolved, ...]:
    """A page of the open entries, oldest first, of one user or all; `after` is the last id of the page before.

    With `viewer` only those that they may see. Without `nobodys`, what may be any organisation's is left out: only the
    installation's operator sees that.
    """
    page = select(unresolved).where(unresolved.c.org == org, unresolved.c.resolved_at.is_(None))
    if viewer is not None:
        page = page.where(readable_entry(viewer))
    if not nobodys:
        page = page.where(unresolved.c.reason != HoldReason.UNATTRIBUTED)
    if user is not None:
        page = page.where(unresolved.c.user == user)
    if after is not None:
        page = page.where(unresolved.c.id > after)
    return tuple(_entry(row) for row in tx.execute(page.order_by(unresolved.c.id).limit(limit)))


def is_nobodys(tx: Tx, held: Arrival) -> bool:
    """Whether an arrival was, or still may be, held as any organisation's: no organisation may see it or its bytes."""
    if not held.names_nobody:
        return False
    if any(one.reason == HoldReason.UNATTRIBUTED for one in of_arrival(tx, held.org, held.id)):
        return True
    return held.message is None and len(organisations.list_organisations(tx)) > 1  # not judged yet


def of_arrival(tx: Tx, org: OrgId, arrival: QueueId, *, viewer: Viewer | None = None) -> tuple[Unresolved, ...]:
    """The entries that hold an arrival, open and resolved, oldest first; those that a viewer may see, or all."""
    found = select(unresolved).where(unresolved.c.arrival == arrival, unresolved.c.org == org, _HOLDS)
    if viewer is not None:
        found = found.where(readable_entry(viewer))
    return tuple(_entry(row) for row in tx.execute(found.order_by(unresolved.c.id)))


def of_message(tx: Tx, org: OrgId, message: MessageId) -> tuple[Unresolved, ...]:
    """The entries that hold a message, by whichever arrival, open and resolved, oldest first."""
    came = select(message_source.c.arrival).where(message_source.c.message == message, message_source.c.org == org)
    found = select(unresolved).where(
        unresolved.c.arrival.in_(came.scalar_subquery()),
        unresolved.c.message == message,
        unresolved.c.org == org,
        _HOLDS,
    )
    return tuple(_entry(row) for row in tx.execute(found.order_by(unresolved.c.id)))


def resolve(tx: Tx, org: OrgId, id: UnresolvedId, *, by: str, resolution: Resolution, at: datetime) -> Unresolved:  # noqa: A002
    """Take an entry off the list; the entry as it was. Raises Unknown, or Conflict when somebody was first."""
    entry = get(tx, org, id)
    changed = tx.execute(
        update(unresolved)
        .where(unresolved.c.id == id, unresolved.c.resolved_at.is_(None))
        .values(resolved_at=to_micros(at), resolved_by=by, resolution=resolution)
    )
    if changed.rowcount != 1:
        raise Conflict(f"{id} was resolved already ({entry.resolution or 'a moment ago'})")
    return entry


def released_by(tx: Tx, arrival: QueueId) -> str:
    """Who let an arrival pass although it was held, or ""."""
    found = select(unresolved.c.resolved_by).where(
        unresolved.c.arrival == arrival, unresolved.c.resolution == Resolution.RELEASED
    )
    return tx.execute(found.order_by(unresolved.c.id.desc()).limit(1)).scalar() or ""


def count(tx: Tx) -> int:
    """How many entries are open in the whole installation (for the metric)."""
    number: int = tx.execute(select(func.count()).where(unresolved.c.resolved_at.is_(None))).scalar_one()
    return number


def _entry(row: Row[Any]) -> Unresolved:
    return Unresolved(
        id=UnresolvedId(row.id),
        org=OrgId(row.org),
        arrival=QueueId(row.arrival),
        message=None if row.message is None else MessageId(row.message),
        user=None if row.user is None else UserId(row.user),
        reason=row.reason,
        explanation=row.explanation,
        since=from_micros(row.since),
        resolved_at=None if row.resolved_at is None else from_micros(row.resolved_at),
        resolved_by=row.resolved_by,
        resolution=row.resolution,
    )
