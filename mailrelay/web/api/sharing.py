"""What users share of their mail: set by administrators, or by each user where the organisation leaves it to them (I16)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import Field

from mailrelay.errors import Invalid, NotPermitted
from mailrelay.ids import UserId
from mailrelay.model.organisation import Right
from mailrelay.model.record import RecordRef
from mailrelay.model.settings import Sharing
from mailrelay.model.sharing import UserSharing
from mailrelay.smtp.address import BadAddress, parse_domain
from mailrelay.store import people, sharing
from mailrelay.store.base import Tx
from mailrelay.store.sharing import MOST_DOMAINS
from mailrelay.web.api.records import ModuleName, RecordId
from mailrelay.web.application import App
from mailrelay.web.etag import IfMatch
from mailrelay.web.identity import Administrator, Caller, Reader
from mailrelay.web.shape import After, Given, Limit, MailDomain, Page, Paged, Ref, Shown, page_of, paged, ref
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["sharing"])
Domain = Annotated[str, Path(max_length=255, description="A domain; what is below it is meant too.")]


class GivenSharing(Given):
    """How a user's mail is shared, whole: what is left out is as the organisation has it, or none."""

    sharing: Sharing | None = Field(None, description="Null: as the organisation has it.")
    unshared_domains: tuple[MailDomain, ...] = Field(
        (), max_length=MOST_DOMAINS, description="Mail with somebody of these is not shared."
    )


class ShownSharing(Shown):
    """How a user's mail is shared. `effective` is what holds; `left_to_user` whether the user may change it."""

    user: str
    sharing: Sharing | None
    effective: Sharing
    left_to_user: bool
    unshared_domains: tuple[str, ...]


class ShownChoice(Shown):
    """A record whose mail is shared, where sharing is custom."""

    record: Ref


class ShownUnsharedDomain(Shown):
    """A domain whose mail nobody shares."""

    domain: str


@router.get("/users/{who}/sharing", response_model=ShownSharing)
async def show(app: App, caller: Reader, who: str) -> UserSharing:
    """How a user's mail is shared; for administrators, and the user."""
    return await app.store.read(_shown, caller, who)


@router.put("/users/{who}/sharing", response_model=ShownSharing)
async def put(app: App, caller: Reader, who: str, given: GivenSharing, seen: IfMatch) -> UserSharing:
    """Set how a user's mail is shared: an administrator, or the user where that is left to users."""

    def change(tx: Tx) -> UserSharing:
        seen.check(tx, lambda: ShownSharing.model_validate(_shown(tx, caller, who)))
        user = _to_change(tx, caller, who)
        return sharing.put(
            tx, caller.org, user, given.sharing, given.unshared_domains, by=caller.by, at=app.clock.now()
        )

    return await app.store.write(change)


@router.get("/users/{who}/sharing/records", response_model=Page[ShownChoice])
async def chosen(app: App, caller: Reader, who: str, after: After = "", limit: Limit = 100) -> Paged[ShownChoice]:
    """The records that a user chose, whose mail is shared where sharing is custom."""
    return await app.store.read(_chosen, caller, who, after, limit)


@router.put("/users/{who}/sharing/records/{module}/{id}", response_model=ShownChoice)
async def choose(
    app: App,
    caller: Reader,
    who: str,
    module: ModuleName,
    id: RecordId,  # noqa: A002
) -> ShownChoice:
    """Share a user's mail on a record; one that is chosen already is well."""
    record = RecordRef(module, id)

    def change(tx: Tx) -> None:
        sharing.choose(tx, caller.org, _to_change(tx, caller, who), record, by=caller.by, at=app.clock.now())

    await app.store.write(change)
    return ShownChoice(record=record)


@router.delete("/users/{who}/sharing/records/{module}/{id}", status_code=204)
async def leave(app: App, caller: Reader, who: str, module: ModuleName, id: RecordId) -> None:  # noqa: A002
    """Share a user's mail on a record no longer; one that is not chosen is well."""

    def change(tx: Tx) -> None:
        whose = _to_change(tx, caller, who)
        sharing.leave(tx, caller.org, whose, RecordRef(module, id), by=caller.by, at=app.clock.now())

    await app.store.write(change)


@router.get("/sharing/domains", response_model=Page[ShownUnsharedDomain])
async def domains(app: App, caller: Reader, after: After = "", limit: Limit = 100) -> Paged[ShownUnsharedDomain]:
    """The domains whose mail nobody of the organisation shares, by name."""
    found = [ShownUnsharedDomain(domain=one) for one in await app.store.read(sharing.unshared, caller.org)]
    return page_of(found, after=after, limit=limit, cursor=lambda one: one.domain)


@router.put("/sharing/domains/{domain}", response_model=ShownUnsharedDomain)
async def keep_back(app: App, caller: Administrator, domain: Domain) -> ShownUnsharedDomain:
    """Let nobody share mail with a domain; one that is kept back already is well."""
    name = _domain(domain)
    await app.store.write(sharing.keep_back, caller.org, name, by=caller.by, at=app.clock.now())
    return ShownUnsharedDomain(domain=name)


@router.delete("/sharing/domains/{domain}", status_code=204)
async def share_again(app: App, caller: Administrator, domain: Domain) -> None:
    """Keep mail with a domain back no longer; one that is not is well."""
    await app.store.write(sharing.share_again, caller.org, _domain(domain), by=caller.by, at=app.clock.now())


def _shown(tx: Tx, caller: Caller, who: str) -> UserSharing:
    return sharing.of(tx, caller.org, _to_see(tx, caller, who))


def _chosen(tx: Tx, caller: Caller, who: str, after: str, limit: int) -> Paged[ShownChoice]:
    try:
        last = ref(after) if after else None
    except ValueError:
        raise Invalid("after", "is not the `next` of a page") from None
    found = sharing.chosen(tx, caller.org, _to_see(tx, caller, who), after=last, limit=limit)
    return paged([ShownChoice(record=one) for one in found], limit=limit, cursor=lambda one: str(one.record))


def _to_see(tx: Tx, caller: Caller, who: str) -> UserId:
    """Raises Unknown, NotPermitted."""
    user = people.find(tx, caller.org, who)
    if not caller.may(Right.ADMIN) and caller.user != user.id:
        raise NotPermitted("How a user's mail is shared is shown to them and to administrators")
    return user.id


def _to_change(tx: Tx, caller: Caller, who: str) -> UserId:
    """Raises Unknown, NotPermitted."""
    user = _to_see(tx, caller, who)
    if caller.may(Right.ADMIN):
        return user
    if not caller.may(Right.SEND):
        raise NotPermitted("This needs a token that may do more than read")
    if not sharing.of(tx, caller.org, user).left_to_user:
        raise NotPermitted("Sharing is set by administrators here; the organisation does not leave it to users")
    return user


def _domain(text: str) -> str:
    try:
        return parse_domain(text)
    except BadAddress as error:
        raise Invalid("domain", str(error)) from None
