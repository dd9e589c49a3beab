"""API tokens: made and shown once, listed, revoked."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import AwareDatetime, BeforeValidator, Field

from mailrelay.errors import Invalid
from mailrelay.ids import TokenId, hash_secret, new_api_secret
from mailrelay.model.event import EventType
from mailrelay.model.organisation import ApiToken, Right
from mailrelay.store import events, tokens, webhooks
from mailrelay.store.base import Tx
from mailrelay.store.people import find
from mailrelay.web.application import App, Application
from mailrelay.web.etag import IfMatch, Seen
from mailrelay.web.identity import Administrator, Caller
from mailrelay.web.once import Once, making
from mailrelay.web.shape import After, Given, Limit, Name, Page, Paged, Shown, in_field, paged
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["tokens"])


class GivenToken(Given):
    """A new token; `user`, an id or address, is on whose behalf it acts."""

    name: Name
    rights: frozenset[Right] = Field(
        min_length=1, description="What it may do: read, send, or admin, which is everything in the organisation."
    )
    user: str | None = Field(None, description="On whose behalf it acts, by id or address; without, the organisation.")
    expires_at: AwareDatetime | None = Field(None, description="From when on it is worthless; without, never.")


class ShownToken(Shown):
    """A token without its secret, which is not kept."""

    id: str
    name: str
    rights: Annotated[tuple[Right, ...], BeforeValidator(sorted)]
    """In one order, so that the same token always looks the same."""
    user: str | None
    created_at: datetime
    expires_at: datetime | None
    used_at: Annotated[datetime | None, Field(description="When it was used last, within the hour.")]
    revoked_at: datetime | None


class NewToken(ShownToken):
    """A new token with its secret: shown this once."""

    secret: str | None = Field(
        repr=False, description="The bearer token; null in the answer to a repeat: it is not kept."
    )


@router.get("/tokens", response_model=Page[ShownToken])
async def list_all(app: App, caller: Administrator, after: After = "", limit: Limit = 100) -> Paged[ApiToken]:
    """The tokens of the organisation, revoked ones too, oldest first."""
    found = await app.store.read(tokens.list_tokens, caller.org, after=after, limit=limit)
    return paged(found, limit=limit, cursor=lambda one: one.id)


@router.post("/tokens", status_code=201)
async def make(
    app: App,
    caller: Administrator,
    given: GivenToken,
    once: Annotated[Once, making("/tokens/{id}", secret=("secret",))],
) -> NewToken:
    """A new token, with its secret: this once."""
    return await once.write(app.store, _make, app, caller, given, new_api_secret())


@router.get("/tokens/{token}", response_model=ShownToken)
async def show(app: App, caller: Administrator, token: str) -> ApiToken:
    """One token, without its secret."""
    return await app.store.read(tokens.get, caller.org, token)


@router.delete("/tokens/{token}", status_code=204)
async def revoke(app: App, caller: Administrator, token: str, seen: IfMatch) -> None:
    """Make a token worthless, at once and for good. The webhooks that it made, or changed or enabled last, are disabled."""
    await app.store.write(_revoke, caller, token, seen, app.clock.now())


def _revoke(tx: Tx, caller: Caller, token: str, seen: Seen, now: datetime) -> None:
    org = caller.org
    seen.check(tx, lambda: ShownToken.model_validate(tokens.get(tx, org, token)))
    tokens.revoke(tx, org, TokenId(token), now=now)
    data = {"token": token, "by": caller.by}
    events.append(tx, org=org, at=now, type=EventType.TOKEN_REVOKED, data=data)
    because = f"its token {token} was revoked by {caller.by}"
    webhooks.disable_all(tx, org, token=TokenId(token), because=because, at=now, by=caller.by)


def _make(tx: Tx, app: Application, caller: Caller, given: GivenToken, secret: str) -> NewToken:
    if given.expires_at is not None and given.expires_at <= app.clock.now():
        raise Invalid("expires_at", "is in the past")
    with in_field("user"):
        user = None if given.user is None else find(tx, caller.org, given.user).id
    new = ApiToken(
        id=app.ids.token(),
        org=caller.org,
        name=given.name,
        rights=given.rights,
        user=user,
        created_at=app.clock.now(),
        revoked_at=None,
        expires_at=given.expires_at,
    )
    tokens.create(tx, new, secret_sha256=hash_secret(secret))
    rights = " ".join(sorted(new.rights))
    data = {"token": new.id, "name": new.name, "rights": rights, "user": new.user or "", "by": caller.by}
    events.append(tx, org=new.org, at=new.created_at, type=EventType.TOKEN_CREATED, data=data, user=new.user or "")
    return NewToken(**ShownToken.model_validate(new).model_dump(), secret=secret)
