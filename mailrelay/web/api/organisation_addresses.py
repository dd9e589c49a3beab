"""Shared addresses, such as support@, that receive and send; what arrives belongs to no single user (I13)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field, StringConstraints

from mailrelay import log
from mailrelay.errors import Invalid, Unknown
from mailrelay.ids import OrganisationAddressId, OrgId, UserId
from mailrelay.mail import record_address
from mailrelay.model.address import Address
from mailrelay.model.organisation import DROPBOX_PREFIX, OrganisationAddress, SharedSettings
from mailrelay.model.settings import Unknown as UnknownBecomes
from mailrelay.smtp.address import relay_disguise
from mailrelay.store import modules, organisation_addresses, organisations
from mailrelay.store.base import Tx
from mailrelay.store.people import find
from mailrelay.web.application import App, Application
from mailrelay.web.etag import IfMatch, Seen
from mailrelay.web.identity import Administrator, Caller, Reader
from mailrelay.web.once import Once, making
from mailrelay.web.shape import After, Given, Limit, MailAddress, Page, Paged, Shown, in_field, paged
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["organisation addresses"])
_RESERVED = ("postmaster", "mailer-daemon")
_logger = log.get()

DisplayName = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
_OWNER = "Who owns what is made of unknown correspondents, by id or address; null: nobody."
_SENDERS = "Who may send as it, by id or address; null: every active user but guests."
_MODULES = "Modules that are searched for those who write to it, in this order; the first with a hit wins."


class GivenOrganisationAddress(Given):
    """A new shared address, at a domain of the organisation or of the installation's dropboxes."""

    address: MailAddress
    name: DisplayName = Field("", description="What people call it, such as Support.")
    modules: tuple[str, ...] | None = Field(None, max_length=20, description=_MODULES)
    unknown: UnknownBecomes = Field(UnknownBecomes.LEAD, description="What an unknown correspondent becomes.")
    owner: str | None = Field(None, description=_OWNER)
    senders: tuple[str, ...] | None = Field(None, max_length=1000, description=_SENDERS)


class OrganisationAddressChange(Given):
    """What to change of a shared address; what is left out stays."""

    name: DisplayName | None = None
    modules: tuple[str, ...] | None = Field(None, max_length=20, description=_MODULES)
    unknown: UnknownBecomes | None = None
    owner: str | None = Field(None, description=_OWNER)
    senders: tuple[str, ...] | None = Field(None, max_length=1000, description=_SENDERS)


class ShownOrganisationAddress(Shown):
    """A shared address. `owner` and `senders` are ids of users."""

    id: str
    address: MailAddress
    name: str
    modules: tuple[str, ...]
    unknown: UnknownBecomes
    owner: str | None
    senders: tuple[str, ...] | None
    created_at: datetime
    created_by: str

    @classmethod
    def of(cls, one: OrganisationAddress) -> ShownOrganisationAddress:
        """The address as it is answered."""
        return cls(
            id=one.id,
            address=one.address,
            name=one.name,
            modules=one.settings.modules,
            unknown=one.settings.unknown,
            owner=one.settings.owner,
            senders=one.settings.senders,
            created_at=one.created_at,
            created_by=one.created_by,
        )


@router.get("/organisation-addresses", response_model=Page[ShownOrganisationAddress])
async def list_all(app: App, caller: Reader, after: After = "", limit: Limit = 100) -> Paged[ShownOrganisationAddress]:
    """The shared addresses of the organisation, oldest first."""
    found = await app.store.read(organisation_addresses.list_addresses, caller.org, after=after, limit=limit)
    return paged([ShownOrganisationAddress.of(one) for one in found], limit=limit, cursor=lambda one: one.id)


@router.post("/organisation-addresses", status_code=201)
async def make(
    app: App,
    caller: Administrator,
    given: GivenOrganisationAddress,
    once: Annotated[Once, making("/organisation-addresses/{id}")],
) -> ShownOrganisationAddress:
    """A new shared address: mail to it is taken from now on, and those whom it permits may send as it."""
    made = await once.write(app.store, _make, app, caller, given)
    _logger.info("organisation-address.made", org=caller.org, address=str(made.address), by=caller.by)
    return made


@router.get("/organisation-addresses/{id}")
async def show(app: App, caller: Reader, id: str) -> ShownOrganisationAddress:  # noqa: A002
    """One shared address."""
    return await app.store.read(_show, caller.org, id)


@router.patch("/organisation-addresses/{id}")
async def change(
    app: App,
    caller: Administrator,
    id: str,  # noqa: A002
    given: OrganisationAddressChange,
    seen: IfMatch,
) -> ShownOrganisationAddress:
    """Change the name or the settings of a shared address."""
    return await app.store.write(_change, app, caller, id, given, seen)


