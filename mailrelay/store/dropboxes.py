"""Users' secret addresses: made, regenerated, disabled, and looked up at RCPT (I1, I21, I24)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, or_, select, update

from mailrelay.clock import from_micros, to_micros
from mailrelay.errors import Conflict, NotPermitted
from mailrelay.ids import DropboxId, OrgId, UserId
from mailrelay.model.organisation import Dropbox, Organisation, Role, User
from mailrelay.model.settings import OrganisationSettings
from mailrelay.store import organisations, people, rows
from mailrelay.store.base import Tx
from mailrelay.store.tables import dropbox, organisation, user

_NOTED_FOR = timedelta(hours=1)
"""A use this soon after the one that was noted is not written down again."""


def make(tx: Tx, new: Dropbox) -> None:
    """Give a user their dropbox.

    Raises Unknown without such a user, NotPermitted for a guest or an inactive user (I1), Conflict when they have one.
    """
    # The user's row is locked, so that two nodes cannot make a dropbox each.
    tx.execute(select(user.c.id).where(user.c.id == new.user).with_for_update())
    owner = people.get(tx, new.org, new.user)
    if not owner.may_use_dropbox:
        raise NotPermitted(f"{owner.name} may not have a dropbox: the role is guest, or the user is not active")
    standing = select(dropbox.c.id).where(dropbox.c.user == new.user, dropbox.c.valid_until.is_(None)).limit(1)
    if tx.execute(standing).scalar() is not None:
        raise Conflict(f"{owner.name} has a dropbox already; regenerate it instead")
    tx.execute(
        dropbox.insert().values(
            id=new.id,
            org=new.org,
            user=new.user,
            token=new.token,
            created_at=to_micros(new.created_at),
            valid_until=None if new.valid_until is None else to_micros(new.valid_until),
        )
    )


def regenerate(tx: Tx, new: Dropbox, *, old_until: datetime) -> None:
    """Give a user a new dropbox; the old ones hold until `old_until`: now stops them at once. Raises as `make` does."""
    disable(tx, new.org, new.user, now=old_until)
    make(tx, new)


def disable(tx: Tx, org: OrgId, owner: UserId, *, now: datetime) -> int:
    """End every dropbox of a user at `now`, those in their overlap too; returns how many."""
    return tx.execute(
        update(dropbox)
        .where(dropbox.c.user == owner, dropbox.c.org == org, _valid(now))
        .values(valid_until=to_micros(now))
    ).rowcount


def of_user(tx: Tx, org: OrgId, owner: UserId) -> tuple[Dropbox, ...]:
    """All dropboxes a user ever had, newest first."""
    found = tx.execute(
        select(dropbox).where(dropbox.c.user == owner, dropbox.c.org == org).order_by(dropbox.c.id.desc())
    )
    return tuple(
        Dropbox(
            id=DropboxId(row.id),
            org=OrgId(row.org),
            user=UserId(row.user),
            token=row.token,
            created_at=from_micros(row.created_at),
            valid_until=None if row.valid_until is None else from_micros(row.valid_until),
            last_used_at=None if row.last_used_at is None else from_micros(row.last_used_at),
        )
        for row in found
    )


def tokens(tx: Tx, org: OrgId, owner: UserId | None) -> frozenset[str]:
    """The secrets of all dropboxes that a user ever had; none of nobody's."""
    mine = (dropbox.c.user == owner, dropbox.c.org == org)
    return frozenset() if owner is None else frozenset(tx.execute(select(dropbox.c.token).where(*mine)).scalars())


def by_token(tx: Tx, token: str, *, now: datetime) -> tuple[Dropbox, User, Organisation] | None:
    """The dropbox that a lower-case token opens at `now`, with whose it is.

    None alike, and after the same one statement, for a token that never was, was regenerated or disabled, or whose user may
    not have a dropbox any more: nobody learns by asking which tokens once existed (I1).
    """
    row = tx.execute(
        select(dropbox.c.id, dropbox.c.user, dropbox.c.org)
        .join(user, user.c.id == dropbox.c.user)
        .where(dropbox.c.token == token, _valid(now), user.c.active, user.c.role != Role.GUEST)
    ).one_or_none()
    if row is None:
        return None
    org = OrgId(row.org)
    found = next(known for known in of_user(tx, org, UserId(row.user)) if known.id == row.id)
    return found, people.get(tx, org, found.user), organisations.get(tx, org)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What a token opens, as much of it as a recipient's check needs."""

    dropbox: DropboxId
    user: UserId
    org: OrgId
    settings: OrganisationSettings


def opened_by(tx: Tx, tokens: Sequence[str], *, now: datetime) -> list[Opened | None]:
    """What `by_token` finds for each of several, in one statement: for RCPT, which is asked for each mail."""
    found = tx.execute(
        select(dropbox.c.token, dropbox.c.id, dropbox.c.user, dropbox.c.org, organisation.c.settings)
        .join(user, user.c.id == dropbox.c.user)
        .join(organisation, organisation.c.id == dropbox.c.org)
        .where(dropbox.c.token.in_(tokens), _valid(now), user.c.active, user.c.role != Role.GUEST)
    )
    opened = {
        row.token: Opened(
            dropbox=DropboxId(row.id),
            user=UserId(row.user),
            org=OrgId(row.org),
            settings=rows.decode(OrganisationSettings, row.settings),
        )
        for row in found
    }
    return [opened.get(token) for token in tokens]


def touch(tx: Tx, used: DropboxId, *, now: datetime) -> None:
    """Note that a dropbox was used, to the hour (I21: who still uses the old address)."""
    tx.last(_touch, (used, now))


def _touch(tx: Tx, uses: list[tuple[DropboxId, datetime]]) -> None:
    at = max(now for _, now in uses)
    stale = or_(dropbox.c.last_used_at.is_(None), dropbox.c.last_used_at <= to_micros(at - _NOTED_FOR))
    used = sorted({one for one, _ in uses})
    tx.execute(update(dropbox).where(dropbox.c.id.in_(used), stale).values(last_used_at=to_micros(at)))


def _valid(now: datetime) -> ColumnElement[bool]:
    return or_(dropbox.c.valid_until.is_(None), dropbox.c.valid_until > to_micros(now))
