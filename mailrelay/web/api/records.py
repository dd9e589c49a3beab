"""Records of the CRM: kept one by one or by file, listed, and the mail that is on each."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import Field, StringConstraints

from mailrelay.errors import Invalid
from mailrelay.ids import MessageId, OrgId
from mailrelay.model.decision import Link
from mailrelay.model.record import AddressKind, Record, RecordAddress, RecordLink, RecordRef
from mailrelay.store import links, modules, records
from mailrelay.store.base import Tx
from mailrelay.store.people import find
from mailrelay.web import etag
from mailrelay.web.application import App, Application
from mailrelay.web.etag import IfMatch, IfMatchOrNew, Seen
from mailrelay.web.identity import Administrator, Caller, Reader
from mailrelay.web.shape import After, Given, Limit, MailAddress, Name, Page, Ref, Shown, in_field, paged
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["records"])
ModuleName = Annotated[str, Path(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
RecordId = Annotated[str, Path(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f/]+$")]
Word = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]


class GivenLink(Given):
    """A link to another record; `role` is the CRM's word for it."""

    role: Word
    to: Ref


class GivenRecord(Given):
    """A whole record: what is not said it no longer has. `owner` is a user's id or address, `addresses` are by field."""

    name: Name
    owner: str | None = None
    addresses: Mapping[str, MailAddress] = Field(default_factory=dict, max_length=20)
    links: tuple[GivenLink, ...] = Field((), max_length=200)
    fields: Mapping[str, str] = Field(default_factory=dict, max_length=500)


class ShownAddress(Shown):
    """An address of a record and the field it stands in."""

    field: str
    kind: AddressKind
    address: MailAddress


class ShownRecordLink(Shown):
    """A link to another record."""

    role: str
    to: Ref


class ShownRecord(Shown):
    """A record. `source` is "api", "bulk" or the channel whose mail created it."""

    ref: Ref
    name: str
    owner: str | None
    addresses: tuple[ShownAddress, ...]
    links: tuple[ShownRecordLink, ...]
    fields: dict[str, str]
    source: str
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, one: Record) -> ShownRecord:
        """The record as it is answered."""
        return cls(
            ref=one.ref,
            name=one.name,
            owner=one.owner,
            addresses=tuple(ShownAddress.model_validate(address) for address in one.addresses),
            links=tuple(ShownRecordLink.model_validate(link) for link in one.links),
            fields=dict(one.fields),
            source=one.source,
            created_at=one.created_at,
            updated_at=one.updated_at,
        )


class RecordPatch(Given):
    """What to change of a record: what is left out stays; a field or an address that is null goes."""

    name: Name | None = None
    owner: str | None = Field(None, description="A user's id or address; empty: nobody owns it any more.")
    addresses: Mapping[str, MailAddress | None] = Field(default_factory=dict, max_length=20)
    links: tuple[GivenLink, ...] | None = Field(None, max_length=200, description="All its links, where they change.")
    fields: Mapping[str, str | None] = Field(default_factory=dict, max_length=500)


class KeptRecord(ShownRecord):
    """A record, and what became of it: created, updated or unchanged."""

    change: records.Change


class RecordMail(Shown):
    """A message on a record, with the rule that put it there."""

    message: str
    rule: str
    by: str
    guess: bool
    created_at: datetime


@router.get("/records/{module}", response_model=Page[ShownRecord])
async def list_all(app: App, caller: Reader, module: ModuleName, after: After = "", limit: Limit = 100) -> object:
    """A module's records, by id."""
    found = await app.store.read(_list, caller, module, after, limit)
    return paged([ShownRecord.of(one) for one in found], limit=limit, cursor=lambda one: one.ref.id)


@router.get("/records/{module}/{id}")
async def show(app: App, caller: Reader, module: ModuleName, id: RecordId) -> ShownRecord:  # noqa: A002
    """One record."""
    return ShownRecord.of(await app.store.read(records.get, caller.org, RecordRef(module, id)))


@router.put("/records/{module}/{id}")
async def put(
    app: App,
    caller: Administrator,
    response: Response,
    module: ModuleName,
    id: RecordId,  # noqa: A002
    given: GivenRecord,
    seen: IfMatchOrNew,
) -> KeptRecord:
    """Keep a record as given, new or changed."""
    change, kept = await app.store.write(_put, app, caller, RecordRef(module, id), given, seen)
    return _kept(response, kept, change)


