"""Organisations: the caller's own, and, for the operator of the installation, all of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from mailrelay.errors import Invalid
from mailrelay.ids import OrgId
from mailrelay.model.attachment import Attachments
from mailrelay.model.event import EventType, differing
from mailrelay.model.organisation import Organisation
from mailrelay.model.settings import OrganisationSettings, Plan, SenderCheck, Sharing, Unpermitted
from mailrelay.model.tracking import Mode
from mailrelay.outbound.policy.quota import MOST_MASS
from mailrelay.store import events, organisations
from mailrelay.store.base import Tx
from mailrelay.tracking.links import LinkPattern
from mailrelay.tracking.target import target_host
from mailrelay.tracking.unsubscribe import form_url
from mailrelay.web.application import App, Application
from mailrelay.web.etag import IfMatch, Seen
from mailrelay.web.identity import OPERATOR, Administrator, Caller, Reader, the_operator
from mailrelay.web.once import Once, making
from mailrelay.web.shape import After, Given, Limit, MailDomain, Name, Page, Paged, Shown, TimeZone, paged
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["organisation"])


_MASS = (250, 500, 1000)


def _of_a_plan(quota: int) -> int:
    if quota not in _MASS:
        raise ValueError("must be 250, 500 or 1000, by plan; what an add-on brings is mass_add_on")
    return quota


def _host_name(name: str) -> str:
    host = name.strip().lower().removesuffix(".")
    if host and (target_host(f"https://{host}/") != host or "." not in host):
        raise ValueError("must be a host name in A-labels, such as links.example.com; a port does not go with it")
    return host


def _link_pattern(text: str) -> str:
    try:
        return str(LinkPattern.parse(text))
    except ValueError as error:
        raise ValueError(str(error)) from None


def _form_url(text: str) -> str:
    url = text.strip()
    if url and (len(url) > _LONGEST_URL or target_host(form_url(url, list_="x", delivery="x")) is None):
        raise ValueError("must be a link such as https://example.com/mails; {list} and {delivery} in it are filled in")
    return url


_LONGEST_URL = 1000
UnsubscribeText = Annotated[
    str, StringConstraints(max_length=200, strip_whitespace=True, pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$")
]


def _each(links: object) -> object:
    return links.replace(",", " ").split() if isinstance(links, str) else links


UntrackedLinks = Annotated[
    tuple[Annotated[str, AfterValidator(_link_pattern)], ...], BeforeValidator(_each), Field(max_length=200)
]
"""Hosts and beginnings of links; on the command line one word with commas."""


class GivenSettings(Given):
    """Settings to change; what is left out stays."""

    plan: Plan | None = None
    sender_check: SenderCheck | None = None
    unpermitted: Unpermitted | None = None
    file_internal: bool | None = None
    match_account_by_domain: bool | None = None
    notify_authors: bool | None = None
    soft_bounces: Annotated[int, Field(ge=0, le=100)] | None = None
    soft_bounce_days: Annotated[int, Field(ge=1, le=365)] | None = None
    answer_days: Annotated[int, Field(ge=1, le=365)] | None = None
    answers_per_hour: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    mass_quota: Annotated[int, AfterValidator(_of_a_plan)] | None = None
    mass_add_on: Annotated[int, Field(ge=0, le=MOST_MASS)] | None = None
    alternates_limit: int | None = None
    organisation_addresses: Annotated[int, Field(ge=0, le=1000)] | None = None
    sharing: Sharing | None = None
    sharing_by_users: bool | None = None
    keep_former_mail: bool | None = None
    delivered_after_days: Annotated[int, Field(ge=1, le=30)] | None = None
    tracking: Mode | None = None
    tracking_host: Annotated[str, AfterValidator(_host_name)] | None = None
    honour_dnt: bool | None = None
    raw_hit_days: Annotated[int, Field(ge=1, le=3650)] | None = None
    untracked_links: UntrackedLinks | None = None
    attachments: Annotated[
        Attachments | None, Field(description="What becomes of the files of a mail that is put on a record (I17).")
    ] = None
    attachments_from: Annotated[
        int | None, Field(ge=1, le=2**40, description="Bytes; smaller files stay in their mail.")
    ] = None
    storage_limit: Annotated[
        int | None, Field(ge=0, le=2**53, description="Bytes that attachments of records may take; 0: no limit.")
    ] = None
    unsubscribe_text: UnsubscribeText | None = None
    unsubscribe_url: Annotated[str, AfterValidator(_form_url)] | None = None

    def applied(self, to: OrganisationSettings) -> OrganisationSettings:
        """The settings with what was given. Raises Invalid when they do not go together."""
        new = replace(to, **self.model_dump(exclude_none=True))
        if new.mass_quota + new.mass_add_on > MOST_MASS:
            raise Invalid(
                "settings.mass_add_on",
                f"brings mass mail to {new.mass_quota + new.mass_add_on} a day; an add-on goes up to {MOST_MASS} in all",
            )
        return new


class GivenOrganisation(Given):
    """A new organisation."""

    name: Name
    time_zone: TimeZone = "UTC"
    domains: tuple[MailDomain, ...] = ()
    settings: GivenSettings = GivenSettings()


class OrganisationChange(Given):
    """What to change of an organisation; what is left out stays."""

    name: Name | None = None
    time_zone: TimeZone | None = None
    settings: GivenSettings = GivenSettings()


class ShownOrganisation(Shown):
    """An organisation."""

    id: str
    name: str
    time_zone: str
    domains: tuple[str, ...]
    settings: OrganisationSettings


@router.get("/organisation", response_model=ShownOrganisation)
async def show(app: App, caller: Reader) -> Organisation:
    """The caller's own organisation, with its settings."""
    return await app.store.read(organisations.get, caller.org)


