"""Users: their addresses, roles, settings, and the password of SMTP submission."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import Field, StringConstraints

from mailrelay.errors import Invalid
from mailrelay.ids import UserId
from mailrelay.inbound.passwords import hash_password
from mailrelay.model.event import EventType, differing
from mailrelay.model.notice import NoticeKind
from mailrelay.model.organisation import Role, User
from mailrelay.model.settings import Unknown as UnknownBecomes
from mailrelay.model.settings import UserSettings
from mailrelay.store import events, modules, people, webhooks
from mailrelay.store.base import Tx
from mailrelay.store.people import find
from mailrelay.web.application import App, Application
from mailrelay.web.etag import IfMatch, Seen
from mailrelay.web.identity import Administrator, Caller, Reader
from mailrelay.web.once import Once, making
from mailrelay.web.shape import After, Given, Limit, MailAddress, Name, Page, Paged, Shown, TimeZone, in_field, paged
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["users"])


class GivenUserSettings(Given):
    """Settings to change; what is left out stays."""

    modules: tuple[str, ...] | None = None
    unknown: UnknownBecomes | None = None
    time_zone: Annotated[
        TimeZone | Literal[""] | None, Field(description="Where the user is; empty: the organisation.")
    ] = None
    notices: Annotated[
        tuple[NoticeKind, ...] | None, Field(max_length=len(NoticeKind), description="What the user hears of at once.")
    ] = None

    def applied(self, to: UserSettings) -> UserSettings:
        """The settings with what was given."""
        return replace(to, **self.model_dump(exclude_none=True))


class GivenUser(Given):
    """A new user."""

    name: Name
    primary: MailAddress
    alternates: tuple[MailAddress, ...] = ()
    role: Role = Role.USER
    confirmed: Annotated[
        bool, Field(description="Only active, confirmed users count for the quota of single mail.")
    ] = True
    settings: GivenUserSettings = GivenUserSettings()


class UserChange(Given):
    """What to change of a user; what is left out stays."""

    name: Name | None = None
    primary: MailAddress | None = None
    alternates: tuple[MailAddress, ...] | None = None
    role: Role | None = None
    active: bool | None = None
    confirmed: bool | None = None
    settings: GivenUserSettings = GivenUserSettings()


class GivenPassword(Given):
    """A new password for SMTP submission; null takes submission away."""

    password: Annotated[str, StringConstraints(min_length=12, max_length=200)] | None = Field(repr=False)


class ShownUser(Shown):
    """A user."""

    id: str
    name: str
    role: Role
    active: bool
    confirmed: bool
    primary: MailAddress
    alternates: tuple[MailAddress, ...]
    settings: UserSettings


@router.get("/users", response_model=Page[ShownUser])
async def list_all(app: App, caller: Reader, after: After = "", limit: Limit = 100) -> Paged[User]:
    """The organisation's users, oldest first."""
    found = await app.store.read(people.list_users, caller.org, after=UserId(after) if after else None, limit=limit)
    return paged(found, limit=limit, cursor=lambda user: user.id)


@router.post("/users", response_model=ShownUser, status_code=201)
async def add(app: App, caller: Administrator, given: GivenUser, once: Annotated[Once, making("/users/{id}")]) -> User:
    """A new user."""
    _check_addresses(app, given)
    new = User(
        id=app.ids.user(),
        org=caller.org,
        name=given.name,
        role=given.role,
        active=True,
        primary=given.primary,
        alternates=given.alternates,
        settings=given.settings.applied(UserSettings()),
        confirmed=given.confirmed,
    )
    return await once.write(app.store, _add, new, app, caller)


@router.get("/users/{who}", response_model=ShownUser)
async def show(app: App, caller: Reader, who: str) -> User:
    """One user, by id or by one of their addresses."""
    return await app.store.read(find, caller.org, who)


@router.patch("/users/{who}", response_model=ShownUser)
async def change(app: App, caller: Administrator, who: str, given: UserChange, seen: IfMatch) -> User:
    """Change a user; making one inactive stops their dropbox, submission and webhooks, and keeps their history."""
    _check_addresses(app, given)
    return await app.store.write(_change, app, caller, who, given, seen)


@router.put("/users/{who}/password", status_code=204)
async def set_password(app: App, caller: Administrator, who: str, given: GivenPassword) -> None:
    """Set the password of SMTP submission; only its salted hash is kept."""
    user = await app.store.read(find, caller.org, who)
    stored = None
    if given.password is not None:
        stored = await asyncio.to_thread(hash_password, given.password, rounds=app.config.submission.password_rounds)
    await app.store.write(_set_password, app, caller, user, stored)


def _check_addresses(app: Application, given: GivenUser | UserChange) -> None:
    """Raises Invalid for an address at a domain of dropboxes or of returned mail: it would be no person's."""
    inbound = app.config.inbound
    service = (*inbound.domains, inbound.bounce_domain)
    named = [("primary", given.primary)]
    named += [(f"alternates[{at}]", one) for at, one in enumerate(given.alternates or ())]
    for field, address in named:
        if address is not None and address.domain in service:
            raise Invalid(field, f"{address.domain} is for dropboxes and returned mail; give the user's own address")


def _add(tx: Tx, new: User, app: Application, caller: Caller) -> User:
    _check_modules(tx, new)
    people.create(tx, new, now=app.clock.now())
    data = {"user": new.id, "name": new.name, "address": str(new.primary), "role": new.role}
    _tell(tx, app, caller, EventType.USER_CREATED, data)
    return new


def _set_password(tx: Tx, app: Application, caller: Caller, user: User, stored: str | None) -> None:
    people.set_password(tx, caller.org, user.id, stored)
    _tell(tx, app, caller, EventType.USER_CHANGED, {"user": user.id, "changed": "password"})


def _tell(tx: Tx, app: Application, caller: Caller, type_: EventType, data: Mapping[str, str]) -> None:
    events.append(tx, org=caller.org, at=app.clock.now(), type=type_, data={**data, "by": caller.by})


def _change(tx: Tx, app: Application, caller: Caller, who: str, given: UserChange, seen: Seen) -> User:
    org = caller.org
    seen.check(tx, lambda: ShownUser.model_validate(find(tx, org, who)))
    old = find(tx, org, who)
    given_fields = {
        name: value
        for name in ("name", "primary", "alternates", "role", "active", "confirmed")
        if (value := getattr(given, name)) is not None
    }
    changed = replace(old, **given_fields, settings=given.settings.applied(old.settings))
    _check_modules(tx, changed)
    people.update_user(tx, changed)
    if changed != old:
        _tell(tx, app, caller, EventType.USER_CHANGED, {"user": old.id, "changed": differing(old, changed)})
    if old.active and not changed.active:
        because = f"its user was deactivated by {caller.by}"
        webhooks.disable_all(tx, org, of=old.id, because=because, at=app.clock.now(), by=caller.by)
    return changed


def _check_modules(tx: Tx, user: User) -> None:
    for place, name in enumerate(user.settings.modules):
        with in_field(f"settings.modules[{place}]"):
            modules.get(tx, user.org, name)
