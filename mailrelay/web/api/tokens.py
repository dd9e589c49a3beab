"""API tokens: made and shown once, listed, revoked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import BeforeValidator, Field

from mailrelay.ids import TokenId, hash_secret, new_api_secret
from mailrelay.model.organisation import ApiToken, Right
from mailrelay.store import tokens
from mailrelay.store.base import Tx
from mailrelay.store.people import find
from mailrelay.web.application import App
from mailrelay.web.identity import Administrator, Caller
from mailrelay.web.shape import Given, Name, Shown
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["tokens"])


class GivenToken(Given):
    """A new token; `user`, an id or address, is on whose behalf it acts."""

    name: Name
    rights: frozenset[Right] = Field(min_length=1)
    user: str | None = None


class ShownToken(Shown):
    """A token without its secret, which is not kept."""

    id: str
    name: str
    rights: Annotated[tuple[Right, ...], BeforeValidator(sorted)]
    """In one order, so that the same token always looks the same."""
    user: str | None
    created_at: datetime
    revoked_at: datetime | None


class NewToken(ShownToken):
    """A new token with its secret: shown this once."""

    secret: str = Field(repr=False)


@router.get("/tokens", response_model=tuple[ShownToken, ...])
async def list_all(app: App, caller: Administrator) -> Sequence[ApiToken]:
    """Every token of the organisation, revoked ones too."""
    return await app.store.read(tokens.list_tokens, caller.org)


@router.post("/tokens", status_code=201)
async def make(app: App, caller: Administrator, given: GivenToken) -> NewToken:
    """A new token."""
    secret = new_api_secret()
    new = await app.store.write(_make, app, caller, given, hash_secret(secret))
    return NewToken(
        id=new.id,
        name=new.name,
        rights=tuple(new.rights),
        user=new.user,
        created_at=new.created_at,
        revoked_at=None,
        secret=secret,
    )


@router.delete("/tokens/{token}", status_code=204)
async def revoke(app: App, caller: Administrator, token: str) -> None:
    """Make a token worthless, at once and for good."""
    await app.store.write(tokens.revoke, caller.org, TokenId(token), now=app.clock.now())


def _make(tx: Tx, app: App, caller: Caller, given: GivenToken, secret_sha256: str) -> ApiToken:
    new = ApiToken(
        id=app.ids.token(),
        org=caller.org,
        name=given.name,
        rights=given.rights,
        user=None if given.user is None else find(tx, caller.org, given.user).id,
        created_at=app.clock.now(),
        revoked_at=None,
    )
    tokens.create(tx, new, secret_sha256=secret_sha256)
    return new
