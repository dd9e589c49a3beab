"""API tokens: only the SHA-256 of a secret is kept, so that the database gives none away."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Row, select, update

from mailrelay.clock import from_micros, to_micros
from mailrelay.errors import Unknown
from mailrelay.ids import OrgId, TokenId, UserId
from mailrelay.model.organisation import ApiToken, Right
from mailrelay.store.base import Tx
from mailrelay.store.tables import api_token, user


def create(tx: Tx, new: ApiToken, *, secret_sha256: str) -> None:
    """Keep a token under `ids.hash_secret` of its secret."""
    tx.execute(
        api_token.insert().values(
            id=new.id,
            org=new.org,
            name=new.name,
            secret_sha256=secret_sha256,
            rights=sorted(new.rights),
            user=new.user,
            created_at=to_micros(new.created_at),
            expires_at=None if new.expires_at is None else to_micros(new.expires_at),
        )
    )


def by_secret(tx: Tx, secret_sha256: str, *, now: datetime) -> ApiToken | None:
    """The token of a secret; None when there is none, it was revoked or is over, or its user is not active."""
    row = tx.execute(
        select(api_token)
        .outerjoin(user, user.c.id == api_token.c.user)
        .where(
            api_token.c.secret_sha256 == secret_sha256,
            api_token.c.revoked_at.is_(None),
            api_token.c.expires_at.is_(None) | (api_token.c.expires_at > to_micros(now)),
            api_token.c.user.is_(None) | user.c.active,
        )
    ).one_or_none()
    return None if row is None else _token(row)


def note_use(tx: Tx, token: TokenId, *, now: datetime) -> None:
    """Keep that a token is used now."""
    tx.execute(update(api_token).where(api_token.c.id == token).values(used_at=to_micros(now)))


def get(tx: Tx, org: OrgId, token: str) -> ApiToken:
    """A token, without its secret. Raises Unknown."""
    row = tx.execute(select(api_token).where(api_token.c.id == token, api_token.c.org == org)).one_or_none()
    if row is None:
        raise Unknown("There is no such token")
    return _token(row)


def list_tokens(tx: Tx, org: OrgId, *, after: str = "", limit: int | None = None) -> tuple[ApiToken, ...]:
    """The organisation's tokens, revoked ones too, oldest first; those behind an id, and so many, or all."""
    behind = (api_token.c.org == org) & (api_token.c.id > after)
    found = tx.execute(select(api_token).where(behind).order_by(api_token.c.id).limit(limit))
    return tuple(_token(row) for row in found)


def revoke(tx: Tx, org: OrgId, token: TokenId, *, now: datetime) -> None:
    """Make a token worthless from now on; a second time changes nothing. Raises Unknown."""
    mine = (api_token.c.id == token) & (api_token.c.org == org)
    if tx.execute(select(api_token.c.id).where(mine)).scalar() is None:
        raise Unknown("There is no such token")
    tx.execute(update(api_token).where(mine, api_token.c.revoked_at.is_(None)).values(revoked_at=to_micros(now)))


def _token(row: Row[Any]) -> ApiToken:
    return ApiToken(
        id=TokenId(row.id),
        org=OrgId(row.org),
        name=row.name,
        rights=frozenset(Right(right) for right in row.rights),
        user=None if row.user is None else UserId(row.user),
        created_at=from_micros(row.created_at),
        revoked_at=None if row.revoked_at is None else from_micros(row.revoked_at),
        expires_at=None if row.expires_at is None else from_micros(row.expires_at),
        used_at=None if row.used_at is None else from_micros(row.used_at),
    )