@router.patch("/records/{module}/{id}")
async def patch(
    app: App,
    caller: Administrator,
    response: Response,
    module: ModuleName,
    id: RecordId,  # noqa: A002
    given: RecordPatch,
    seen: IfMatch,
) -> KeptRecord:
    """Change some of a record, and leave the rest."""
    change, kept = await app.store.write(_patch, app, caller, RecordRef(module, id), given, seen)
    return _kept(response, kept, change)


@router.delete("/records/{module}/{id}", status_code=204)
async def remove(
    app: App,
    caller: Administrator,
    module: ModuleName,
    id: RecordId,  # noqa: A002
    seen: IfMatch,
) -> None:
    """Forget a record; mail that is on it stays, and still says so."""
    await app.store.write(_remove, app, caller, RecordRef(module, id), seen)


@router.get("/records/{module}/{id}/messages", response_model=Page[RecordMail])
async def mail(
    app: App,
    caller: Reader,
    module: ModuleName,
    id: RecordId,  # noqa: A002
    after: After = "",
    limit: Limit = 100,
) -> object:
    """The mail on a record, newest first."""
    found: tuple[Link, ...] = await app.store.read(
        links.of_record,
        caller.org,
        RecordRef(module, id),
        viewer=caller.viewer,
        before=MessageId(after) if after else None,
        limit=limit,
    )
    return paged([RecordMail.model_validate(one) for one in found], limit=limit, cursor=lambda one: one.message)


def _list(tx: Tx, caller: Caller, module: str, after: str, limit: int) -> tuple[Record, ...]:
    modules.get(tx, caller.org, module)
    return records.list_records(tx, caller.org, module, after=after, limit=limit)


def _kept(response: Response, kept: Record, change: records.Change) -> KeptRecord:
    shown = ShownRecord.of(kept)
    response.headers["ETag"] = etag.of(shown)
    return KeptRecord(**shown.model_dump(), change=change)


def _check(tx: Tx, seen: Seen, org: OrgId, ref: RecordRef) -> None:
    seen.check(tx, lambda: ShownRecord.of(records.get(tx, org, ref)))


def _remove(tx: Tx, app: Application, caller: Caller, ref: RecordRef, seen: Seen) -> None:
    _check(tx, seen, caller.org, ref)
    records.remove(tx, caller.org, ref, at=app.clock.now(), by=caller.by)


def _patch(
    tx: Tx, app: Application, caller: Caller, ref: RecordRef, given: RecordPatch, seen: Seen
) -> tuple[records.Change, Record]:
    _check(tx, seen, caller.org, ref)
    old = records.get(tx, caller.org, ref)
    addresses = {one.field: one.address for one in old.addresses} | dict(given.addresses)
    fields = dict(old.fields) | dict(given.fields)
    owner = old.owner if given.owner is None else given.owner or None
    whole = GivenRecord(
        name=given.name or old.name,
        owner=owner,
        addresses={name: one for name, one in addresses.items() if one is not None},
        links=tuple(GivenLink(role=one.role, to=one.to) for one in old.links) if given.links is None else given.links,
        fields={name: one for name, one in fields.items() if one is not None},
    )
    return _keep(tx, app, caller, ref, whole)


def _put(
    tx: Tx, app: Application, caller: Caller, ref: RecordRef, given: GivenRecord, seen: Seen
) -> tuple[records.Change, Record]:
    _check(tx, seen, caller.org, ref)
    return _keep(tx, app, caller, ref, given)


def _keep(
    tx: Tx, app: Application, caller: Caller, ref: RecordRef, given: GivenRecord
) -> tuple[records.Change, Record]:
    now = app.clock.now()
    kinds = {field.name: field.kind for field in modules.get(tx, caller.org, ref.module).address_fields}
    for name in given.addresses:
        if name not in kinds:
            raise Invalid(f"addresses.{name}", f"{ref.module} has no address field {name}; it has {_names(kinds)}")
    for name in given.fields:
        if name in kinds:
            raise Invalid(f"fields.{name}", "is an address field; give it in addresses")
    with in_field("owner"):
        owner = None if given.owner is None else find(tx, caller.org, given.owner).id
    new = Record(
        org=caller.org,
        ref=ref,
        name=given.name,
        owner=owner,
        addresses=tuple(
            RecordAddress(address=address, kind=kinds[name], field=name) for name, address in given.addresses.items()
        ),
        links=tuple(RecordLink(role=link.role, to=link.to) for link in given.links),
        fields=tuple(given.fields.items()),
        source="api",
        created_at=now,
        updated_at=now,
    )
    return records.upsert(tx, new), records.get(tx, caller.org, ref)


def _names(kinds: Mapping[str, AddressKind]) -> str:
    return ", ".join(sorted(kinds)) or "none"
