"""Users' dropboxes: the secret address, given only to its user and to administrators (I1, I21)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from mailrelay.errors import NotPermitted, Unknown
from mailrelay.ids import new_dropbox_token
from mailrelay.mail.vcard import vcard
from mailrelay.model.address import Address
from mailrelay.model.organisation import Dropbox, Right, User
from mailrelay.store import dropboxes
from mailrelay.store.base import Tx
from mailrelay.store.people import find
from mailrelay.web.application import App, Application
from mailrelay.web.identity import Administrator, Caller, Reader
from mailrelay.web.shape import MailAddress, Shown, Span
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["dropboxes"])


class ShownDropbox(Shown):
    """A dropbox; `valid_until` null while it holds."""

    id: str
    address: MailAddress
    created_at: datetime
    valid_until: datetime | None
    last_used_at: datetime | None


def address_of(app: Application, box: Dropbox) -> Address:
    """The address that people put in Bcc."""
    return Address(f"bcc-{box.token}", app.config.inbound.domains[0])


@router.get("/users/{who}/dropboxes", response_model=tuple[ShownDropbox, ...])
async def list_all(app: App, caller: Reader, who: str) -> tuple[ShownDropbox, ...]:
    """Every dropbox a user ever had, newest first, with when it was last used."""
    _, found = await app.store.read(_of, caller, who)
    return tuple(_shown(app, box) for box in found)


@router.post("/users/{who}/dropboxes", response_model=ShownDropbox, status_code=201)
async def make(app: App, caller: Administrator, who: str) -> ShownDropbox:
    """Give a user their dropbox."""
    new = await app.store.write(_make, app, caller, who, overlap=None)
    return _shown(app, new)


@router.post("/users/{who}/dropboxes/regenerate", response_model=ShownDropbox, status_code=201)
async def regenerate(
    app: App,
    caller: Administrator,
    who: str,
    overlap: Annotated[
        Span,
        Query(
            description="How long the old address stays valid, such as 7d; by default it stops at once.",
            default_factory=timedelta,  # a default that is described would be described as PT0S
        ),
    ],
) -> ShownDropbox:
    """Give a user a new dropbox; the old one stops at once, or after `overlap`."""
    new = await app.store.write(_make, app, caller, who, overlap=overlap)
    return _shown(app, new)


@router.delete("/users/{who}/dropboxes", status_code=204)
async def disable(app: App, caller: Administrator, who: str) -> None:
    """End every dropbox of a user at once."""
    await app.store.write(_disable, app, caller, who)


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


def _only_theirs(caller: Caller, owner: User) -> None:
    if not caller.may(Right.ADMIN) and caller.user != owner.id:
        raise NotPermitted("A dropbox is a secret of its user; this needs the user's own token, or an administrator's")


def _make(tx: Tx, app: Application, caller: Caller, who: str, *, overlap: timedelta | None) -> Dropbox:
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
    return new


def _disable(tx: Tx, app: Application, caller: Caller, who: str) -> None:
    dropboxes.disable(tx, caller.org, find(tx, caller.org, who).id, now=app.clock.now())


def _shown(app: Application, box: Dropbox) -> ShownDropbox:
    return ShownDropbox(
        id=box.id,
        address=address_of(app, box),
        created_at=box.created_at,
        valid_until=box.valid_until,
        last_used_at=box.last_used_at,
    )
