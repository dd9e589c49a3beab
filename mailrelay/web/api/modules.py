"""Modules: the kinds of record, which of their fields hold addresses (I4), and by which they are found (K2)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import Field, StringConstraints, model_validator

from mailrelay.errors import Invalid, Unknown
from mailrelay.model.event import EventType
from mailrelay.model.record import AddressField, AddressKind, FieldType, Module
from mailrelay.model.record import Field as TypedField
from mailrelay.query.names import OWN_FIELDS
from mailrelay.store import events, modules
from mailrelay.store.base import Tx
from mailrelay.web.application import App, Application
from mailrelay.web.etag import IfMatch, IfMatchOrNew, Seen
from mailrelay.web.identity import Administrator, Caller, Reader
from mailrelay.web.shape import After, Given, Limit, Name, Page, Paged, Shown, paged
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["modules"])
_WORD = r"^[a-z][a-z0-9_]{0,63}$"
Word = Annotated[str, StringConstraints(pattern=_WORD)]
ModuleName = Annotated[str, Path(pattern=_WORD, description="Name of a module, such as contact.")]


class GivenField(Given):
    """A field that holds an address; `matched`: whether mail is matched by it."""

    name: Word
    kind: AddressKind = AddressKind.CUSTOM
    matched: bool = True


class GivenTyped(Given):
    """A field that records are found by; `aliases` are other words for it in a query."""

    name: Word
    type: FieldType = FieldType.TEXT
    aliases: Annotated[tuple[Word, ...], Field(max_length=10)] = ()


class GivenModule(Given):
    """A module, new or changed; without `fields` it keeps those that it has."""

    label: Name
    address_fields: tuple[GivenField, ...] = Field((), max_length=20)
    fields: Annotated[tuple[GivenTyped, ...], Field(max_length=100)] | None = None

    @model_validator(mode="after")
    def _once(self) -> GivenModule:
        names = [field.name for field in self.address_fields]
        if len(set(names)) != len(names):
            raise ValueError("address_fields names a field twice")
        said = [*OWN_FIELDS, *names, *(word for field in self.fields or () for word in (field.name, *field.aliases))]
        twice = next((word for word in said if said.count(word) > 1), None)
        if twice is not None:
            raise ValueError(f"fields: {twice} is said twice, or is a field that every record has")
        return self


class ShownField(Shown):
    """An address field."""

    name: str
    kind: AddressKind
    matched: bool


class ShownTyped(Shown):
    """A field that records are found by."""

    name: str
    type: FieldType
    aliases: tuple[str, ...]


class ShownModule(Shown):
    """A module; `custom` unless every organisation has it."""

    name: str
    label: str
    custom: bool
    address_fields: tuple[ShownField, ...]
    fields: tuple[ShownTyped, ...]


@router.get("/modules", response_model=Page[ShownModule])
async def list_all(app: App, caller: Reader, after: After = "", limit: Limit = 100) -> Paged[Module]:
    """The modules, by name."""
    found = await app.store.read(modules.list_modules, caller.org, after=after, limit=limit)
    return paged(found, limit=limit, cursor=lambda one: one.name)


@router.get("/modules/{name}", response_model=ShownModule)
async def show(app: App, caller: Reader, name: str) -> Module:
    """One module."""
    return await app.store.read(modules.get, caller.org, name)


@router.put("/modules/{name}", response_model=ShownModule)
async def put(app: App, caller: Administrator, name: ModuleName, given: GivenModule, seen: IfMatchOrNew) -> Module:
    """Make a custom module, or change any module's label and fields.

    Where the fields that its records are found by change, its records are read again at once; a value that is not of its field's type
    is none until the record changes.
    """
    return await app.store.write(_put, app, caller, name, given, seen)


@router.delete("/modules/{name}", status_code=204)
async def remove(app: App, caller: Administrator, name: ModuleName, seen: IfMatch) -> None:
    """Take a custom module away that has no records any more; the standard ones stay."""
    await app.store.write(_remove, app, caller, name, seen)


def _remove(tx: Tx, app: Application, caller: Caller, name: str, seen: Seen) -> None:
    org = caller.org
    seen.check(tx, lambda: ShownModule.model_validate(modules.get(tx, org, name)))
    modules.remove(tx, org, name)
    _tell(tx, app, caller, name, "removed")


def _tell(tx: Tx, app: Application, caller: Caller, name: str, change: str) -> None:
    data = {"module": name, "change": change, "by": caller.by}
    events.append(tx, org=caller.org, at=app.clock.now(), type=EventType.MODULE_CHANGED, data=data)


def _put(tx: Tx, app: Application, caller: Caller, name: str, given: GivenModule, seen: Seen) -> Module:
    org = caller.org
    seen.check(tx, lambda: ShownModule.model_validate(modules.get(tx, org, name)))
    fields: tuple[TypedField, ...] = ()
    try:
        old = modules.get(tx, org, name)
        custom, fields = old.custom, old.fields
    except Unknown:
        custom = True
    if given.fields is not None:
        fields = tuple(TypedField(name=one.name, type=one.type, aliases=one.aliases) for one in given.fields)
    if custom and any(field.kind is not AddressKind.CUSTOM for field in given.address_fields):
        raise Invalid("address_fields", "the fields of a custom module are of kind custom")
    new = Module(
        org=org,
        name=name,
        label=given.label,
        custom=custom,
        address_fields=tuple(
            AddressField(name=field.name, kind=field.kind, matched=field.matched) for field in given.address_fields
        ),
        fields=fields,
    )
    modules.put(tx, new)
    _tell(tx, app, caller, name, "put")
    return new