@router.delete("/organisation-addresses/{id}", status_code=204)
async def remove(app: App, caller: Administrator, id: str, seen: IfMatch) -> None:  # noqa: A002
    """Take a shared address out of use, at once; the mail that came to it stays."""
    await app.store.write(_remove, app, caller, id, seen)
    _logger.info("organisation-address.removed", org=caller.org, address=id, by=caller.by)


def _standing(tx: Tx, org: OrgId, id_: str) -> OrganisationAddress:
    found = organisation_addresses.get(tx, org, id_)
    if found.removed_at is not None:
        raise Unknown("There is no such organisation address")
    return found


def _show(tx: Tx, org: OrgId, id_: str) -> ShownOrganisationAddress:
    return ShownOrganisationAddress.of(_standing(tx, org, id_))


def _make(tx: Tx, app: Application, caller: Caller, given: GivenOrganisationAddress) -> ShownOrganisationAddress:
    _check_place(tx, app, caller.org, given.address)
    standard = SharedSettings()
    new = OrganisationAddress(
        id=app.ids.organisation_address(),
        org=caller.org,
        address=given.address,
        name=given.name,
        settings=SharedSettings(
            modules=standard.modules if given.modules is None else _modules(tx, caller.org, given.modules),
            unknown=given.unknown,
            owner=_user(tx, caller.org, given.owner),
            senders=_users(tx, caller.org, given.senders),
        ),
        created_at=app.clock.now(),
        created_by=caller.by,
    )
    organisation_addresses.make(tx, new)
    return ShownOrganisationAddress.of(new)


def _change(
    tx: Tx, app: Application, caller: Caller, id_: str, given: OrganisationAddressChange, seen: Seen
) -> ShownOrganisationAddress:
    seen.check(tx, lambda: _show(tx, caller.org, id_))
    old = _standing(tx, caller.org, id_)
    said = given.model_fields_set
    settings = replace(
        old.settings,
        modules=old.settings.modules if given.modules is None else _modules(tx, caller.org, given.modules),
        unknown=given.unknown or old.settings.unknown,
        owner=_user(tx, caller.org, given.owner) if "owner" in said else old.settings.owner,
        senders=_users(tx, caller.org, given.senders) if "senders" in said else old.settings.senders,
    )
    changed = replace(old, name=old.name if given.name is None else given.name, settings=settings)
    organisation_addresses.change(tx, changed, by=caller.by, at=app.clock.now())
    return ShownOrganisationAddress.of(changed)


def _remove(tx: Tx, app: Application, caller: Caller, id_: str, seen: Seen) -> None:
    seen.check(tx, lambda: _show(tx, caller.org, id_))
    organisation_addresses.remove(tx, caller.org, OrganisationAddressId(id_), by=caller.by, at=app.clock.now())


def _check_place(tx: Tx, app: Application, org: OrgId, address: Address) -> None:
    """That mail to the address can come to us, and means nothing else there. Raises Invalid."""
    of_service = address.domain in app.config.inbound.domains
    if not of_service and address.domain not in organisations.get(tx, org).domains:
        there = ", ".join(app.config.inbound.domains)
        raise Invalid(
            "address", f"{address.domain} is no domain of the organisation, nor one of the dropboxes ({there})"
        )
    local = address.local.lower()
    if of_service and (local in _RESERVED or local.startswith((DROPBOX_PREFIX, record_address.PREFIX))):
        raise Invalid("address", f"{address} means something else at {address.domain}; take another name")
    if "+" in local:
        raise Invalid("address", "what stands behind a + is read as part of the address before it; take a name without")
    if relay_disguise(address.local):
        raise Invalid("address", "has %, ! or @ in its name, which mail servers take for a way to another server")


def _modules(tx: Tx, org: OrgId, given: Sequence[str]) -> tuple[str, ...]:
    known = {module.name for module in modules.list_modules(tx, org)}
    for place, name in enumerate(given):
        if name not in known:
            raise Invalid(f"modules[{place}]", f"there is no module {name[:64]}")
    return tuple(dict.fromkeys(given))


def _user(tx: Tx, org: OrgId, given: str | None, path: str = "owner") -> UserId | None:
    if given is None:
        return None
    with in_field(path):
        return find(tx, org, given).id


def _users(tx: Tx, org: OrgId, given: Sequence[str] | None) -> tuple[UserId, ...] | None:
    if given is None:
        return None
    found = (_user(tx, org, one, f"senders[{place}]") for place, one in enumerate(given))
    return tuple(sorted({one for one in found if one is not None}))
