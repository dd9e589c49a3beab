"""Users' dropboxes: the secret address, given only to its user and to administrators (I1, I21)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from mailrelay.errors import NotPermitted, Unknown
from mailrelay.ids import DropboxId, new_dropbox_token
from mailrelay.mail.vcard import vcard
from mailrelay.model.address import Address
from mailrelay.model.event import EventType
from mailrelay.model.organisation import Dropbox, Right, User
from mailrelay.store import dropboxes, events, uses
from mailrelay.store.base import Tx
from mailrelay.store.people import find
from mailrelay.web.api.record_addresses import ShownUse
from mailrelay.web.application import App, Application
from mailrelay.web.etag import IfMatch, Seen
from mailrelay.web.identity import Administrator, Caller, Reader
from mailrelay.web.once import Once, making
from mailrelay.web.shape import After, Limit, MailAddress, Page, Paged, Shown, Span, page_of, paged
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["dropboxes"])


class ShownDropbox(Shown):
    """A dropbox; `valid_until` null while it holds."""

    id: str
    address: MailAddress
    created_at: datetime
    valid_until: datetime | None
    last_used_at: datetime | None


OnceADropbox = Annotated[Once, making("/users/{who}/dropboxes/{id}")]


def address_of(app: Application, box: Dropbox) -> Address:
    """The address that people put in Bcc."""
    return Address(f"bcc-{box.token}", app.config.inbound.domains[0])


@router.get("/users/{who}/dropboxes", response_model=Page[ShownDropbox])
async def list_all(app: App, caller: Reader, who: str, after: After = "", limit: Limit = 100) -> Paged[ShownDropbox]:
    """Every dropbox a user ever had, newest first, with when it was last used."""
    return await app.store.read(_list, app, caller, who, after, limit)


@router.get("/users/{who}/dropboxes/{dropbox}")
async def show(app: App, caller: Reader, who: str, dropbox: str) -> ShownDropbox:
    """One dropbox of a user."""
    _, found = await app.store.read(_of, caller, who)
    for box in found:
        if box.id == dropbox:
            return _shown(app, box)
    raise Unknown("There is no such dropbox")


@router.get("/users/{who}/dropboxes/{dropbox}/uses", response_model=Page[ShownUse])
async def list_uses(
    app: App, caller: Reader, who: str, dropbox: str, after: After = "", limit: Limit = 100
) -> Paged[uses.Use]:
    """Who writes to a dropbox: how often, and when first and last; so of an old one who still has it. The first 500 are counted."""
    found = await app.store.read(_uses, caller, who, dropbox, after, limit)
    return paged(found, limit=limit, cursor=lambda one: one.address.key)


@router.post("/users/{who}/dropboxes", response_model=ShownDropbox, status_code=201)
async def make(app: App, caller: Administrator, who: str, once: OnceADropbox) -> ShownDropbox:
    """Give a user their dropbox."""
    return await once.write(app.store, _make, app, caller, who, overlap=None)


@router.post("/users/{who}/dropboxes/regenerate", response_model=ShownDropbox, status_code=201)
async def regenerate(
    app: App,
    caller: Administrator,
    who: str,
    once: OnceADropbox,
    overlap: Annotated[
        Span,
        Query(
            description="How long the old address stays valid, such as 7d; by default it stops at once.",
            default_factory=timedelta,  # a default that is described would be described as PT0S
        ),
    ],
) -> ShownDropbox:
    """Give a user a new dropbox; the old one stops at once, or after `overlap`."""
    return await once.write(app.store, _make, app, caller, who, overlap=overlap)


@router.delete("/users/{who}/dropboxes", status_code=204)
async def disable(app: App, caller: Administrator, who: str, seen: IfMatch) -> None:
    """End every dropbox of a user at once."""
    await app.store.write(_disable, app, caller, who, seen)


@router.get("/users/{who}/dropbox.vcf", response_class=Response, responses={200: {"content": {"text/vcard": {}}}})
async def card(app: App, caller: Reader, who: str) -> Response:
    """The valid dropbox as a vCard for an address book (RFC 6350)."""
    user, found = await app.store.read(_of, caller, who)
    standing = next((box for box in found if box.valid_until is None), None)
    if standing is None:
        raise Unknown(f"{user.name} has no dropbox")
    return Response(
        vcard(f"CRM dropbox of {user.name}", str(address_of(app, standing))),
        media_type="text/vcard; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="dropbox.vcf"'},
    )


def _of(tx: Tx, caller: Caller, who: str) -> tuple[User, tuple[Dropbox, ...]]:
    owner = find(tx, caller.org, who)
    _only_theirs(caller, owner)
    return owner, dropboxes.of_user(tx, caller.org, owner.id)


def _uses(tx: Tx, caller: Caller, who: str, dropbox: str, after: str, limit: int) -> tuple[uses.Use, ...]:
    _, found = _of(tx, caller, who)
    if dropbox not in {box.id for box in found}:
        raise Unknown("There is no such dropbox")
    return uses.list_uses(tx, caller.org, uses.of_dropbox(DropboxId(dropbox)), after=after, limit=limit)


def _only_theirs(caller: Caller, owner: User) -> None:
    if not caller.may(Right.ADMIN) and caller.user != owner.id:
        raise NotPermitted("A dropbox is a secret of its user; this needs the user's own token, or an administrator's")


def _list(tx: Tx, app: Application, caller: Caller, who: str, after: str = "", limit: int = 100) -> Paged[ShownDropbox]:
    _, found = _of(tx, caller, who)
    shown = [_shown(app, box) for box in found]
    return page_of(shown, after=after, limit=limit, cursor=lambda one: one.id, newest_first=True)


def _make(tx: Tx, app: Application, caller: Caller, who: str, *, overlap: timedelta | None) -> ShownDropbox:
    now = app.clock.now()
    new = Dropbox(
        id=app.ids.dropbox(),
        org=caller.org,
        user=find(tx, caller.org, who).id,
        token=new_dropbox_token(),
        created_at=now,
        valid_until=None,
        last_used_at=None,
    )
    if overlap is None:
        dropboxes.make(tx, new)
    else:
        dropboxes.regenerate(tx, new, old_until=now + overlap)
    # Its address is a secret of its user: no event has it.
    data = {"dropbox": new.id, "user": new.user, "by": caller.by}
    events.append(tx, org=caller.org, at=now, type=EventType.DROPBOX_CREATED, data=data)
    return _shown(app, new)


def _disable(tx: Tx, app: Application, caller: Caller, who: str, seen: Seen) -> None:
    seen.check(tx, lambda: Page[ShownDropbox].model_validate(_list(tx, app, caller, who)))
    user, now = find(tx, caller.org, who).id, app.clock.now()
    if dropboxes.disable(tx, caller.org, user, now=now):
        data = {"user": user, "by": caller.by}
        events.append(tx, org=caller.org, at=now, type=EventType.DROPBOX_REVOKED, data=data)


def _shown(app: Application, box: Dropbox) -> ShownDropbox:
    return ShownDropbox(
        id=box.id,
        address=address_of(app, box),
        created_at=box.created_at,
        valid_until=box.valid_until,
        last_used_at=box.last_used_at,
    )