@router.patch("/organisation", response_model=ShownOrganisation)
async def change(app: App, caller: Administrator, given: OrganisationChange, seen: IfMatch) -> Organisation:
    """Change the name, the time zone or settings; domains have their own path."""
    return await app.store.write(_change, app, caller, given, seen)


@router.get("/organisations", response_model=Page[ShownOrganisation], dependencies=[Depends(the_operator)])
async def list_all(app: App, after: After = "", limit: Limit = 100) -> Paged[Organisation]:
    """Every organisation of the installation, oldest first; for its operator, on the Unix socket."""
    found = await app.store.read(organisations.list_organisations, after=after, limit=limit)
    return paged(found, limit=limit, cursor=lambda one: one.id)


@router.get("/organisations/{id}", response_model=ShownOrganisation, dependencies=[Depends(the_operator)])
async def show_any(app: App, id: str) -> Organisation:  # noqa: A002
    """One organisation of the installation; for its operator, on the Unix socket."""
    return await app.store.read(organisations.get, OrgId(id))


@router.post("/organisations", response_model=ShownOrganisation, status_code=201, dependencies=[Depends(the_operator)])
async def add(app: App, given: GivenOrganisation, once: Annotated[Once, making("/organisations/{id}")]) -> Organisation:
    """A new organisation with the standard modules; for the operator, on the Unix socket."""
    new = Organisation(
        id=app.ids.org(),
        name=given.name,
        time_zone=given.time_zone,
        domains=given.domains,
        settings=given.settings.applied(OrganisationSettings()),
    )
    return await once.write(app.store, _create, new, app.clock.now())


def _create(tx: Tx, new: Organisation, now: datetime) -> Organisation:
    if new.settings.tracking_host:
        organisations.one_at_a_time(tx)
        organisations.check_host(tx, new.id, new.settings.tracking_host)
    organisations.create(tx, new, now=now)
    data = {"name": new.name, "by": OPERATOR}
    events.append(tx, org=new.id, at=now, type=EventType.ORGANISATION_CREATED, data=data)
    return organisations.get(tx, new.id)


def _change(tx: Tx, app: Application, caller: Caller, given: OrganisationChange, seen: Seen) -> Organisation:
    org = caller.org
    if given.settings.tracking_host:
        organisations.one_at_a_time(tx)
    seen.check(tx, lambda: ShownOrganisation.model_validate(organisations.get(tx, org)))
    if given.settings.attachments is Attachments.STORE and not app.contents.has_outside:
        because = "needs an outside store: the operator sets attachments.folder or attachments.s3 in the configuration"
        raise Invalid("settings.attachments", because)
    old = organisations.get(tx, org)
    changed = replace(
        old,
        name=given.name or old.name,
        time_zone=given.time_zone or old.time_zone,
        settings=given.settings.applied(old.settings),
    )
    if given.settings.tracking_host:
        organisations.check_host(tx, org, given.settings.tracking_host)
    organisations.update_organisation(tx, changed)
    if changed != old:
        data = {"changed": differing(old, changed), "by": caller.by}
        events.append(tx, org=org, at=app.clock.now(), type=EventType.ORGANISATION_CHANGED, data=data)
    return changed
